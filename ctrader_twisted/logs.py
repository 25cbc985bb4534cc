"""What we say about ourselves: log observers, secret values, and the one redaction function."""

from __future__ import annotations

import hmac
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NoReturn, TextIO
from urllib.parse import quote, quote_plus
from uuid import UUID

import msgspec
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    formatEvent,
)
from zope.interface import implementer, provider

from ctrader_twisted import errands

MASK = "********"

# Fields that let a reader follow one matter through many lines; the console shows them last.
CORRELATION = ("account_id", "correlation_id")


class Secret:
    """A credential in memory. Everything that prints it prints ``********``.

    Only ``reveal()`` gives the text. Copies are the value itself; pickling is refused, because a
    pickle is a plain copy on its way to somewhere else.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a Secret holds text")
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __repr__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# -- redaction ------------------------------------------------------------------------------------

_CREDENTIAL = (
    r"(?:[A-Za-z0-9_-]*(?:secret|token|password|passwd|passphrase|(?:api|secret|private)[_-]?key)"
    r"|(?:proxy-)?authorization|(?:set-)?cookie|(?:access|refresh) token|client secret)"
)
_CREDENTIAL_NAME = re.compile(_CREDENTIAL, re.IGNORECASE)

# Name, separator, then a value: in escaped quotes (JSON inside JSON), in quotes, or bare.
# The look-behind starts each attempt at the beginning of a word, which keeps long lines linear.
_NAMED_VALUE = re.compile(
    rf"(?<![A-Za-z0-9_-])(?P<name>{_CREDENTIAL}\\*[\"']?\s*(?:=>|[:=])\s*\[?\s*(?:b(?=[\"']))?)"
    r"(?:(?P<escaped>\\+[\"']).*?(?:(?P=escaped)|$)"
    r"|(?P<quote>[\"'])(?:\\.|(?!(?P=quote))[^\\\n])*(?P=quote)?"
    r"|(?:(?:bearer|basic|digest|token)\s+)?[^\s&\"'\\,;)\]}]+)",
    re.IGNORECASE | re.MULTILINE,
)
_BEARER = re.compile(r"\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*")
# Our own API keys, wherever they turn up.
_API_KEY = re.compile(r"\bcts_[A-Za-z0-9_-]{16,}")
_URL_PASSWORD = re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']+(?=@)")

_concealed: set[Secret] = set()


def conceal(*secrets: Secret) -> None:
    """From now on, and for the whole process, mask these values in all that is redacted."""
    _concealed.update(secret for secret in secrets if secret)


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """The text with every known secret, and whatever looks like a credential, masked.

    Known are the given secrets and those told to `conceal`, as they are and as URL, JSON or
    ``repr`` would write them.
    """
    known = frozenset(secret for secret in secrets if secret).union(_concealed)
    if known:
        text = _literal(known).sub(MASK, text)
    text = _NAMED_VALUE.sub(_masked_value, text)
    text = _URL_PASSWORD.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _API_KEY.sub(MASK, text)
    return _JWT.sub(MASK, text)


def _masked_value(match: re.Match[str]) -> str:
    mark = match["escaped"] or match["quote"] or ""
    return f"{match['name']}{mark}{MASK}{mark}"


@lru_cache(maxsize=32)
def _literal(secrets: frozenset[Secret]) -> re.Pattern[str]:
    """One expression for all spellings of all secrets, the longest first."""
    spellings: set[str] = set()
    for secret in secrets:
        value = secret.reveal()
        octets = _octets(value)
        spellings |= {value, quote(octets, safe=""), quote_plus(octets)}
        spellings |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        spellings |= {repr(value)[1:-1], repr(octets)[2:-1]}
    longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    return re.compile("|".join(map(re.escape, longest_first)))


# -- observers ------------------------------------------------------------------------------------


def redacting_observer(observer: ILogObserver, secrets: Sequence[Secret]) -> ILogObserver:
    """An observer in front of `observer` that lets only redacted text and plain fields pass.

    The message and the traceback are formatted here and become the text of the event; objects
    (the failure, the source) stay behind, since whoever formats them later could print a secret.
    """
    return _Redacting(observer, tuple(secrets))


def console_stderr() -> ILogObserver:
    """Readable lines on standard error, from level info; for ``--logger``."""
    return _from_info(_Lines(sys.stderr, console_line))


def json_stderr() -> ILogObserver:
    """One JSON object a line on standard error, from level info; for ``--logger``."""
    return _from_info(_Lines(sys.stderr, json_line))


def console_line(event: LogEvent) -> str:
    """``time LEVEL namespace: message [correlation fields]``; further lines are indented."""
    level = _level(event)
    fields = _plain_fields(event, ())
    # Once is enough for those that stand in the message itself.
    words = str(event.get("log_format"))
    missing = [n for n in CORRELATION if n in fields and f"{{{n}}}" not in words]
    told = " ".join(f"{name}={fields[name]}" for name in missing)
    text = formatEvent(event) + (f" [{told}]" if told else "")
    traceback = _traceback(event)
    # A client's text must neither forge a line of ours nor steer the terminal.
    text = redact(f"{text}\n{traceback}" if traceback else text).translate(_HARMLESS)
    text = text.rstrip("\n").replace("\n", "\n    ")
    return f"{_timestamp(event)} {level.upper():8} {_namespace(event)}: {text}\n"


def json_line(event: LogEvent) -> str:
    """The event as one JSON object: time, level, namespace, message, plain fields, failure."""
    line: dict[str, Any] = {
        "time": _timestamp(event),
        "level": _level(event),
        "namespace": _namespace(event),
        "message": _clean(formatEvent(event), ()),
    }
    traceback = _traceback(event)
    if traceback:
        line["failure"] = _clean(traceback, ())
    for name, value in _plain_fields(event, ()).items():
        line[f"{name}_" if name in line else name] = value
    return msgspec.json.encode(line).decode() + "\n"


@implementer(ILogObserver)
class _Redacting:
    def __init__(self, observer: ILogObserver, secrets: tuple[Secret, ...]) -> None:
        self._observer = observer
        self._secrets = secrets

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        safe: LogEvent = dict(_plain_fields(event, self._secrets))
        safe["log_time"] = event.get("log_time")
        safe["log_level"] = event.get("log_level", LogLevel.info)
        safe["log_namespace"] = _namespace(event)
        safe["log_format"] = "{log_text}"
        safe["log_text"] = redact(text, self._secrets)
        self._observer(safe)


@implementer(ILogObserver)
class _Lines:
    """Writes each event as the text that `render` makes of it, in one write."""

    def __init__(self, stream: TextIO, render: Callable[[LogEvent], str]) -> None:
        # Taken now: Twisted replaces sys.stderr by a file that logs when logging begins.
        self._stream = stream
        self._render = render

    def __call__(self, event: LogEvent) -> None:
        line = self._render(event)
        octets = getattr(self._stream, "buffer", None)
        if octets is None:
            self._stream.write(line)
        else:
            octets.write(line.encode("utf-8", "backslashreplace"))
        self._stream.flush()


def _from_info(observer: ILogObserver) -> ILogObserver:
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    return FilteringLogObserver(observer, [predicate, _says_something])


@provider(ILogFilterPredicate)
def _says_something(event: LogEvent) -> Any:
    """Twisted writes an event without words where somebody took them away."""
    is_empty = event.get("log_format") == "" and event.get("log_failure") is None
    return PredicateResult.no if is_empty else PredicateResult.maybe


# What old-style events and the logger itself put into an event; the message already tells it.
_NOT_FIELDS = frozenset({"format", "isError", "message", "time", "system", "why", "failure"})
_HARMLESS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def _plain_fields(event: LogEvent, secrets: Sequence[Secret]) -> dict[str, Any]:
    """The fields of the event that JSON can hold, masked; objects are left to the message.

    Whatever is logged while a request is served has its correlation id.
    """
    known_as = errands.current()
    fields: dict[str, Any] = {"correlation_id": _clean(known_as, secrets)} if known_as else {}
    for name, value in event.items():
        if name.startswith("log_") or name in _NOT_FIELDS:
            continue
        if value is not None and _CREDENTIAL_NAME.fullmatch(name):
            fields[name] = MASK
        elif value is None or isinstance(value, bool | float):
            fields[name] = value
        elif isinstance(value, int) and not isinstance(value, Enum):
            # 64 bits is all that JSON readers promise.
            fields[name] = value if -(2**63) <= value < 2**63 else str(value)
        elif isinstance(value, str | Enum | Decimal | PurePath | UUID | Secret):
            fields[name] = _clean(value.name if isinstance(value, Enum) else str(value), secrets)
    return fields


def _clean(text: str, secrets: Sequence[Secret]) -> str:
    """Redacted, and without the lone surrogates that UTF-8 cannot write."""
    return redact(text, secrets).encode("utf-8", "backslashreplace").decode()


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    return eventAsText({"log_failure": failure}, includeTimestamp=False, includeSystem=False).strip(
        "\n"
    )


def _timestamp(event: LogEvent) -> str:
    moment = event.get("log_time")
    if not isinstance(moment, int | float):
        return "-"
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    return str(getattr(event.get("log_level"), "name", "info"))


def _namespace(event: LogEvent) -> str:
    return str(event.get("log_namespace") or event.get("log_system") or "-")
