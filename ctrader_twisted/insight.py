"""What operators may look at, wired: the scrape, and the routes that show it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from ctrader_twisted.accounts import Account
from ctrader_twisted.metrics import Metrics
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
        restored_s=account.restored_s,
        budgets_used=application.budgets_used,
        pending=application.pending,
        outboxes=audience.outboxes,
    )
    return Rest(
        state=lambda: account.state,
        environment=environment,
        details=lambda: {"clients": metrics.clients, "subscriptions": account.confirmed()},
        scrape=Scrape(metrics=metrics, gauges=gauges, version=version).text,
        version=version,
    )
