"""A whole tick stream without sockets: real account, audience and protocol, the venue played by the
test."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import contract
from ctrader_twisted.accounts import Account
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.translate import spot_updates
from ctrader_twisted.web.audience import Audience
from ctrader_twisted.web.doors import DoorPolicy, Doors, Visitor
from ctrader_twisted.web.fanout import Fanout
from ctrader_twisted.web.lobby import Lobby
from ctrader_twisted.web.tick_stream import TickStreamFactory
from tests.rfc6455 import CLOSE, HANDSHAKE, TEXT, Frame, client_frame, take_frames
from tests.unit.fakes import ACCOUNT, details_answer, spot, symbols_answer
from tests.unit.stream_wires import Wire

NOW_MS = 1_750_000_000_000
NAMES = {1: "EURUSD", 2: "GBPUSD", 3: "XAUUSD", 4: "(OLD)", 5: "Straße"}
DIGITS = {1: 5, 2: 5, 3: 2, 4: 5, 5: 3}


class Venue:
    """Answers all that a session asks at once; requests of the kinds in ``held`` wait."""

    def __init__(self, names: dict[int, str], digits: dict[int, int]) -> None:
        self.names, self.digits = names, digits
        self.asked: list[Message] = []
        self.held: set[type[Message]] = set()
        self.waiting: list[Deferred[Any]] = []

    def ask(
        self, message: Message, answer_type: type, *, lane: object, account_id: int, late: Any
    ) -> Any:
        """See `Requests.ask`."""
        self.asked.append(message)
        if type(message) in self.held:
            self.waiting.append(Deferred())
            return self.waiting[-1]
        return succeed(self.answer(message))

    def withdraw(self, account_id: int, cause: BaseException) -> None:
        """See `Requests.withdraw`: nothing is ever queued here, all of it is sent at once."""

    def answer(self, message: Any) -> Message:
        """A good answer to any request."""
        if isinstance(message, api_pb2.ProtoOASymbolsListReq):
            return symbols_answer(self.names)
        if isinstance(message, api_pb2.ProtoOASymbolByIdReq):
            return details_answer({one: self.digits[one] for one in message.symbolId})
        return message

    def requested(self, kind: type[Message]) -> list[list[int]]:
        """The symbol ids of every request of one kind."""
        return [list(message.symbolId) for message in self.asked if isinstance(message, kind)]


class Client:
    """One WebSocket client: says JSON, reads frames as RFC 6455 has them."""

    def __init__(self, case: StreamCase, wire: Wire, protocol: Any) -> None:
        self.case, self.wire, self.protocol = case, wire, protocol
        self._frames: list[Frame] = []
        self._rest = b""
        self.goodbye: tuple[int, str] | None = None

    def say(self, *requests: dict[str, Any] | bytes) -> None:
        """Send text messages, and let a turn of the reactor pass."""
        for one in requests:
            octets = one if isinstance(one, bytes) else json.dumps(one).encode()
            self.send_octets(client_frame(octets))
        self.case.turn()

    def murmur(self, request: dict[str, Any]) -> None:
        """Send a text message in the middle of a turn."""
        self.send_octets(client_frame(json.dumps(request).encode()))

    def send_octets(self, octets: bytes) -> None:
        """Anything."""
        self.protocol.dataReceived(octets)

    def frames(self) -> list[Frame]:
        """All frames that came and were not taken."""
        octets, self.wire.kernel.octets = self._rest + self.wire.kernel.octets, b""
        if self.goodbye is not None:
            self.case.assertEqual(octets, b"", "nothing may follow a close frame")
        found, self._rest = take_frames(octets)
        if found and found[-1].opcode == CLOSE:
            self.goodbye = found.pop().goodbye
        return found

    def heard(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The messages that came, taken away; only those of one type, if it is given."""
        messages = [frame.json for frame in self.frames() if frame.opcode == TEXT]
        return [one for one in messages if kind in (None, one["type"])]

    def ask(self, request: dict[str, Any] | bytes) -> dict[str, Any]:
        """Say one thing; the last message that came in return."""
        self.heard()
        self.say(request)
        answers = self.heard()
        if not answers:
            raise AssertionError(f"no answer to {str(request)[:80]}; goodbye: {self.goodbye}")
        return answers[0]

    def subscribe(self, *symbols: str) -> list[dict[str, Any]]:
        """Subscribe; everything that came in return."""
        self.heard()
        self.say({"type": "subscribe", "symbols": symbols})
        return self.heard()

    def seqs(self) -> list[tuple[str, int]]:
        """Symbol and sequence number of the ticks that came."""
        return [(tick["symbol"], tick["seq"]) for tick in self.heard("tick")]


class StreamCase(SynchronousTestCase):
    """An account with some symbols and any number of clients; ends with an empty clock."""

    def setUp(self) -> None:
        self.clock_starts()
        self.build()

    def clock_starts(self) -> None:
        """Nobody is here, and no time has passed."""
        self.clock = Clock()
        self.clients: list[Client] = []

    def build(
        self,
        *,
        symbols: int = 500,
        room: int = 100,
        heartbeat_ms: int = 10_000,
        outbox_bytes: int = 1 << 20,
        outbox_age_s: float = 5.0,
        messages_per_s: float = 50.0,
        ping_s: float = 0,
        window_s: float = 0.0,
        compression: bool = False,
    ) -> None:
        """Everything, wired as in tap.py."""
        self.metrics = Metrics()
        self.venue = Venue(dict(NAMES), dict(DIGITS))
        now_ms = self.now_ms
        self.fanout = Fanout(clock=self.clock, metrics=self.metrics, window_s=window_s)
        limits = contract.Limits(
            symbols=symbols,
            bytes=65_536,
            messages_per_second=messages_per_s,
            heartbeat_ms=heartbeat_ms,
        )
        self.audience = Audience(
            clock=self.clock,
            now_ms=now_ms,
            metrics=self.metrics,
            fanout=self.fanout,
            environment="simulator",
            limits=limits,
            clients=room,
            outbox_bytes=outbox_bytes,
            outbox_age_s=outbox_age_s,
        )
        self.account = Account(
            account_id=ACCOUNT,
            access_token=lambda: "token",
            clock=self.clock,
            metrics=self.metrics,
            listener=self.audience,
            run_id="run",
            batch=100,
            grace_s=5.0,
        )
        self.factory = TickStreamFactory(
            reactor=self.clock,
            now_ms=now_ms,
            account=self.account,
            audience=self.audience,
            lobby=Lobby(doors=self.doors(), clock=self.clock, metrics=self.metrics),
            metrics=self.metrics,
            messages_per_s=messages_per_s,
            ping_s=ping_s,
            ping_timeout_s=20 if ping_s else 0,
            handshake_timeout_s=10,
            compression=compression,
        )

    def doors(self) -> Doors:
        """Who may come in: here, everybody."""
        policy = DoorPolicy(is_local=True)
        return Doors(clock=self.clock, policy=policy, keys=None, metrics=self.metrics)

    def now_ms(self) -> int:
        """The time of day."""
        return NOW_MS + round(self.clock.seconds() * 1000)

    # -- what happens

    def ready(self) -> None:
        """The account's session opens."""
        session = self.account.session
        self.successResultOf(Deferred.fromCoroutine(session.open(self.venue)))
        self.turn()

    def lose_venue(self, reason: str = "it went") -> None:
        """The connection to the venue ends."""
        self.account.session.closed(ConnectionDone(), reason)

    def spot(self, symbol_id: int, bid: int | None = None, ask: int | None = None) -> None:
        """A price in points; it leaves at the end of the turn."""
        sides = {"bid": bid, "ask": ask}
        event = spot(symbol_id, **{side: one for side, one in sides.items() if one is not None})
        if self.account.session.is_ready:
            updates = spot_updates([event.SerializeToString()], self.now_ms(), str)
            self.account.session.spots(updates)

    def turn(self, seconds: float = 0.0) -> None:
        """Timers run, and sockets that can be written to are."""
        self.clock.advance(seconds)
        for client in self.clients:
            client.wire.turn()

    def client(self, wire: Wire | None = None, visitor: Visitor | None = None) -> Client:
        """A client whose handshake is through; ``visitor``: as whom the door knows it."""
        wire = wire or Wire(self.clock)
        protocol = self.factory.buildProtocol(wire.getPeer())
        wire.protocol = protocol
        protocol.visitor = visitor or Visitor(address="", is_here=True, needs_key=False)
        client = Client(self, wire, protocol)
        self.clients.append(client)
        protocol.makeConnection(wire)
        protocol.dataReceived(HANDSHAKE + b"\r\n")
        for _ in range(3):
            self.turn()
        head, _, rest = wire.kernel.octets.partition(b"\r\n\r\n")
        self.assertIn(b" 101 ", head.split(b"\r\n")[0])
        wire.kernel.octets = rest
        wire.kernel.sends = wire.writes = 0
        return client

    def tearDown(self) -> None:
        for client in self.clients:
            client.frames()
            client.wire.lose()
        self.audience.stop()
        self.account.stop()
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.metrics.clients, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
