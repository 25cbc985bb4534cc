"""Requests and their answers: subscribing, unsubscribing, and what is refused."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.web.client_requests import NAMES
from tests.unit.stream_case import NOW_MS, StreamCase

EURUSD, GBPUSD, XAUUSD = 1, 2, 3
SubscribeSpots = api_pb2.ProtoOASubscribeSpotsReq
UnsubscribeSpots = api_pb2.ProtoOAUnsubscribeSpotsReq


def rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Symbol and status, or the code of an error, of each row."""
    return [(row["symbol"], row.get("code", row["status"])) for row in answer["results"]]


class Subscribing(StreamCase):
    """`subscribe`, `unsubscribe`, `getSubscriptions`."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def test_the_answer(self) -> None:
        """A row for each symbol in the catalogue's spelling, and the resulting set."""
        client = self.client()
        answer = client.ask({"type": "subscribe", "id": "x", "symbols": ["gbpusd", "EURUSD"]})
        self.assertEqual((answer["type"], answer["id"]), ("subscribeResponse", "x"))
        self.assertEqual(rows(answer), [("GBPUSD", "subscribed"), ("EURUSD", "subscribed")])
        self.assertEqual(answer["symbols"], ["EURUSD", "GBPUSD"])
        self.assertTrue(all(row["pending"] for row in answer["results"]))

    def test_not_pending_when_the_venue_sends_it_already(self) -> None:
        """The second client need not wait for the venue."""
        self.client().subscribe("EURUSD")
        answer = self.client().ask({"type": "subscribe", "symbols": ["EURUSD"]})
        self.assertNotIn("pending", answer["results"][0])

    def test_twice(self) -> None:
        """Subscribing again succeeds and counts once; so does one unsubscription."""
        client = self.client()
        for _ in range(3):
            answer = client.ask({"type": "subscribe", "symbols": ["EURUSD"]})
            self.assertEqual(rows(answer), [("EURUSD", "subscribed")])
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.assertEqual(client.seqs(), [("EURUSD", 1)])
        self.assertEqual(self.venue.requested(SubscribeSpots), [[EURUSD]])
        client.say({"type": "unsubscribe", "symbols": ["EURUSD"]})
        self.turn(5.0)
        self.turn()
        self.assertEqual(self.venue.requested(UnsubscribeSpots), [[EURUSD]])

    def test_many_in_one(self) -> None:
        """Requests of many clients in one turn become one of ours."""
        clients = [self.client() for _ in range(3)]
        for client, symbol in zip(clients, ("EURUSD", "GBPUSD", "XAUUSD"), strict=True):
            client.murmur({"type": "subscribe", "symbols": [symbol]})
        self.turn()
        (ids,) = self.venue.requested(SubscribeSpots)
        self.assertEqual(sorted(ids), [EURUSD, GBPUSD, XAUUSD])

    def test_spellings_of_one(self) -> None:
        """The same symbol in different cases within one request is one row."""
        request = {"type": "subscribe", "symbols": ["eurusd", "EURUSD"], "symbol": "EurUsd"}
        answer = self.client().ask(request)
        self.assertEqual(rows(answer), [("EURUSD", "subscribed")])

    def test_lone_symbol(self) -> None:
        """`symbol` instead of `symbols`, for both requests."""
        client = self.client()
        answer = client.ask({"type": "subscribe", "symbol": "EURUSD"})
        self.assertEqual(answer["symbols"], ["EURUSD"])
        answer = client.ask({"type": "unsubscribe", "symbol": "eurusd"})
        self.assertEqual((rows(answer), answer["symbols"]), ([("EURUSD", "unsubscribed")], []))

    def test_names_beyond_ascii(self) -> None:
        """Upper case is that of Unicode."""
        client = self.client()
        answer = client.ask({"type": "subscribe", "symbols": ["straße"]})
        self.assertEqual(rows(answer), [("Straße", "subscribed")])
        self.spot(5, 100_000, 200_000)
        self.turn()
        (tick,) = client.heard("tick")
        self.assertEqual((tick["symbol"], tick["bid"]), ("Straße", 1.0))

    def test_empty(self) -> None:
        """An empty array is a good request that changes nothing."""
        client = self.client()
        client.subscribe("EURUSD")
        for kind in ("subscribe", "unsubscribe"):
            answer = client.ask({"type": kind, "symbols": []})
            self.assertEqual((answer["results"], answer["symbols"]), ([], ["EURUSD"]))

    def test_impossible_symbols(self) -> None:
        """What cannot be had gets a row that says why; the others are not harmed."""
        client = self.client()
        odd = ["nope", "old", "", "EURUSD", "</script>", 'a"b\\c', "\x00", "🐎"]
        answer = client.ask({"type": "subscribe", "symbols": odd})
        codes = ["UNKNOWN_SYMBOL"] * 8
        codes[1], codes[3] = "SYMBOL_DISABLED", "subscribed"
        self.assertEqual([code for _, code in rows(answer)], codes)
        for row in answer["results"]:
            is_kept = row["symbol"] in {"EURUSD", "OLD"}
            self.assertEqual(row["status"], "subscribed" if is_kept else "error")
            self.assertEqual("message" in row, row["symbol"] != "EURUSD")
            self.assertEqual(row.get("pending", False), is_kept)
        self.assertEqual(answer["symbols"], ["EURUSD", "OLD"])

    def test_unsubscribing_what_was_not_wanted(self) -> None:
        """Is fine: it is unsubscribed."""
        answer = self.client().ask({"type": "unsubscribe", "symbols": ["EURUSD", "nope"]})
        self.assertEqual(rows(answer), [("EURUSD", "unsubscribed"), ("nope", "unsubscribed")])

    def test_get_subscriptions(self) -> None:
        """The set, in order of name, and the time."""
        client = self.client()
        client.subscribe("XAUUSD", "eurusd")
        answer = client.ask({"type": "getSubscriptions", "id": 0})
        self.assertEqual(
            answer,
            {
                "type": "subscriptions",
                "id": 0,
                "symbols": ["EURUSD", "XAUUSD"],
                "timestamp": NOW_MS,
            },
        )

    def test_ping(self) -> None:
        """The time of day."""
        self.turn(1.25)
        answer = self.client().ask({"type": "ping", "id": "p"})
        self.assertEqual(answer, {"type": "pong", "id": "p", "timestamp": NOW_MS + 1250})

    def test_somebody_who_vanishes(self) -> None:
        """His wants go with him; the venue is told after the grace period, and not if one stays."""
        first, second, third = self.client(), self.client(), self.client()
        for client in (first, second):
            client.subscribe("EURUSD")
        third.subscribe("GBPUSD")
        first.wire.lose()
        third.wire.lose()
        self.turn(4.9)
        self.assertEqual(self.venue.requested(UnsubscribeSpots), [])
        self.turn(0.2)
        self.turn()
        self.assertEqual(self.venue.requested(UnsubscribeSpots), [[GBPUSD]])


class Limit(StreamCase):
    """How many symbols a client may have."""

    def setUp(self) -> None:
        super().setUp()
        self.build(symbols=2)

    def test_rows(self) -> None:
        """Beyond the limit a symbol gets an error row, and the others their subscription."""
        self.ready()
        client = self.client()
        answer = client.ask({"type": "subscribe", "symbols": ["EURUSD", "GBPUSD", "XAUUSD"]})
        self.assertEqual(
            rows(answer), [("EURUSD", "subscribed"), ("GBPUSD", "subscribed"), ("XAUUSD", "LIMIT")]
        )
        answer = client.ask({"type": "subscribe", "symbols": ["XAUUSD", "eurusd"]})
        self.assertEqual(sorted(rows(answer)), [("EURUSD", "subscribed"), ("XAUUSD", "LIMIT")])
        client.ask({"type": "unsubscribe", "symbols": ["EURUSD"]})
        answer = client.ask({"type": "subscribe", "symbols": ["XAUUSD"]})
        self.assertEqual(rows(answer), [("XAUUSD", "subscribed")])

    def test_impossible_symbols_take_no_place(self) -> None:
        """What does not exist does not count, however often it is asked for; what is only disabled
        is kept, and does.
        """
        self.ready()
        asked = ["no", "nor", "never", "EURUSD", "GBPUSD"]
        answer = self.client().ask({"type": "subscribe", "symbols": asked})
        self.assertEqual(answer["symbols"], ["EURUSD", "GBPUSD"])
        self.assertNotIn("LIMIT", [code for _, code in rows(answer)])
        answer = self.client().ask(
            {"type": "subscribe", "symbols": ["no", "old", "EURUSD", "GBPUSD"]}
        )
        self.assertEqual(answer["symbols"], ["EURUSD", "OLD"])
        self.assertEqual(rows(answer)[-1], ("GBPUSD", "LIMIT"))

    def test_before_the_catalogue(self) -> None:
        """While nobody knows which names are good, every name counts."""
        answer = self.client().ask({"type": "subscribe", "symbols": ["a", "b", "c"]})
        self.assertEqual(rows(answer), [("a", "subscribed"), ("b", "subscribed"), ("c", "LIMIT")])

    def test_each_for_himself(self) -> None:
        """The limit is one client's own."""
        self.ready()
        for _ in range(3):
            answer = self.client().ask({"type": "subscribe", "symbols": ["EURUSD", "GBPUSD"]})
            self.assertEqual(len(answer["symbols"]), 2)


class Early(StreamCase):
    """Wants from before the catalogue is known, or the venue has confirmed."""

    def test_pending_then_served(self) -> None:
        """Every name is accepted, pending; what turns out to be good brings ticks."""
        client = self.client()
        answer = client.ask({"type": "subscribe", "symbols": ["eurusd"]})
        self.assertEqual(rows(answer), [("eurusd", "subscribed")])
        self.assertTrue(answer["results"][0]["pending"])
        self.ready()
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.assertEqual([one["type"] for one in client.heard()], ["status", "tick"])

    def test_pending_then_withdrawn(self) -> None:
        """What turns out not to exist is told, unasked and without an id, after the status: what is
        disabled at once, and what two lists in a row do not have.
        """
        client, other = self.client(), self.client()
        client.ask({"type": "subscribe", "id": 9, "symbols": ["EURUSD", "nope", "old"]})
        self.ready()
        status, disabled = client.heard()
        self.assertEqual(status["status"], "connected")
        self.assertEqual(disabled["type"], "subscribeResponse")
        self.assertEqual(rows(disabled), [("OLD", "SYMBOL_DISABLED")])
        self.assertEqual(disabled["symbols"], ["EURUSD", "NOPE", "OLD"])
        self.turn(2)
        (unknown,) = client.heard()
        self.assertEqual(rows(unknown), [("NOPE", "UNKNOWN_SYMBOL")])
        self.assertEqual(unknown["results"][0]["status"], "error")
        self.assertEqual(unknown["symbols"], ["EURUSD", "OLD"])
        self.assertNotIn("id", unknown)
        self.assertEqual([one["type"] for one in other.heard()], ["status"])

    def test_refused_by_the_venue(self) -> None:
        """A symbol that the venue does not send now is told to those who wait for it, once, and
        they keep it; they are told again when it comes.
        """
        self.ready()
        self.venue.held.add(SubscribeSpots)
        client, other = self.client(), self.client()
        client.ask({"type": "subscribe", "symbols": ["EURUSD"]})
        other.ask({"type": "subscribe", "symbols": ["EURUSD"]})
        waiting: Deferred[Any] = self.venue.waiting.pop()
        waiting.errback(VenueRefusal("SYMBOL_NOT_FOUND", "gone"))
        self.turn()
        for one in (client, other):
            (told,) = one.heard("subscribeResponse")
            self.assertEqual(rows(told), [("EURUSD", "SYMBOL_NOT_FOUND")])
            (row,) = told["results"]
            self.assertEqual((row["status"], row["pending"]), ("subscribed", True))
            self.assertEqual(told["symbols"], ["EURUSD"])
        self.turn(2)
        self.venue.waiting.pop().errback(VenueRefusal("SYMBOL_NOT_FOUND", "still gone"))
        self.turn()
        self.assertEqual(client.heard(), [])
        late = self.client().ask({"type": "subscribe", "symbols": ["EURUSD"]})
        self.assertEqual(rows(late), [("EURUSD", "SYMBOL_NOT_FOUND")])
        self.venue.held.clear()
        self.turn(4)
        (told,) = client.heard("subscribeResponse")
        self.assertEqual(told["results"], [{"symbol": "EURUSD", "status": "subscribed"}])

    def test_snapshots(self) -> None:
        """The last tick comes at once, marked; with `snapshot: false` it does not."""
        self.ready()
        self.client().subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        client = self.client()
        answer, tick = client.subscribe("eurusd", "GBPUSD")
        self.assertEqual(answer["type"], "subscribeResponse")
        self.assertEqual((tick["symbol"], tick["seq"], tick["snapshot"]), ("EURUSD", 1, True))
        client.say({"type": "subscribe", "symbols": ["EURUSD"], "snapshot": False})
        self.assertEqual([one["type"] for one in client.heard()], ["subscribeResponse"])

    def test_no_snapshot_from_before_an_outage(self) -> None:
        """After an outage there is no last tick until there is a new one."""
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.lose_venue()
        self.assertEqual([one["type"] for one in client.subscribe("EURUSD")], ["subscribeResponse"])
        self.ready()
        client.heard()
        self.assertEqual([one["type"] for one in client.subscribe("EURUSD")], ["subscribeResponse"])

    def test_half_a_price(self) -> None:
        """No tick before both sides are known."""
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000)
        self.turn()
        self.assertEqual(client.heard(), [])
        self.spot(EURUSD, None, 110_010)
        self.turn()
        (tick,) = client.heard()
        self.assertEqual((tick["bid"], tick["ask"], tick["spread"]), (1.1, 1.1001, 0.0001))


class LongLists(StreamCase):
    """Requests as long as a frame allows."""

    def test_thousands_of_names(self) -> None:
        """More names than a request may have are refused in one short answer, and change nothing:
        a result for each would be many times as long as the request.
        """
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        names = [f"N{number}" for number in range(7000)]
        self.assertLess(len(json.dumps(names)), 65_500)
        for kind in ("subscribe", "unsubscribe"):
            for these in (names, names[: NAMES + 1], ["EURUSD", *names], [*names, "GBPUSD"]):
                answer = client.ask({"type": kind, "symbols": these, "id": 7})
                self.assertEqual((answer["type"], answer["id"]), ("requestError", 7))
                self.assertEqual((answer["code"], answer["temporary"]), ("TOO_MANY_NAMES", False))
                self.assertIn(f"{NAMES} names", answer["message"])
                self.assertLess(len(json.dumps(answer)), 300)
        self.assertEqual(client.ask({"type": "getSubscriptions"})["symbols"], ["EURUSD"])

    def test_as_many_names_as_a_request_may_have(self) -> None:
        """They are answered in full; a name that stands in it twice counts once."""
        self.ready()
        client = self.client()
        names = [f"N{number}" for number in range(NAMES)]
        for these in (names, [*names, *names]):
            answer = client.ask({"type": "subscribe", "symbols": these})
            self.assertEqual([row["symbol"] for row in answer["results"]], names)
            self.assertEqual(answer["symbols"], [])

    def test_where_a_client_may_have_more(self) -> None:
        """Twice as many as a client may subscribe to are always possible."""
        self.build(symbols=NAMES)
        self.ready()
        client = self.client()
        names = [f"N{number}" for number in range(2 * NAMES)]
        answer = client.ask({"type": "subscribe", "symbols": names})
        self.assertEqual(len(answer["results"]), 2 * NAMES)
        answer = client.ask({"type": "subscribe", "symbols": [*names, "EURUSD"]})
        self.assertEqual(answer["code"], "TOO_MANY_NAMES")

    def test_a_very_long_name(self) -> None:
        """Nobody's symbol is that long: it is refused rather than kept."""
        answer = self.client().ask({"type": "subscribe", "symbols": ["x" * 300]})
        self.assertEqual((answer["type"], answer["code"]), ("requestError", "BAD_REQUEST"))
