"""Whatever a client sends, it is told what was wrong, and nothing else happens."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rfc6455 import BINARY, client_frame
from tests.unit.stream_case import StreamCase

NOT_JSON = {
    "nothing": b"",
    "a word": b"ping",
    "half an object": b'{"type":"ping"',
    "two objects": b'{"type":"ping"}{"type":"ping"}',
    "single quotes": b"{'type':'ping'}",
    "a byte order mark": b'\xef\xbb\xbf{"type":"ping"}',
    "NaN": b'{"type":"ping","x":NaN}',
    "infinity": b'{"type":"ping","x":-Infinity}',
    "a number with a leading zero": b'{"type":"ping","x":01}',
    "half a surrogate pair": b'{"type":"subscribe","symbols":["\\ud800"]}',
    "surrogates in the wrong order": b'{"type":"subscribe","symbols":["\\udc00\\ud800"]}',
    "half a surrogate pair as id": b'{"type":"ping","id":"\\ud800"}',
    "an unknown escape": b'{"type":"ping","x":"\\q"}',
    "deep arrays": b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep objects": b'{"type":"ping","x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
}

BAD = {
    "an array": b"[]",
    "only opening brackets": b"[" * 65_000,
    "a number": b"7",
    "null": b"null",
    "a text": b'"ping"',
    "no type": b'{"id":7}',
    "a type that is no text": b'{"type":5,"id":7}',
    "a type that is null": b'{"type":null,"id":7}',
    "no symbols": b'{"type":"subscribe","id":7}',
    "symbols that are null": b'{"type":"subscribe","id":7,"symbols":null}',
    "symbols that are a text": b'{"type":"subscribe","id":7,"symbols":"EURUSD"}',
    "symbols that are an object": b'{"type":"subscribe","id":7,"symbols":{"EURUSD":1}}',
    "numbers for symbols": b'{"type":"subscribe","id":7,"symbols":["EURUSD",1]}',
    "null among the symbols": b'{"type":"unsubscribe","id":7,"symbols":[null]}',
    "a symbol that is a number": b'{"type":"subscribe","id":7,"symbol":1}',
    "a snapshot that is no flag": b'{"type":"subscribe","id":7,"symbols":[],"snapshot":"no"}',
    "a protocol that is a text": b'{"type":"connect","id":7,"protocol":"1"}',
    "a protocol that is not whole": b'{"type":"connect","id":7,"protocol":1.5}',
    "a protocol out of range": b'{"type":"connect","id":7,"protocol":1e999}',
    "features that are no list": b'{"type":"connect","id":7,"features":"health"}',
}


class Refused(StreamCase):
    """One bad message, one `requestError`; the connection lives."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def refused(self, octets: bytes, code: str) -> dict[str, Any]:
        """Assert that it is refused with that code, and that life goes on."""
        client = self.client()
        error = client.ask(octets)
        self.assertEqual((error["type"], error.get("code")), ("requestError", code))
        self.assertFalse(error["temporary"])
        self.assertNotIn("retryAfterMs", error)
        self.assertTrue(error["message"])
        self.assertEqual(client.ask({"type": "ping"})["type"], "pong")
        self.assertEqual(client.ask({"type": "getSubscriptions"})["symbols"], [])
        client.wire.lose()
        return error

    def test_not_json(self) -> None:
        """What is no JSON at all."""
        for name, octets in NOT_JSON.items():
            with self.subTest(name):
                self.assertNotIn("id", self.refused(octets, "NOT_JSON"))

    def test_bad_requests(self) -> None:
        """JSON of the wrong shape; an id that can be read is repeated."""
        for name, octets in BAD.items():
            with self.subTest(name):
                error = self.refused(octets, "BAD_REQUEST")
                self.assertEqual(error.get("id"), 7 if b'"id"' in octets else None)

    def test_unknown_type(self) -> None:
        """A request that there is not: the answer names those that there are."""
        error = self.refused(b'{"type":"Subscribe","id":"a"}', "UNKNOWN_TYPE")
        self.assertEqual(error["id"], "a")
        self.assertIn("subscribe", error["message"])

    def test_binary(self) -> None:
        """Binary messages are not understood, even if there is JSON in them."""
        client = self.client()
        client.send_octets(client_frame(b'{"type":"ping"}', BINARY))
        client.send_octets(client_frame(b"\x00\xff", BINARY))
        self.assertEqual([one["code"] for one in client.heard()], ["BINARY", "BINARY"])

    def test_internal_words_stay_inside(self) -> None:
        """No answer shows a Python traceback or the name of a class of ours."""
        for octets in [*NOT_JSON.values(), *BAD.values()]:
            message = self.client().ask(octets)["message"]
            for word in ("Traceback", "msgspec", "Struct", "ctrader_twisted", "Subscribe("):
                self.assertNotIn(word, message)

    def test_twins(self) -> None:
        """Of a name that stands twice the last counts."""
        client = self.client()
        answer = client.ask(b'{"type":"pong","id":1,"type":"ping","id":2}')
        self.assertEqual((answer["type"], answer["id"]), ("pong", 2))

    def test_ids(self) -> None:
        """Texts and numbers come back as they are; null is no id; others cannot be."""
        for identity in ("", "a", '"\\\n', "🐎", "\x00", 0, -1, 1.5, 2**53 + 1, 10**25):
            answer = self.client().ask({"type": "ping", "id": identity})
            self.assertEqual((answer["type"], answer["id"]), ("pong", identity))
        self.assertNotIn("id", self.client().ask({"type": "ping", "id": None}))
        for wrong in (True, [], {}, [1]):
            error = self.client().ask({"type": "ping", "id": wrong})
            self.assertEqual((error["code"], "id" in error), ("BAD_REQUEST", False))
        for huge in (b"1e999", b"9" * 5000):
            error = self.client().ask(b'{"type":"ping","id":' + huge + b"}")
            self.assertEqual((error["code"], "id" in error), ("BAD_REQUEST", False))

    def test_unknown_fields(self) -> None:
        """What we do not know we ignore, whatever it holds."""
        octets = b'{"type":"ping","x":1e999,"y":[{"a":[null]}],"mode":"latest","id":3}'
        self.assertEqual(self.client().ask(octets)["id"], 3)

    def test_connect_with_another_protocol(self) -> None:
        """A version that we do not speak ends with 4400, and says which we do."""
        for version in (0, 2, -1, 10**30):
            client = self.client()
            client.say({"type": "connect", "protocol": version})
            self.turn()
            self.assertEqual(client.heard(), [])
            assert client.goodbye is not None
            self.assertEqual(client.goodbye[0], 4400)
            self.assertIn("protocol 1", client.goodbye[1])

    @settings(max_examples=200, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["type", "id", "symbols", "symbol", "snapshot", "protocol"]),
                    inner
                    | st.sampled_from(["subscribe", "unsubscribe", "connect", "ping", "EURUSD"]),
                    max_size=6,
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_json(self, message: object) -> None:
        """Any message is answered, or ends with 4400; never with our failure, never unlogged."""
        client = self.client()
        client.say(json.dumps(message).encode("utf-8", "replace"))
        self.turn()
        answers = client.heard()
        if client.goodbye is None:
            self.assertEqual(len(answers), 1)
            self.assertIn("type", answers[0])
        else:
            self.assertEqual(client.goodbye[0], 4400)
        client.wire.lose()

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever stands on the wire after the handshake, the daemon lives on quietly."""
        client = self.client()
        client.send_octets(octets)
        self.turn()
        client.frames()
        client.wire.lose()
        self.assertEqual(self.flushLoggedErrors(), [])


class Patience(StreamCase):
    """How much is forgiven."""

    def test_too_many_bad_messages(self) -> None:
        """Twenty bad messages at once are forgiven; the next ends with 1008."""
        client = self.client()
        client.say(*[b"nonsense"] * 20)
        self.assertEqual(len(client.heard("requestError")), 20)
        self.assertIsNone(client.goodbye)
        client.say(b"nonsense")
        self.turn()
        self.assertEqual(len(client.heard("requestError")), 1)
        self.assertEqual(client.goodbye and client.goodbye[0], 1008)
        self.assertEqual(self.metrics.clients, 0)

    def test_now_and_then(self) -> None:
        """One bad message a second is forgiven for ever."""
        client = self.client()
        for _ in range(100):
            self.turn(1)
            client.say(b"nonsense")
        self.assertEqual(len(client.heard("requestError")), 100)
        self.assertIsNone(client.goodbye)

    def test_nothing_is_served_after_the_goodbye(self) -> None:
        """What follows in the same packet is not looked at."""
        client = self.client()
        octets = client_frame(b"nonsense") * 30 + client_frame(b'{"type":"ping"}') * 5
        client.send_octets(octets)
        self.turn()
        self.assertEqual({one["type"] for one in client.heard()}, {"requestError"})
        self.assertEqual(self.metrics.counted("client_request_errors", "NOT_JSON"), 21)

    def test_rate(self) -> None:
        """Above the rate a request is refused for now: with its id, and when to ask again."""
        self.build(messages_per_s=10)
        client = self.client()
        client.say(*[{"type": "ping", "id": number} for number in range(22)])
        heard = client.heard()
        self.assertEqual([one["type"] for one in heard], ["pong"] * 20 + ["requestError"] * 2)
        error = heard[-1]
        self.assertEqual((error["code"], error["temporary"]), ("RATE_LIMIT", True))
        self.assertEqual(error["id"], 21)
        self.assertEqual(error["retryAfterMs"], 100)
        self.turn(error["retryAfterMs"] / 1000)
        self.assertEqual(client.ask({"type": "ping"})["type"], "pong")

    def test_rate_refusals_change_nothing(self) -> None:
        """A subscription above the rate is not made."""
        self.build(messages_per_s=10)
        self.ready()
        client = self.client()
        client.say(*[{"type": "ping"}] * 20, {"type": "subscribe", "symbols": ["EURUSD"]})
        self.assertEqual(client.heard()[-1]["code"], "RATE_LIMIT")
        self.turn(1)
        self.assertEqual(client.ask({"type": "getSubscriptions"})["symbols"], [])

    def test_one_client_does_not_use_up_the_others(self) -> None:
        """Rate and patience are each client's own."""
        noisy, other = self.client(), self.client()
        noisy.say(*[b"nonsense"] * 25)
        self.assertEqual(other.ask({"type": "ping"})["type"], "pong")
