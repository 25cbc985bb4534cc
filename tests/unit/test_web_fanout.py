"""One tick to everybody who wants it: how often it is encoded and written, and in which order."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.demand import Demand
from ctrader_twisted.market.model import Symbol, Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.fanout import Fanout
from ctrader_twisted.web.outbox import Outbox
from tests.rfc6455 import take_frames
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import TlsWire, Wire

EURUSD, GBPUSD, XAUUSD = 1, 2, 3


class Cost(StreamCase):
    """What is done once for all, and what is not done at all."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def listeners(self, number: int, *symbols: str) -> list[Client]:
        """Clients that want the same, before the first tick."""
        clients = [self.client() for _ in range(number)]
        for client in clients:
            client.subscribe(*symbols)
            client.wire.kernel.sends = client.wire.writes = 0
        return clients

    def test_one_write_a_turn(self) -> None:
        """Ten ticks of one turn reach each of N clients in one write, ten messages each."""
        clients = self.listeners(7, "EURUSD")
        for step in range(10):
            self.spot(EURUSD, 110_000 + step, 110_010 + step)
        self.assertEqual([client.wire.kernel.octets for client in clients], [b""] * 7)
        self.turn()
        self.assertEqual([client.wire.kernel.sends for client in clients], [1] * 7)
        self.assertEqual([client.wire.writes for client in clients], [0] * 7)
        for client in clients:
            self.assertEqual(client.seqs(), [("EURUSD", seq) for seq in range(1, 11)])

    def test_everybody_gets_the_same_object(self) -> None:
        """Encoded, framed and joined once: the very same bytes are offered to each client."""
        clients = self.listeners(3, "EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        offered = [client.wire.kernel.last for client in clients]
        self.assertEqual(len({id(one) for one in offered}), 1)

    def test_unwanted_symbols_cost_nothing(self) -> None:
        """A tick that nobody wants any more is not encoded: it does not reach the fan-out."""
        (client,) = self.listeners(1, "EURUSD")
        client.ask({"type": "unsubscribe", "symbols": ["EURUSD"]})
        before = self.fanout.serial
        self.spot(EURUSD, 110_000, 110_010)
        self.assertEqual(self.fanout.serial, before)
        self.turn()
        self.assertEqual(client.heard(), [])

    def test_only_what_is_wanted(self) -> None:
        """Each client gets its own symbols and no others."""
        (euro,), (pound,), (both,) = (
            self.listeners(1, "EURUSD"),
            self.listeners(1, "GBPUSD"),
            self.listeners(1, "EURUSD", "gbpusd"),
        )
        self.spot(EURUSD, 110_000, 110_010)
        self.spot(GBPUSD, 130_000, 130_010)
        self.spot(EURUSD, 110_001)
        self.turn()
        self.assertEqual(euro.seqs(), [("EURUSD", 1), ("EURUSD", 2)])
        self.assertEqual(pound.seqs(), [("GBPUSD", 1)])
        self.assertEqual(both.wire.kernel.sends, 1)
        self.assertEqual(both.seqs(), [("EURUSD", 1), ("GBPUSD", 1), ("EURUSD", 2)])

    def test_parked_clients_cost_no_write(self) -> None:
        """A client whose socket is full is not written to, however many ticks come."""
        slow, quick = self.listeners(2, "EURUSD")
        slow.wire.kernel.room = 10
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.turn()
        slow.wire.kernel.sends = slow.wire.writes = 0
        held = slow.wire.held
        for step in range(100):
            self.spot(EURUSD, 110_001 + step)
            self.turn()
        self.assertEqual((slow.wire.kernel.sends, slow.wire.writes), (0, 0))
        self.assertEqual(slow.wire.held, held)
        self.assertEqual(len(quick.seqs()), 101)

    def test_dead_sockets_harm_nobody(self) -> None:
        """A socket that refuses to be written to costs the others nothing."""
        dead, alive = self.listeners(2, "EURUSD")
        dead.wire.kernel.error = ConnectionResetError()
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.assertEqual(alive.seqs(), [("EURUSD", 1)])

    def test_counted(self) -> None:
        """`ticks_out` is ticks times clients."""
        self.listeners(3, "EURUSD")
        for step in range(4):
            self.spot(EURUSD, 110_000 + step, 110_010 + step)
        self.turn()
        self.assertEqual(self.metrics.ticks_out, 12)


class Change(StreamCase):
    """Wants that change in the middle of a turn: nothing is lost, doubled, or out of order."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def test_more_wants(self) -> None:
        """Who subscribes to more in the middle of a turn gets every tick once."""
        mover, other = self.client(), self.client()
        mover.subscribe("EURUSD")
        other.subscribe("EURUSD", "GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.spot(GBPUSD, 130_000, 130_010)
        mover.murmur({"type": "subscribe", "symbols": ["GBPUSD"]})
        self.spot(EURUSD, 110_001)
        self.spot(GBPUSD, 130_001)
        self.turn()
        heard = mover.heard()
        self.assertEqual(
            [(one["type"], one.get("seq"), one.get("snapshot")) for one in heard],
            [
                ("tick", 1, None),
                ("subscribeResponse", None, None),
                ("tick", 1, True),
                ("tick", 2, None),
                ("tick", 2, None),
            ],
        )
        self.assertEqual(other.seqs(), [("EURUSD", 1), ("GBPUSD", 1), ("EURUSD", 2), ("GBPUSD", 2)])

    def test_fewer_wants(self) -> None:
        """Who unsubscribes gets what was due before, then the answer, then nothing of it."""
        mover, other = self.client(), self.client()
        mover.subscribe("EURUSD", "GBPUSD")
        other.subscribe("EURUSD", "GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.spot(GBPUSD, 130_000, 130_010)
        mover.murmur({"type": "unsubscribe", "symbols": ["GBPUSD"]})
        self.spot(GBPUSD, 130_001)
        self.spot(EURUSD, 110_001)
        self.turn()
        heard = [(one["type"], one.get("symbol"), one.get("seq")) for one in mover.heard()]
        self.assertEqual(
            heard,
            [
                ("tick", "EURUSD", 1),
                ("tick", "GBPUSD", 1),
                ("unsubscribeResponse", None, None),
                ("tick", "EURUSD", 2),
            ],
        )
        self.assertEqual(len(other.seqs()), 4)

    def test_away_and_back(self) -> None:
        """Unsubscribed and subscribed again within a turn: nothing doubled, seq never back."""
        mover, other = self.client(), self.client()
        for client in (mover, other):
            client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        mover.murmur({"type": "unsubscribe", "symbols": ["EURUSD"]})
        self.spot(EURUSD, 110_001)
        mover.murmur({"type": "subscribe", "symbols": ["EURUSD"]})
        self.spot(EURUSD, 110_002)
        self.turn()
        ticks = [(one["seq"], one.get("snapshot", False)) for one in mover.heard("tick")]
        self.assertEqual(ticks, [(1, False), (2, True), (3, False)])
        self.assertEqual(other.seqs(), [("EURUSD", seq) for seq in (1, 2, 3)])

    def test_somebody_leaves(self) -> None:
        """A client that vanishes in the middle of a turn costs the others of its group nothing."""
        leaver, stayer = self.client(), self.client()
        for client in (leaver, stayer):
            client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        leaver.wire.lose()
        self.spot(EURUSD, 110_001)
        self.turn()
        self.assertEqual(stayer.seqs(), [("EURUSD", 1), ("EURUSD", 2)])

    def test_status_keeps_its_place(self) -> None:
        """Ticks of the old life come before the status that ends it, those of the new after."""
        client = self.client()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.lose_venue()
        self.ready()
        self.spot(EURUSD, 120_000, 120_010)
        self.turn()
        heard = [(one["type"], one.get("status"), one.get("bid")) for one in client.heard()]
        self.assertEqual(
            heard,
            [
                ("tick", None, 1.1),
                ("status", "disconnected", None),
                ("status", "connected", None),
                ("tick", None, 1.2),
            ],
        )


class OverTls(SynchronousTestCase):
    """A transport that must not be bypassed is written to, and never twice a turn."""

    def test_one_write_a_turn(self) -> None:
        """Ten ticks, one write through the transport, nothing past it."""
        clock = Clock()
        metrics = Metrics()
        fanout = Fanout(clock=clock, metrics=metrics)
        demand = Demand(5.0)
        wires: list[Wire] = []
        for _ in range(3):
            wire = TlsWire(clock)
            outbox = Outbox(transport=wire, fanout=fanout, limit_bytes=1 << 20, too_slow=self.fail)
            demand.want(outbox, ["EURUSD"])
            wires.append(wire)
        for seq in range(1, 11):
            tick = Tick(Symbol(1, "EURUSD"), 5, 110_000, 110_010, 0, 0, seq)
            fanout.deliver(tick, demand.groups("EURUSD"))
        clock.advance(0)
        self.assertEqual([wire.writes for wire in wires], [1, 1, 1])
        for wire in wires:
            self.assertEqual(wire.kernel.octets, b"")
            wire.turn()
            found, rest = take_frames(wire.kernel.octets)
            self.assertEqual(([one.json["seq"] for one in found], rest), ([*range(1, 11)], b""))
        self.assertEqual(clock.getDelayedCalls(), [])
