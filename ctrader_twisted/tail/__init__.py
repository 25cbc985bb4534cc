"""`ctrader-stream tail`: the ticks of a running daemon, on a terminal or in a pipe.

A client like any other: it knows the tick stream, and nothing of the daemon's inside.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TextIO
from urllib.parse import urlsplit

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall

from ctrader_twisted.tail.connection import TailFactory
from ctrader_twisted.tail.follower import Follower
from ctrader_twisted.tail.rendering import JsonLines, Lines, View
from ctrader_twisted.tail.screen import PAINT_S, Screen
from ctrader_twisted.tls.addresses import Resolver
from ctrader_twisted.tls.endpoint import HostEndpoint
from ctrader_twisted.tls.policy import ClientOptions
from ctrader_twisted.upkeep import in_own_thread

CONNECT_TIMEOUT_S = 10

__all__ = ["make_tail", "make_view"]


def make_tail(
    reactor: Any,
    *,
    url: str,
    symbols: Sequence[str],
    count: int | None,
    as_json: bool,
    out: TextIO,
    err: TextIO,
    environ: Mapping[str, str],
    key: str = "",
) -> Follower:
    """A tail that is ready to start; its `finished` fires with the exit status. ``key`` is shown
    to a daemon that wants one.
    """
    view = make_view(symbols, as_json, out, err, environ)
    endpoint: Any = _endpoint(reactor, url)
    follower = Follower(
        url=url,
        symbols=symbols,
        count=count,
        view=view,
        dial=lambda listener: endpoint.connect(TailFactory(url, listener, reactor, key)),
        clock=reactor,
        rng=random.Random(),
    )
    if isinstance(view, Screen):
        _paint_now_and_then(view, follower, reactor)
    return follower


def make_view(
    symbols: Sequence[str], as_json: bool, out: TextIO, err: TextIO, environ: Mapping[str, str]
) -> View:
    """Lines for a pipe or a dumb terminal, the messages themselves, or a screen."""
    if as_json:
        return JsonLines(out, err)
    if not out.isatty() or environ.get("TERM", "") in {"", "dumb"}:
        return Lines(out, err)
    return Screen(
        out,
        err,
        symbols=symbols,
        size=lambda: os.get_terminal_size(out.fileno()),
        colour=not environ.get("NO_COLOR"),
    )


def _endpoint(reactor: Any, url: str) -> IStreamClientEndpoint:
    """The endpoint to connect to; `wss` verifies the certificate by the system's authorities."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    return HostEndpoint(
        reactor,
        Resolver(partial(in_own_thread, reactor)),
        host,
        parts.port or (443 if secure else 80),
        ClientOptions(host) if secure else None,
        timeout_s=CONNECT_TIMEOUT_S,
    )


def _paint_now_and_then(screen: Screen, follower: Follower, reactor: Any) -> None:
    """Ticks may come by the thousand; eyes need a picture now and then."""

    def paint() -> None:
        try:
            screen.paint(reactor.seconds())
        except OSError as error:
            follower.output_lost(error)

    painting = LoopingCall(paint)
    painting.clock = reactor

    def ended(status: int) -> int:
        if painting.running:
            painting.stop()
        paint()
        return status

    follower.finished.addCallback(ended)
    reactor.callWhenRunning(lambda: painting.start(PAINT_S).addErrback(follower.broke))
