"""Errors for connections that could not be made, each with a plain text and advice.

The daemon, the doctor and the commands use these, so they report one failure in the same words.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from OpenSSL import SSL
from twisted.internet import error as twisted_error

from ctrader_twisted import config_files
from ctrader_twisted.errors import CtraderError

DETAIL_LIMIT = 200

# OpenSSL's reasons for an answer that is not TLS.
_NOT_TLS = (
    "wrong version number",
    "http request",
    "https proxy request",
    "packet length too long",
    "record layer failure",
    "bad record type",
    "unknown protocol",
)
_CLOSED = (
    twisted_error.ConnectionDone,
    twisted_error.ConnectionLost,
    twisted_error.ConnectionAborted,
    ConnectionError,
    SSL.SysCallError,
    SSL.ZeroReturnError,
    EOFError,
)


class ConnectFailed(CtraderError):
    """The connection could not be made, and no data was sent. ``advice`` says what to do."""

    advice = "Check the network, the host and the port."

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice or self.advice


class NameNotResolved(ConnectFailed):
    """The look-up of the host's name returned no address."""

    advice = (
        "Check CTRADER_OPENAPI_HOST (or the address that was given) for typing errors, and the "
        "name server of this machine."
    )

    def __init__(self, host: str, detail: str) -> None:
        super().__init__(f"the name {host} could not be resolved ({printable(detail)})")


class Unreachable(ConnectFailed):
    """No address of the host accepted a TCP connection. ``tried``: the error of each address."""

    advice = (
        "Check that the server runs, CTRADER_OPENAPI_HOST and CTRADER_OPENAPI_PORT (usually 5035; "
        "or the address that was given), and that a firewall lets us out to that port."
    )

    def __init__(self, host: str, port: int, tried: Mapping[str, BaseException]) -> None:
        grouped: dict[str, list[str]] = {}
        for address, cause in tried.items():
            grouped.setdefault(socket_words(cause), []).append(address)
        parts = [
            f"{place(host, port, ', '.join(addresses))}: {words}"
            for words, addresses in grouped.items()
        ]
        super().__init__("; ".join(parts) or f"{place(host, port)}: nothing was tried")
        self.tried = dict(tried)

    @property
    def is_refused(self) -> bool:
        """True if every address refused the connection, so that nothing listens there."""
        refused = (twisted_error.ConnectionRefusedError, ConnectionRefusedError)
        return bool(self.tried) and all(isinstance(one, refused) for one in self.tried.values())


class CertificateRefused(ConnectFailed):
    """The server's certificate was not accepted."""

    def __init__(self, host: str, words: str, detail: str = "", advice: str = "") -> None:
        shown = printable(detail)
        super().__init__(
            f"the certificate of {host} {words}" + (f" ({shown})" if shown else ""), advice
        )


class AuthoritiesUnusable(ConnectFailed):
    """The trusted authorities cannot be read, so no certificate can be accepted."""

    advice = (
        "Check the system's certificates (mostly the package ca-certificates), SSL_CERT_FILE and "
        "SSL_CERT_DIR; they are read again at the next attempt."
    )


class NotTls(ConnectFailed):
    """The server answered, but not by TLS."""

    advice = (
        "Check CTRADER_OPENAPI_PORT (usually 5035) or the address that was given: something else "
        "answers there. A proxy or the login page of a network can do that, too."
    )


class HandshakeClosed(ConnectFailed):
    """The other side closed the connection during the TLS handshake."""

    advice = (
        "No certificate was shown yet, so it is not the cause. Check host and port; a server that "
        "starts, one that blocks this address, a firewall or a proxy in between hang up like this."
    )


class NothingInCommon(ConnectFailed):
    """The TLS handshake failed otherwise, mostly without a common version or cipher suite."""

    advice = (
        "We speak TLS 1.2 and 1.3 with forward-secret AEAD cipher suites only: the owner of the "
        "server has to allow them."
    )


class HandshakeTimeout(ConnectFailed, TimeoutError):
    """The other side accepted the connection, but did not finish the TLS handshake in time."""

    advice = (
        "The server takes the connection and does not answer: check host and port; if they are "
        "right, the server or a firewall in between is in trouble."
    )


def handshake_failure(error: BaseException) -> BaseException:
    """Return our own error for one that ended a TLS handshake; any other error unchanged."""
    if isinstance(error, ConnectFailed):
        return error
    reason = openssl_reason(error) if isinstance(error, SSL.Error) else ""
    if isinstance(error, _CLOSED) or (
        isinstance(error, SSL.Error) and (not reason or "unexpected eof" in reason)
    ):
        return HandshakeClosed("the other side closed the connection during the TLS handshake")
    if not isinstance(error, SSL.Error):
        return error
    if any(words in reason for words in _NOT_TLS):
        return NotTls(f"this is no TLS server, or not its TLS port ({reason})")
    return NothingInCommon(f"TLS could not be agreed with the server ({reason})")


def openssl_reason(error: SSL.Error) -> str:
    """OpenSSL's reasons as text; empty if there are none."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return printable("; ".join(str(entry[-1]) for entry in entries if entry and entry[-1]))


_SOCKET_WORDS: tuple[tuple[tuple[type[BaseException], ...], int, str], ...] = (
    (
        (twisted_error.ConnectionRefusedError, ConnectionRefusedError),
        errno.ECONNREFUSED,
        "nothing listens there (connection refused)",
    ),
    (
        (TimeoutError, twisted_error.TimeoutError),
        errno.ETIMEDOUT,
        "no answer to the connection attempt (timed out)",
    ),
    ((twisted_error.NoRouteError,), errno.ENETUNREACH, "there is no way to that network"),
    ((), errno.EHOSTUNREACH, "there is no way to that host"),
    ((twisted_error.ConnectBindError,), errno.EADDRNOTAVAIL, "no local port is free"),
    ((twisted_error.UserError,), -1, "no answer yet when the attempt was given up"),
)


def socket_words(error: BaseException) -> str:
    """A plain text for why a TCP connection could not be made."""
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    for kinds, its_number, words in _SOCKET_WORDS:
        if isinstance(error, kinds) or number == its_number:
            return words
    return printable(getattr(error, "strerror", None) or str(error)) or type(error).__name__


def place(host: str, port: int, address: str = "") -> str:
    """``host:port``, with the address that was tried if the host is a name."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" + (f" ({address})" if address and address != host else "")


def printable(text: str) -> str:
    """Foreign text for a log line or a terminal: cut, and without control characters."""
    return config_files.printable(text)[:DETAIL_LIMIT]
