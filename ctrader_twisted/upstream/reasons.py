"""Texts for the cause of an ended connection to the venue, for logs, statuses and diagnosis."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.tls.failures import NameNotResolved, Unreachable, openssl_reason

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionAborted, "the connection was aborted"),
    (ConnectionDone, "the venue closed the connection"),
    (ConnectionLost, "the connection broke"),
)


def reason_of(cause: BaseException, place: str) -> str:
    """Describe the cause, preceded by ``place`` (host, port, address) unless that is part of it."""
    words = _words(cause)
    if isinstance(cause, (VenueRefusal, NameNotResolved, Unreachable)):
        return words
    return f"{place}: {words}"


def _words(cause: BaseException) -> str:
    if isinstance(cause, SSL.Error):
        reason = openssl_reason(cause)
        return f"TLS failed: {reason}" if reason else "the TLS connection was cut"
    for kind, words in _WORDS:
        if isinstance(cause, kind):
            return words
    return str(cause) or type(cause).__name__
