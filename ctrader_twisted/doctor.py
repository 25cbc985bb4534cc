"""`ctrader-stream doctor`: why do I get no ticks?

A running daemon is asked, since it knows. Without one, what it would need is tried from here:
configuration, name, socket, TLS, credentials, symbol.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import msgspec

from ctrader_twisted import contract
from ctrader_twisted.asking import NobodyThere, ask, plain, sources
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import conceal
from ctrader_twisted.market.links import Holds, Link, first_broken, verdict
from ctrader_twisted.settings import Settings, load
from ctrader_twisted.terminal import Paint, say
from ctrader_twisted.tls.authorities import (
    Authorities,
    Bundle,
    read_authorities,
    system_authorities,
)
from ctrader_twisted.upstream.knock import Door, knock

TIMEOUT_S = 10.0
MARKS = {"ok": "ok", "no": "NO", "unknown": " ?"}
EXIT_BROKEN = 1
USUAL_SYMBOL = "EURUSD"


def run(
    symbol: str | None,
    *,
    url: str,
    is_asked_for: bool,
    key: str,
    as_json: bool,
    out: TextIO,
    err: TextIO,
    tap_conf: Path | None = None,
    dotenv: Path | None = None,
) -> int:
    """Ask the daemon at ``url`` ("": not known), or look ourselves; 0 when no link is broken.

    ``is_asked_for``: the user named that daemon. ``tap_conf`` and ``dotenv``: configuration files
    to use instead of those in the current folder. Without a symbol a default is checked, for which
    it is no fault if it does not exist or if no client wants it.
    """
    name = symbol or USUAL_SYMBOL
    why = "The address of the daemon is not clear"
    report = None
    if url:
        try:
            report = ask_daemon(url, name, key)
        except NobodyThere as reason:
            why = f"no daemon answers at {url} ({reason})"
    if report is None and is_asked_for:
        raise ConfigurationError(f"{why}: is it running, and is that its port?")
    if report is None:
        err.write(f"{why[0].upper()}{why[1:]}, so this is tried from here.\n\n")
        err.flush()
        report = summary(name, list(examine(name, tap_conf, dotenv)))
    if symbol is None:
        report = without_a_name(report)
    if as_json:
        say(out, msgspec.json.encode(report).decode() + "\n")
    else:
        paint = Paint(out, os.environ)
        shown = lines(report, round(time.time() * 1000))
        say(out, "".join(f"{painted(plain(line), paint)}\n" for line in shown))
    return 0 if report.first_broken is None else EXIT_BROKEN


def without_a_name(report: contract.Diagnosis) -> contract.Diagnosis:
    """The report about the default symbol, for which it is no fault if it does not exist or if no
    client wants it.
    """
    is_wanted = any(link.name == "outbox" and link.holds != "unknown" for link in report.links)
    for number, link in enumerate(report.links):
        is_unwanted = link.name == "subscription" and link.code is None and not is_wanted
        if link.name != report.first_broken or not (is_unwanted or link.name == "symbol"):
            continue
        softened = msgspec.structs.replace(link, holds="unknown", advice="")
        return msgspec.structs.replace(
            report,
            ok=True,
            verdict="unknown",
            first_broken=None,
            cause="",
            advice=f"Name a symbol, as in `ctrader-stream doctor {report.symbol}`.",
            links=[*report.links[:number], softened, *report.links[number + 1 :]],
        )
    return report


# -- a daemon that runs ---------------------------------------------------------------------------


def ask_daemon(url: str, symbol: str, key: str) -> contract.Diagnosis:
    """What the daemon says; NobodyThere without an answer, ConfigurationError without a report."""
    answer = ask(url, f"/ctrader/diagnose?symbol={quote(symbol)}", key)
    if answer.status != 200 and "problem" in answer.kind:
        raise ConfigurationError(
            f"the daemon at {url} answers {answer.status}: {answer.detail}.{answer.advice}"
        )
    try:
        return msgspec.json.decode(answer.body, type=contract.Diagnosis)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigurationError(f"what answers at {url} is no ctrader-stream.") from None


# -- without a daemon -----------------------------------------------------------------------------


def examine(
    symbol: str, tap_conf: Path | None = None, dotenv: Path | None = None
) -> Iterator[Link]:
    """Everything that the daemon would need, up to the first thing that is missing."""
    process = Link("process", Holds.NO, cause="no daemon runs here", advice="Start the daemon.")
    try:
        settings = load(**sources(os.environ, Path(), tap_conf, dotenv))
        bundle = read_authorities(settings.venue.ca_file) if settings.venue.ca_file else None
        door = door_of(settings, bundle)
    except ConfigurationError as error:
        yield Link("configuration", Holds.NO, cause=str(error), advice="Correct it as it says.")
        return
    environment = settings.venue.environment
    cause = f"environment {environment}"
    if bundle is not None and bundle.skipped:
        cause += f"; the CA file is not used in full: {bundle.skipped_shown()}"
    yield Link("configuration", Holds.OK, cause=cause)
    if settings.venue.embedded:
        yield process
        return
    broken = False
    for link in knock(door, symbol):
        broken = broken or link.holds is Holds.NO
        yield link
    if not broken:
        yield process


def door_of(settings: Settings, bundle: Bundle | None = None) -> Door:
    """The venue's address and our credentials, by the configuration. ``bundle``: the authorities
    to trust instead of the system's.
    """
    venue = settings.venue
    # The venue may repeat what it was told.
    conceal(*venue.unspeakable())
    authorities: Authorities = system_authorities
    if bundle is not None:
        authorities = lambda: bundle.certificates  # noqa: E731
    return Door(
        host=venue.host,
        port=venue.port,
        authorities=authorities,
        client_id=venue.client_id,
        client_secret=venue.client_secret.reveal(),
        access_token=venue.access_token.reveal(),
        account_id=venue.account_id,
        timeout_s=TIMEOUT_S,
    )


def summary(symbol: str, links: Sequence[Link]) -> contract.Diagnosis:
    """Our own findings in the shape of the daemon's."""
    broken = first_broken(links)
    return contract.Diagnosis(
        symbol=symbol,
        ok=broken is None,
        verdict=verdict(links),
        first_broken=None if broken is None else broken.name,
        cause="" if broken is None else broken.cause,
        advice="" if broken is None else broken.advice,
        links=[
            contract.Link(
                name=link.name,
                holds=link.holds.value,
                cause=link.cause,
                advice=link.advice,
                code=link.code,
            )
            for link in links
        ],
    )


# -- for people -----------------------------------------------------------------------------------


def lines(report: contract.Diagnosis, now_ms: int) -> Iterator[str]:
    """One line a link, and what to do about the first broken one."""
    for link in report.links:
        since = "" if link.since is None else f"since {_ago(link.since, now_ms)}"
        said = "; ".join(filter(None, (link.cause, since)))
        yield f"  {MARKS[link.holds]}  {link.name:<14}{said}".rstrip()
    yield ""
    if report.first_broken is None:
        missing = ", ".join(link.name for link in report.links if link.holds == "unknown")
        well = report.verdict == "ok"
        yield "Every link holds." if well else f"No link is broken; not known yet: {missing}."
        if report.advice:
            yield report.advice
        return
    yield f"The first broken link is {report.first_broken}: {report.cause}"
    yield f"What to do: {report.advice}"


def painted(line: str, paint: Paint) -> str:
    """A line with its mark, or its verdict, in colour."""
    for mark, colour in (("  ok  ", paint.good), ("  NO  ", paint.bad), ("   ?  ", paint.dim)):
        if line.startswith(mark):
            return f"{colour(mark)}{line.removeprefix(mark)}"
    if line.startswith("The first broken link"):
        return paint.bad(line)
    return paint.good(line) if line.startswith(("Every link", "No link")) else line


def _ago(since_ms: int, now_ms: int) -> str:
    moment = datetime.fromtimestamp(since_ms / 1000, UTC)
    seconds = max(0, (now_ms - since_ms) // 1000)
    if seconds < 120:
        return f"{moment:%H:%M:%S} UTC ({seconds} s)"
    if seconds < 7200:
        return f"{moment:%H:%M:%S} UTC ({seconds // 60} min)"
    return f"{moment:%Y-%m-%d %H:%M} UTC ({seconds // 3600} h)"
