"""One client's way out over TLS, where Twisted pauses and resumes us, and the end of any outbox."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.demand import Demand
from ctrader_twisted.market.model import Symbol, Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.fanout import Fanout
from ctrader_twisted.web.frames import frame
from ctrader_twisted.web.outbox import Outbox
from tests.rfc6455 import take_frames
from tests.unit.stream_wires import TlsWire, Wire


class Transports(SynchronousTestCase):
    """The same promises over TLS, where Twisted pauses and resumes us."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.fanout = Fanout(clock=self.clock, metrics=Metrics())
        self.demand = Demand(5.0)
        self.shown_out: list[str] = []

    def outbox(self, wire: Wire) -> Outbox:
        """A way out."""
        return Outbox(
            transport=wire,
            fanout=self.fanout,
            limit_bytes=5000,
            too_slow=self.shown_out.append,
        )

    def tick(self, seq: int) -> None:
        """One tick, one turn."""
        tick = Tick(Symbol(1, "EURUSD"), 5, 110_000, 110_010, 0, 0, seq)
        self.fanout.deliver(tick, self.demand.groups("EURUSD"))
        self.clock.advance(0)

    def test_parked_and_woken(self) -> None:
        """Above Twisted's own limit nothing is written; on waking the newest comes."""
        wire = TlsWire(self.clock)
        outbox = self.outbox(wire)
        self.demand.want(outbox, ["EURUSD"])
        wire.kernel.room = 0
        seq = 0
        while not wire.producerPaused:
            seq += 1
            self.tick(seq)
        held = wire.held
        for more in range(1, 100):
            self.tick(seq + more)
        self.assertEqual(wire.held, held)
        outbox.send(frame(b'{"type":"pong"}'), 0.0)
        wire.kernel.room = None
        for _ in range(3):
            wire.turn()
        found, rest = take_frames(wire.kernel.octets)
        messages = [one.json for one in found]
        self.assertEqual(rest, b"")
        self.assertEqual([one["seq"] for one in messages[:seq]], [*range(1, seq + 1)])
        self.assertEqual([one["type"] for one in messages[seq:]], ["pong", "tick"])
        self.assertEqual((messages[-1]["seq"], messages[-1]["conflated"]), (seq + 99, 98))

    def test_bound(self) -> None:
        """Must-deliver messages beyond the bound end it."""
        wire = TlsWire(self.clock)
        outbox = self.outbox(wire)
        wire.kernel.room = 0
        outbox.send(b"x" * 70_000, 0.0)
        for _ in range(6):
            outbox.send(b"y" * 1000, 0.0)
        self.assertEqual(len(self.shown_out), 1)

    def test_shut(self) -> None:
        """Nothing is written after the end, and the transport has no producer left."""
        for wire in (Wire(self.clock), TlsWire(self.clock)):
            outbox = self.outbox(wire)
            self.demand.want(outbox, ["EURUSD"])
            outbox.shut()
            self.tick(1)
            self.assertEqual((wire.kernel.octets, wire.held, wire.producer), (b"", 0, None))
            self.demand.leave(outbox, 0.0)
