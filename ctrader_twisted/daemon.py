"""The daemon as one service: what starts before what, and how it ends.

The end is the harder half. Each step has a bound, so that neither a browser that never answers
nor a venue that never answers can keep the process alive: stop accepting, tell every client,
log out, close, all within the configured time.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import callWithContext

from ctrader_twisted.accepts import Accepts
from ctrader_twisted.accounts import Account
from ctrader_twisted.entrance import server_endpoint
from ctrader_twisted.errors import ConfigurationError, CtraderError
from ctrader_twisted.herald import Herald
from ctrader_twisted.log_targets import write_some
from ctrader_twisted.logs import LoggingService
from ctrader_twisted.upstream.application import Application
from ctrader_twisted.upstream.connection import Connection
from ctrader_twisted.web.audience import Audience
from ctrader_twisted.web.lobby import Lobby

T = TypeVar("T")
BACKLOG = 4096
# Mode of a socket file: its owner and its group may connect.
SOCKET_MODE = "660"


class Door(Service):
    """Our listening port. One that cannot be had ends the process with a sentence.

    ``waits_for_the_fork``: a socket file carries the number of the process that made it, so it
    can only be made by the process that stays.
    """

    log = Logger()

    def __init__(self, *, reactor: Any, listen: str, factory: IProtocolFactory) -> None:
        """``listen`` is a Twisted server endpoint string."""
        self._reactor = reactor
        self._listen = listen
        self._factory = factory
        self._problem: Failure | None = None
        self._port: IListeningPort | None = None
        self._accepts: Accepts | None = None
        self.waits_for_the_fork = listen.startswith("unix:")

    def open(self) -> None:
        """Listen, unless we do; ConfigurationError when that is not possible."""
        if self._port is not None:
            return
        try:
            endpoint = server_endpoint(self._reactor, _with_defaults(self._listen))
            listening = without_twisteds_words(lambda: endpoint.listen(self._factory))
        except OSError as error:
            raise ConfigurationError(_cannot_listen(self._listen, error)) from error
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"cannot listen on {self._listen!r} ({error}): correct `listen`."
            ) from error
        listening.addCallbacks(self._listens, self._cannot)
        if self._problem is not None:
            raise ConfigurationError(_cannot_listen(self._listen, self._problem.value))

    def startService(self) -> None:
        """Say where we are."""
        super().startService()
        if self._port is not None:
            self.log.info("{where}", where=where_to_look(self._port.getHost(), self._listen))

    def address(self) -> Any:
        """Where we listen; None while we do not."""
        return None if self._port is None else self._port.getHost()

    def stopService(self) -> Deferred[None]:
        """Accept nobody any more; who is connected stays."""
        super().stopService()
        port, self._port = self._port, None
        if self._accepts is not None:
            self._accepts.stop()
        stop: Any = _nothing if port is None else port.stopListening
        return maybeDeferred(stop)

    def _listens(self, port: IListeningPort) -> None:
        self._port = port
        self._accepts = Accepts(port, self._reactor)

    def _cannot(self, failure: Failure) -> None:
        self._problem = failure


class Daemon(LoggingService):
    """Everything that runs, in the order in which it starts."""

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        venue: IService | None,
        connection: Connection,
        application: Application,
        account: Account,
        audience: Audience,
        lobby: Lobby,
        herald: Herald,
        door: Door,
        stop_timeout_s: float,
    ) -> None:
        """``venue`` is the embedded one, if any; it must listen before we connect to it."""
        super().__init__()
        self._clock = clock
        self._venue = venue
        self._application = application
        self.audience = audience
        self._lobby = lobby
        self._herald = herald
        self._stop_timeout_s = stop_timeout_s
        self._has_ports = False
        self.connection = connection
        self.account = account
        self.door = door
        for service in (venue, connection, door, herald):
            if service is not None:
                service.setServiceParent(cast(Any, self))

    def take_ports(self) -> None:
        """Listen; ConfigurationError with one sentence when a port cannot be had.

        By itself twistd does that only once it is in the background, where nobody hears it
        complain; so `makeService` calls this before.
        """
        if self._has_ports:
            return
        self._has_ports = True
        if self._venue is not None:
            try:
                without_twisteds_words(self._venue.privilegedStartService)
            except CannotListenError as error:
                raise ConfigurationError(
                    f"the simulator cannot listen on port {error.port} ({error.socketError}): "
                    "choose another CTRADER_OPENAPI_PORT, or leave it out for any free one"
                ) from error
        if not self.door.waits_for_the_fork:
            self.door.open()

    def privilegedStartService(self) -> None:
        """Listen, as far as `take_ports` has not done it."""
        # Not MultiService's: the venue would listen twice.
        Service.privilegedStartService(self)
        try:
            self.take_ports()
            self.door.open()
        except ConfigurationError as error:
            self.log.critical("{error}", error=error)
            if _nobody_reads_stderr():
                # twistd tells it to whoever started us; after a SystemExit it would wait for ever.
                raise
            # The log has taken sys.stderr by now, and Python would show a traceback there.
            with suppress(OSError):
                write_some(2, memoryview(f"ctrader-stream: {error}\n".encode()))
            raise SystemExit(1) from None

    def startService(self) -> None:
        """Start all, and look after the clients from now on."""
        super().startService()
        self.audience.start()

    def stopService(self) -> Deferred[None]:
        """Stop, within the bound whatever happens."""
        # Not MultiService's: it would stop everything at once, and wait without a bound.
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ends = self._clock.seconds() + self._stop_timeout_s
        self._herald.stopService()
        await self._step("stop listening", ends, self.door.stopService)
        await self._step("say goodbye to clients", ends, self._goodbye)
        await self._step("log out", ends, self._log_out)
        self.account.stop()
        await self._step("close the connection", ends, self.connection.stopService)
        if self._venue is not None:
            await self._step("stop the embedded venue", ends, self._venue.stopService)

    def _goodbye(self) -> Deferred[Any]:
        self._lobby.stop()
        # What is left when the time is over is cancelled, and nobody needs to hear of it.
        return DeferredList(self.audience.stop(), consumeErrors=True)

    def _log_out(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._application.log_out())

    async def _step(self, name: str, ends: float, act: Callable[[], Any]) -> None:
        # Half of what is left, so that no step can eat the time of those after it.
        seconds = max(0.05, (ends - self._clock.seconds()) / 2)

        def too_late(*_: object) -> None:
            raise TimeoutError(f"not done within {seconds:.1f} s")

        try:
            await maybeDeferred(act).addTimeout(seconds, cast(Any, self._clock), too_late)
        except (TimeoutError, CtraderError) as error:
            self.log.warn("could not {name}: {error}; going on", name=name, error=error)
        except Exception:
            self.log.failure("could not {name}", name=name)


def _with_defaults(listen: str) -> str:
    """``listen`` with our defaults for the arguments that it leaves out.

    Twisted lets 50 connections wait to be accepted; when a network comes back, or we do,
    thousands of browsers come in the same second, and those beyond wait a second or more.
    """
    if listen.startswith(("tcp:", "tcp6:", "ssl:", "unix:")) and not _has(listen, "backlog"):
        listen = f"{listen}:backlog={BACKLOG}"
    if listen.startswith("unix:") and not _has(listen, "mode"):
        # Twisted's own default lets every user of the machine in.
        listen = f"{listen}:mode={SOCKET_MODE}"
    return listen


def _has(listen: str, argument: str) -> bool:
    # A colon after a backslash is part of a value.
    return re.search(rf"(?<!\\):{argument}=", listen) is not None


def _cannot_listen(listen: str, failure: BaseException | None) -> str:
    """Why, and what to do about it, in a sentence."""
    error = getattr(failure, "socketError", failure)
    number = getattr(error, "errno", None)
    advice = "correct `listen`."
    if number == errno.EADDRINUSE and listen.startswith("unix:"):
        advice = (
            "something is there already: if no other ctrader-stream runs, remove it, or choose "
            "another file."
        )
    elif number == errno.EADDRINUSE:
        advice = "is another ctrader-stream running? Choose another port with WS_PORT or --listen."
    elif number == errno.EACCES:
        advice = "choose a port above 1023, or a folder in which the daemon may write."
    reason = getattr(error, "strerror", None) or str(error)
    if reason == "Cannot acquire lock":
        reason, advice = "another process listens there", "choose another file."
    return f"cannot listen on {listen!r} ({reason}): {advice}"


def where_to_look(address: Any, listen: str) -> str:
    """Where people and programs find us: addresses to click on."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return f"listening on {listen}"
    # Nobody can go to "every address": this machine's own is the one that always works.
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    shown = anywhere.get(host, host)
    place = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
    s = "s" if listen.startswith("ssl:") else ""
    everywhere = ", from other machines too" if host in anywhere else ""
    return f"listening: http{s}://{place}/ and, for prices, ws{s}://{place}/ws{everywhere}"


def without_twisteds_words(act: Callable[[], T]) -> T:
    """Call something, and let nothing into the log of what Twisted itself says meanwhile.

    A port announces itself by the class name of its factory; we say it better.
    """
    return cast(T, callWithContext({"log_format": ""}, act))


def _nobody_reads_stderr() -> bool:
    """True in the background, where twistd has replaced it by the null device."""
    try:
        return os.path.samestat(os.fstat(2), os.stat(os.devnull))
    except OSError:
        return True


def _nothing() -> None:
    return None
