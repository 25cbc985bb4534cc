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
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ctrader_twisted.asking import (
    add_daemon,
    add_key_file,
    our_address,
    read_key,
    websocket_url,
)
from ctrader_twisted.chores import add_check_config, add_keys, add_status
from ctrader_twisted.errors import ConfigurationError

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    sys.stdout, sys.stderr = stream(sys.stdout), stream(sys.stderr)
    try:
        arguments = make_parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        status = run(arguments)
        # Who has read enough (`| head`) does not change how it ended.
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        return status
    except ConfigurationError as error:
        return failed(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Who has read enough (`| head`) is no error.
        return 0
    except OSError as error:
        where = error.filename or "standard output"
        return failed(f"{where} cannot be used ({error.strerror or error}).")
    finally:
        forget_unwritten(sys.stdout)


def failed(why: str) -> int:
    """Say it, if somebody listens; the exit status."""
    with suppress(OSError):
        print(f"ctrader-stream: {why}", file=sys.stderr)
    return 1


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="ctrader-stream", description="Commands for the ctrader-stream daemon."
    )
    parser.add_argument("--version", action=Version, help="print the version and exit")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(subcommands)
    return parser


class Version(argparse.Action):
    """Option ``--version``. The version is looked up only if the option is given."""

    def __init__(self, **more: Any) -> None:
        super().__init__(nargs=0, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the version and exit."""
        from ctrader_twisted.insight import our_version

        sys.stdout.write(f"ctrader-stream {our_version()}\n")
        parser.exit()


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
    url = arguments.url or f"ws://{our_address(os.environ, Path())}/ws"
    key = read_key(arguments.key_file)
    from twisted.internet import reactor

    from ctrader_twisted.tail import make_tail

    follower = make_tail(
        reactor,
        url=url,
        key=key,
        symbols=arguments.symbols,
        count=arguments.count,
        as_json=arguments.json,
        out=sys.stdout,
        err=sys.stderr,
        environ=os.environ,
    )
    status = run_until(reactor, follower)
    # Of output that could not be written it has said what there is to say.
    forget_unwritten(sys.stdout)
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
    """A standard stream that takes every name; one that was closed takes it to nowhere."""
    given: TextIO = standard or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(given, TextIOWrapper):
        given.reconfigure(errors="replace")
    return given


def forget_unwritten(out: TextIO) -> None:
    """What a closed pipe did not take must not be tried again while the interpreter ends."""
    try:
        out.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


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
        epilog="Exit status: 0 when no link is broken, 1 when one is. NO_COLOR turns colours off.",
    )
    parser.add_argument(
        "symbol",
        nargs="?",
        metavar="SYMBOL",
        type=symbol,
        help="the symbol; without one EURUSD is looked at, and need not be subscribed",
    )
    add_daemon(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of tap.conf")
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="instead of .env, when no daemon answers"
    )
    parser.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Ask the daemon, or look from here."""
    from ctrader_twisted import doctor

    url = arguments.url
    try:
        url = url or f"http://{our_address(os.environ, Path(), arguments.config)}"
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
        tap_conf=arguments.config,
        dotenv=arguments.env_file,
    )


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


COMMANDS: tuple[Callable[[Subcommands], None], ...] = (
    add_tail,
    add_doctor,
    add_keys,
    add_check_config,
    add_status,
)


if __name__ == "__main__":
    sys.exit(main())
