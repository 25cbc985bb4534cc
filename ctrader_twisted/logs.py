"""Log observers: each event is redacted, escaped, and queued for a thread that writes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from syslog import LOG_CRIT, LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_WARNING
from traceback import format_exception
from types import TracebackType
from typing import Any, cast
from uuid import UUID

import msgspec
from twisted.application.service import MultiService
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    formatEvent,
)
from twisted.python.components import Componentized
from zope.interface import implementer, provider

from ctrader_twisted import errands
from ctrader_twisted.log_targets import LogFile, Stream, Syslog, Target, standard
from ctrader_twisted.log_writer import LogWriter
from ctrader_twisted.redaction import MASK, Secret, conceal, is_credential_name, redact

__all__ = ["MASK", "Secret", "conceal", "redact"]

# Fields that let a reader follow one matter through many lines; the console shows them last.
CORRELATION = ("account_id", "correlation_id")


# -- observers ------------------------------------------------------------------------------------


def redacting_observer(observer: ILogObserver, secrets: Sequence[Secret] = ()) -> ILogObserver:
    """An observer in front of `observer` that lets only redacted text and plain fields pass.

    The message and the traceback are formatted here and become the text of the event; objects
    (the failure, the source) stay behind, since whoever formats them later could print a secret.
    """
    return _Redacting(observer, tuple(secrets))


def console_stderr() -> ILogObserver:
    """Readable lines on standard error, from level info; for ``--logger``."""
    return observer_of(standard(sys.stderr, "standard error"), console_line)


def json_stderr() -> ILogObserver:
    """One JSON object a line on standard error, from level info; for ``--logger``."""
    return observer_of(standard(sys.stderr, "standard error"), json_line)


def observer_for(options: Mapping[str, Any]) -> ILogObserver | None:
    """Return the log observer for twistd's own options; None if twistd should use its own.

    Twistd's observers neither redact nor bound what they write, and its log files rotate
    themselves. Raises OSError if the log file cannot be opened.
    """
    file, in_foreground = options.get("logfile"), options.get("nodaemon") or options.get("debug")
    if options.get("logger") is not None or (file == "-" and not in_foreground):
        return None
    if options.get("syslog"):
        return observer_of(Syslog(options.get("prefix") or "ctrader-stream"), syslog_line)
    if file == "-" or (in_foreground and not file):
        return observer_of(standard(sys.stdout, "standard output"), console_line)
    return observer_of(LogFile(file or "twistd.log"), console_line)


class LoggingService(MultiService):
    """A service that sets the log observer of its application, if ``log_observer`` is set."""

    log_observer: ILogObserver | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Add the service to its parent; an application, which twistd asks for it, gets the
        observer.
        """
        super().setServiceParent(parent)
        if self.log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log_observer)


def mask_uncaught() -> None:
    """Mask secrets in the traceback of an exception that ends the process before it logs."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = _clean("".join(format_exception(kind, error, trace)), ())
        if sys.stderr is not None:
            sys.stderr.write(text)

    sys.excepthook = show


def observer_of(
    target: Target | Stream, render: Callable[[LogEvent], str], level: Any = LogLevel.info
) -> ILogObserver:
    """An observer that writes lines made by ``render`` to ``target`` without waiting for it."""
    predicates = [LogLevelFilterPredicate(defaultLogLevel=level), _says_something]
    if render is not json_line and level >= LogLevel.info:
        predicates.append(_is_for_people)
    writer = target if isinstance(target, Stream) else LogWriter(target, partial(_lost, render))
    return FilteringLogObserver(_Lines(writer, render), predicates)


def console_line(event: LogEvent) -> str:
    """``time LEVEL namespace: message [correlation fields]``; a traceback follows, indented.

    The namespace is that of the module, without the name of our package and of the class.
    """
    return f"{_timestamp(event)} {_level(event).upper():8} {_text_of(event)}\n"


def syslog_line(event: LogEvent) -> str:
    """Like `console_line`, without the time, which syslog adds."""
    return f"{_level(event).upper():8} {_text_of(event)}\n"


def _text_of(event: LogEvent) -> str:
    fields = _plain_fields(event, ())
    # Once is enough for those that stand in the message itself.
    words = str(event.get("log_format"))
    missing = [n for n in CORRELATION if n in fields and f"{{{n}}}" not in words]
    told = " ".join(f"{name}={fields[name]}" for name in missing)
    text = formatEvent(event) + (f" [{told}]" if told else "")
    # A client's text must neither forge a line of ours nor steer the terminal.
    text = _clean(text.rstrip("\n"), ()).replace("\n", "\\n")
    traceback = _clean(_traceback(event), ())
    if traceback:
        text = f"{text}\n{traceback}".replace("\n", "\n    ")
    return f"{_short(_namespace(event))}: {text}"


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
        safe["log_text"] = _clean(text, self._secrets)
        self._observer(safe)


@implementer(ILogObserver)
class _Lines:
    """Observer that renders each event as text and queues it for the writer's thread."""

    def __init__(self, writer: LogWriter | Stream, render: Callable[[LogEvent], str]) -> None:
        self._writer = writer
        self._render = render

    def __call__(self, event: LogEvent) -> None:
        if self._writer.is_full():
            self._writer.drop()
        else:
            line = _encoded(self._render(event))
            self._writer.put(line, _PRIORITIES.get(_level(event), LOG_INFO))


def _lost(render: Callable[[LogEvent], str], lost: int, reason: str) -> bytes:
    """Render the line that reports lost lines, in the place where they are missing."""
    made: list[LogEvent] = []
    # Not published, since the line is for this target only, and for this place in it.
    log = Logger(namespace=__name__, observer=cast(ILogObserver, made.append))
    log.warn("{lost} log lines were lost: {reason}", lost=lost, reason=reason)
    return _encoded(render(made[0]))


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


_PRIORITIES = {
    "debug": LOG_DEBUG,
    "info": LOG_INFO,
    "warn": LOG_WARNING,
    "error": LOG_ERR,
    "critical": LOG_CRIT,
}


@provider(ILogFilterPredicate)
def _says_something(event: LogEvent) -> Any:
    """True for events of Twisted that tell nothing: those without text, and its lines at start.

    Twisted names its version, path and reactor before our own first line, which has the versions.
    """
    words = event.get("log_format")
    is_empty = words == "" and event.get("log_failure") is None
    is_preface = words in _PREFACE and _namespace(event).startswith("twisted.scripts.")
    return PredicateResult.no if is_empty or is_preface else PredicateResult.maybe


@provider(ILogFilterPredicate)
def _is_for_people(event: LogEvent) -> Any:
    """False for the requests of a successful log-in: only the JSON log has them."""
    went_well = event.get("lane") == "session" and event.get("outcome", "answered") == "answered"
    return PredicateResult.no if went_well else PredicateResult.maybe


# What old-style events and the logger itself put into an event; the message already tells it.
_NOT_FIELDS = frozenset({"format", "isError", "message", "time", "system", "why", "failure"})
_PREFACE = {
    "twistd {version} ({exe} {pyVersion}) starting up.",
    "reactor class: {reactor}.",
}
# Control characters except line breaks and tabs, which a terminal would obey, and characters that
# are invisible or change the direction of writing, which would mislead a reader.
_INVISIBLE = (
    *(code for code in range(32) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0xAD, 0x61C, 0x180E, 0xFEFF),
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
_HARMLESS = {code: ascii(chr(code))[1:-1] for code in _INVISIBLE} | {
    code: f"\\x{code:02x}" for code in _INVISIBLE if code < 0x100
}
# Characters of a text. Longer texts are cut, since they could fill the queue.
TEXT_LIMIT = 32 * 1024


def _plain_fields(event: LogEvent, secrets: Sequence[Secret]) -> dict[str, Any]:
    """The fields of the event that JSON can hold, masked; objects are left to the message.

    Whatever is logged while a request is served has its correlation id.
    """
    known_as = errands.current()
    fields: dict[str, Any] = {"correlation_id": _clean(known_as, secrets)} if known_as else {}
    for name, value in event.items():
        if name.startswith("log_") or name in _NOT_FIELDS:
            continue
        if value is not None and is_credential_name(name):
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
    """The text redacted, cut, with control characters escaped, and encodable as UTF-8."""
    text = redact(text, secrets)
    if len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}... ({len(text)} characters)"
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_HARMLESS).encode("utf-8", "backslashreplace").decode()


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
    return _clean(str(event.get("log_namespace") or event.get("log_system") or "-"), ())


def _short(namespace: str) -> str:
    """``upstream.requests`` for ``ctrader_twisted.upstream.requests.Requests``."""
    if namespace == "log_legacy":
        return "-"
    short = namespace.removeprefix("ctrader_twisted.").replace("\n", "\\n")
    module, _, name = short.rpartition(".")
    return module if module and name.lstrip("_")[:1].isupper() else short
