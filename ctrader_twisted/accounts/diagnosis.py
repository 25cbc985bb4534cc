"""Why does an account get no ticks of a symbol? The account's part of the chain."""

from __future__ import annotations

from datetime import UTC, datetime

from ctrader_twisted.accounts.feed import Feed
from ctrader_twisted.market.health import Fresh
from ctrader_twisted.market.hours import DAY_S
from ctrader_twisted.market.links import Holds, Link
from ctrader_twisted.market.model import Phase, Symbol
from ctrader_twisted.refusals import advice_for, has_advice

LOOK_AHEAD_S = 8 * DAY_S
# A tick that is no older proves more than a table of hours.
PROOF_MS = 60_000


def account_links(feed: Feed, name: str, *, is_wanted: bool, now: float, now_ms: int) -> list[Link]:
    """From the account to its last tick. ``name`` in any case; ``now``: the feed's clock;
    ``now_ms``: the time of day.
    """
    return [account_link(feed, now, now_ms), *symbol_links(feed, name, is_wanted, now_ms)]


def account_link(feed: Feed, now: float, now_ms: int) -> Link:
    """Is the account open?"""
    if feed.state.phase is Phase.CONNECTED:
        since_ms = now_ms - round((now - feed.changed_at) * 1000)
        trader = feed.session.trader
        access = f"access: {trader.access}" if trader is not None else ""
        return Link("account", Holds.OK, since_ms, access)
    if feed.trouble is None:
        return Link("account", Holds.UNKNOWN, cause="being opened")
    code, reason, since = feed.trouble
    since_ms = now_ms - round((now - since) * 1000)
    advice = advice_for(code) if has_advice(code) else "It is tried again by itself."
    return Link("account", Holds.NO, since_ms, reason, advice, code)


def symbol_links(feed: Feed, name: str, is_wanted: bool, now_ms: int) -> list[Link]:
    """Symbol, market, subscription, tick."""
    if feed.catalogue is None:
        return [Link(each, Holds.UNKNOWN) for each in ("symbol", "market", "subscription", "tick")]
    symbol = feed.catalogue.by_name(name)
    if symbol is None:
        return [
            _no_symbol(feed, name),
            *(Link(each, Holds.UNKNOWN) for each in ("market", "subscription", "tick")),
        ]
    return [
        _symbol(feed, symbol),
        _market(feed, symbol, now_ms),
        _subscription(feed, symbol, is_wanted),
        _tick(feed, symbol, now_ms),
    ]


def _no_symbol(feed: Feed, name: str) -> Link:
    former = None if feed.catalogue is None else feed.catalogue.former(name)
    if former is not None and feed.catalogue is not None:
        now = feed.catalogue.by_id(former.symbol_id)
        called = "" if now is None else f"; it calls the symbol {now.name} now"
        cause = f"the venue's list has no {former.name} any more{called}{_list_again(feed)}"
        code = "SYMBOL_NOT_LISTED"
        return Link("symbol", Holds.NO, cause=cause, advice=advice_for(code), code=code)
    return Link(
        "symbol",
        Holds.NO,
        cause=f"the account has no symbol called {name!r}",
        advice="Choose one of availableSymbols; brokers spell names in their own ways.",
        code="UNKNOWN_SYMBOL",
    )


def _symbol(feed: Feed, symbol: Symbol) -> Link:
    if not symbol.enabled:
        code, cause = "SYMBOL_DISABLED", f"{symbol.name} is not enabled{_list_again(feed)}"
        return Link("symbol", Holds.NO, cause=cause, advice=advice_for(code), code=code)
    if feed.listing.fault:
        known = f"known by an older list: {feed.listing.fault}{_list_again(feed)}"
        cause = f"{symbol.description}; {known}"
        return Link("symbol", Holds.OK, cause=cause.lstrip("; "))
    if feed.catalogue is not None and feed.catalogue.former(symbol.name) is not None:
        cause = f"not in the venue's newest list, known by an older one{_list_again(feed)}"
        return Link("symbol", Holds.OK, cause=cause)
    return Link("symbol", Holds.OK, cause=symbol.description)


def _list_again(feed: Feed) -> str:
    """The end of a sentence: when the list is requested again; empty if it is not."""
    wait_s = feed.listing.next_s()
    return "" if wait_s is None else f"; the list is asked for again in {max(0.0, wait_s):.0f} s"


def _market(feed: Feed, symbol: Symbol, now_ms: int) -> Link:
    hours = None if feed.watch is None else feed.watch.known_hours(symbol.symbol_id)
    if hours is None:
        return Link("market", Holds.UNKNOWN, cause="the venue has not told its hours yet")
    now_s = now_ms / 1000
    if hours.time_zone in hours.unknown_zones():
        cause = f"its hours are not known: no time zone is called {hours.time_zone[:40]!r}"
        return Link("market", Holds.UNKNOWN, cause=cause)
    opened_at = hours.opened_at(now_s)
    if opened_at is not None:
        return Link("market", Holds.OK, round(opened_at * 1000))
    tick = feed.ticks.last(symbol.symbol_id)
    # The first tick of a life is the venue's greeting, which comes from closed markets, too.
    if tick is not None and tick.seq > 1 and now_ms - tick.received_ms < PROOF_MS:
        return Link("market", Holds.OK, cause="closed by its hours, and yet prices come")
    holiday = hours.holiday(now_s)
    cause = f"closed: {holiday.name}" if holiday else "closed by its weekly hours"
    opens_at = hours.opens_at(now_s, LOOK_AHEAD_S)
    when = (
        "not within eight days"
        if opens_at is None
        else f"{datetime.fromtimestamp(opens_at, UTC):%A %Y-%m-%d %H:%M} UTC"
    )
    opens_ms = None if opens_at is None else round(opens_at * 1000)
    return Link(
        "market", Holds.NO, cause=cause, advice=f"Wait; it opens: {when}.", opens_ms=opens_ms
    )


def _subscription(feed: Feed, symbol: Symbol, is_wanted: bool) -> Link:
    subscriptions = feed.subscriptions
    if subscriptions is None:
        return Link("subscription", Holds.UNKNOWN, cause="follows when the account is open")
    refusal = subscriptions.refusal(symbol.symbol_id)
    if refusal is not None:
        wait_s = subscriptions.next_attempt_s(symbol.symbol_id)
        again = "asked again now" if wait_s is None else f"asked again in {wait_s:.0f} s"
        return Link(
            "subscription",
            Holds.NO,
            cause=f"{refusal}; {again}",
            advice=advice_for(refusal.code),
            code=refusal.code,
        )
    if symbol.symbol_id in subscriptions.confirmed:
        return Link("subscription", Holds.OK)
    if is_wanted:
        return Link(
            "subscription", Holds.NO, cause="asked for, and not confirmed yet", advice="Wait."
        )
    return Link(
        "subscription",
        Holds.NO,
        cause="no client has subscribed to it",
        advice=f'Send {{"type": "subscribe", "symbols": ["{symbol.name}"]}} to /ws.',
    )


def _tick(feed: Feed, symbol: Symbol, now_ms: int) -> Link:
    tick = feed.ticks.last(symbol.symbol_id)
    since_ms = None if tick is None else tick.received_ms
    said = "never one" if tick is None else f"{(now_ms - tick.received_ms) / 1000:.1f} s ago"
    pulse = None if feed.watch is None else feed.watch.health.pulse(symbol.symbol_id)
    if pulse is not None and pulse.state is Fresh.STALE:
        advice = "The way is open and the venue says nothing: ask the broker about this symbol."
        return Link("tick", Holds.NO, since_ms, f"last tick: {said}", advice)
    if tick is None:
        return Link("tick", Holds.UNKNOWN, None, "none yet")
    return Link("tick", Holds.OK, since_ms, f"last tick: {said}")
