"""The daemon's whole way to the venue, joined to the simulated one in memory, on one Clock.

No socket, no TLS, no thread: a day passes in a moment. Above the account stands the test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.base import BaseConnector
from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Account, Group, Wanted, WatchPolicy
from ctrader_twisted.market.model import AccountState, FeedNews, SymbolNews, Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.simulator.service import Behaviour, Simulator
from ctrader_twisted.tls.authorities import system_authorities
from ctrader_twisted.upstream.application import Application, Budget
from ctrader_twisted.upstream.connection import Connection, ConnectionPolicy
from ctrader_twisted.wire.codec import decode
from tests.unit.fakes import ADDRESS

log = Logger()

#: A Tuesday, 12:00 UTC: every market of the simulated venue is open.
TUESDAY_MS = 1_750_161_600_000

POLICY = ConnectionPolicy(
    connect_timeout_s=30,
    heartbeat_s=10,
    silence_s=60,
    keepalive_s=10,
    backoff_initial_s=1,
    backoff_max_s=60,
    stable_after_s=60,
    frame_limit_bytes=1 << 24,
    frame_timeout_s=120,
)


class End:
    """One end of a connection in memory: what is written arrives in the next turn, or as fast as
    a slow line lets it.
    """

    bytes_per_s = 0

    def __init__(self, clock: Clock, protocol: Any, ended: Callable[[Failure], None]) -> None:
        self._line, self._sent_at = b"", 0.0
        self._trickling: IDelayedCall | None = None
        self._clock = clock
        self._protocol = protocol
        self._ended = ended
        self._inbox: list[bytes] = []
        self._paused = False
        self._over = False
        self._passes: int | None = None
        self.said = b""
        self.other: End

    def write(self, octets: bytes) -> None:
        """Towards the other end."""
        if self._over:
            return
        if self._passes is not None:
            octets, self._passes = octets[: self._passes], self._passes - len(octets)
        self.said += octets
        if self.bytes_per_s or self._line:
            self._line += octets
            if self._trickling is None:
                self._sent_at = self._clock.seconds()
                self._trickling = self._clock.callLater(0.05, self._trickle)
        else:
            self._clock.callLater(0, self.other.arrive, octets)
        if self._passes is not None and self._passes <= 0:
            self.abortConnection()

    def _trickle(self) -> None:
        # All that waits comes at once when the line is slow no longer.
        now, self._trickling = self._clock.seconds(), None
        size = round(self.bytes_per_s * (now - self._sent_at)) if self.bytes_per_s else None
        piece, self._sent_at = self._line[:size], now
        self._line = self._line[len(piece) :]
        if self._line:
            self._trickling = self._clock.callLater(0.05, self._trickle)
        self.other.arrive(piece)

    def cut_after(self, octets: int | None) -> None:
        """Let that many more bytes pass, wherever in a frame they end; None: all of them."""
        self._passes = octets

    def arrive(self, octets: bytes) -> None:
        """From the other end."""
        if self._paused:
            self._inbox.append(octets)
        elif not self._over:
            self._protocol.dataReceived(octets)

    def end(self, reason: BaseException) -> None:
        """Tell this end that it is over, once."""
        if not self._over:
            self._over = True
            if self._trickling is not None:
                self._trickling.cancel()
            self._trickling, self._line = None, b""
            failure = Failure(reason)
            self._protocol.connectionLost(failure)
            self._ended(failure)

    def loseConnection(self) -> None:
        """Close when all is written."""
        self._clock.callLater(0, self.other.end, ConnectionDone())
        self._clock.callLater(0, self.end, ConnectionDone())

    def abortConnection(self) -> None:
        """Close now."""
        self._clock.callLater(0, self.end, ConnectionAborted())
        self._clock.callLater(0, self.other.end, ConnectionDone())

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing is ever too much."""

    def unregisterProducer(self) -> None:
        """See above."""

    def pauseProducing(self) -> None:
        """Let nothing arrive."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Let it all arrive."""
        self._paused = False
        inbox, self._inbox = self._inbox, []
        for octets in inbox:
            self.arrive(octets)


class Joint(BaseConnector):
    """Twisted's connector with its real states, to a simulator in memory."""

    def __init__(self, factory: Any, timeout: float, clock: Clock, simulator: Simulator) -> None:
        super().__init__(factory, timeout, clock)
        self.clock = clock
        self.simulator = simulator
        # How fast the line is from the venue to us; 0: as fast as anything.
        self.bytes_per_s = 0
        self.attempts: list[float] = []
        self.ends: list[End] = []

    def _makeTransport(self) -> Joint:
        self.attempts.append(self.clock.seconds())
        self.arriving = self.clock.callLater(0.01, self._arrive)
        return self

    def failIfNotConnected(self, error: BaseException) -> None:
        """Part of a transport that is still connecting."""
        if self.arriving.active():
            self.arriving.cancel()
        self.connectionFailed(Failure(error))

    def loseConnection(self) -> None:
        """Part of a transport: there is none before both ends are joined."""

    def requests(self) -> list[str]:
        """The class names of all that we have said, over all connections, but heartbeats."""
        names = []
        for end in self.ends:
            rest = end.said
            while rest:
                stop = 4 + int.from_bytes(rest[:4], "big")
                names.append(type(decode(rest[4:stop]).message).__name__)
                rest = rest[stop:]
        return [name for name in names if name != "ProtoHeartbeatEvent"]

    def _arrive(self) -> None:
        if self.simulator.mischief._links._port_is_closed:
            self.connectionFailed(Failure(ConnectionRefusedError()))
            return
        client: Any = self.buildProtocol(ADDRESS)
        server = self.simulator.factory.buildProtocol(None)
        ours = End(self.clock, client, self.connectionLost)
        theirs = End(self.clock, server, lambda _: None)
        ours.other, theirs.other = theirs, ours
        theirs.bytes_per_s = self.bytes_per_s
        self.ends.append(ours)
        server.makeConnection(theirs)  # type: ignore[arg-type]
        client.makeConnection(ours)


class Floor:
    """What stands above an account in these tests: it remembers all that it is told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.states: list[tuple[float, AccountState]] = []
        self.ticks: list[Tick] = []
        self.news: list[Wanted] = []
        self.withdrawals: list[Wanted] = []
        self.health: list[tuple[float, FeedNews]] = []
        self.symbols: list[tuple[float, SymbolNews]] = []
        self.group: Group | None = None

    def announce(self, state: AccountState) -> None:
        """AccountListener."""
        self.states.append((self._clock.seconds(), state))

    def deliver(self, tick: Tick, groups: Collection[Group]) -> None:
        """AccountListener."""
        self.ticks.append(tick)

    def want_changed(self, consumers: Sequence[Any], wanted: Wanted) -> None:
        """AccountListener."""
        self.news.append(wanted)
        if wanted.is_refused:
            self.withdrawals.append(wanted)

    def feed_health(self, news: FeedNews) -> None:
        """AccountListener."""
        self.health.append((self._clock.seconds(), news))

    def symbol_health(self, consumers: Sequence[Any], news: SymbolNews) -> None:
        """AccountListener."""
        self.symbols.append((self._clock.seconds(), news))

    def join(self, group: Group | None) -> None:
        """Consumer."""
        self.group = group

    def words(self, since: int = 0) -> list[str]:
        """What was announced, as words."""
        return [state.phase.value for _, state in self.states[since:]]


class JoinedCase(SynchronousTestCase):
    """A daemon and its venue. Each test ends with no timer left."""

    accounts: tuple[int, ...] = (1000001,)
    bytes_per_s = 0
    synthetic = 0
    rate = 20.0
    batch = 100
    budget = Budget(requests_per_s=40, history_per_s=4, timeout_s=10)

    def setUp(self) -> None:
        self.clock = Clock()
        self.start_ms = TUESDAY_MS
        self.metrics = Metrics()
        self.behaviour = Behaviour()
        self.token = "simulator-token"
        self.build()

    def now_ms(self) -> int:
        """The time of day."""
        return self.start_ms + round(self.clock.seconds() * 1000)

    def build(self) -> None:
        """Everything, from the venue to the account."""
        self.simulator = Simulator(
            self.clock,
            synthetic=self.synthetic,
            rate=self.rate,
            behaviour=self.behaviour,
            now_ms=self.now_ms,
        )
        self.mischief = self.simulator.mischief
        self.mischief.attach(lambda: succeed(None), lambda: None)
        self.floors = {number: Floor(self.clock) for number in self.accounts}
        self.floor = self.floors[self.accounts[0]]
        everybody = [self.make_account(number) for number in self.accounts]
        self.account = everybody[0]
        self.application = Application(
            client_id="simulator-client",
            client_secret=lambda: "simulator-secret",
            sessions=[account.session for account in everybody],
            budget=self.budget,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.everybody = everybody
        self.connection = Connection(
            host="127.0.0.1",
            port=lambda: 5035,
            authorities=system_authorities,
            connect=self.connect,
            clock=self.clock,
            policy=POLICY,
            listener=self.application,
            metrics=self.metrics,
            rng=random.Random(1),
            now_ms=self.now_ms,
        )

    def make_account(self, number: int) -> Account:
        """One account, whose floor is above it."""
        return Account(
            account_id=number,
            access_token=lambda: self.token,
            clock=self.clock,
            metrics=self.metrics,
            listener=self.floors[number],
            run_id="run",
            batch=self.batch,
            grace_s=5,
            watch=WatchPolicy("cTrader demo", stale_after_s=30, check_s=10, now_ms=self.now_ms),
        )

    def connect(self, host: str, port: int, factory: Any, context: Any, timeout: float) -> Joint:
        """As IReactorSSL.connectSSL."""
        self.joint = Joint(factory, timeout, self.clock, self.simulator)
        self.joint.bytes_per_s = self.bytes_per_s
        self.joint.connect()
        return self.joint

    def start(self, *symbols: str) -> None:
        """Connect, and want these symbols."""
        self.connection.startService()
        self.run_for(0.1)
        if symbols:
            self.want(*symbols)

    def want(self, *symbols: str) -> None:
        """One consumer wants these, too; they are had when this returns."""
        self.account.subscribe(self.floor, symbols)
        self.run_for(1)

    def run_for(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass in small steps."""
        ends = self.clock.seconds() + seconds
        while self.clock.seconds() < ends - 1e-9:
            self.clock.advance(min(step_s, ends - self.clock.seconds()))

    def phase(self) -> str:
        """Where the account stands, in one word."""
        return self.account.state.phase.value

    def tearDown(self) -> None:
        for account in self.everybody:
            account.stop()
        stopped = self.connection.stopService()
        self.run_for(0.1)
        self.successResultOf(stopped)
        for connection in list(self.simulator.venue.connections):
            connection.abort()
        self.run_for(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
