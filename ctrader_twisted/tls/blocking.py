"""Blocking TLS client for commands, with the policy, verification and errors of the daemon."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from OpenSSL import SSL

from ctrader_twisted.tls.authorities import Authorities, system_authorities
from ctrader_twisted.tls.failures import (
    ConnectFailed,
    HandshakeTimeout,
    Unreachable,
    handshake_failure,
)
from ctrader_twisted.tls.policy import make_connection

READ_BYTES = 65536
# Seconds that each address gets at least, however many share the timeout.
LEAST_S = 3.0

Result = TypeVar("Result")


def open_tcp(host: str, port: int, addresses: Sequence[str], *, timeout_s: float) -> socket.socket:
    """Connect by TCP to the first address that accepts. Raises Unreachable if none does."""
    tried: dict[str, BaseException] = {}
    for address in addresses:
        try:
            return _connected(address, port, timeout_s=_share(timeout_s, len(addresses)))
        except OSError as error:
            tried[address] = error
    raise Unreachable(host, port, tried)


def _connected(address: str, port: int, *, timeout_s: float) -> socket.socket:
    # Without IPv6 in the kernel there is not even a socket for it.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(timeout_s)
        plain.connect((address, port))
    except BaseException:
        plain.close()
        raise
    return plain


def _share(timeout_s: float, count: int) -> float:
    return min(timeout_s, max(LEAST_S, timeout_s / count))


@dataclass(frozen=True, slots=True)
class Tried:
    """The outcome for each address of a host: those whose TCP failed, those whose TLS failed, and
    the connection to the one that works, if there is one.
    """

    unreachable: dict[str, BaseException]
    failed: dict[str, ConnectFailed]
    address: str = ""
    tls: BlockingTls | None = None


def open_tls(
    host: str,
    port: int,
    addresses: Sequence[str],
    authorities: Authorities = system_authorities,
    *,
    timeout_s: float,
) -> Tried:
    """Try the addresses in turn until one has TCP and verified TLS."""
    tried = Tried({}, {})
    each_s = _share(timeout_s, len(addresses))
    for address in addresses:
        try:
            plain = open_tcp(host, port, [address], timeout_s=each_s)
        except Unreachable as error:
            tried.unreachable.update(error.tried)
            continue
        try:
            return replace(
                tried, address=address, tls=BlockingTls(plain, host, authorities, timeout_s=each_s)
            )
        except ConnectFailed as error:
            plain.close()
            tried.failed[address] = error
    return tried


class BlockingTls:
    """TLS on a connected socket, with the methods of a socket that http.client needs.

    The constructor does the handshake, and raises a `ConnectFailed` unless the certificate is
    valid for ``host``. Operations raise TimeoutError after the timeout of the socket.
    """

    def __init__(
        self,
        plain: socket.socket,
        host: str,
        authorities: Authorities = system_authorities,
        *,
        timeout_s: float,
    ) -> None:
        self._plain = plain
        self._readers = 0
        self._closed = False
        refusals: list[ConnectFailed] = []
        self._tls = make_connection(host, authorities, refusals.append)
        self._tls.set_connect_state()
        self._timeout_s = timeout_s
        try:
            self._run(self._tls.do_handshake)
        except TimeoutError:
            raise HandshakeTimeout(
                f"the TLS handshake was not finished in {timeout_s:g} s"
            ) from None
        except (SSL.Error, OSError, EOFError) as error:
            with suppress(OSError):
                self._flush(time.monotonic() + timeout_s)  # an alert that tells the other side
            raise (refusals[0] if refusals else handshake_failure(error)) from None

    @property
    def version(self) -> str:
        """As TLSv1.3."""
        return self._tls.get_protocol_version_name()

    @property
    def valid_until(self) -> datetime:
        """When the server's certificate expires, in UTC."""
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None  # noqa: S101 (verified, so there is one)
        return certificate.not_valid_after_utc

    # -- as a socket ---------------------------------------------------------------------------

    def settimeout(self, timeout_s: float) -> None:
        """Set the longest wait of each operation, in however many pieces its octets come."""
        self._timeout_s = timeout_s

    def sendall(self, data: Any) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            view = view[self._run(partial(self._tls.send, view.tobytes())) :]

    def recv(self, size: int) -> bytes:
        """Receive some octets; empty at the end of the connection."""
        try:
            return self._run(partial(self._tls.recv, size))
        except (SSL.ZeroReturnError, EOFError):
            return b""
        except SSL.Error as error:
            raise ConnectionError(str(handshake_failure(error))) from None

    def makefile(self, mode: str = "rb", *_: object, **__: object) -> io.BufferedReader:
        """Return a reader; the connection closes only once all readers are closed, too."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the connection once all readers are closed."""
        self._closed = True
        if not self._readers:
            self._plain.close()

    def reader_closed(self) -> None:
        """Count one reader less, and close the connection after the last one."""
        self._readers -= 1
        if self._closed:
            self.close()

    # -- between OpenSSL's buffers and the socket ---------------------------------------------

    def _run(self, operation: Callable[[], Result]) -> Result:
        ends = time.monotonic() + self._timeout_s
        while True:
            try:
                result = operation()
            except SSL.WantReadError:
                self._flush(ends)
                self._fill(ends)
            else:
                self._flush(ends)
                return result

    def _flush(self, ends: float) -> None:
        while True:
            try:
                octets = self._tls.bio_read(READ_BYTES)
            except SSL.WantReadError:
                return
            self._plain.settimeout(_left(ends))
            self._plain.sendall(octets)

    def _fill(self, ends: float) -> None:
        self._plain.settimeout(_left(ends))
        octets = self._plain.recv(READ_BYTES)
        if not octets:
            raise EOFError
        self._tls.bio_write(octets)


def _left(ends: float) -> float:
    return max(0.001, ends - time.monotonic())


class _Reader(io.RawIOBase):
    """Raw stream for http.client over a `BlockingTls`."""

    def __init__(self, tls: BlockingTls) -> None:
        self._source = tls

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some octets into ``buffer``."""
        octets = self._source.recv(len(buffer))
        buffer[: len(octets)] = octets
        return len(octets)

    def close(self) -> None:
        """Release the connection."""
        if not self.closed:
            super().close()
            self._source.reader_closed()
