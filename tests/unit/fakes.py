"""Stand-ins for the two things that unit tests have not got: a network, and a venue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from twisted.internet.address import IPv4Address
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrader_twisted.accounts import Account
from ctrader_twisted.market.model import Tick
from ctrader_twisted.pb import api_pb2, model_pb2
from ctrader_twisted.wire.codec import HEARTBEAT, Envelope, decode, encode

ACCOUNT = 7001
ADDRESS = IPv4Address("TCP", "127.0.0.1", 5035)


def frame(message: Message, client_message_id: str | None = None) -> bytes:
    """One message as it stands on the wire, its four length bytes included."""
    body = encode(message, client_message_id)
    return len(body).to_bytes(4, "big") + body


def refusal_of(code: str, description: str = "", **more: Any) -> Message:
    """A ProtoOAErrorRes."""
    return api_pb2.ProtoOAErrorRes(errorCode=code, description=description, **more)


class Recorder:
    """Any listener: remembers (name, arguments) of every call, and can react to it."""

    def __init__(self, **reactions: Callable[..., Any]) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.reactions = reactions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append((name, args))
            return self.reactions[name](*args) if name in self.reactions else None

        return call

    def names(self) -> list[str]:
        """What was called, in order."""
        return [name for name, _ in self.calls]

    def all(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of ``name``."""
        return [args for called, args in self.calls if called == name]

    def last(self, name: str) -> tuple[Any, ...]:
        """The arguments of the newest call of ``name``."""
        return self.all(name)[-1]

    def clear(self) -> None:
        """Forget all calls so far."""
        self.calls.clear()


class Wire(StringTransport):
    """A TCP connection in memory, and the venue's hands on its other end.

    As in Twisted, aborting tells the protocol in the next turn of the reactor, and once only.
    """

    def __init__(self, clock: Clock, protocol: Any, lost: Callable[[Failure], None]) -> None:
        super().__init__()
        self.aborted = False
        self.heartbeats = 0
        self._clock = clock
        self._lost = lost
        self._unread = b""
        self._inbox: list[Envelope] = []
        self.protocol = protocol
        protocol.makeConnection(self)

    def abortConnection(self) -> None:
        """End now, without waiting for the peer."""
        if not self.aborted:
            self.aborted = True
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: BaseException | None = None) -> None:
        """The connection is over."""
        if self.connected:
            self.connected = False
            failure = Failure(reason or ConnectionDone())
            self.protocol.connectionLost(failure)
            self._lost(failure)

    # -- the venue's hands

    def read(self) -> list[Envelope]:
        """All requests that were not taken yet; heartbeats are only counted."""
        self._unread += self.value()
        self.clear()
        while len(self._unread) >= 4:
            end = 4 + int.from_bytes(self._unread[:4], "big")
            if len(self._unread) < end:
                break
            envelope = decode(self._unread[4:end])
            self._unread = self._unread[end:]
            if envelope.payload_type == HEARTBEAT:
                self.heartbeats += 1
            else:
                self._inbox.append(envelope)
        return self._inbox

    def take(self, kind: type[Message]) -> Envelope:
        """The oldest request of that kind; KeyError when there is none."""
        for envelope in self.read():
            if isinstance(envelope.message, kind):
                self._inbox.remove(envelope)
                return envelope
        waiting = [type(envelope.message).__name__ for envelope in self._inbox]
        raise KeyError(f"no {kind.__name__} among {waiting}")

    def say(self, message: Message, client_message_id: str | None = None) -> None:
        """Send one message."""
        self.protocol.dataReceived(frame(message, client_message_id))

    def answer(self, kind: type[Message], message: Message) -> Message:
        """Answer the oldest request of ``kind``; gives the request."""
        request = self.take(kind)
        assert request.message is not None
        self.say(message, request.client_message_id)
        return request.message

    def refuse(self, kind: type[Message], code: str, description: str = "", **more: Any) -> Message:
        """Refuse the oldest request of ``kind``; gives the request."""
        return self.answer(kind, refusal_of(code, description, **more))


@implementer(ISSLTransport)
class TlsWire(Wire):
    """The same with TLS, whose handshake has still to be completed."""

    def getPeerCertificate(self) -> None:
        """Nobody asks."""


def plain_wire(clock: Clock, protocol: Any) -> Wire:
    """A connection of its own, without a factory."""
    return Wire(clock, protocol, lambda _: None)


class Connector(BaseConnector):
    """Twisted's connector with its real states, over wires that the test opens."""

    def __init__(self, factory: Any, timeout: float, clock: Clock) -> None:
        super().__init__(factory, timeout, clock)
        self.clock = clock
        self.attempts = 0
        self.wires: list[TlsWire] = []

    def _makeTransport(self) -> Connector:
        self.attempts += 1
        return self

    def failIfNotConnected(self, error: BaseException) -> None:
        """Part of a transport that is still connecting."""
        self.connectionFailed(Failure(error))

    fail = failIfNotConnected

    def accept(self) -> TlsWire:
        """TCP is up."""
        protocol = self.buildProtocol(ADDRESS)
        wire = TlsWire(self.clock, protocol, self.connectionLost)
        self.wires.append(wire)
        return wire

    def open(self) -> TlsWire:
        """TCP and TLS are up."""
        wire = self.accept()
        wire.protocol.handshakeCompleted()
        return wire


class Network:
    """The part of a reactor that connects."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked: list[tuple[str, int, Any, float]] = []

    def connect(
        self, host: str, port: int, factory: Any, contextFactory: Any, timeout: float
    ) -> Connector:
        """As IReactorSSL.connectSSL."""
        self.asked.append((host, port, contextFactory, timeout))
        self.connector = Connector(factory, timeout, self._clock)
        self.connector.connect()
        return self.connector


class Asked:
    """One request that waits for the test to answer it."""

    def __init__(self, message: Any, lane: Any, late: Any = None) -> None:
        self.message = message
        self.lane = lane
        self.late = late
        self.result: Deferred[Any] = Deferred()

    @property
    def ids(self) -> list[int]:
        """The symbol ids in it."""
        return list(self.message.symbolId)


class Asker:
    """The part of a Session that subscriptions use; the test is the venue."""

    account_id = ACCOUNT

    def __init__(self) -> None:
        self.open: list[Asked] = []
        self.total = 0
        self.reopened: list[tuple[str, str]] = []

    def ask(self, message: Message, _: type[Message], lane: Any, late: Any = None) -> Deferred[Any]:
        """Keep the request until it is taken."""
        asked = Asked(message, lane, late=late)
        self.open.append(asked)
        self.total += 1
        return asked.result

    def reopen(self, code: str, reason: str) -> None:
        """The account lost its place."""
        self.reopened.append((code, reason))

    def take(self, kind: type[Message]) -> list[Asked]:
        """All unanswered requests of that kind."""
        found = [asked for asked in self.open if isinstance(asked.message, kind)]
        self.open = [asked for asked in self.open if asked not in found]
        return found


def symbols_answer(names: dict[int, str], account_id: int = ACCOUNT) -> Message:
    """ProtoOASymbolsListRes for ids and names; a name in brackets is a disabled symbol."""
    return api_pb2.ProtoOASymbolsListRes(
        ctidTraderAccountId=account_id,
        symbol=[
            model_pb2.ProtoOALightSymbol(
                symbolId=number, symbolName=name.strip("()"), enabled=not name.startswith("(")
            )
            for number, name in names.items()
        ],
    )


def details_answer(digits: dict[int, int], account_id: int = ACCOUNT) -> Message:
    """ProtoOASymbolByIdRes for ids and their digits."""
    return api_pb2.ProtoOASymbolByIdRes(
        ctidTraderAccountId=account_id,
        symbol=[
            model_pb2.ProtoOASymbol(symbolId=number, digits=places, pipPosition=max(places - 1, 0))
            for number, places in digits.items()
        ],
    )


def spot(symbol_id: int, account_id: int = ACCOUNT, **sides: int) -> Message:
    """ProtoOASpotEvent with the given ``bid``, ``ask``, ``timestamp``."""
    return api_pb2.ProtoOASpotEvent(ctidTraderAccountId=account_id, symbolId=symbol_id, **sides)


def last_tick(account: Account, name: str) -> Tick | None:
    """The newest tick of one symbol."""
    return next(iter(account.last_ticks([name])), None)
