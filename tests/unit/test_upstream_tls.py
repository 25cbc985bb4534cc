"""Trust, and why a connection ended, in words for three in the morning."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.error import ConnectionDone, DNSLookupError, TCPTimedOutError
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.simulator.certificates import Identity, make_identity
from ctrader_twisted.tls.verification import CertificateRefused
from ctrader_twisted.upstream.tls import (
    Authorities,
    in_plain_words,
    is_about_the_certificate,
    read_authorities,
    verifying_options,
    why_not_trusted,
)
from tests.unit.fakes import ACCOUNT, spot
from tests.unit.test_upstream_connection import POLICY, REFUSED, UNTRUSTED, ConnectionCase


class WordsTest(ConnectionCase):
    """Why a connection ended, in plain words."""

    def test_ordinary_causes(self) -> None:
        """The usual failures are told without a code."""
        connector = self.start()
        for cause, words in (
            (REFUSED, "nobody listens there (connection refused)"),
            (DNSLookupError("x"), "the name could not be resolved"),
        ):
            connector.fail(cause)
            self.assertEqual(self.told.last("lost"), (cause, words))
            self.assertEqual(self.told.last("retrying")[2], words)
            self.retry()
        self.over()

    def test_certificate(self) -> None:
        """A refused certificate is looked at again for the reason, and only then retried."""
        words: Deferred[str] = Deferred()
        asked: list[Any] = []
        self.in_thread = lambda *args: asked.append(args) or words
        self.start().accept().lose(UNTRUSTED)
        self.assertEqual(self.told.names(), ["connecting"])
        self.assertEqual(asked[0][1:4], ("localhost", 5035, None))
        words.callback("the certificate was refused: it has expired")
        self.assertEqual(
            self.told.last("lost"), (UNTRUSTED, "the certificate was refused: it has expired")
        )
        self.retry()
        self.over()

    def test_explanation_that_fails(self) -> None:
        """A second look that fails leaves the first words, and is no reason to give up."""
        self.in_thread = lambda *_: fail(ValueError("no thread"))
        self.start().accept().lose(UNTRUSTED)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.told.last("lost")[1], "TLS failed: certificate verify failed")
        self.retry()
        self.over()

    def test_no_thread_to_be_had(self) -> None:
        """Not even the attempt at a second look may cost the next attempt to connect."""

        def refuse(*_: Any) -> Deferred[str]:
            raise RuntimeError("can't start new thread")

        self.in_thread = refuse
        self.start().accept().lose(UNTRUSTED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.told.last("lost")[1], "TLS failed: certificate verify failed")
        self.retry()
        self.over()

    def test_explanation_that_never_comes(self) -> None:
        """A second look that hangs is given up in the time that an attempt has."""
        words: Deferred[str] = Deferred()
        self.in_thread = lambda *_: words
        self.start().accept().lose(UNTRUSTED)
        self.clock.advance(POLICY.connect_timeout_s)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)
        self.assertEqual(self.told.last("lost")[1], "TLS failed: certificate verify failed")
        words.callback("too late")
        self.retry()
        self.over()

    def test_listener_that_fails(self) -> None:
        """Whoever fails at hearing of a loss does not keep the next attempt from coming."""
        self.told.reactions["lost"] = lambda *_: self.fail("no ears")
        self.start().fail(REFUSED)
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
        self.told.reactions.clear()
        self.retry()
        self.over()

    def test_where_to(self) -> None:
        """The connection goes where it was told, with the host's name verified."""
        self.start().open().say(spot(1, bid=1))
        host, port, options, _ = self.network.asked[0]
        self.assertEqual((host, port, options.host), ("localhost", 5035, "localhost"))
        (updates,) = self.told.last("spots")
        self.assertEqual(list(updates), [SpotUpdate(ACCOUNT, 1, 1, 0, 0, 5)])
        self.over()


class TrustTest(SynchronousTestCase):
    """Authorities from a file, and what is made of the errors of TLS."""

    def test_words(self) -> None:
        """Every kind of end has words; only a refused chain deserves a second look."""
        for cause, words in (
            (CertificateRefused("h", "has expired"), "the certificate of h has expired"),
            (SSL.Error([]), "the TLS connection was cut"),
            (SSL.Error([("a", "b", "wrong version")]), "TLS failed: wrong version"),
            (TCPTimedOutError(), "no answer to the connection attempt (timed out)"),
            (ConnectionDone(), "the venue closed the connection"),
            (TimeoutError("the venue said nothing"), "the venue said nothing"),
            (KeyError(), "KeyError"),
        ):
            self.assertEqual(in_plain_words(cause), words)
            self.assertFalse(is_about_the_certificate(cause))
        self.assertTrue(is_about_the_certificate(UNTRUSTED))

    def test_authorities(self) -> None:
        """A file of certificates is read whole; one without, or none at all, is a clear error."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "authorities.pem"
        with self.assertRaises(ConfigurationError) as caught:
            read_authorities(path)
        self.assertIn(f"the CA file {path} cannot be read", str(caught.exception))
        path.write_text("no certificate")
        with self.assertRaises(ConfigurationError):
            read_authorities(path)
        pem = make_identity().ca_pem
        path.write_bytes(pem)
        self.assertEqual(read_authorities(path), pem)
        self.assertEqual(verifying_options("venue.test", pem).host, "venue.test")

    def test_second_look_with_a_bundle_as_it_is_found(self) -> None:
        """Comments in any language between the certificates do not spoil the second look."""
        bundle = "# Főtanúsítvány\n".encode() + make_identity().ca_pem
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            port = unheard.getsockname()[1]
            words = why_not_trusted("127.0.0.1", port, bundle, 5)
        self.assertIn("a second look failed", words)


def agree(options: Any, identity: Identity) -> str:
    """Shake hands in memory: an empty string, or why it came to nothing."""
    server = SSL.Connection(identity.context_factory().getContext(), None)
    server.set_accept_state()
    factory = TLSMemoryBIOFactory(options, True, Factory.forProtocol(Protocol))
    client = options.clientConnectionForTLS(factory.buildProtocol(None))
    client.set_connect_state()
    waiting = {client, server}
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                waiting.discard(end)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return str(error)
            try:
                other.bio_write(end.bio_read(65536))
            except SSL.WantReadError:
                continue
        if not waiting:
            return ""
    return "no end"


class AuthoritiesTest(SynchronousTestCase):
    """A file of authorities that changes while we run."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "ca.pem"
        self.first, self.second = make_identity(), make_identity()
        self.path.write_bytes(self.first.ca_pem)
        self.authorities = Authorities(self.path)
        self.options = verifying_options("localhost", self.authorities)

    def test_renewed(self) -> None:
        """Each attempt trusts whom the file names then, and nobody else."""
        self.assertEqual(agree(self.options, self.first), "")
        self.assertIn("certificate verify failed", agree(self.options, self.second))
        self.path.write_bytes(self.second.ca_pem)
        self.assertEqual(agree(self.options, self.second), "")
        self.assertIn("certificate verify failed", agree(self.options, self.first))
        self.assertEqual(self.authorities(), self.second.ca_pem)

    def test_unreadable_for_now(self) -> None:
        """A file that is gone, or half written, leaves those who were trusted before."""
        self.path.write_bytes(self.second.ca_pem[:100])
        self.assertEqual(agree(self.options, self.first), "")
        self.path.unlink()
        self.assertEqual(agree(self.options, self.first), "")
        with self.assertRaises(ConfigurationError):
            Authorities(self.path)

    def test_the_second_look_takes_the_same(self) -> None:
        """What is wrong with a certificate is asked with the authorities of the attempt."""
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            port = unheard.getsockname()[1]
            words = why_not_trusted("127.0.0.1", port, self.authorities, 5)
        self.assertIn("a second look failed", words)
