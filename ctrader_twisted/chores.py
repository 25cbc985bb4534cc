"""What an operator types between starts: `ctrader-stream keys`.

Subcommands for `cli`. They print their result on standard output, and what goes wrong is a
ConfigurationError, which `cli` says in one sentence.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ctrader_twisted.errors import ConfigurationError

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
    """Make a key; its text is said once."""
    from ctrader_twisted.web.keys import add_key, revoke_key

    path = key_file(arguments.file)
    made_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if arguments.to is not None and arguments.to.exists():
        raise ConfigurationError(f"{arguments.to} exists already: name a new file.")
    text = add_key(path, arguments.name, arguments.scope, made_at)
    if arguments.to is None:
        sys.stdout.write(f"{text.reveal()}\n")
        sys.stderr.write(f"This is the key {arguments.name}; it is stored nowhere, so keep it.\n")
        return 0
    try:
        descriptor = os.open(arguments.to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{text.reveal()}\n")
    except OSError as error:
        revoke_key(path, arguments.name)
        raise ConfigurationError(
            f"{arguments.to} cannot be written ({error.strerror}): no key was made."
        ) from None
    sys.stderr.write(f"The key {arguments.name} is in {arguments.to}.\n")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """One line a key, with tabs between: name, scopes, when it was made."""
    from ctrader_twisted.web.keys import read_keys

    for key in read_keys(key_file(arguments.file)):
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
        return given.absolute()
    from ctrader_twisted.settings import load_web

    tap_conf, dotenv = Path("tap.conf"), Path(".env")
    web = load_web(
        options={},
        environ=os.environ,
        tap_conf=tap_conf if tap_conf.exists() else None,
        dotenv=dotenv if dotenv.exists() else None,
    )
    if web.keys_file is None:
        raise ConfigurationError(
            "no key file is configured: set keys_file in tap.conf, or "
            "CTRADER_STREAM_WEB_KEYS_FILE, or name one with --file."
        )
    return web.keys_file
