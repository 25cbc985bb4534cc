"""`ctrader-stream`: what a person types. One subcommand is one line in COMMANDS.

Exit status, of every subcommand: 0 for done, 1 for a failure, said in one sentence on standard
error, 2 for a mistake in the command line, 130 and 143 for a Ctrl-C and a termination.

Imports stand inside the functions, so that --help is quick and the reactor is not chosen too early.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from ctrader_twisted.chores import add_check_config, add_keys, add_status
from ctrader_twisted.errors import ConfigurationError

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = make_parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except ConfigurationError as error:
        print(f"ctrader-stream: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="ctrader-stream", description="Commands for the ctrader-stream daemon."
    )
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(subcommands)
    return parser


# -- tail -----------------------------------------------------------------------------------------


def add_tail(subcommands: Subcommands) -> None:
    """`ctrader-stream tail SYMBOL...`."""
    parser = subcommands.add_parser(
        "tail",
        help="print the live ticks of a running daemon",
        description=(
            "Print the live ticks of a running daemon. On a terminal one line per symbol updates "
            "in place; in a pipe each tick is one line: UTC time, symbol, bid and ask, between "
            "tabs. What else there is to say goes to standard error. A lost connection is made "
            "again; a snapshot (the last known tick) counts as a tick."
        ),
        epilog=(
            "Exit status: 0 after --count ticks, or when the reader of the pipe is gone; 1 when "
            "nothing listens, every symbol is refused, or the daemon closes for good; 130 after "
            "Ctrl-C. NO_COLOR turns colours off."
        ),
    )
    parser.add_argument("symbols", nargs="+", metavar="SYMBOL", type=symbol, help="as EURUSD")
    parser.add_argument(
        "--url",
        type=websocket_url,
        metavar="WS_URL",
        help="the daemon's tick stream, as ws://127.0.0.1:8080/ws or wss://example.org/ws (the "
        "certificate is verified); by default where tap.conf, .env and the environment let the "
        "daemon listen",
    )
    add_key_file(parser)
    parser.add_argument("--count", type=positive, metavar="N", help="end after N ticks")
    parser.add_argument("--json", action="store_true", help="print the messages as they came")
    parser.set_defaults(run=run_tail)


def run_tail(arguments: argparse.Namespace) -> int:
    """Follow the symbols until there is a reason to stop."""
    url = arguments.url or default_url(os.environ, Path())
    key = read_key(arguments.key_file)
    from twisted.internet import reactor

    from ctrader_twisted.tail import make_tail

    out, err = stream(sys.stdout), stream(sys.stderr)
    follower = make_tail(
        reactor,
        url=url,
        key=key,
        symbols=arguments.symbols,
        count=arguments.count,
        as_json=arguments.json,
        out=out,
        err=err,
        environ=os.environ,
    )
    status = run_until(reactor, follower)
    forget_unwritten(out)
    return status


def run_until(reactor: Any, follower: Any) -> int:
    """Run the reactor until the follower has finished, or a signal came; the exit status."""
    statuses = []

    def begin() -> None:
        # After the reactor's own, which would end without goodbye and with status 0.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupted)
        follower.start()

    def interrupted(number: int, frame: object) -> None:
        reactor.callFromThread(follower.finish, 128 + number)

    def end(status: int) -> None:
        statuses.append(status)
        reactor.stop()

    follower.finished.addCallback(end)
    reactor.callWhenRunning(begin)
    reactor.run()
    return statuses[0] if statuses else 1


def stream(standard: Any) -> TextIO:
    """A standard stream that takes every symbol's name; one that was closed takes it to nowhere."""
    given: TextIOWrapper = standard or open(os.devnull, "w")  # noqa: SIM115
    given.reconfigure(errors="replace")
    return given


def forget_unwritten(out: TextIO) -> None:
    """What a closed pipe did not take must not be tried again while the interpreter ends."""
    try:
        out.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def default_url(environ: Mapping[str, str], folder: Path) -> str:
    """Where the daemon that is configured in this folder listens; ConfigurationError if unclear."""
    from ctrader_twisted.settings import load_web

    tap_conf, dotenv = folder / "tap.conf", folder / ".env"
    web = load_web(
        options={},
        environ=environ,
        tap_conf=tap_conf if tap_conf.exists() else None,
        dotenv=dotenv if dotenv.exists() else None,
    )
    return url_of(web.listen)


def url_of(listen: str) -> str:
    """The address of the tick stream behind a Twisted endpoint string of the kind `tcp`."""
    kind, *rest = [part.replace("\\", "") for part in re.split(r"(?<!\\):", listen)]
    given: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        given.update({name: value} if equals else {"port": part})
    port = given.get("port", "0")
    if kind != "tcp" or not port.isdecimal() or int(port) == 0:
        raise ConfigurationError(
            f"the daemon listens on {listen}, which does not tell the address: give it with --url, "
            "such as --url ws://127.0.0.1:8080/ws."
        )
    host = given.get("interface", "")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"ws://{f'[{host}]' if ':' in host else host}:{port}/ws"


# -- doctor ---------------------------------------------------------------------------------------


def add_doctor(subcommands: Subcommands) -> None:
    """`ctrader-stream doctor [SYMBOL]`."""
    parser = subcommands.add_parser(
        "doctor",
        help="why do I get no ticks?",
        description=(
            "Say which link of the chain from the daemon to your client is broken, why, and what "
            "to do about it. A running daemon is asked. Without one, configuration, DNS, TLS and "
            "credentials are tried from here, with one short connection to the venue."
        ),
        epilog="Exit status: 0 when no link is broken, 1 when one is.",
    )
    parser.add_argument("symbol", nargs="?", default="EURUSD", metavar="SYMBOL", type=symbol)
    parser.add_argument(
        "--url", metavar="HTTP_URL", help="the daemon, as http://127.0.0.1:8080 (by default ours)"
    )
    add_key_file(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Ask the daemon, or look from here."""
    from ctrader_twisted import doctor

    url = arguments.url
    try:
        url = url or default_url(os.environ, Path()).replace("ws", "http", 1).removesuffix("/ws")
    except ConfigurationError:
        url = ""
    return doctor.run(
        arguments.symbol,
        url=url,
        is_asked_for=bool(arguments.url),
        key=read_key(arguments.key_file),
        as_json=arguments.json,
        out=sys.stdout,
        err=sys.stderr,
    )


def add_key_file(parser: argparse.ArgumentParser) -> None:
    """``--key-file``: never the key itself, which other users could read off the command line."""
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="a file with an API key, if one is needed"
    )


def read_key(path: Path | None) -> str:
    """The key in a file; empty without one. ConfigurationError when it cannot be read."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a key"
        raise ConfigurationError(f"the key file {path} cannot be read: {reason}") from error


# -- kinds of arguments ---------------------------------------------------------------------------


def symbol(text: str) -> str:
    """A symbol's name."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("a symbol needs a name of printable characters")
    return text.strip()


def positive(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!a} is no whole number above 0")
    return int(text)


def websocket_url(text: str) -> str:
    """An address that begins with ws:// or wss://."""
    advice = "must be like ws://127.0.0.1:8080/ws or wss://example.org/ws"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    good = host and host != "unix" and port != 0 and text.isascii() and text.isprintable()
    if not good or parts.scheme not in {"ws", "wss"} or parts.fragment or " " in text:
        raise argparse.ArgumentTypeError(advice)
    if parts.username is not None or parts.password is not None:
        raise argparse.ArgumentTypeError(
            f"{advice}, without a name or a password, which everyone on the machine could read"
        )
    return text


COMMANDS: tuple[Callable[[Subcommands], None], ...] = (
    add_tail,
    add_doctor,
    add_keys,
    add_check_config,
    add_status,
)


if __name__ == "__main__":
    sys.exit(main())
