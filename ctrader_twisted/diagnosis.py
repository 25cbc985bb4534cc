"""Why do I get no ticks? The whole chain, asked from the process to the client's outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgspec import UNSET, UnsetType

from ctrader_twisted import contract
from ctrader_twisted.accounts import Account
from ctrader_twisted.market.links import CHAIN, Holds, Link, first_broken, verdict
from ctrader_twisted.upstream.application import Application
from ctrader_twisted.upstream.progress import Progress


class Diagnosis:
    """Asks each part of the daemon about its links; it holds nothing itself."""

    def __init__(
        self,
        *,
        progress: Progress,
        application: Application,
        account: Account,
        keeps_hours: bool = True,
    ) -> None:
        """``keeps_hours``: a closed market of this venue is silent."""
        self._keeps_hours = keeps_hours
        self._progress = progress
        self._application = application
        self._account = account
        self._now_ms = progress.now_ms
        self._began_ms = self._now_ms()

    def links(self, name: str) -> list[Link]:
        """Every link, in the order of the chain; what follows a broken one is not claimed to hold.

        ``name``: the symbol, in any case; "" for the links up to the account only.
        """
        links = [Link("process", Holds.OK, self._began_ms), *self._way()]
        if name:
            links += map(self._by_its_hours, self._account.links(name, self._now_ms()))
            links.append(self._outbox(name))
        else:
            links.append(self._account.links("", self._now_ms())[0])
        return _in_order(links)

    def report(self, name: str) -> contract.Diagnosis:
        """The answer for people and programs."""
        links = self.links(name)
        broken = first_broken(links)
        return contract.Diagnosis(
            symbol=name,
            ok=broken is None,
            verdict=verdict(links),
            first_broken=None if broken is None else broken.name,
            cause="" if broken is None else broken.cause,
            advice="" if broken is None else broken.advice,
            links=[_shown(link) for link in links],
        )

    def trouble(self) -> contract.Link | UnsetType:
        """The first broken link on the way to the account, for a status; unset: there is none."""
        broken = first_broken(self.links(""))
        return UNSET if broken is None else _shown(broken)

    def _way(self) -> list[Link]:
        socket, tls, application = self._progress.links()
        if application.holds is not Holds.OK and self._application.was_accepted:
            # The application was let in; it is an account on which the attempt hangs, or ended.
            application = Link("application", Holds.OK)
        return [socket, tls, application]

    def _by_its_hours(self, link: Link) -> Link:
        if self._keeps_hours or link.name != "market" or link.holds is not Holds.NO:
            return link
        cause = f"{link.cause}, but the simulated venue sends prices at any hour"
        return Link("market", Holds.OK, cause=cause)

    def _outbox(self, name: str) -> Link:
        ways: Sequence[Any] = self._account.consumers(name)
        if not ways:
            return Link("outbox", Holds.UNKNOWN, cause="no client wants it")
        slow = sum(bool(way.is_parked) for way in ways)
        if not slow:
            return Link("outbox", Holds.OK, cause=f"clients that want it: {len(ways)}")
        return Link(
            "outbox",
            Holds.NO,
            cause=f"{slow} of {len(ways)} clients that want it read more slowly than prices come",
            advice="Read faster, or subscribe to fewer symbols: only the newest price is kept.",
        )


def _in_order(links: list[Link]) -> list[Link]:
    """By the chain; nothing behind the first broken link of the way is claimed to be well."""
    links.sort(key=lambda link: CHAIN.index(link.name))
    broken = first_broken(links)
    if broken is None or CHAIN.index(broken.name) > CHAIN.index("account"):
        return links
    known = links.index(broken)
    return [
        replace(link, holds=Holds.UNKNOWN, cause="", advice="") if number > known else link
        for number, link in enumerate(links)
    ]


def _shown(link: Link) -> contract.Link:
    return contract.Link(
        name=link.name,
        holds=link.holds.value,
        since=link.since_ms,
        cause=link.cause,
        advice=link.advice,
        code=link.code,
        opens=link.opens_ms,
    )
