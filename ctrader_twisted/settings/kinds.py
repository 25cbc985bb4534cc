"""What a setting may be: each kind says it in words, and makes the value of a text."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ctrader_twisted.config_files import whole_path
from ctrader_twisted.logs import Secret

# Of a time in seconds or milliseconds, or of a rate per second, if it is not 0.
SMALLEST = 0.001


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be.

    ``allowed`` completes "must be ..."; ``parse`` makes the value of stripped text, or raises
    ValueError without repeating the text. ``wordy``: a good value may be longer than a number.
    """

    allowed: str
    parse: Callable[[str], Any]
    wordy: bool = False


def whole(low: int, high: int) -> Kind:
    """A whole number in plain decimal digits."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def number(high: float, *, zero: bool = False) -> Kind:
    """A decimal number from `SMALLEST` to `high`; `zero`: 0 is allowed too.

    What is smaller keeps the processor busy with nothing as a time, and is no rate.
    """

    def parse(text: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", text):
            raise ValueError
        value = float(text)
        # Of a text such as 1e-999, which is 0 only as a float, the mantissa tells.
        is_zero = not re.search(r"[1-9]", re.split("[eE]", text)[0])
        if not SMALLEST <= value <= high and not (zero and is_zero):
            raise ValueError
        return value

    return Kind(f"a number from {SMALLEST:g} to {high:.15g}{', and 0 as well' * zero}", parse)


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
        path = whole_path(text)
        # Not opened here: opening a named pipe would wait for its other end.
        if os.access(path, os.R_OK, effective_ids=True):
            return path
    except OSError as problem:
        raise ValueError from problem
    raise ValueError


# Endpoint type -> its keyword arguments; one of the names marked by * must be there (a lone word
# in first place counts as the first of them).
_ENDPOINTS = {
    "tcp": "*port interface backlog",
    "tcp6": "*port interface backlog",
    "ssl": "*port interface backlog privateKey certKey extraCertChain sslmethod dhParameters",
    "unix": "*address mode backlog lockfile",
    "systemd": "domain *index *name",
}
# What Twisted makes a number of only when it opens the port.
_ARGUMENTS = {
    "backlog": "[0-9]{1,9}",
    "domain": "INET6?|UNIX",
    "index": "[0-9]{1,4}",
    "lockfile": "[01]",
    "mode": "[0-7]{3}|0[0-7]{3}",
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
    for name, value in arguments.items():
        if name in _ARGUMENTS and not re.fullmatch(_ARGUMENTS[name], value):
            raise ValueError
    if "port" in arguments:
        PORT.parse(arguments["port"])
    return text


def several(one: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Words between commas or blanks, each as `one` makes it; none at all is fine."""

    def parse(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one(word) for word in re.split(r"[,\s]+", text) if word))

    return parse


def _parse_path(text: str) -> Path:
    if not text.isprintable():
        raise ValueError
    return whole_path(text)


def _parse_origin(text: str) -> str:
    parts = urlsplit(text)
    # Packaged pages have schemes of their own, as capacitor://localhost; a file has no origin.
    if parts.scheme in {"", "file"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError
    if not text.isascii():
        # Browsers say xn--...: a name in other letters would never be met.
        raise ValueError
    if parts.query or parts.fragment or parts.username is not None or "*" in text:
        raise ValueError
    shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = f":{parts.port}" if parts.port not in {None, usual} else ""
    return f"{parts.scheme}://{shown}{port}"


def _parse_network(text: str) -> str:
    return "unix" if text.lower() == "unix" else str(ipaddress.ip_network(text))


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
PATH = Kind("the name of a file", _parse_path, wordy=True)
HOSTS = Kind("host names, with commas between them", several(_parse_host), wordy=True)
ORIGINS = Kind(
    "origins such as https://app.example.com, with commas between them",
    several(_parse_origin),
    wordy=True,
)
ADDRESSES = Kind(
    "IP addresses or networks such as 10.0.0.0/8, or unix, with commas between them",
    several(_parse_network),
    wordy=True,
)
