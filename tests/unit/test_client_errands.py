"""What the log tells of clients' requests, and what clients cannot make it tell."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred

from ctrader_twisted import errands
from ctrader_twisted.web.client_errands import ClientLog, harmless
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.problems import correlation_id
from ctrader_twisted.web.site import make_site
from tests.unit.door_case import ARRIVAL_S, BODY_LIMIT, DoorCase
from tests.unit.fakes import Recorder
from tests.unit.log_lines import LogLines
from tests.unit.stream_case import StreamCase

VISITOR = Visitor(address="127.0.0.1", is_here=True, needs_key=False, correlation_id="desk-7")


class StreamLinesTest(StreamCase):
    """WebSocket: the visitor's id, and the number of the message."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()
        self.log = LogLines(self)

    def test_taken_and_answered(self) -> None:
        """What leads to the venue has two lines, with what the client calls it."""
        client = self.client(visitor=VISITOR)
        client.say({"type": "ping"})
        client.say({"type": "subscribe", "id": "q-1", "symbols": ["EURUSD", "GBPUSD", "NOSUCH"]})
        self.assertEqual(
            self.log.of("desk-7.2"),
            [
                "a client asks: subscribe (its id: q-1)",
                "the client was answered: subscribe, 2 pending, 1 UNKNOWN_SYMBOL, after 0.0 ms",
            ],
        )
        taken, answered = self.log.lines
        self.assertEqual((taken["request"], taken["request_id"]), ("subscribe", "q-1"))
        self.assertEqual(
            (answered["outcome"], answered["duration_ms"]),
            (
                "2 pending, 1 UNKNOWN_SYMBOL",
                0,
            ),
        )

    def test_what_is_answered_from_here(self) -> None:
        """Pings, wants that are met already, and nonsense leave no line, however many they are."""
        first, client = self.client(visitor=VISITOR), self.client()
        first.say({"type": "subscribe", "symbols": ["EURUSD"]})
        self.log.lines.clear()
        client.say(
            {"type": "connect"},
            {"type": "ping"},
            {"type": "getSubscriptions"},
            {"type": "subscribe", "symbols": ["EURUSD"]},
            {"type": "unsubscribe", "symbols": ["EURUSD"]},
            {"type": "nonsense"},
            b"{",
        )
        self.assertEqual(self.log.lines, [])

    def test_a_fault_of_ours(self) -> None:
        """The traceback has the id of the request that it happened to."""
        client = self.client(visitor=VISITOR)
        broken: Any = Recorder(subscriptions=lambda _: 1 / 0)
        self.factory.account = broken
        client.say({"type": "getSubscriptions"})
        self.assertEqual(self.log.ids("could not be served"), ["desk-7.1"])
        self.assertEqual(broken.names()[-1], "leave")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_a_client_calls_it(self) -> None:
        """Ids of clients are short and harmless words in the log, and elsewhere what they are."""
        client = self.client(visitor=VISITOR)
        for number, name in enumerate(["x\n[desk-7.9] forged", "y" * 200, "cts_" + "k" * 20, 17]):
            symbol = ["EURUSD", "GBPUSD", "XAUUSD", "Straße"][number]
            answer = client.ask({"type": "subscribe", "id": name, "symbols": [symbol]})
            self.assertEqual(answer["id"], name)
        names = [one["request_id"] for one in self.log.about("a client asks")]
        self.assertEqual(names, ["?", "?", "********", "17"])


class BeforeTheListTest(StreamCase):
    """While nobody knows which symbols there are."""

    def setUp(self) -> None:
        super().setUp()
        self.log = LogLines(self)

    def test_a_withdrawal(self) -> None:
        """What was accepted and then cannot be had is told in one line, for all its clients."""
        clients = [self.client(visitor=VISITOR) for _ in range(3)]
        for client in clients:
            client.say({"type": "subscribe", "symbols": ["NO\nSUCH"]})
        self.log.lines.clear()
        self.ready()
        self.turn(2)
        self.assertEqual(
            [(one["message"], one["correlation_id"]) for one in self.log.about("is refused")],
            [("clients told that 'NO\\nSUCH' is refused: 3 (UNKNOWN_SYMBOL)", "desk-7.1")],
        )

    def test_a_flood(self) -> None:
        """Clients that ask for whatever comes to their mind cannot fill the log."""
        client_log = ClientLog(self.clock)
        for number in range(5000):
            with client_log.errand(f"flood.{number}") as errand:
                errand.leads_on()
                errand.leads_on()
                errand.answered("done")
            self.clock.advance(0.001)
        told = len(self.log.about("a client asks"))
        self.assertEqual(len(self.log.about("the client was answered")), told)
        self.assertIn(told, range(448, 451))
        self.clock.advance(1)
        self.assertTrue(client_log.has_room())


class RestLinesTest(DoorCase):
    """REST: the id that goes in and out as a header."""

    def setUp(self) -> None:
        super().setUp()
        self.venue: Deferred[bytes] = Deferred()
        app: Any = Klein()

        @app.route("/ctrader/ask")
        async def ask(_: Any) -> bytes:
            errands.serving().leads_on()  # type: ignore[union-attr]
            answer = await self.venue
            return answer + errands.current().encode()

        @app.route("/ctrader/known")
        def known(_: Any) -> bytes:
            return errands.current().encode()

        self.site = make_site(
            tick_stream=None,
            rest=app.resource(),
            doors=self.doors,
            body_limit=BODY_LIMIT,
            arrival_timeout_s=ARRIVAL_S,
            reactor=self.clock,
        )
        self.log = LogLines(self)

    def request(self, path: str = "/ctrader/ask") -> Any:
        """A request whose answer is still to come."""
        socket = self.socket()
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: order-7\r\n\r\n"
        socket.send(head.encode())
        return socket

    def test_an_answer_that_takes_a_while(self) -> None:
        """Taken at once, answered later; the id is there before and after the wait."""
        socket = self.request("/ctrader/ask?token=none")
        self.assertEqual(self.log.of("order-7"), ["a client asks: GET /ctrader/ask (its id: -)"])
        self.assertEqual(errands.current(), "")
        self.clock.advance(0.5)
        self.venue.callback(b"for ")
        self.assertEqual(socket.answer().body, b"for order-7")
        self.assertEqual(
            self.log.of("order-7")[1:],
            ["the client was answered: GET /ctrader/ask, 200, after 500.0 ms"],
        )

    def test_a_client_that_goes(self) -> None:
        """Who does not wait is told of, too; what comes later is done for nobody."""
        self.request().close()
        self.sockets.clear()
        self.venue.callback(b"")
        self.assertIn("gone before it was", self.log.of("order-7")[1])
        self.assertEqual(len(self.log.lines), 2)

    def test_what_is_answered_from_here(self) -> None:
        """No access log: what needs no venue leaves no line."""
        self.assertEqual(self.request("/ctrader/known").answer().body, b"order-7")
        self.assertEqual(self.request("/nowhere").answer().status, 404)
        self.assertEqual(self.log.lines, [])


class WordsTest(DoorCase):
    """Which words of clients are repeated."""

    def test_a_key_in_the_wrong_header(self) -> None:
        """An API key that is sent as correlation id is neither repeated nor logged."""
        key = b"cts_" + b"k" * 20
        self.assertNotIn("cts", correlation_id(key))
        self.assertEqual(correlation_id(b"order-7.a_b"), "order-7.a_b")

    def test_harmless(self) -> None:
        """Short, of letters, digits and a few signs; a method before a path."""
        for word in ("subscribe", "GET /ctrader/x_y-1.z", 12, "a" * 100):
            self.assertEqual(harmless(word), str(word))
        for word in (
            "",
            "a b",
            "GET /a b",
            "a\n",
            "\x1b[0m",
            "a" * 101,
            "é",
            {"a": 1},
            "x" * 10**6,
        ):
            self.assertEqual(harmless(word), "?")
        self.assertEqual(harmless(None), "-")
