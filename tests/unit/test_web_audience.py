"""What everybody is told: statuses, heartbeats, goodbyes, and who is let in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ctrader_twisted.errors import VenueRefusal
from tests.unit.stream_case import NOW_MS, Client, StreamCase

EURUSD = 1
ALL = ["EURUSD", "GBPUSD", "XAUUSD", "Straße"]


class Statuses(StreamCase):
    """One word for the whole back end, and the whole list of symbols every time."""

    def words(self, client: Client) -> list[str]:
        """The statuses that came."""
        return [one["status"] for one in client.heard("status")]

    def connect(self, client: Client, **more: Any) -> dict[str, Any]:
        """The answer to `connect`."""
        return client.ask({"type": "connect", **more})

    def test_before_anything(self) -> None:
        """Before the venue was ever reached the list is empty, and there is no epoch."""
        status = self.connect(self.client(), id="a")
        self.assertEqual(status["status"], "disconnected")
        self.assertEqual(status["availableSymbols"], [])
        self.assertEqual(status["id"], "a")
        self.assertNotIn("epoch", status)
        self.assertNotIn("reason", status)

    def test_what_is_in_it(self) -> None:
        """Everything that the contract adds to a status."""
        self.ready()
        self.turn(2.5)
        request = {"protocol": 1, "features": ["health"], "client": {"name": "x", "version": "1"}}
        status = self.client().ask({"type": "connect", **request})
        self.assertEqual(
            status,
            {
                "type": "status",
                "status": "connected",
                "availableSymbols": ALL,
                "protocol": 1,
                "epoch": "run-1",
                "serverTime": NOW_MS + 2500,
                "env": "simulator",
                "limits": {
                    "symbols": 500,
                    "bytes": 65_536,
                    "messagesPerSecond": 50.0,
                    "heartbeatMs": 10_000,
                },
            },
        )

    def test_connecting_twice(self) -> None:
        """Every `connect` is answered, and changes nothing else."""
        self.ready()
        client = self.client()
        first, second = self.connect(client, id=1), self.connect(client, id=2)
        self.assertEqual((first.pop("id"), second.pop("id")), (1, 2))
        self.assertEqual(first, second)
        self.assertEqual(self.metrics.clients, 1)

    def test_who_never_connects(self) -> None:
        """A client that sends nothing hears every change all the same, once."""
        silent, polite = self.client(), self.client()
        self.connect(polite)
        self.account.session.connecting()
        self.ready()
        self.assertEqual(self.words(silent), ["ctrader-connecting", "connected"])
        self.assertEqual(self.words(polite), ["ctrader-connecting", "connected"])

    def test_the_list_is_always_whole(self) -> None:
        """Once known, the list stands in every status: pages replace theirs by whatever comes."""
        client = self.client()
        self.ready()
        self.lose_venue()
        self.account.session.retrying(1, 0.5, "it went")
        self.account.session.connecting()
        self.ready()
        statuses = client.heard("status")
        self.assertEqual(
            [one["status"] for one in statuses],
            ["connected", "disconnected", "reconnecting", "ctrader-connecting", "connected"],
        )
        self.assertEqual([one["availableSymbols"] for one in statuses], [ALL] * 5)

    def test_reconnecting(self) -> None:
        """`reconnecting` carries the attempt and the delay, no other status does."""
        client = self.client()
        self.lose_venue("the line is cut")
        self.account.session.retrying(3, 2.25, "the line is cut")
        self.account.session.connecting()
        gone, again, trying = client.heard("status")
        self.assertEqual((again["attempt"], again["delayMs"]), (3, 2250))
        self.assertIn("attempt 3 in 2.2 s", again["message"])
        self.assertEqual((gone["code"], gone["reason"]), ("VENUE_UNREACHABLE", "the line is cut"))
        for one in (gone, trying):
            self.assertNotIn("attempt", one)
            self.assertNotIn("delayMs", one)

    def test_asked_in_the_middle_of_the_wait(self) -> None:
        """Who comes later is told what is left of the delay, so that every countdown is true."""
        self.lose_venue("the line is cut")
        self.account.session.retrying(3, 2.25, "the line is cut")
        self.turn(0.75)
        client = self.client()
        client.say({"type": "connect"})
        told = client.heard("status")[-1]
        self.assertEqual(told["delayMs"], 1500)
        self.assertIn(" in 1.5 s: ", told["message"])
        self.turn(5)
        client.say({"type": "connect"})
        self.assertEqual(client.heard("status")[-1]["delayMs"], 0)

    def test_refused(self) -> None:
        """A refusal is `error`, with the venue's code and its words."""
        client = self.client()
        refusal = VenueRefusal("CH_CLIENT_AUTH_FAILURE", "no such client")
        self.account.session.closed(refusal, "no such client")
        (status,) = client.heard()
        self.assertEqual((status["type"], status["status"]), ("status", "error"))
        self.assertEqual(status["code"], "CH_CLIENT_AUTH_FAILURE")
        self.assertEqual(status["reason"], "no such client")

    def test_epochs(self) -> None:
        """Every life of the session has a name of its own, and sequences begin again in it."""
        client = self.client()
        self.ready()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.spot(EURUSD, 110_001)
        self.turn()
        self.assertEqual(client.seqs(), [("EURUSD", 1), ("EURUSD", 2)])
        self.lose_venue()
        self.ready()
        gone, back = client.heard("status")
        self.assertEqual((gone["epoch"], back["epoch"]), ("run-1", "run-2"))
        self.spot(EURUSD, 110_002)
        self.turn()
        self.assertEqual(client.seqs(), [], "half a price is no price")
        self.spot(EURUSD, None, 110_010)
        self.turn()
        self.assertEqual(client.seqs(), [("EURUSD", 1)])

    def test_wants_survive(self) -> None:
        """After an outage ticks come again without a word of the client."""
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        self.lose_venue()
        self.ready()
        self.spot(EURUSD, 120_000, 120_010)
        self.turn()
        self.assertEqual(client.seqs(), [("EURUSD", 1)])


class Heartbeats(StreamCase):
    """Something at least every period, and heartbeats only when there was nothing else."""

    def gaps(self, client: Client, seconds: int) -> tuple[list[float], int]:
        """When something came, and how many of it were heartbeats."""
        times, beats = [self.clock.seconds()], 0
        for _ in range(seconds * 10):
            self.turn(0.1)
            messages = client.heard()
            beats += sum(one["type"] == "heartbeat" for one in messages)
            if messages:
                times.append(self.clock.seconds())
        return [after - before for before, after in pairwise(times)], beats

    def test_idle(self) -> None:
        """A client that is sent nothing hears a heartbeat within each announced period."""
        self.audience.start()
        client = self.client()
        gaps, beats = self.gaps(client, 60)
        self.assertLessEqual(max(gaps), 10.0)
        self.assertGreater(min(gaps), 8.0)
        self.assertEqual(beats, len(gaps))
        self.turn(9.5)
        (beat,) = client.heard()
        self.assertEqual(set(beat), {"type", "timestamp"})
        self.assertLess(abs(beat["timestamp"] - self.now_ms()), 2000)

    def test_busy(self) -> None:
        """A client that is sent anything else hears none."""
        self.audience.start()
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        beats = 0
        for step in range(300):
            self.spot(EURUSD, 110_000 + step, 110_010 + step)
            self.turn(0.5)
            beats += len(client.heard("heartbeat"))
        self.assertEqual(beats, 0)
        for _ in range(20):
            self.turn(1)
            client.say({"type": "ping"})
            beats += len(client.heard("heartbeat"))
        self.assertEqual(beats, 0)

    def test_short_period(self) -> None:
        """A short period is kept as well, and busy clients still hear no heartbeats."""
        self.build(heartbeat_ms=400)
        self.audience.start()
        self.ready()
        idle, busy = self.client(), self.client()
        busy.subscribe("EURUSD")
        idle.heard()
        beats, times = 0, [self.clock.seconds()]
        for step in range(200):
            self.spot(EURUSD, 110_000 + step, 110_010 + step)
            self.turn(0.05)
            beats += len(busy.heard("heartbeat"))
            if idle.heard("heartbeat"):
                times.append(self.clock.seconds())
        self.assertEqual(beats, 0)
        gaps = [after - before for before, after in pairwise(times)]
        self.assertLessEqual(max(gaps), 0.4 + 1e-6)

    def test_parked(self) -> None:
        """A client that reads nothing is not sent more of them than one that does."""
        self.build(outbox_age_s=1000)
        self.audience.start()
        client = self.client()
        client.wire.kernel.room = 0
        client.say({"type": "ping"})
        for _ in range(100):
            self.turn(1)
        client.wire.kernel.room = None
        for _ in range(3):
            self.turn()
        self.assertLessEqual(len(client.heard("heartbeat")), 12)


class Doors(StreamCase):
    """Who is let in, and how all are shown out."""

    def test_full(self) -> None:
        """One too many is let in as far as the handshake, and told 1013; others are not harmed."""
        self.build(room=2)
        first, _second, third = self.client(), self.client(), self.client()
        third.frames()
        self.assertEqual(third.goodbye and third.goodbye[0], 1013)
        self.assertEqual(self.metrics.counted("clients_turned_away"), 1)
        third.say({"type": "ping"})
        self.assertEqual(third.frames(), [])
        first.wire.lose()
        self.assertEqual(self.client().ask({"type": "ping"})["type"], "pong")

    def test_shutting_down(self) -> None:
        """Everybody hears 1001, and each goodbye is over when its connection is."""
        clients = [self.client() for _ in range(3)]
        leaving = self.audience.stop()
        self.turn()
        for client in clients:
            client.frames()
            self.assertEqual(client.goodbye and client.goodbye[0], 1001)
        self.assertNoResult(leaving[0])
        for client in clients:
            client.wire.lose()
        for one in leaving:
            self.successResultOf(one)
        self.assertEqual(self.audience.stop(), [])

    def test_shutting_down_with_a_client_that_never_answers(self) -> None:
        """A client that does not answer the close frame is cut off after two seconds."""
        client = self.client()
        (gone,) = self.audience.stop()
        self.turn(1.9)
        self.assertNoResult(gone)
        self.turn(0.2)
        self.turn()
        self.successResultOf(gone)
        self.assertTrue(client.wire.disconnected)

    def test_one_client_that_is_shown_out_while_others_are_told(self) -> None:
        """A status that is too much for one client reaches all the others."""
        self.build(outbox_bytes=1024)
        self.ready()
        full, other = self.client(), self.client()
        full.wire.kernel.room = 0
        for _ in range(20):
            full.say({"type": "ping"})
            self.lose_venue()
            self.ready()
        self.assertEqual(len(other.heard("status")), 40)
        self.assertEqual(self.metrics.clients, 1)
