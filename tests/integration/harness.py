"""The whole daemon in this process: composed as twistd would, with a venue that can misbehave.

Nothing here sleeps: whoever waits, waits for a thing and has a bound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

from ctrader_twisted.metrics import Metrics
from ctrader_twisted.settings import Settings, load
from ctrader_twisted.simulator.service import Behaviour, Credentials, Identity, Simulator
from ctrader_twisted.tap import compose, in_own_thread
from tests.integration.ticks_client import TicksClient, connect_to

#: Everything that takes minutes in earnest takes fractions of a second here.
IMPATIENT = {
    "ws-port": "0",
    "venue-heartbeat-s": "0.2",
    "silence-s": "1",
    "connect-timeout-s": "1.5",
    "request-timeout-s": "0.8",
    "backoff-initial-s": "0.05",
    "backoff-max-s": "0.2",
    "stop-timeout-s": "2",
    "symbols": "200",
    "rate": "200",
}

#: Refusals of requests that have nothing to do with symbols.
ABOUT_THE_SESSION = {
    "ALREADY_LOGGED_IN",
    "CH_ACCESS_TOKEN_INVALID",
    "CH_CLIENT_AUTH_FAILURE",
    "CH_SERVER_NOT_REACHABLE",
}

SYNTHETIC = [f"SYM{number:03}" for number in range(200)]


async def until(condition: Callable[[], Any], what: str, seconds: float = 8.0) -> Any:
    """Wait until `condition` is true, and return what it says."""
    found: Deferred[Any] = Deferred()

    def look() -> None:
        said = condition()
        if said and not found.called:
            found.callback(said)

    looking = LoopingCall(look)
    looking.start(0.005).addErrback(lambda failure: found.called or found.errback(failure))

    def too_late(*_: Any) -> Any:
        raise TimeoutError(f"{what} was not so within {seconds:g} s")

    try:
        return await found.addTimeout(seconds, reactor, onTimeoutCancel=too_late)
    finally:
        if looking.running:
            looking.stop()


@implementer(ILogObserver)
class LogLines:
    """What is logged while it watches, formatted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Take one event."""
        level = getattr(event.get("log_level"), "name", "info")
        self.lines.append(f"{level} {event.get('log_namespace')}: {formatEvent(event)}")

    def with_words(self, *words: str) -> list[str]:
        """The lines in which all of these words stand."""
        return [line for line in self.lines if all(word in line for word in words)]


class Running:
    """One daemon that runs, its venue (if it is an embedded one) and its clients."""

    def __init__(
        self,
        options: Mapping[str, str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        behaviour: Behaviour | None = None,
        certificate: Any = "good",
        in_thread: Any = None,
    ) -> None:
        given = {**IMPATIENT, **(options or {})}
        self.settings = load(options=given, environ=environ or {}, tap_conf=None, dotenv=None)
        self.metrics = Metrics()
        self.log = LogLines()
        self._behaviour = behaviour or Behaviour()
        self._in_thread = in_thread or partial(in_own_thread, reactor)
        self._certificate: str | Identity = certificate
        self._venue: Simulator | None = None
        self._clients: list[TicksClient] = []

    def _make_venue(self, settings: Settings, clock: Any) -> Simulator:
        venue = settings.venue
        self._venue = Simulator(
            clock,
            seed=settings.simulator.seed,
            rate=settings.simulator.rate,
            synthetic=settings.simulator.symbols,
            behaviour=self._behaviour,
            certificate=self._certificate,
            credentials=Credentials(
                client_id=venue.client_id,
                client_secret=venue.client_secret.reveal(),
                access_token=venue.access_token.reveal(),
                account_id=venue.account_id,
            ),
        )
        return self._venue

    async def __aenter__(self) -> Running:
        globalLogPublisher.addObserver(self.log)
        self.daemon = compose(
            self.settings,
            reactor=reactor,
            in_thread=self._in_thread,
            metrics=self.metrics,
            make_venue=self._make_venue,
        )
        self.daemon.privilegedStartService()
        self.daemon.startService()
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.bye()
        if self.daemon.running:
            await self.daemon.stopService()
        globalLogPublisher.removeObserver(self.log)

    @property
    def venue(self) -> Simulator:
        """The embedded venue, with its ``mischief``."""
        assert self._venue is not None
        return self._venue

    @property
    def port(self) -> int:
        """Where the daemon listens."""
        return int(self.daemon.door.address().port)

    async def client(self, *symbols: str) -> TicksClient:
        """A client that is connected and, if symbols are given, subscribed to them."""
        client = await connect_to(self.port)
        self._clients.append(client)
        if symbols:
            await client.ask("subscribe", "subscribeResponse", symbols=list(symbols))
        return client

    async def get(self, path: str) -> tuple[int, Any]:
        """Status code and body of a GET."""
        return await get(self.port, path)

    async def until_ready(self) -> None:
        """The session is open."""
        await until(lambda: self.daemon.account.state.phase.value == "connected", "ready")

    def asked(self) -> int:
        """How many requests about symbols (digits, spots) were answered, refused, or not."""
        return sum(
            number
            for (name, label), number in self.metrics.all().items()
            if (name in {"requests_answered", "requests_timed_out"} and label != "session")
            or (name == "requests_refused" and label not in ABOUT_THE_SESSION)
        )


async def get(port: int, path: str) -> tuple[int, Any]:
    """Status code and JSON (or text) of a GET on loopback."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    response = await treq.get(f"http://127.0.0.1:{port}{path}", pool=pool, timeout=5)
    text = await response.text()
    kind = (response.headers.getRawHeaders("content-type") or [""])[0]
    return response.code, json.loads(text) if "json" in kind else text
