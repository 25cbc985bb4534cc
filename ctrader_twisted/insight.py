"""Setup of what operators see: log output, Prometheus metrics, and their routes."""

from __future__ import annotations

import platform
from collections.abc import Hashable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

from twisted.logger import ILogObserver

import twisted
from ctrader_twisted.accounts import Account
from ctrader_twisted.diagnosis import Diagnosis
from ctrader_twisted.herald import Herald
from ctrader_twisted.log_writer import lines_lost
from ctrader_twisted.logs import observer_for
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.settings import VenueSettings
from ctrader_twisted.upstream.application import Application
from ctrader_twisted.upstream.connection import Connection
from ctrader_twisted.web.audience import Audience
from ctrader_twisted.web.rest import Rest
from ctrader_twisted.web.scrape import Gauges, Scrape


def our_version() -> str:
    """The version of the installed package; "unknown" when it runs from a bare checkout."""
    try:
        return version_of("ctrader-twisted")
    except PackageNotFoundError:
        return "unknown"


def versions() -> str:
    """The versions of the daemon and its libraries, for the first line of the log."""
    return (
        f"ctrader-stream {our_version()}, Python {platform.python_version()}, "
        f"Twisted {twisted.__version__}"
    )


def log_observer(twistd: Any) -> ILogObserver | None:
    """The log observer for twistd's own options; None if twistd was given a ``--logger``."""
    try:
        return observer_for(twistd)
    except OSError as error:
        raise SystemExit(
            f"ctrader-stream: the log file {error.filename} cannot be written ({error.strerror}): "
            "choose another with --logfile, or a folder in which the daemon may write."
        ) from None


def make_herald(
    venue: VenueSettings, account: Account, connection: Connection, metrics: Metrics, reactor: Any
) -> Herald:
    """Who speaks to the service manager, and what it looks at."""
    factory = connection.factory

    def status() -> str:
        state = account.state
        why = f" ({state.reason})" if state.reason else ""
        return f"{venue.environment}: {state.phase.value}{why}; {metrics.clients} clients"

    def progress() -> Hashable:
        if factory.is_resting():
            # The next attempt has its time, which may be the end of a long maintenance.
            return None
        # By bytes: a long frame over a slow line is progress, and has a bound of its own.
        return metrics.received_at, factory.retries, account.state.phase

    # Within either the venue says something, or the connection is given up and made anew.
    patience_s = 2 * (venue.silence_s + venue.connect_timeout_s)
    return Herald(clock=reactor, status=status, progress=progress, patience_s=patience_s)


def make_rest(
    *,
    environment: str,
    account: Account,
    application: Application,
    connection: Connection,
    audience: Audience,
    metrics: Metrics,
) -> Rest:
    """The routes, with what they ask."""
    version = our_version()
    factory = connection.factory
    gauges = Gauges(
        phase=lambda: account.state.phase,
        is_open=lambda: factory.link is not None,
        attempts=lambda: factory.retries,
        subscriptions=account.confirmed,
        unavailable=account.unavailable,
        restored_s=account.restored_s,
        budgets_used=application.budgets_used,
        pending=application.pending,
        outboxes=audience.outboxes,
        log_lines_lost=lines_lost,
    )
    diagnosis = Diagnosis(
        progress=factory.progress,
        application=application,
        account=account,
        keeps_hours=environment != "simulator",
    )
    audience.trouble = diagnosis.trouble
    return Rest(
        state=lambda: account.state,
        environment=environment,
        details=lambda: {"clients": metrics.clients, "subscriptions": account.confirmed()},
        scrape=Scrape(metrics=metrics, gauges=gauges, version=version).text,
        diagnose=diagnosis.report,
        version=version,
    )
