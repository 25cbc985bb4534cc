"""The table of all settings: one row a key, from which everything else follows.

The readers (`sources`) take names and kinds from it, `settings` the values, and the tests
hold the example files against it. A new setting is a row here and a field in `settings`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctrader_twisted.logs import Secret


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be.

    ``allowed`` completes "must be ..."; ``parse`` makes the value of stripped text, or raises
    ValueError without repeating the text. ``wordy``: a good value may be longer than a number.
    """

    allowed: str
    parse: Callable[[str], Any]
    wordy: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. An empty ``default`` means: none, or found out from the others."""

    section: str
    name: str
    environment_name: str
    kind: Kind
    default: str
    why: str
    secret: bool = False

    @property
    def title(self) -> str:
        """As it is called in a sentence: ``[web] ping_s``."""
        return f"[{self.section}] {self.name}"

    @property
    def option(self) -> str:
        """Its name on the command line, without dashes in front."""
        plain = self.name.replace("_", "-")
        return f"{self.section}-{plain}" if self.name in _SHARED_NAMES else plain

    @property
    def secret_place(self) -> str:
        """Advice: where this key may be given, if it is a secret one."""
        name = self.environment_name
        return (
            f"put {name} into .env or the environment, or let {name}_FILE name a file that only "
            "its owner can read"
        )


# In two sections, so the command line needs the section as well.
_SHARED_NAMES = frozenset({"heartbeat_s"})


# -- kinds ----------------------------------------------------------------------------------------


def whole(low: int, high: int) -> Kind:
    """A whole number in plain decimal digits."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def number(high: float, *, low: float = 0, zero: bool = False) -> Kind:
    """A decimal number up to `high`, above `low` (`zero`: `low` itself is allowed too)."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", text):
            raise ValueError
        value = float(text)
        if not low <= value <= high or (value == low and not zero):
            raise ValueError
        return value

    return Kind(
        f"a number from {low:g} to {high:g}" if zero else f"a number above {low:g}, up to {high:g}",
        parse,
    )


def choice(*words: str) -> Kind:
    """One of some words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", parse)


def _parse_flag(text: str) -> bool:
    word = text.lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError


def _parse_host(text: str) -> str:
    if re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?", text):
        return text.lower()
    return str(ipaddress.ip_address(text))


def _parse_identifier(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", text):
        raise ValueError
    return text


def _parse_secret(text: str) -> Secret:
    if not text or not text.isprintable() or len(text) > 8192:
        raise ValueError
    return Secret(text)


def _parse_file(text: str) -> Path:
    if not text.isprintable():
        raise ValueError
    try:
        # Absolute, because a daemon changes its working directory after it has read its settings.
        path = Path(text).expanduser().absolute()
        with path.open("rb"):
            return path
    except (OSError, RuntimeError) as problem:
        raise ValueError from problem


# Endpoint type -> its keyword arguments; one of the names marked by * must be there (a lone word
# in first place counts as the first of them).
_ENDPOINTS = {
    "tcp": "*port interface backlog",
    "tcp6": "*port interface backlog",
    "ssl": "*port interface backlog privateKey certKey extraCertChain sslmethod dhParameters",
    "unix": "*address mode backlog lockfile",
    "systemd": "domain *index *name",
}


def _parse_endpoint(text: str) -> str:
    """A light check of what `twisted.internet.endpoints.serverFromString` takes."""
    kind, *rest = re.split(r"(?<!\\):", text)
    names = _ENDPOINTS.get(kind, "").split()
    needed = [name[1:] for name in names if name.startswith("*")]
    arguments: dict[str, str] = {}
    for position, part in enumerate(rest):
        name, equals, value = part.partition("=")
        if not equals and position == 0 and needed:
            name, value = needed[0], part
        if name not in {known.lstrip("*") for known in names} or name in arguments or not value:
            raise ValueError
        arguments[name] = value
    if not text.isprintable() or not any(name in arguments for name in needed):
        raise ValueError
    if "port" in arguments:
        PORT.parse(arguments["port"])
    return text


PORT = whole(0, 65535)
HOST = Kind("a host name or an IP address, without scheme and port", _parse_host, wordy=True)
ENVIRONMENT = choice("simulator", "demo", "live")
FLAG = Kind("true or false", _parse_flag)
FILE = Kind("the name of a file that can be read", _parse_file, wordy=True)
IDENTIFIER = Kind("printable characters without spaces", _parse_identifier, wordy=True)
SECRET = Kind("one line of printable characters", _parse_secret)
ENDPOINT = Kind(
    "a Twisted endpoint (tcp, tcp6, ssl, unix, systemd) such as tcp:8080:interface=127.0.0.1",
    _parse_endpoint,
    wordy=True,
)


# -- the table ------------------------------------------------------------------------------------


def _key(
    section: str, name: str, kind: Kind, default: str, why: str, environment_name: str = ""
) -> Key:
    environment_name = environment_name or f"CTRADER_STREAM_{section}_{name}".upper()
    return Key(section, name, environment_name, kind, default, why, secret=kind is SECRET)


# fmt: off
KEYS: tuple[Key, ...] = (
    _key("venue", "environment", ENVIRONMENT, "simulator",
         "Which venue: our own simulator, or the broker's demo or live one.", "CTRADER_ENV"),
    _key("venue", "host", HOST, "",
         "Its host; by itself demo.ctraderapi.com, live.ctraderapi.com, or a simulator in-process.",
         "CTRADER_OPENAPI_HOST"),
    _key("venue", "port", PORT, "",
         "Its port; by itself 5035, and any free one for the simulator in-process.",
         "CTRADER_OPENAPI_PORT"),
    _key("venue", "ca_file", FILE, "",
         "A PEM file of authorities to trust instead of the system's, for a venue with its own.",
         "CTRADER_CA_FILE"),
    _key("venue", "client_id", IDENTIFIER, "",
         "The application's client id, from openapi.ctrader.com.", "CTRADER_CLIENT_ID"),
    _key("venue", "client_secret", SECRET, "",
         "The application's client secret.", "CTRADER_CLIENT_SECRET"),
    _key("venue", "access_token", SECRET, "",
         "The access token that the trader has granted to the application.",
         "CTRADER_ACCESS_TOKEN"),
    _key("venue", "account_id", whole(1, 2**63 - 1), "",
         "The trading account id (ctidTraderAccountId, not the trader login).",
         "CTRADER_ACCOUNT_ID"),
    _key("venue", "connect_timeout_s", number(600), "30",
         "Seconds for connecting and logging in together, before we start over."),
    _key("venue", "heartbeat_s", number(25), "10",
         "Seconds between our heartbeats; the venue hangs up after 30 silent ones."),
    _key("venue", "silence_s", number(3600), "60",
         "Seconds without a byte from the venue until we take the connection for dead."),
    _key("venue", "request_timeout_s", number(600), "10",
         "Seconds that the venue has for an answer."),
    _key("venue", "keepalive_s", whole(1, 3600), "10",
         "Idle seconds before TCP itself probes whether the other side is still there."),
    _key("venue", "requests_per_s", number(50), "40",
         "Requests per second; the venue blocks above 50 per connection."),
    _key("venue", "history_per_s", number(5), "4",
         "Historical requests per second; the venue blocks above 5 per connection."),
    _key("venue", "backoff_initial_s", number(600), "1",
         "Seconds to wait before the first new attempt to connect; doubles from then on."),
    _key("venue", "backoff_max_s", number(600), "60",
         "The longest wait between two attempts, in seconds; there is no last attempt."),
    _key("venue", "stable_after_s", number(3600, zero=True), "60",
         "Seconds that a session must stay ready before the waits start small again."),
    _key("venue", "subscribe_batch", whole(1, 1000), "100",
         "Symbols in one subscribe request to the venue."),
    _key("venue", "unsubscribe_grace_s", number(3600, zero=True), "5",
         "Seconds a symbol stays subscribed after its last client went, in case one comes back."),
    _key("venue", "frame_limit_bytes", whole(65536, 2**28), "16777216",
         "The largest frame that we accept; a big symbol list is several MiB."),
    _key("web", "listen", ENDPOINT, "",
         "Where we listen; by itself on ws_port of 127.0.0.1 only. In a container: tcp:port=8080."),
    _key("web", "ws_port", PORT, "8080",
         "The port on 127.0.0.1 when listen is not given; 0 takes any free one.", "WS_PORT"),
    _key("web", "heartbeat_s", number(3600), "10",
         "Seconds after which a client that was sent nothing else is sent a heartbeat."),
    _key("web", "ping_s", number(3600), "20",
         "Seconds between WebSocket pings, which find clients that vanished without a word."),
    _key("web", "ping_timeout_s", number(3600), "20",
         "Seconds that a client has to answer a ping before it is dropped."),
    _key("web", "handshake_timeout_s", number(600), "10",
         "Seconds for the opening and for the closing handshake of a WebSocket."),
    _key("web", "outbox_bytes", whole(1024, 2**30), "1048576",
         "Bytes that may wait for one client before it is closed as too slow (4413)."),
    _key("web", "outbox_age_s", number(3600), "5",
         "Seconds that a client may read nothing while something waits for it (4413)."),
    _key("web", "window_ms", number(1000, zero=True), "0",
         "Milliseconds in which ticks are gathered into one write; 0 delays nothing."),
    _key("web", "frame_bytes", whole(1024, 2**24), "65536",
         "The largest message that a client may send (1009)."),
    _key("web", "symbols_per_client", whole(1, 100_000), "500",
         "Symbols that one client may subscribe to."),
    _key("web", "messages_per_s", number(100_000), "50",
         "Messages per second that one client may send."),
    _key("web", "clients", whole(1, 1_000_000), "10000",
         "Clients at one time; more are sent away (1013). Each needs a file descriptor."),
    _key("web", "compression", FLAG, "false",
         "Accept permessage-deflate; long messages are then compressed, ticks stay shared bytes."),
    _key("web", "stop_timeout_s", number(300), "5",
         "Seconds for the whole goodbye to clients and venue when we are told to stop."),
    _key("simulator", "seed", whole(0, 2**63 - 1), "1",
         "The same seed gives the same prices."),
    _key("simulator", "rate", number(100_000, zero=True), "50",
         "Price changes per second, of all symbols together."),
    _key("simulator", "symbols", whole(0, 10_000), "0",
         "Synthetic symbols to add to the usual thirty, for load."),
)
# fmt: on


def describe() -> tuple[Key, ...]:
    """Every setting there is: the rows for documents, for examples and for their tests."""
    return KEYS
