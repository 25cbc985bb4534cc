"""What an operator types between starts: `ctrader-stream keys`, `check-config` and `status`.

Subcommands for `cli`. They print their result on standard output, and what goes wrong is a
ConfigurationError, which `cli` says in one sentence.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ctrader_twisted.asking import (
    Answer,
    NobodyThere,
    add_daemon,
    ask,
    our_address,
    plain,
    read_key,
    sources,
)
from ctrader_twisted.config_files import whole_path
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.terminal import Paint, say

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

SCOPES = ("read", "trade", "admin")


def add_keys(subcommands: Subcommands) -> None:
    """`ctrader-stream keys add|list|revoke`."""
    keys = subcommands.add_parser(
        "keys",
        help="make, list and revoke the API keys that strangers need",
        description=(
            "The API keys of the daemon. They are needed as soon as it listens beyond loopback. A "
            "running daemon takes notice of every change within seconds; nothing is restarted."
        ),
    )
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    add = _action(actions, "add", run_add, "make a key and print it, this once")
    add.add_argument("name", help="whose key it is; must be new")
    add.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        required=True,
        help="what it may do; may be given several times, since no scope implies another",
    )
    add.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="write the key to this new file, for its owner only, instead of printing it",
    )
    _action(actions, "list", run_list, "names, scopes and dates of all keys")
    revoke = _action(actions, "revoke", run_revoke, "take a key away; its clients are shown out")
    revoke.add_argument("name", help="the name that it was made with")


def _action(
    actions: Subcommands, name: str, run: Callable[[argparse.Namespace], int], what: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=f"{what.capitalize()}.")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="the key file; by default keys_file of tap.conf, .env and the environment here",
    )
    parser.set_defaults(run=run)
    return parser


def run_add(arguments: argparse.Namespace) -> int:
    """Make a key and print its text, which is stored nowhere, once."""
    path = key_file(arguments.file)
    made_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if arguments.to is None:
        _add_and_print(path, arguments.name, arguments.scope, made_at)
        told = f"This is the key {arguments.name}; it is stored nowhere, so keep it."
    else:
        _add_and_write(path, arguments.name, arguments.scope, made_at, arguments.to)
        told = f"The key {arguments.name} is in {arguments.to}."
    sys.stderr.write(f"{told}\n")
    if os.geteuid() == 0 and path.stat().st_uid == 0:
        sys.stderr.write(
            f"note: {path} belongs to root: a daemon that runs as another user cannot read it. It "
            "belongs into a folder of that user, such as /var/lib/ctrader-stream.\n"
        )
    return 0


def _add_and_print(path: Path, name: str, scopes: Sequence[str], made_at: str) -> None:
    from ctrader_twisted.web.keys import add_key, revoke_key

    if sys.__stdout__ is None:
        raise ConfigurationError(
            "standard output is closed, so nobody could read the key: no key was made; open it, or "
            "name a file by --to."
        )
    text = add_key(path, name, scopes, made_at)
    try:
        sys.stdout.write(f"{text.reveal()}\n")
        sys.stdout.flush()
    except OSError as error:
        # Nobody has seen it, and nobody ever will.
        why = f"standard output cannot be written ({error.strerror})"
        try:
            revoke_key(path, name)
        except ConfigurationError as trouble:
            raise ConfigurationError(
                f"{why}, and the key {name}, which nobody has seen, cannot be taken out again: "
                f"revoke it. {trouble}"
            ) from None
        raise ConfigurationError(f"{why}: no key was made.") from None


def _add_and_write(path: Path, name: str, scopes: Sequence[str], made_at: str, to: Path) -> None:
    """Write the key to ``to`` and then store it, so that no stored key is left without its text."""
    from ctrader_twisted.web.keys import add_key, new_key

    if to.exists():
        raise ConfigurationError(f"{to} exists already: name a new file.")
    text = new_key()
    try:
        write_new(to, f"{text.reveal()}\n")
    except OSError as error:
        raise ConfigurationError(
            f"{to} cannot be written ({error.strerror}): no key was made."
        ) from None
    try:
        add_key(path, name, scopes, made_at, text)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def write_new(path: Path, text: str) -> None:
    """Create a file with mode 600; FileExistsError if it exists. An OSError leaves no file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def run_list(arguments: argparse.Namespace) -> int:
    """One line a key, with tabs between: name, scopes, when it was made."""
    from ctrader_twisted.web.keys import list_keys

    for key in list_keys(key_file(arguments.file)):
        sys.stdout.write(f"{key.name}\t{','.join(key.scopes)}\t{key.made_at}\n")
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    """Take a key away."""
    from ctrader_twisted.web.keys import revoke_key

    revoke_key(key_file(arguments.file), arguments.name)
    sys.stderr.write(f"The key {arguments.name} is revoked.\n")
    return 0


def key_file(given: Path | None) -> Path:
    """The file that is named, or configured in this folder; ConfigurationError without either."""
    if given is not None:
        try:
            return whole_path(str(given))
        except ValueError:
            return given.absolute()
    from ctrader_twisted.settings import load_web

    web = load_web(**sources(os.environ, Path()))
    if web.keys_file is None:
        raise ConfigurationError(
            "no key file is configured: set keys_file in tap.conf, or "
            "CTRADER_STREAM_WEB_KEYS_FILE, or name one with --file."
        )
    return web.keys_file


# -- check-config ---------------------------------------------------------------------------------


def add_check_config(subcommands: Subcommands) -> None:
    """`ctrader-stream check-config`."""
    parser = subcommands.add_parser(
        "check-config",
        help="print the effective settings and where each comes from",
        description=(
            "Read tap.conf, .env and the environment as the daemon would, and print each setting, "
            "its value and its source: in columns on a terminal, with tabs between in a pipe. "
            "Secrets are masked. Key file and certificates are looked at too; notes, warnings and "
            "the verdict go to standard error."
        ),
        epilog=(
            "Exit status: 0 when the daemon could start with it, 1 with the first mistake. "
            "NO_COLOR turns colours off."
        ),
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of tap.conf")
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="instead of .env")
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="check as the user that runs the daemon (a name or a number); needs root. An "
        "--env-file that this user cannot read is read as root, as systemd reads an "
        "EnvironmentFile",
    )
    parser.set_defaults(run=run_check_config)


def run_check_config(arguments: argparse.Namespace) -> int:
    """Print the settings; ConfigurationError for what would end the start."""
    from twisted.internet.task import Clock

    from ctrader_twisted import check_config
    from ctrader_twisted.entrance import make_doors, too_wide
    from ctrader_twisted.metrics import Metrics
    from ctrader_twisted.settings import explain, load
    from ctrader_twisted.settings.shown import located
    from ctrader_twisted.tls.authorities import read_authorities

    environ, env_file = dict(os.environ), arguments.env_file
    if arguments.user is not None:
        # Everything is imported by now: the user may be unable to read our own files.
        environ, env_file = check_config.become(arguments.user, environ, env_file)
    places = sources(environ, Path(), arguments.config, env_file)
    lines = explain(**places)
    settings = load(**places)
    paint = Paint(sys.stdout, os.environ)
    say(sys.stdout, "".join(f"{line}\n" for line in check_config.shown(lines, paint)))
    files = (places["tap_conf"], places["dotenv"])
    for note in (*settings.notes, *check_config.notes_on_users(arguments.user, settings, files)):
        sys.stderr.write(f"note: {note}\n")
    warnings = [*settings.warnings, *check_config.closed_program(arguments.user)]
    warnings += [f"trusted_proxies is too wide: {reason}" for reason in too_wide(settings.web)]
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    try:
        if settings.venue.ca_file is not None:
            bundle = read_authorities(settings.venue.ca_file)
            if bundle.skipped:
                place, skipped = settings.venue.ca_file, bundle.skipped_shown()
                warnings.append(f"the CA file {place} is not used in full: {skipped}")
                sys.stderr.write(f"warning: {warnings[-1]}\n")
        if not settings.web.listen.startswith("systemd:"):
            # Only systemd can tell where its socket listens.
            make_doors(settings.web, clock=Clock(), metrics=Metrics())
    except ConfigurationError as error:
        raise ConfigurationError(located(str(error), lines)) from None
    check_config.say_verdict(Paint(sys.stderr, os.environ), len(warnings))
    return 0


# -- status ---------------------------------------------------------------------------------------

# Has no series before the first tick, where a counter without one has counted nothing.
AGE = "newest_tick_age_seconds"

# What is shown: label, series (and the value of one of its labels), unit.
SHOWN = (
    ("clients", "clients", ""),
    ("clients whose socket is full", "clients_parked", ""),
    ("symbols subscribed", "subscriptions", ""),
    ("symbols silent though open", "symbols stale", ""),
    ("newest tick, seconds ago", AGE, ""),
    ("ticks received", "ticks_received_total", ""),
    ("ticks written", "ticks_written_total", ""),
    ("ticks conflated", "ticks_conflated_total", ""),
    ("ticks dropped", "ticks_dropped_total", ""),
    ("connections lost", "connections_lost_total", ""),
    ("attempts since it was stable", "reconnect_attempts", ""),
    ("requests pending", "venue_requests_pending", ""),
    ("bytes waiting for clients", "outbox_bytes", ""),
)


def add_status(subcommands: Subcommands) -> None:
    """`ctrader-stream status`."""
    parser = subcommands.add_parser(
        "status",
        help="how is the running daemon?",
        description="What /readyz and /metrics of a running daemon say, readable.",
        epilog="Exit status: 0 when it is ready, 1 when it is not, or does not answer.",
    )
    add_daemon(parser)
    parser.set_defaults(run=run_status)


def run_status(arguments: argparse.Namespace) -> int:
    """Ask, and print."""
    import msgspec

    from ctrader_twisted import contract

    url = arguments.url or f"http://{our_address(os.environ, Path())}"
    key = read_key(arguments.key_file)
    try:
        ready = msgspec.json.decode(_get(url, "/readyz", key).body, type=contract.Readiness)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigurationError(f"what answers at {url} is no ctrader-stream.") from None
    sums = _sums(_get(url, "/metrics", key).body.decode("utf-8", "replace"))
    paint = Paint(sys.stdout, os.environ)
    state = paint.good if ready.ready else paint.bad
    lines = [f"{url}: {plain(ready.env)}, {state(plain(ready.status))}"]
    lines += [f"  {paint.bad(plain(reason))}" for reason in ready.reasons]
    lines += [f"  {label:30} {_number(sums, series)}{unit}" for label, series, unit in SHOWN]
    say(sys.stdout, "".join(f"{line}\n" for line in lines))
    return 0 if ready.ready else 1


def _get(url: str, path: str, key: str) -> Answer:
    """An answer, also one that says 503; ConfigurationError without one."""
    try:
        answer = ask(url, path, key)
    except NobodyThere as reason:
        raise ConfigurationError(f"{url} does not answer ({reason}): is the daemon up?") from None
    if answer.status == 200 or (answer.status == 503 and "problem" not in answer.kind):
        return answer
    raise ConfigurationError(
        f"{url}{path} answers {answer.status}: {answer.detail}.{answer.advice}"
    )


def _number(sums: dict[str, float], series: str) -> str:
    """As people read it, and large ones to the last digit: the books of the ticks must balance."""
    if series == AGE and AGE not in sums:
        return "-"
    number = sums.get(series, 0.0)
    return f"{number:.0f}" if number.is_integer() else f"{number:.1f}"


def _sums(text: str) -> dict[str, float]:
    """Each series of ours, summed over its labels; and as ``name value`` by a label's value."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        match = re.fullmatch(
            r"ctrader_stream_(\w+)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)", line
        )
        if match is not None:
            values = re.findall(r'="((?:[^"\\]|\\.)*)"', match[2] or "")
            for name in (match[1], *(f"{match[1]} {value}" for value in values)):
                sums[name] = sums.get(name, 0.0) + float(match[3])
    return sums
