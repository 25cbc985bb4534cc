"""What the JSON of the contract looks like, and what of a request is accepted."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import contract


def said(message: msgspec.Struct) -> dict[str, Any]:
    """As the client sees it."""
    return msgspec.json.decode(msgspec.json.encode(message))


def subscribe(text: str) -> contract.Subscribe:
    """A request, decoded."""
    return msgspec.json.decode(text, type=contract.Subscribe)


class Requests(SynchronousTestCase):
    """What clients send."""

    def test_names_in_order(self) -> None:
        """Each name once, as it was first written, in the order of asking."""
        self.assertEqual(
            subscribe('{"symbols":["a","b","A","c","B"]}').names(),
            ["a", "b", "c"],
        )

    @given(st.lists(st.sampled_from(["a", "A", "b", "B", "ß", "SS", "c"])))
    def test_names_are_compared_in_upper_case(self, names: list[str]) -> None:
        """Two spellings are one symbol; none is lost and none comes twice."""
        found = contract.Subscribe(symbols=names).names()
        assert found is not None
        keys = [name.upper() for name in found]
        self.assertEqual(keys, list(dict.fromkeys(name.upper() for name in names)))
        self.assertTrue(set(found) <= set(names))

    def test_lone_symbol(self) -> None:
        """`symbol` is accepted, alone and beside `symbols`."""
        self.assertEqual(subscribe('{"symbol":"a"}').names(), ["a"])
        self.assertEqual(subscribe('{"symbol":"b","symbols":["a"]}').names(), ["a", "b"])
        self.assertEqual(subscribe('{"symbol":"a","symbols":null}').names(), ["a"])

    def test_nothing_is_not_an_empty_list(self) -> None:
        """No field at all is a mistake; an empty array is a request for nothing."""
        self.assertIsNone(subscribe("{}").names())
        self.assertEqual(subscribe('{"symbols":[]}').names(), [])

    def test_snapshots_unless_told_otherwise(self) -> None:
        """`snapshot` is true by default."""
        self.assertTrue(subscribe('{"symbols":[]}').snapshot)
        self.assertFalse(subscribe('{"symbols":[],"snapshot":false}').snapshot)

    def test_unknown_fields(self) -> None:
        """What we do not know we ignore."""
        self.assertEqual(
            subscribe('{"symbols":["a"],"mode":"latest","maxRateMs":5}').names(), ["a"]
        )


class Replies(SynchronousTestCase):
    """What we send."""

    def test_every_message_has_its_type(self) -> None:
        """`type` decides, in every message that goes out."""
        pong = contract.Pong(timestamp=1)
        beat = contract.Heartbeat(timestamp=1)
        mine = contract.Subscriptions(symbols=["A"], timestamp=1)
        added = contract.SubscribeResponse(results=[], symbols=[])
        removed = contract.UnsubscribeResponse(results=[], symbols=[])
        types = [said(one)["type"] for one in (pong, beat, mine, added, removed)]
        self.assertEqual(
            types,
            ["pong", "heartbeat", "subscriptions", "subscribeResponse", "unsubscribeResponse"],
        )

    def test_status(self) -> None:
        """Camel case throughout; the list of symbols even when it is empty; no empty fields."""
        limits = contract.Limits(symbols=1, bytes=2, messages_per_second=3.0, heartbeat_ms=4)
        status = contract.Status(
            status="reconnecting",
            available_symbols=(),
            protocol=1,
            epoch=msgspec.UNSET,
            server_time=5,
            env="demo",
            limits=limits,
            attempt=2,
            delay_ms=0,
        )
        self.assertEqual(
            said(status),
            {
                "type": "status",
                "status": "reconnecting",
                "availableSymbols": [],
                "protocol": 1,
                "serverTime": 5,
                "env": "demo",
                "limits": {
                    "symbols": 1,
                    "bytes": 2,
                    "messagesPerSecond": 3.0,
                    "heartbeatMs": 4,
                },
                "attempt": 2,
                "delayMs": 0,
            },
        )

    def test_rows(self) -> None:
        """`pending` only while it is so, `code` and `message` only for errors."""
        good = contract.Result(symbol="A", status="subscribed")
        self.assertEqual(said(good), {"symbol": "A", "status": "subscribed"})
        waits = contract.Result(symbol="A", status="subscribed", pending=True)
        self.assertTrue(said(waits)["pending"])

    def test_empty_lists_are_said(self) -> None:
        """A client that iterates over `results` and `symbols` finds them."""
        answer = contract.SubscribeResponse(results=[], symbols=[])
        self.assertEqual(said(answer), {"type": "subscribeResponse", "results": [], "symbols": []})

    def test_request_errors(self) -> None:
        """Code, message and whether asking again may help; the time only when there is one."""
        error = contract.RequestError(code="X", message="y", temporary=False)
        self.assertEqual(
            said(error), {"type": "requestError", "code": "X", "message": "y", "temporary": False}
        )
        later = contract.RequestError(
            id=3, code="X", message="y", temporary=True, retry_after_ms=20
        )
        self.assertEqual((said(later)["retryAfterMs"], said(later)["id"]), (20, 3))

    def test_problem(self) -> None:
        """RFC 9457: `about:blank` need not be said."""
        problem = contract.Problem(title="Not Found", status=404, detail="d", code="NOT_FOUND")
        self.assertEqual(
            said(problem),
            {"title": "Not Found", "status": 404, "detail": "d", "code": "NOT_FOUND"},
        )
