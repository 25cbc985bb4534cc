"""HTTPS client of the daemon, for requests that carry credentials (such as those of OAuth).

Each request has its own connection, by the TLS policy of this package, one deadline and an answer
of bounded size. Data goes only to the host of the URL: no redirect is followed, no cookie is kept,
and no proxy of the environment is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from ctrader_twisted.errors import CtraderError
from ctrader_twisted.tls.authorities import Authorities, system_authorities
from ctrader_twisted.tls.connector import LooksUp
from ctrader_twisted.tls.endpoint import HostEndpoint
from ctrader_twisted.tls.failures import ConnectFailed, printable
from ctrader_twisted.tls.policy import ClientOptions

LIMIT_BYTES = 1024 * 1024


class RequestFailed(CtraderError):
    """The answer is incomplete; whether the request was carried out is unknown."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer: status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpsClient:
    """Sends single requests by HTTPS."""

    def __init__(
        self,
        reactor: Any,
        resolver: LooksUp,
        authorities: Authorities = system_authorities,
        *,
        timeout_s: float = 30.0,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self._agent = Agent.usingEndpointFactory(
            reactor,
            # Half of the time is for the connection, so that a time-out there is reported as a
            # `ConnectFailed`: nothing was sent.
            _Endpoints(reactor, resolver, authorities, timeout_s / 2),
            HTTPConnectionPool(reactor, persistent=False),
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Deferred[Response]:
        """Fires with the answer, whatever its status.

        Fails with ValueError for a URL that is not https, `ConnectFailed` when nothing was sent,
        and `RequestFailed` when no whole answer came in time.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise ValueError("a URL must be like https://host/path")
        sent = Headers({name: [value] for name, value in (headers or {}).items()})
        producer = _Octets(body) if body else None
        answer: Deferred[Any] = self._agent.request(
            method.encode("ascii"), url.encode("ascii"), sent, producer
        )
        answer.addCallback(self._read)
        answer.addTimeout(self._timeout_s, self._reactor, self._too_late)
        return answer.addErrback(_in_our_words)

    def _read(self, response: Any) -> Deferred[Response]:
        body = _Body(response, self._limit_bytes)
        response.deliverBody(body)
        return body.complete

    def _too_late(self, result: object, seconds: float) -> object:
        if isinstance(result, Failure) and isinstance(result.value, ConnectFailed):
            return result
        raise RequestFailed(f"no whole answer came in {seconds:g} s")


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Makes the endpoint of one request."""

    def __init__(
        self, reactor: Any, resolver: LooksUp, authorities: Authorities, timeout_s: float
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._authorities = authorities
        self._timeout_s = timeout_s

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """TLS to the host of the URI."""
        host = uri.host.decode("ascii").strip("[]")
        options = ClientOptions(host, self._authorities, [b"http/1.1"])
        return HostEndpoint(
            self._reactor, self._resolver, host, uri.port, options, timeout_s=self._timeout_s
        )


@implementer(IBodyProducer)
class _Octets:
    """A request body that is short enough to be written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """Write it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: the whole body is written already."""

    resumeProducing = stopProducing = pauseProducing


class _Body(Protocol):
    """Collects a body up to a limit."""

    def __init__(self, response: Any, limit_bytes: int) -> None:
        self._response = response
        self._limit_bytes = limit_bytes
        self._parts = bytearray()
        self.complete: Deferred[Response] = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        """Collect a part of the body."""
        self._parts += data
        if len(self._parts) > self._limit_bytes and not self.complete.called:
            self.complete.errback(
                RequestFailed(f"the answer is larger than {self._limit_bytes} bytes")
            )
            self._hang_up()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Fire with the whole body, or fail if it is incomplete."""
        if self.complete.called:
            return
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.complete.errback(reason)
            return
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in self._response.headers.getAllRawHeaders()
        }
        self.complete.callback(Response(self._response.code, headers, bytes(self._parts)))

    def _hang_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            (getattr(transport, "abortConnection", None) or transport.stopProducing)()


def _in_our_words(failure: Failure) -> Failure:
    error = failure.value
    if isinstance(error, (CtraderError, CancelledError)):
        return failure
    # Twisted wraps what ended a request in lists of failures.
    reasons = getattr(error, "reasons", None) or [failure]
    for one in reasons:
        if isinstance(one.value, CtraderError):
            return Failure(one.value)
    words = "; ".join(printable(one.getErrorMessage()) for one in reasons)
    return Failure(RequestFailed(f"no whole answer came ({words})"))
