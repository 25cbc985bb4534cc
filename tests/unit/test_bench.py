"""The bench's own eyes: a fault that they did not see would be a claim without a proof."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench import decode as decoding
from bench.frames import Reader, masked, walk
from bench.goals import GOALS, Goal
from bench.judge import FREE, HELD, MISSED, MOONSHOT, OPEN, judge
from bench.plan import steps
from bench.report import BEGIN, END, place
from bench.schedule import STAMP_BYTES, Planned, Ticks, framed, micros, spot, varint
from bench.stage import Load
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.web.frames import frame
from ctrader_twisted.wire.codec import decode


def tick(seq: int, symbol: str = "SYM000", tail: str = "") -> bytes:
    """One tick as servers send it."""
    return frame(
        f'{{"type":"tick","symbol":"{symbol}","symbolId":1,"bid":1.08,"ask":1.0801,"spread":0.0001,'
        f'"timestamp":1750000000000000,"seq":{seq},"receivedAt":1750000000000{tail}}}'.encode()
    )


class ReaderTests(SynchronousTestCase):
    """What clients receive is counted and checked."""

    def setUp(self) -> None:
        self.reader = Reader()
        self.seqs: Any = {}

    def read(self, chunk: bytes) -> int:
        """The ticks in it, for the one client."""
        memo, self.rest, self.others = self.reader.read(chunk, self.seqs)
        self.seqs = memo.after
        return memo.ticks

    def faults(self) -> dict[str, int]:
        """Those that were seen."""
        return {name: count for name, count in self.reader.faults.all().items() if count}

    def test_ticks_in_order_are_counted(self) -> None:
        """Two symbols, one chunk, another message among them: no fault."""
        other = frame(b'{"type":"heartbeat","timestamp":1}')
        self.assertEqual(self.read(tick(1) + other + tick(1, "SYM001") + tick(2)), 3)
        self.assertEqual((self.faults(), self.rest), ({}, b""))

    def test_a_cut_frame_waits(self) -> None:
        """At every offset the rest is kept, whole or not at all."""
        whole = tick(1) + tick(2)
        for at in range(1, len(whole)):
            reader = Reader()
            first, rest, _ = reader.read(whole[:at], {})
            second, end, _ = reader.read(rest + whole[at:], first.after)
            self.assertEqual((first.ticks + second.ticks, end), (2, b""))
            self.assertFalse(any(reader.faults.all().values()))

    def test_a_lost_tick_is_seen(self) -> None:
        """A gap in the sequence, unless the tick says how many it stands for."""
        self.read(tick(1))
        self.read(tick(4, tail=',"conflated":2'))
        self.assertEqual(self.faults(), {"conflated": 2})
        self.read(tick(7))
        self.assertEqual(self.faults(), {"conflated": 2, "lost": 2})

    def test_reordered_and_repeated_ticks_are_seen(self) -> None:
        """Both go back; a snapshot may."""
        self.read(tick(3) + tick(3, tail=',"snapshot":true'))
        self.assertEqual(self.faults(), {})
        self.read(tick(2))
        self.read(tick(2))
        self.assertEqual(self.faults(), {"reordered": 2})

    def test_what_was_read_for_one_holds_for_the_next_only_from_the_same_place(self) -> None:
        """The same bytes are a fault for a client that stands elsewhere."""
        self.read(tick(1))
        behind = self.seqs
        self.read(tick(2))
        self.read(tick(3))
        memo, _, _ = self.reader.read(tick(3), behind)
        self.assertEqual((memo.ticks, self.faults()), (1, {"lost": 1}))

    def test_malformed_frames_are_seen(self) -> None:
        """No tick, masked, a fragment."""
        self.read(frame(b'{"type":"tick","symbol":"SYM000"}'))
        self.read(masked(b"{}"))
        self.read(b"\x01\x01a")
        self.assertEqual(self.faults(), {"malformed": 3})

    def test_long_frames_are_walked(self) -> None:
        """All three forms of the length."""
        sizes = (125, 126, 65_535, 65_536)
        stream = b"".join(frame(b"x" * size) for size in sizes)
        self.assertEqual(walk(stream)[:2], (len(stream), len(sizes)))


class ScheduleTests(SynchronousTestCase):
    """The ticks of the load."""

    def test_a_tick_is_a_frame_with_its_time_last(self) -> None:
        """So that the rest can be encoded in advance."""
        now = micros()
        whole = spot(1, Planned(2, 108_000, 108_010, has_bid=True, has_ask=False), now)
        self.assertEqual(whole[-STAMP_BYTES:], varint(now))
        message = decode(whole[4:]).message
        assert isinstance(message, api_pb2.ProtoOASpotEvent)
        self.assertEqual((message.symbolId, message.bid, message.timestamp), (3, 108_000, now))
        self.assertFalse(message.HasField("ask"))

    def test_four_in_ten_have_one_side(self) -> None:
        """As the load says; and every frame can be decoded."""
        sides = []
        for whole in Ticks(50, 1, raw=False).take(2000):
            message = decode(whole[4:]).message
            assert isinstance(message, api_pb2.ProtoOASpotEvent)
            self.assertEqual(whole, framed(whole[4:]))
            sides.append(message.HasField("bid") + message.HasField("ask"))
        self.assertTrue(0.35 < sides.count(1) / len(sides) < 0.45)
        self.assertEqual(sides.count(0), 0)

    def test_asked_is_per_client_what_it_wants(self) -> None:
        """20 of 50 symbols are two fifths of the ticks."""
        self.assertEqual(Load(200, 10, 500).asked, 100_000)
        self.assertEqual(Load(200, 10, 500, each=20).asked, 40_000)


GOAL = Goal("G", "a ratio", "burst", "speed", "other", True, 6, 11, "x", 0.6)


def row(number: int, case: str, **more: Any) -> dict[str, Any]:
    """One measurement."""
    return {"round": number, "step": "burst", "case": case, **more}


def rounds(*ratios: float) -> list[dict[str, Any]]:
    """Rounds with these ratios, on a machine that is ever faster."""
    return [
        each
        for number, ratio in enumerate(ratios, 1)
        for each in (
            row(number, "product", speed=ratio * number),
            row(number, "other", speed=1.0 * number),
        )
    ]


class JudgeTests(SynchronousTestCase):
    """From rows to verdicts."""

    def test_ratios_are_paired_within_a_round(self) -> None:
        """The machine's drift cancels; the median decides."""
        verdict = judge(GOAL, rounds(7, 8, 9), {})
        self.assertEqual((verdict.word, verdict.values), (HELD, (7, 8, 9)))
        self.assertEqual(judge(GOAL, rounds(12, 12), {}).word, MOONSHOT)
        self.assertEqual(judge(GOAL, rounds(5, 5), {}).word, MISSED)
        self.assertEqual(judge(GOAL, rounds(5, 5), {}, ease=2).word, HELD)

    def test_without_a_floor_nothing_is_held_or_missed(self) -> None:
        """Such a row is there to be read."""
        free = replace(GOAL, floor=None, moonshot=None)
        self.assertEqual(judge(free, rounds(0.1, 0.1), {}).word, FREE)
        self.assertEqual(judge(replace(GOAL, floor=None), rounds(12, 12), {}).word, MOONSHOT)

    def test_a_wide_spread_is_said_instead_of_a_number(self) -> None:
        """Whether the floor holds is told only when all rounds agree."""
        verdict = judge(GOAL, rounds(7, 12, 20), {})
        self.assertEqual(verdict.word, HELD)
        self.assertIn("too noisy", verdict.shown())
        self.assertEqual(judge(GOAL, rounds(3, 7, 12), {}).word, OPEN)
        self.assertEqual(judge(GOAL, rounds(1, 3, 5), {}).word, MISSED)

    def test_refused_rows_do_not_count_and_say_why(self) -> None:
        """A generator that was the bottleneck, a baseline that is not here."""
        rows = [row(1, "product", speed=7.0, refused="the generator was the bottleneck")]
        verdict = judge(GOAL, [*rows, row(1, "other", speed=1.0)], {})
        self.assertEqual(verdict.word, OPEN)
        self.assertIn("bottleneck", verdict.shown())
        self.assertIn("no node", judge(GOAL, [], {"other": "there is no node"}).shown())


class ReportTests(SynchronousTestCase):
    """Tables into the document."""

    def test_only_what_is_between_the_markers_changes(self) -> None:
        """The words around stay."""
        document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
        placed = place(document, "new\n")
        self.assertEqual(placed, f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")
        self.assertEqual(place(placed, "new\n"), placed)

    def test_every_goal_has_a_step_that_measures_it(self) -> None:
        """With both sides of its ratio."""
        cases = {step.name: set(step.cases) for step in steps()}
        for goal in GOALS:
            self.assertLessEqual({goal.case, goal.against} - {""}, cases[goal.step], goal.key)


class DecodeTests(SynchronousTestCase):
    """The daemon in memory that the decoder's case measures."""

    def test_every_frame_becomes_a_tick(self) -> None:
        """From bytes of the venue to messages of a client, without a socket."""
        # It sets the collector as the daemon does.
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        ticks = Ticks(decoding.SYMBOLS, decoding.ACCOUNT_ID, raw=False)
        count, _ = decoding.product(b"".join(ticks.take(200)))
        self.assertEqual(count, 200)
