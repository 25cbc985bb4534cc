"""What commands need of a running daemon: where it is, the key to show, and an answer over HTTP.

A plain blocking client, straight to the address: no proxy of the environment, no redirect.
"""

from __future__ import annotations

import argparse
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ctrader_twisted.config_files import may_be_there
from ctrader_twisted.errors import ConfigurationError, CtraderError

TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
KEY_FILE_LIMIT_BYTES = 4096


class NobodyThere(CtraderError):
    """No HTTP answer came; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, and what came with it."""

    status: int
    kind: str
    body: bytes

    @property
    def detail(self) -> str:
        """What a problem says of itself; of anything else, that it is none of ours."""
        try:
            return plain(str(json.loads(self.body)["detail"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return "no problem that we know"

    @property
    def advice(self) -> str:
        """A further sentence if a key is missing or wrong; otherwise empty."""
        return " Name a file with a right key by --key-file." if self.status == 401 else ""


def ask(url: str, path: str, key: str = "") -> Answer:
    """What the daemon at ``url`` answers at ``path``; NobodyThere when it does not."""
    import http.client

    from ctrader_twisted.tls.failures import ConnectFailed

    parts = urlsplit(url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    host, secure = parts.hostname or "", parts.scheme == "https"
    usual = 443 if secure else 80
    connection = http.client.HTTPConnection(host, parts.port or usual)
    connection.default_port = usual  # is left out of the Host header
    try:
        connection.sock = _connected(host, connection.port, secure)
        connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_LIMIT_BYTES)
        return Answer(answer.status, answer.headers.get("Content-Type", ""), body)
    except ConnectFailed as error:
        raise NobodyThere(plain(str(error))) from None
    except (OSError, UnicodeError) as error:
        raise NobodyThere(plain(getattr(error, "strerror", None) or str(error))) from None
    except http.client.HTTPException:
        # Its text would be what the stranger said.
        raise NobodyThere("what listens there speaks no HTTP") from None
    finally:
        connection.close()


def _connected(host: str, port: int, secure: bool) -> Any:
    """Return a socket, or a `BlockingTls`; ConnectFailed if no address of the host works."""
    from ctrader_twisted.tls.addresses import look_up
    from ctrader_twisted.tls.blocking import open_tcp, open_tls
    from ctrader_twisted.tls.failures import Unreachable

    addresses = look_up(host)
    if not secure:
        return open_tcp(host, port, addresses, timeout_s=TIMEOUT_S)
    tried = open_tls(host, port, addresses, timeout_s=TIMEOUT_S)
    if tried.tls is not None:
        return tried.tls
    if tried.failed:
        raise next(iter(tried.failed.values()))
    raise Unreachable(host, port, tried.unreachable)


def plain(text: str) -> str:
    """The text without anything that a terminal would obey, on one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def read_key(path: Path | None) -> str:
    """The key in a file; empty without one. ConfigurationError when there is none in it."""
    if path is None:
        return ""
    try:
        if stat.S_ISFIFO(path.stat().st_mode) and not str(path).startswith("/dev/"):
            # A pipe of the shell (<(...)) has a writer; a named one could block for ever.
            raise ConfigurationError(f"the key file {path} is a named pipe: name a regular file.")
        with path.open("rb") as stream:
            octets = stream.read(KEY_FILE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no file name"
        raise ConfigurationError(f"the key file {path} cannot be read: {reason}.") from None
    # Nothing else may get into a header; and what is no key is not repeated.
    if not re.fullmatch(rb"[\x21-\x7e]{1,1024}", octets.strip()):
        raise ConfigurationError(
            f"the key file {path} holds no key: that is one line, as `keys add` printed it."
        )
    return octets.strip().decode("ascii")


def sources(
    environ: Mapping[str, str],
    folder: Path,
    tap_conf: Path | None = None,
    dotenv: Path | None = None,
) -> Any:
    """The arguments of `settings.load` for whoever stands in ``folder``; named files come first."""
    usual_conf, usual_dotenv = folder / "tap.conf", folder / ".env"
    return {
        "options": {},
        "environ": environ,
        "tap_conf": tap_conf or (usual_conf if may_be_there(usual_conf) else None),
        "dotenv": dotenv or (usual_dotenv if may_be_there(usual_dotenv) else None),
    }


def our_address(environ: Mapping[str, str], folder: Path, tap_conf: Path | None = None) -> str:
    """``host:port`` of the daemon of this folder, or of the one with that ``tap_conf``;
    ConfigurationError if that is not clear.
    """
    from ctrader_twisted.settings import load_web

    return address_of(load_web(**sources(environ, folder, tap_conf)).listen)


def address_of(listen: str) -> str:
    """``host:port`` behind a Twisted endpoint string of the kinds `tcp` and `tcp6`."""
    from ctrader_twisted.entrance import endpoint_arguments

    given = endpoint_arguments(listen)
    port = given.get("port", given.get("", "0"))
    if given["kind"] == "unix":
        raise ConfigurationError(
            f"the daemon listens on {listen}, which this command cannot ask: if a proxy has an "
            "address for it, give it with --url, otherwise use `curl --unix-socket`."
        )
    if given["kind"] not in {"tcp", "tcp6"} or not port.isdecimal() or int(port) == 0:
        raise ConfigurationError(
            f"the daemon listens on {listen}, which does not tell the address: give it with --url."
        )
    host = given.get("interface", "")
    # "" is every address: of the kind `tcp6` those of IPv6.
    anywhere = "::1" if given["kind"] == "tcp6" else "127.0.0.1"
    host = {"": anywhere, "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{f'[{host}]' if ':' in host else host}:{port}"


# -- arguments ------------------------------------------------------------------------------------


def add_daemon(parser: argparse.ArgumentParser) -> None:
    """``--url`` and ``--key-file`` of a command that asks over HTTP."""
    parser.add_argument(
        "--url",
        type=http_url,
        metavar="HTTP_URL",
        help="the daemon, as http://127.0.0.1:8080 (by default ours)",
    )
    add_key_file(parser)


def add_key_file(parser: argparse.ArgumentParser) -> None:
    """``--key-file``: never the key itself, which other users could read off the command line."""
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="a file with an API key, if one is needed"
    )


def http_url(text: str) -> str:
    """An address that begins with http:// or https://."""
    if "?" in text:
        raise argparse.ArgumentTypeError("is the address of the daemon alone, without a query")
    return address(text, {"http", "https"}, "http://127.0.0.1:8080 or https://example.org")


def websocket_url(text: str) -> str:
    """An address that begins with ws:// or wss://."""
    return address(text, {"ws", "wss"}, "ws://127.0.0.1:8080/ws or wss://example.org/ws")


def address(text: str, schemes: set[str], such_as: str) -> str:
    """A URL of one of the schemes with nothing in it that a command line should not hold."""
    advice = f"must be like {such_as}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    good = host and host != "unix" and port != 0 and text.isascii() and text.isprintable()
    if not good or parts.scheme not in schemes or parts.fragment or " " in text:
        raise argparse.ArgumentTypeError(advice)
    if parts.username is not None or parts.password is not None:
        raise argparse.ArgumentTypeError(
            f"{advice}, without a name or a password, which everyone on the machine could read"
        )
    return text
