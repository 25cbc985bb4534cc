"""Following symbols: what is asked for, what ends it, and how a lost daemon is found again."""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.tail.follower import FIRST_DELAY_S, GOODBYE_S, LONGEST_DELAY_S, Follower
from ctrader_twisted.tail.messages import Quote, Situation
from ctrader_twisted.tail.rendering import sentence
from ctrader_twisted.tls.failures import NameNotResolved, Unreachable

URL = "ws://127.0.0.1:8080/ws"


class Told:
    """A view that remembers. `broken` is raised instead of taking a tick."""

    def __init__(self) -> None:
        self.ticks: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.broken: OSError | None = None

    def tick(self, quote: Quote, text: str) -> None:
        """Remember symbol and bid."""
        if self.broken is not None:
            raise self.broken
        self.ticks.append((quote.symbol, quote.bid))

    def note(self, text: str) -> None:
        """Remember the line."""
        self.lines.append(text)

    def refused(self, symbol: str, reason: str) -> None:
        """Remember both."""
        self.lines.append(f"{symbol} - {reason}")

    def situation(self, situation: Situation, now: float) -> None:
        """Remember the sentence."""
        self.lines.append(sentence(situation, now))


class Wire:
    """A connection that remembers what went out."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False

    def send(self, text: str) -> None:
        """Remember the message."""
        self.sent.append(json.loads(text))

    def close(self) -> None:
        """Remember the goodbye; the test tells when the connection is gone."""
        self.closed = True


class FollowerCase(SynchronousTestCase):
    """A follower of two symbols, its clock, and what it was told."""

    count: int | None = None

    def setUp(self) -> None:
        """Started, and waiting for its first connection."""
        self.clock = Clock()
        self.view = Told()
        self.dialled: list[Deferred[object]] = []
        self.follower = Follower(
            url=URL,
            symbols=["EURUSD", "XauUsd", "eurusd"],
            count=self.count,
            view=self.view,
            dial=self.dial,
            clock=self.clock,
            rng=random.Random(1),
        )
        self.follower.start()

    def tearDown(self) -> None:
        """No timer is left behind by a follower that has finished."""
        if self.follower.finished.called:
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def dial(self, listener: Follower) -> Deferred[object]:
        """One more attempt."""
        assert listener is self.follower
        self.dialled.append(Deferred())
        return self.dialled[-1]

    def open(self) -> Wire:
        """The attempt succeeds."""
        wire = Wire()
        self.dialled[-1].callback(None)
        self.follower.opened(wire)
        return wire

    def say(self, **message: Any) -> None:
        """A message of the daemon."""
        self.follower.received(json.dumps(message))

    def tick(self, symbol: str, bid: float, time_ms: int = 5, **more: Any) -> None:
        """A tick of the daemon."""
        self.say(type="tick", symbol=symbol, bid=bid, ask=2.5, timestamp=time_ms, **more)

    def connected(self) -> None:
        """The daemon says that its venue is there."""
        self.say(type="status", status="connected", env="demo", availableSymbols=["EURUSD"])

    def answer(self, **outcomes: str | None) -> None:
        """The answer to subscribe: a reason for each symbol that is refused."""
        results = [
            {"symbol": symbol, "status": "subscribed"}
            if reason is None
            else {"symbol": symbol, "status": "error", "message": reason}
            for symbol, reason in outcomes.items()
        ]
        self.say(type="subscribeResponse", results=results, symbols=[])

    def status(self) -> int:
        """The exit status."""
        return self.successResultOf(self.follower.finished)


class StreamTests(FollowerCase):
    """The way things should go."""

    def test_the_conversation(self) -> None:
        """It says hello, and subscribes when the daemon is connected, each symbol once."""
        wire = self.open()
        self.assertEqual([message["type"] for message in wire.sent], ["connect"])
        self.connected()
        self.assertEqual(wire.sent[1]["type"], "subscribe")
        self.assertEqual(wire.sent[1]["symbols"], ["EURUSD", "XauUsd"])
        self.assertEqual(self.view.lines, ["[demo] connected"])

    def test_it_waits_for_connected(self) -> None:
        """While the venue is away nothing is asked for; each new `connected` asks again."""
        wire = self.open()
        self.say(type="status", status="reconnecting", attempt=2, delayMs=3000, reason="gone")
        self.assertEqual(len(wire.sent), 1)
        self.connected()
        self.say(type="status", status="stale")
        self.connected()
        self.assertEqual([message["type"] for message in wire.sent[1:]], ["subscribe"] * 2)
        self.assertEqual(self.view.lines[0], "reconnecting: attempt 2 in 3 s (gone)")

    def test_ticks(self) -> None:
        """Those of our symbols, in any case, in the daemon's spelling."""
        self.open()
        self.tick("EURUSD", 1.5)
        self.tick("XAUUSD", 2.25)
        self.tick("GBPUSD", 3.0)
        self.assertEqual(self.view.ticks, [("EURUSD", "1.5"), ("XAUUSD", "2.25")])

    def test_a_snapshot_that_is_known(self) -> None:
        """The last known tick is not shown twice, and a live one always is."""
        self.open()
        self.tick("EURUSD", 1.5, snapshot=True)
        self.tick("EURUSD", 1.5, snapshot=True)
        self.assertEqual(len(self.view.ticks), 1)
        self.tick("EURUSD", 1.5)
        self.tick("EURUSD", 1.5, time_ms=6, snapshot=True)
        self.assertEqual(len(self.view.ticks), 3)

    def test_one_symbol_is_refused(self) -> None:
        """The reason is told once, and the other symbol is followed."""
        self.open()
        self.answer(EURUSD=None, XAUUSD="no such symbol")
        self.answer(EURUSD=None, XAUUSD="no such symbol")
        self.assertEqual(self.view.lines, ["XauUsd - no such symbol"])
        self.assertNoResult(self.follower.finished)

    def test_a_symbol_that_is_not_available_now(self) -> None:
        """It is told once, and once when it is over; nothing ends."""
        self.open()
        row = {"symbol": "EURUSD", "status": "subscribed"}
        pending = {**row, "pending": True, "code": "SYMBOL_NOT_FOUND", "message": "it is away"}
        for rows in ([row], [pending], [pending], [row], [row]):
            self.say(type="subscribeResponse", results=rows, symbols=["EURUSD"])
        self.assertEqual(
            self.view.lines,
            [
                "EURUSD has no prices now (it is away); waiting for it",
                "EURUSD is available again",
            ],
        )
        self.assertNoResult(self.follower.finished)

    def test_confirmed_symbols_that_are_refused(self) -> None:
        """Symbols that were had once are asked for again, though the daemon let go of them all."""
        wire = self.open()
        self.connected()
        self.answer(EURUSD=None, XAUUSD=None)
        self.answer(EURUSD="there is no symbol 'EURUSD'", XAUUSD="the same")
        self.assertNoResult(self.follower.finished)
        self.clock.advance(LONGEST_DELAY_S)
        self.assertEqual([message["type"] for message in wire.sent[1:]], ["subscribe"] * 2)
        self.answer(EURUSD=None, XAUUSD=None)
        self.assertEqual(self.view.lines[-1], "XAUUSD is available again")
        self.answer(EURUSD="no")
        self.follower.lost(1001, "restart")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.follower.finish(0)

    def test_news_beside_the_ticks(self) -> None:
        """Warnings and gaps are told; what is unknown is not."""
        self.open()
        self.say(type="warning", code="SLOW", message="too slow")
        self.say(type="gap", symbol="EURUSD", reason="outage")
        self.say(type="heartbeat", timestamp=1)
        self.say(type="fashion")
        self.say(type=[])
        self.assertEqual(
            self.view.lines, ["warning: too slow", "ticks of EURUSD are missing (outage)"]
        )

    def test_nonsense(self) -> None:
        """It is told, and the next message is read."""
        self.open()
        for text in ["{", "[]", '{"type":"tick"}']:
            self.follower.received(text)
        self.say(type="subscribeResponse", results=[5, {}, {"status": "error"}])
        self.say(type="subscribeResponse", results="none")
        self.tick("EURUSD", 1.5)
        self.assertEqual(len(self.view.lines), 4)
        self.assertEqual(len(self.view.ticks), 1)


class CountTests(FollowerCase):
    """A bounded number of ticks."""

    count = 2

    def test_enough(self) -> None:
        """After the last one it says goodbye, prints nothing more, and ends with 0."""
        wire = self.open()
        for bid in (1.5, 1.6, 1.7):
            self.tick("EURUSD", bid)
        self.assertEqual([bid for _, bid in self.view.ticks], ["1.5", "1.6"])
        self.assertTrue(wire.closed)
        self.assertNoResult(self.follower.finished)
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 0)
        self.assertEqual(self.view.lines, [])

    def test_a_daemon_that_never_says_goodbye(self) -> None:
        """It is waited for, but not for long."""
        self.open()
        self.tick("EURUSD", 1.5)
        self.tick("EURUSD", 1.6)
        self.clock.advance(GOODBYE_S)
        self.assertEqual(self.status(), 0)
        self.follower.lost(1006, "late")


class EndTests(FollowerCase):
    """What ends it, and with which status."""

    def test_nothing_listens(self) -> None:
        """At the first attempt that is the end, with the address and what to start."""
        self.dialled[0].errback(Failure(Unreachable("h", 1, {"::1": ConnectionRefusedError()})))
        self.assertEqual(self.status(), 1)
        (said,) = self.view.lines
        self.assertIn(
            f"nothing listens at {URL}: start the daemon (twistd -n ctrader-stream)", said
        )

    def test_it_cannot_be_reached(self) -> None:
        """Other reasons are named."""
        self.dialled[0].errback(Failure(NameNotResolved("h", "no")))
        self.assertEqual(self.status(), 1)
        words = "the name h could not be resolved (no)"
        self.assertEqual(self.view.lines, [f"{URL} cannot be reached ({words}); see --url"])

    def test_somebody_else_listens(self) -> None:
        """A handshake that fails at the first attempt is the wrong address."""
        self.dialled[0].callback(None)
        self.follower.lost(1006, "WebSocket connection upgrade failed [404]: Not Found")
        self.assertEqual(self.status(), 1)
        self.assertIn("does not let us in (WebSocket connection upgrade", self.view.lines[0])

    def test_every_symbol_is_refused(self) -> None:
        """Each reason is told, then it ends; also when the last refusal comes later."""
        wire = self.open()
        rows = [{"symbol": "EURUSD", "status": "subscribed", "pending": True}]
        self.say(type="subscribeResponse", results=rows, symbols=["EURUSD"])
        self.answer(XAUUSD="no such symbol")
        self.answer(EURUSD="taken off the market")
        self.assertTrue(wire.closed)
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 1)
        self.assertEqual(
            self.view.lines,
            [
                "XauUsd - no such symbol",
                "EURUSD - taken off the market",
                "no symbol is left to follow",
            ],
        )

    def test_a_refused_request(self) -> None:
        """What asking again cannot help is the end."""
        self.open()
        self.say(type="requestError", code="BAD_REQUEST", message="what?", temporary=False)
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 1)
        self.assertEqual(
            self.view.lines, ["the daemon refuses what we ask for (BAD_REQUEST: what?)"]
        )

    def test_a_fatal_error(self) -> None:
        """An `error` is always the last thing a daemon has to say."""
        self.open()
        self.say(type="error", message="out of order")
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 1)
        self.assertEqual(self.view.lines, ["the daemon reports a fatal error: out of order"])

    def test_a_signal(self) -> None:
        """During the first attempt it gives that up, and ends with the status of the signal."""
        self.follower.finish(130)
        self.assertEqual(self.status(), 130)
        self.assertTrue(self.dialled[0].called, "the attempt was not given up")

    def test_a_signal_while_it_waits(self) -> None:
        """The next attempt does not happen."""
        self.open()
        self.follower.lost(1001, "")
        self.follower.finish(143)
        self.assertEqual(self.status(), 143)
        self.assertEqual(len(self.dialled), 1)

    def test_a_handshake_that_ends_too_late(self) -> None:
        """A connection that opens after the end is closed."""
        self.follower.finish(130)
        wire = Wire()
        self.follower.opened(wire)
        self.assertTrue(wire.closed)

    def test_the_reader_is_gone(self) -> None:
        """Who has read enough is no error, and nothing is said."""
        self.open()
        self.view.broken = BrokenPipeError()
        self.tick("EURUSD", 1.5)
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 0)
        self.assertEqual(self.view.lines, [])

    def test_a_full_disk(self) -> None:
        """Output that gets lost is an error."""
        self.open()
        self.view.broken = OSError(28, "No space left on device")
        self.tick("EURUSD", 1.5)
        self.follower.lost(1000, "")
        self.assertEqual(self.status(), 1)
        self.assertIn("No space left on device", self.view.lines[0])


class StopCodeTests(FollowerCase):
    """Close codes that mean stop."""

    def test_codes(self) -> None:
        """Each ends it with status 1, the code and the reason."""
        for code in (4400, 4401, 4402, 4403, 4404, 4409):
            self.setUp()
            self.open()
            self.follower.lost(code, "not you")
            self.assertEqual(self.status(), 1)
            advice = "; see --key-file" if code == 4401 else ""
            self.assertEqual(
                self.view.lines,
                [f"the daemon has closed the connection for good ({code}: not you){advice}"],
            )


class ReturnTests(FollowerCase):
    """A daemon that went away."""

    def wait(self) -> float:
        """The wait that is under way, in seconds."""
        (call,) = self.clock.getDelayedCalls()
        return float(call.getTime() - self.clock.seconds())

    def refuse(self) -> float:
        """Let the wait pass and the attempt fail; the next wait."""
        self.clock.advance(self.wait())
        self.dialled[-1].errback(Failure(ConnectError()))
        return self.wait()

    def test_it_is_found_again(self) -> None:
        """After a wait it connects, subscribes again, and says so."""
        self.open()
        self.connected()
        self.answer(EURUSD=None, XAUUSD=None)
        self.follower.lost(1001, "the server is shutting down")
        self.clock.advance(FIRST_DELAY_S)
        wire = self.open()
        self.connected()
        self.assertEqual([message["type"] for message in wire.sent], ["connect", "subscribe"])
        self.assertEqual(
            self.view.lines,
            [
                "[demo] connected",
                "no connection to the daemon: attempt 1 in 1 s (1001: the server is shutting down)",
                f"connected again to {URL}",
                "[demo] connected",
            ],
        )

    def test_waits_double_up_to_a_bound(self) -> None:
        """Jittered between half and all of it, and it never gives up."""
        self.open()
        self.follower.lost(1006, "gone")
        waits = [self.wait(), *(self.refuse() for _ in range(11))]
        for number, wait in enumerate(waits):
            whole = min(FIRST_DELAY_S * 2**number, LONGEST_DELAY_S)
            self.assertTrue(whole / 2 <= wait <= whole, f"{wait} of {whole}")
        self.assertGreater(len(set(waits[7:])), 3)

    def test_waits_start_small_again_only_after_service(self) -> None:
        """A daemon that lets us in and out again is not hammered."""
        self.open()
        self.follower.lost(1013, "no room")
        for _ in range(4):
            self.clock.advance(self.wait())
            self.open()
            self.follower.lost(1013, "no room")
        self.assertGreater(self.wait(), 3.9)
        self.clock.advance(self.wait())
        self.open()
        self.answer(EURUSD=None)
        self.follower.lost(1001, "")
        self.assertLessEqual(self.wait(), FIRST_DELAY_S)

    def test_codes_that_ask_for_patience(self) -> None:
        """After too many bad messages, or over quota, the first wait is the longest."""
        for code in (1008, 4429):
            self.setUp()
            self.open()
            self.follower.lost(code, "calm down")
            self.assertEqual(self.wait(), LONGEST_DELAY_S)

    def test_a_temporary_refusal(self) -> None:
        """The connection is made anew, not before the daemon wants to see us."""
        wire = self.open()
        self.say(type="requestError", code="RATE_LIMIT", temporary=True, retryAfterMs=7000)
        self.assertTrue(wire.closed)
        self.assertIn("RATE_LIMIT", self.view.lines[-1])
        self.follower.lost(1000, "")
        self.assertEqual(self.wait(), 7.0)

    def test_a_handshake_that_fails_later(self) -> None:
        """Once it has been there, everything is tried again."""
        self.open()
        self.follower.lost(1006, "gone")
        self.clock.advance(FIRST_DELAY_S)
        self.follower.lost(1006, "upgrade failed [503]")
        self.assertIn("upgrade failed [503]", self.view.lines[-1])
        self.assertNoResult(self.follower.finished)
