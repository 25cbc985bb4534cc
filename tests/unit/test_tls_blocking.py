"""The blocking TLS client, against the other end of a socket pair."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from threading import Event, Thread
from typing import Any
from unittest import mock

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.simulator.certificates import make_identity
from ctrader_twisted.tls.authorities import parse
from ctrader_twisted.tls.blocking import BlockingTls, open_tcp
from ctrader_twisted.tls.failures import Unreachable
from tests.certificates import server_context

# A record of application data of 16 KiB, of which only this is known yet.
RECORD = b"\x17\x03\x03\x40\x00"


class DripTest(SynchronousTestCase):
    """A server that sends a record octet by octet, and never all of it."""

    def serve(self, plain: socket.socket) -> None:
        """The handshake, and then three seconds of single octets."""
        context = server_context(self.identity.certificate_pem, self.identity.key_pem)
        secure = SSL.Connection(context, plain)
        secure.set_accept_state()
        secure.do_handshake()
        with contextlib.suppress(OSError):
            plain.sendall(RECORD)
            for _ in range(150):
                if self.over.wait(0.02):
                    break
                plain.sendall(b"\x00")

    def test_recv(self) -> None:
        """The timeout is that of the whole operation."""
        self.identity = make_identity(("localhost",), "good")
        self.over = Event()
        ours, theirs = socket.socketpair()
        serving = Thread(target=self.serve, args=(theirs,))
        serving.start()
        try:
            authorities = parse(self.identity.ca_pem).certificates
            secure = BlockingTls(ours, "localhost", lambda: authorities, timeout_s=5)
            secure.settimeout(0.2)
            began = time.monotonic()
            self.assertRaises(TimeoutError, secure.recv, 4)
            self.assertLess(time.monotonic() - began, 2)
        finally:
            self.over.set()
            serving.join(5)
            ours.close()
            theirs.close()
        self.assertFalse(serving.is_alive())


class NoFamilyTest(SynchronousTestCase):
    """A kernel without IPv6, and a name server that gives such an address."""

    def test_told_like_any_other(self) -> None:
        """The next address is tried; without one it is said why."""
        real = socket.socket

        def without_ipv6(family: int, *rest: Any, **more: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return real(family, *rest, **more)

        with real(socket.AF_INET) as listening, mock.patch("socket.socket", without_ipv6):
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            open_tcp("venue", port, ["::1", "127.0.0.1"], timeout_s=5).close()
            error = self.assertRaises(Unreachable, open_tcp, "venue", port, ["::1"], timeout_s=5)
        self.assertIn("Address family not supported", str(error))
