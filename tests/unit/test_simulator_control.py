"""The control port: JSON lines in, JSON lines out, and no line that breaks it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.testing import StringTransport

from ctrader_twisted.simulator.control import ControlFactory, Controls
from tests.unit.joined_client import VenueCase


class ControlPort(VenueCase):
    """One person at the switches."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.logged_in()
        self.client.subscribe(1)
        self.factory = ControlFactory(Controls(self.simulator))
        self.transport = StringTransport()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def tell(self, line: str | bytes) -> dict[str, Any]:
        """One line; its answer."""
        self.protocol.dataReceived((line.encode() if isinstance(line, str) else line) + b"\n")
        answer = self.transport.value()
        self.transport.clear()
        self.assertEqual(answer.count(b"\n"), 1)
        return dict(json.loads(answer))

    def test_a_switch(self) -> None:
        """It is flipped, and the answer says how many felt it."""
        self.assertEqual(self.tell('{"do": "drop"}'), {"ok": True, "felt": 1})
        self.assertTrue(self.client.closed)

    def test_arguments(self) -> None:
        """They stand beside the name."""
        self.tell('{"do": "rate", "ticks_per_s": 7}')
        self.assertEqual(self.tell('{"do": "state"}')["rate"], 7)

    def test_state(self) -> None:
        """Who is there, and how many subscriptions and ticks there are."""
        self.venue.publish("EURUSD", bid_points=110_000)
        state = self.tell('{"do": "state"}')
        self.assertEqual((state["connections"], state["applications"]), (1, 1))
        self.assertEqual((state["accounts"], state["subscriptions"]), ([1000001], 1))
        self.assertEqual((state["ticks_delivered"], state["arrivals"]), (1, "welcome"))

    def test_help(self) -> None:
        """Every switch with its arguments and a sentence."""
        switches = self.tell('{"do": "help"}')["switches"]
        self.assertIn("how = 'close'", switches["refuse"]["arguments"])
        self.assertEqual([name for name, one in switches.items() if not one["what"]], [])

    def test_bad_lines_are_answered(self) -> None:
        """Each answer names the thing, and the port goes on, once it has heard a good line."""
        self.tell('{"do": "state"}')
        for line, named in (
            ("nonsense", "not a JSON object"),
            ("[1, 2]", "not a JSON object"),
            (b"\xff\xfe", "not a JSON object"),
            (b'{"do": "\xff"}', "not a JSON object"),
            ("{}", '"do"'),
            ('{"do": 7}', '"do"'),
            ('{"do": "dorp"}', "dorp"),
            ('{"do": "slow", "seconds": "two"}', "seconds"),
            ('{"do": "swallow", "request": "ProtoOATradrReq"}', "ProtoOATraderReq"),
            ('{"do": "rate", "ticks_per_s": 1e9}', "ticks_per_s"),
            ('{"do": "maintenance", "seconds": 1e300}', "seconds"),
            (
                '{"do": "error", "request": "ProtoOATraderReq", "code": "X",'
                ' "retry_after_s": 18446744073709551616}',
                "retry_after_s",
            ),
            (
                '{"do": "tick", "symbol": "EURUSD", "bid_points": 18446744073709551616}',
                "bid_points",
            ),
            ('{"do": "quiet", "symbols": ["EURXXX"]}', "EURXXX"),
        ):
            answer = self.tell(line)
            self.assertEqual(answer["ok"], False)
            self.assertIn(named, answer["error"])
        self.assertEqual(self.tell('{"do": "clear"}')["ok"], True)

    def test_empty_lines_are_nothing(self) -> None:
        """A person presses return."""
        self.protocol.dataReceived(b"\n\r\n")
        self.assertEqual(self.transport.value(), b"")

    def test_http(self) -> None:
        """A page that sends a command to this port gets it refused: nothing behind the first line
        is looked at, in whatever pieces it comes, and no switch is flipped.
        """
        body = b'{"do": "drop"}\n'
        for first in (
            b"POST / HTTP/1.1\r\n",
            b"post /x HTTP/1.0\r\n",
            b"\r\n\r\nPOST / HTTP/1.1\r\n",
            b"GET http://127.0.0.1:5099/ HTTP/1.1\n",
            b'GET /?{"do":"drop"} HTTP/1.1\n',
            b"PRI * HTTP/2.0\r\n",
            b"OPTIONS * HTTP/1.1\n",
            b"\x16\x03\x01\x02\n",
            b"HELO localhost\r\n",
            b"[]\n",
            b'"drop"\n',
            b"1\n",
            b"null\n",
            b'{"do": "drop"} HTTP/1.1\n',
            b"\xef\xbb\xbf" + body,
        ):
            for pieces in ([first + b"Host: x\r\n\r\n" + body], [first, b"\r\n", body, body]):
                transport = StringTransport()
                protocol = self.factory.buildProtocol(None)
                protocol.makeConnection(transport)
                for piece in pieces:
                    protocol.dataReceived(piece)
                (answer,) = transport.value().splitlines()
                self.assertFalse(json.loads(answer)["ok"], first)
                self.assertTrue(transport.disconnecting, first)
        self.assertFalse(self.client.closed)

    def test_a_line_without_end(self) -> None:
        """It is refused, and the connection closed."""
        self.protocol.dataReceived(b"x" * 70_000)
        self.assertIn("65536", json.loads(self.transport.value())["error"])
        self.assertTrue(self.transport.disconnecting)

    def test_closing_all(self) -> None:
        """Whoever is there is sent home."""
        self.factory.close_all()
        self.assertTrue(self.transport.disconnected or self.transport.disconnecting)
