"""`twistd ctrader-stream`: options in, one service out. Read `compose` from top to bottom.

Options end here: below, every constructor takes plain named arguments.
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.logger import Logger
from twisted.python import usage

from ctrader_twisted import contract, log_writer
from ctrader_twisted.accounts import Account, WatchPolicy
from ctrader_twisted.config_files import may_be_there, trust_user
from ctrader_twisted.daemon import Daemon, Door
from ctrader_twisted.entrance import make_doors, make_front
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.insight import log_observer, make_herald, make_rest, our_version, versions
from ctrader_twisted.logs import Secret, conceal, mask_uncaught
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.settings import (
    Settings,
    VenueSettings,
    WebSettings,
    describe,
    explain,
    load,
)
from ctrader_twisted.settings.files import SecretFile
from ctrader_twisted.settings.shown import located
from ctrader_twisted.tls.addresses import Resolver
from ctrader_twisted.tls.authorities import Authorities, AuthorityFile, parse, system_authorities
from ctrader_twisted.tls.connector import connect_host
from ctrader_twisted.upkeep import (
    Capacity,
    descriptor_limit,
    in_own_thread,
    listen_for_hangup,
    load_late_modules,
    make_room,
)
from ctrader_twisted.upstream.application import Application, Budget
from ctrader_twisted.upstream.connection import Connection, ConnectionPolicy
from ctrader_twisted.web.audience import Audience
from ctrader_twisted.web.fanout import Fanout
from ctrader_twisted.web.lobby import Lobby

if TYPE_CHECKING:
    from ctrader_twisted.simulator.service import Simulator

log = Logger()


class Options(usage.Options):
    """The command line. Secrets have no option: other users can read a command line."""

    synopsis = "[options]"
    longdesc = (
        "Connects to a cTrader venue and serves its prices over WebSocket. Without credentials it "
        "runs a simulated venue of its own. Every option can also be set in tap.conf, .env or the "
        "environment; see tap.conf.example and .env.example."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "the configuration file [default: tap.conf, if it exists]"],
        ["env-file", "e", None, "the file with credentials [default: .env, if it exists]"],
        *([key.option, None, None, key.why] for key in describe() if not key.secret),
    ]

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"ctrader-stream {our_version()}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read every source; one that is wrong ends the process with one sentence."""
        if self.parent and self.parent.get("uid") is not None:
            # twistd changes to this user only later, and files are read again after that.
            trust_user(self.parent["uid"])
        given = {key.option: self[key.option] for key in describe() if not key.secret}
        self.sources: dict[str, Any] = {
            "options": given,
            "environ": os.environ,
            "tap_conf": _file(self["config"], "tap.conf"),
            "dotenv": _file(self["env-file"], ".env"),
        }
        try:
            self.settings = load(**self.sources)
        except ConfigurationError as error:
            raise SystemExit(f"ctrader-stream: {error}") from None


def _file(given: str | None, default: str) -> Path | None:
    if given is not None:
        return Path(given)
    # A broken link is a mistake to report, not a missing file.
    return Path(default) if may_be_there(Path(default)) else None


def makeService(options: Options) -> Daemon:
    """The service that twistd runs."""
    from twisted.internet import reactor

    steady_time(reactor)
    in_thread = partial(in_own_thread, reactor)
    reactor.callWhenRunning(calm_garbage_collector)
    settings = options.settings
    conceal(*settings.venue.unspeakable())
    make_room(settings.web.clients)
    load_late_modules()
    listen_for_hangup(reactor)
    mask_uncaught()
    for note in (*settings.notes, f"{venue_note(settings.venue)} ({versions()})"):
        log.info("{note}", note=note)
    for warning in settings.warnings:
        log.warn("{warning}", warning=warning)
    try:
        daemon = compose(settings, reactor=reactor, in_thread=in_thread)
        daemon.take_ports()
    except ConfigurationError as error:
        sentence = located(str(error), explain(**options.sources))
        raise SystemExit(f"ctrader-stream: {sentence}") from None
    daemon.log_observer = log_observer(options.parent or {})
    # Twistd logs a last line after this trigger and may then end the process by a signal, which
    # skips atexit.
    reactor.addSystemEventTrigger("after", "shutdown", log_writer.finish_all)
    return daemon


def venue_note(venue: VenueSettings) -> str:
    """Which venue this is about, for the first lines of the log."""
    if venue.embedded:
        return "environment simulator: the venue runs in this process, and its prices are made up"
    return f"environment {venue.environment}: the venue is {venue.host}, port {venue.port}"


def steady_time(reactor: Any) -> None:
    """Let the reactor's timers follow a clock that nobody can set.

    By default they follow the time of day: one step backwards by an hour, and no heartbeat leaves
    for an hour. Timers that exist already are carried over, with the time that they have left.
    """
    forward_s = time.monotonic() - reactor.seconds()
    for timer in reactor.getDelayedCalls():
        timer.time += forward_s
        timer.seconds = time.monotonic
    reactor.seconds = time.monotonic


def calm_garbage_collector() -> None:
    """Let Python look for cyclic garbage less often, and not in what is there for good.

    A full look stops everything: with thousands of clients, for a tenth of a second, in which no
    tick leaves. We make few cycles, and many objects that live as long as their connection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def now_ms() -> int:
    """The time of day, in ms since the epoch."""
    return time.time_ns() // 1_000_000


def compose(
    settings: Settings,
    *,
    reactor: Any,
    in_thread: Any,
    metrics: Metrics | None = None,
    make_venue: Callable[[Settings, Any], Simulator] | None = None,
) -> Daemon:
    """The daemon, wired. Whoever is below another is handed to it here, and nowhere else."""
    metrics = metrics or Metrics()
    venue, web = settings.venue, settings.web
    doors = make_doors(web, clock=reactor, metrics=metrics)
    simulator = (make_venue or embedded_venue)(settings, reactor) if venue.embedded else None
    lobby = Lobby(doors=doors, clock=reactor, metrics=metrics)
    audience = make_audience(web, venue.environment, metrics, reactor)
    access_token = secret_of(settings, "access_token")
    client_secret = secret_of(settings, "client_secret")
    account = make_account(venue, access_token, audience, metrics, reactor)
    application = make_application(venue, client_secret, account, metrics, reactor)
    connection = make_connection(venue, simulator, application, metrics, reactor, in_thread)
    rest = make_rest(
        environment=venue.environment,
        account=account,
        application=application,
        connection=connection,
        audience=audience,
        metrics=metrics,
    )
    tick_stream = make_tick_stream(web, account, audience, lobby, metrics, reactor)
    site = make_front(web, doors, tick_stream, rest, reactor)
    return Daemon(
        clock=reactor,
        venue=simulator.service(reactor, venue.port) if simulator else None,
        connection=connection,
        application=application,
        account=account,
        audience=audience,
        lobby=lobby,
        herald=make_herald(venue, account, connection, metrics, reactor),
        door=Door(reactor=reactor, listen=web.listen, factory=site),
        stop_timeout_s=web.stop_timeout_s,
    )


def embedded_venue(settings: Settings, reactor: Any) -> Simulator:
    """A venue of our own, in this process, over the same TLS and protobuf as a real one."""
    from ctrader_twisted.simulator.service import Credentials, Simulator

    venue, simulator = settings.venue, settings.simulator
    return Simulator(
        reactor,
        seed=simulator.seed,
        rate=simulator.rate,
        synthetic=simulator.symbols,
        credentials=Credentials(
            client_id=venue.client_id,
            client_secret=venue.client_secret.reveal(),
            access_token=venue.access_token.reveal(),
            account_id=venue.account_id,
        ),
    )


def make_audience(web: WebSettings, environment: str, metrics: Metrics, reactor: Any) -> Audience:
    """Everybody who will be connected, and the fan-out to them."""
    return Audience(
        clock=reactor,
        now_ms=now_ms,
        metrics=metrics,
        fanout=Fanout(clock=reactor, metrics=metrics, window_s=web.window_ms / 1000),
        environment=environment,
        limits=contract.Limits(
            symbols=web.symbols_per_client,
            bytes=web.frame_bytes,
            messages_per_second=web.messages_per_s,
            heartbeat_ms=round(web.heartbeat_s * 1000),
        ),
        clients=min(web.clients, Capacity.of(descriptor_limit()).clients),
        outbox_bytes=web.outbox_bytes,
        outbox_age_s=web.outbox_age_s,
    )


def make_account(
    venue: VenueSettings,
    access_token: Callable[[], str],
    audience: Audience,
    metrics: Metrics,
    reactor: Any,
) -> Account:
    """The one account of the configuration; what it has to say goes to the audience."""
    return Account(
        account_id=venue.account_id,
        access_token=access_token,
        clock=reactor,
        metrics=metrics,
        listener=audience,
        run_id=secrets.token_hex(4),
        batch=venue.subscribe_batch,
        grace_s=venue.unsubscribe_grace_s,
        watch=WatchPolicy(
            source=f"cTrader {venue.environment}",
            stale_after_s=venue.stale_after_s,
            check_s=venue.stale_check_s,
            now_ms=now_ms,
        ),
    )


def secret_of(settings: Settings, name: str) -> Callable[[], str]:
    """Return a function that returns a secret's text; it reads a secret file at each call."""
    value: Secret = getattr(settings.venue, name)
    # A simulator in this process accepts the value of the start only.
    given = None if settings.venue.embedded else settings.secret_files.get(name)
    return value.reveal if given is None else SecretFile(given, value, conceal).reveal


def make_application(
    venue: VenueSettings,
    client_secret: Callable[[], str],
    account: Account,
    metrics: Metrics,
    reactor: Any,
) -> Application:
    """Our program at the venue: it logs in, and opens the account's session."""
    return Application(
        client_id=venue.client_id,
        client_secret=client_secret,
        sessions=[account.session],
        budget=Budget(venue.requests_per_s, venue.history_per_s, venue.request_timeout_s),
        clock=reactor,
        metrics=metrics,
    )


def make_connection(
    venue: VenueSettings,
    simulator: Simulator | None,
    application: Application,
    metrics: Metrics,
    reactor: Any,
    in_thread: Any,
) -> Connection:
    """The one connection to the environment; what it brings goes to the application."""
    port: Callable[[], int] = lambda: simulator.port if simulator else venue.port  # noqa: E731
    authorities: Authorities = system_authorities
    if venue.ca_file is not None:
        authorities = AuthorityFile(venue.ca_file)
    elif simulator is not None:
        own = parse(simulator.ca_pem).certificates
        authorities = lambda: own  # noqa: E731
    policy = ConnectionPolicy(
        connect_timeout_s=venue.connect_timeout_s,
        heartbeat_s=venue.heartbeat_s,
        silence_s=venue.silence_s,
        keepalive_s=venue.keepalive_s,
        backoff_initial_s=venue.backoff_initial_s,
        backoff_max_s=venue.backoff_max_s,
        stable_after_s=venue.stable_after_s,
        frame_limit_bytes=venue.frame_limit_bytes,
        frame_timeout_s=venue.frame_timeout_s,
    )
    return Connection(
        host=venue.host,
        port=port,
        authorities=authorities,
        connect=connect_host(reactor, Resolver(in_thread)),
        clock=reactor,
        policy=policy,
        listener=application,
        metrics=metrics,
        rng=random.Random(),
        now_ms=now_ms,
    )


def make_tick_stream(
    web: WebSettings,
    account: Account,
    audience: Audience,
    lobby: Lobby,
    metrics: Metrics,
    reactor: Any,
) -> Any:
    """The door of the WebSocket clients."""
    from ctrader_twisted.web.tick_stream import TickStreamFactory

    return TickStreamFactory(
        reactor=reactor,
        now_ms=now_ms,
        account=account,
        audience=audience,
        lobby=lobby,
        metrics=metrics,
        messages_per_s=web.messages_per_s,
        ping_s=web.ping_s,
        ping_timeout_s=web.ping_timeout_s,
        handshake_timeout_s=web.handshake_timeout_s,
        compression=web.compression,
    )
