"""TCP connections without a network: Twisted's own buffering, and a kernel played by the test."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer


class Kernel:
    """The socket's own buffer: takes ``room`` bytes (None: whatever comes)."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.octets = b""
        self.last = b""
        self.sends = 0
        self.error: OSError | None = None
        self.options: list[tuple[int, int, int]] = []

    def send(self, some: bytes) -> int:
        """As socket.send on a non-blocking socket."""
        self.last = some
        if self.error is not None:
            raise self.error
        size = len(some) if self.room is None else min(len(some), self.room)
        if some and not size:
            raise BlockingIOError
        if self.room is not None:
            self.room -= size
        self.octets += bytes(some[:size])
        self.sends += 1
        return size

    def setsockopt(self, level: int, name: int, value: int) -> None:
        """Remembered."""
        self.options.append((level, name, value))


class Wire(FileDescriptor):
    """A TCP connection with Twisted's own buffering, producers and ways to close."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(reactor=self)
        self.socket = self.kernel = Kernel()
        self.clock = clock
        self.connected = 1
        self.protocol: Any = None
        self.writes = 0
        self.is_writing, self.is_reading = False, True
        self.meter = -1

    # -- the part of a reactor that a descriptor uses

    def addWriter(self, _: Any) -> None:
        """It has something to write."""
        self.is_writing = True

    def removeWriter(self, _: Any) -> None:
        """It has not."""
        self.is_writing = False

    def addReader(self, _: Any) -> None:
        """What comes is read (by hand: the test hands it to the protocol)."""
        self.is_reading = True

    def removeReader(self, _: Any) -> None:
        """It is not."""
        self.is_reading = False

    # -- the transport

    def write(self, some: bytes) -> None:
        """Counted, then as Twisted does it."""
        self.writes += 1
        super().write(some)

    def writeSomeData(self, some: bytes) -> int | Exception:
        """Hand bytes to the kernel."""
        try:
            return self.kernel.send(bytes(some))
        except BlockingIOError:
            return 0
        except OSError:
            return ConnectionLost()

    def fileno(self) -> int:
        """What the kernel is asked about."""
        return self.meter

    def getPeer(self) -> IPv4Address:
        """Somebody here."""
        return IPv4Address("TCP", "127.0.0.1", 40000)

    getHost = getPeer

    def abortConnection(self) -> None:
        """As Twisted: the protocol hears of it in the next turn."""
        self.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is gone."""
        if not self.disconnected:
            failure = Failure(reason or ConnectionDone())
            self.connectionLost(failure)
            self.protocol.connectionLost(failure)

    def turn(self) -> None:
        """The kernel says that it can be written to."""
        if self.is_writing and self.connected and self.kernel.room != 0:
            ended = self.doWrite()
            if ended is not None:
                self.lose(ended)

    @property
    def held(self) -> int:
        """Bytes that Twisted keeps for later."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class OpaqueWire(Wire):
    """A transport that may only be written to. Its kernel is out of reach."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.kernel = self.socket
        del self.socket


@implementer(ISSLTransport)
class TlsWire(OpaqueWire):
    """The same by TLS's name."""

    def getPeerCertificate(self) -> None:
        """Nobody asks."""
