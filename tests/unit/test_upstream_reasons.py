"""Why a connection ended, in words for three in the morning."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.tls.failures import (
    CertificateRefused,
    HandshakeClosed,
    NameNotResolved,
    NothingInCommon,
    NotTls,
    Unreachable,
)
from ctrader_twisted.upstream.reasons import reason_of
from tests.unit.fakes import ACCOUNT, spot
from tests.unit.test_upstream_connection import REFUSED, ConnectionCase


def tls_error(reason: str) -> SSL.Error:
    """As OpenSSL tells it."""
    return SSL.Error([("SSL routines", "", reason)])


class WordsTest(ConnectionCase):
    """Why a connection ended, in plain words."""

    def test_ordinary_causes(self) -> None:
        """The usual failures are told without a code, with the address that was tried."""
        connector = self.start()
        for cause, words in (
            (
                Unreachable("localhost", 5035, {"127.0.0.1": REFUSED, "::1": REFUSED}),
                "localhost:5035 (127.0.0.1, ::1): nothing listens there (connection refused)",
            ),
            (NameNotResolved("x", "no"), "the name x could not be resolved (no)"),
        ):
            connector.fail(cause)
            self.assertEqual(self.told.last("lost"), (cause, words))
            self.assertEqual(self.told.last("retrying")[2], words)
            self.retry()
        self.over()

    def test_certificate(self) -> None:
        """A refused certificate comes with its words, and with its advice for the diagnosis."""
        refusal = CertificateRefused("localhost", "has expired", advice="Renew it.")
        self.start().accept().lose(refusal)
        words = "localhost:5035 (127.0.0.1): the certificate of localhost has expired"
        self.assertEqual(self.told.last("lost"), (refusal, words))
        link = self.connection.factory.progress.links()[1]
        self.assertEqual((link.name, link.cause, link.advice), ("tls", words, "Renew it."))
        self.retry()
        self.over()

    def test_three_ways_to_have_no_tls(self) -> None:
        """A hang-up, something that is no TLS, and nothing in common: each with its own advice."""
        seen = set()
        for cause, kind, words in (
            (ConnectionDone(), HandshakeClosed, "closed the connection during the TLS handshake"),
            (ConnectionLost(), HandshakeClosed, "closed the connection during the TLS handshake"),
            (SSL.Error([]), HandshakeClosed, "closed the connection during the TLS handshake"),
            (tls_error("wrong version number"), NotTls, "this is no TLS server"),
            (tls_error("http request"), NotTls, "this is no TLS server"),
            (tls_error("sslv3 alert handshake failure"), NothingInCommon, "could not be agreed"),
        ):
            self.start().accept().lose(cause)
            told, reason = self.told.last("lost")
            self.assertIsInstance(told, kind)
            self.assertIn(words, reason)
            self.assertIn("localhost:5035 (127.0.0.1): ", reason)
            link = self.connection.factory.progress.links()[1]
            self.assertEqual((link.name, link.cause, link.advice), ("tls", reason, kind.advice))
            seen.add(link.advice)
            self.retry()
            self.connection.stopService()
            self.clock.advance(0)
            self.setUp()
        self.assertEqual(len(seen), 3)

    def test_after_the_handshake(self) -> None:
        """What ends an open connection is not taken for a failure of the handshake."""
        self.start().open().lose(ConnectionDone())
        self.assertIn("the venue closed the connection", self.told.last("lost")[1])
        self.retry()
        self.over()

    def test_listener_that_fails(self) -> None:
        """A listener that fails when it hears of a loss does not prevent the next attempt."""
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


class ReasonTest(SynchronousTestCase):
    """A cause, and where it happened."""

    def test_words(self) -> None:
        """Every kind of end has words, and a place."""
        for cause, words in (
            (CertificateRefused("h", "has expired"), "here: the certificate of h has expired"),
            (SSL.Error([]), "here: the TLS connection was cut"),
            (tls_error("bad record mac"), "here: TLS failed: bad record mac"),
            (ConnectionDone(), "here: the venue closed the connection"),
            (TimeoutError("the venue said nothing"), "here: the venue said nothing"),
            (KeyError(), "here: KeyError"),
            (VenueRefusal("CODE", "why"), "CODE: why"),
            (Unreachable("h", 1, {"::1": REFUSED}), "h:1 (::1): nothing listens there"),
            (Unreachable("::1", 1, {"::1": REFUSED}), "[::1]:1: nothing listens there"),
        ):
            self.assertTrue(reason_of(cause, "here").startswith(words), reason_of(cause, "here"))
