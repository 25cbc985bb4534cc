"""Who may come in: Host, Origin, key, and how often.

Every request passes `Doors.arrive`, a WebSocket's upgrade included. What is wrong with an upgrade
is not said by HTTP but by a close code once the socket is open (`web/admission`), because browsers
show the code of a close, and nothing of a refused handshake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ctrader_twisted.logs import Secret, redact
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web import cors, visitors
from ctrader_twisted.web.allowances import Allowances
from ctrader_twisted.web.callers import Callers, ConnectionLimits, Place
from ctrader_twisted.web.keys import PREFIX, ApiKey, KeyRing
from ctrader_twisted.web.problems import Refused
from ctrader_twisted.web.request_head import (
    address_of,
    bearer_token,
    becomes_websocket,
    first_segment,
    header_names,
    header_reader,
    is_preflight,
    peer_address,
)
from ctrader_twisted.web.visitors import FORWARDED_FOR, Proxies

# Paths that need no key: liveness, for load balancers, and the page, which asks for a key itself.
# Credentials that a proxy or a browser sends to these are ignored.
OPEN = frozenset({b"", b"healthz", b"readyz", b"favicon.ico", b"static"})
# Paths that tell more to a client with a right key, and ignore a wrong one.
READINESS = b"readyz"
# These are asked every second by machines, or two dozen at a time by each opening of the page, and
# must not use up anybody's allowance.
UNCOUNTED = frozenset({b"", b"healthz", b"readyz", b"static"})

# Wrong keys that are forgiven to an address at once, and per second after that.
WRONG_KEYS = 5.0
WRONG_KEYS_PER_S = 0.2

READ = "read"

# Seconds between two log lines about proxies that name no client.
UNNAMED_S = 60.0
_SAID = 100


@dataclass(frozen=True, slots=True)
class DoorPolicy:
    """What the configuration says. ``is_local``: nobody but this machine can reach the socket."""

    is_local: bool
    require_key: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: Proxies = field(default_factory=Proxies)
    calls_per_s: float = 50.0
    connections_per_address: int = 500
    connections_without_key: int = 5000
    connections: int = 1_000_000
    # How many connections the descriptor limit allows now, if that may change.
    room: Callable[[], int] | None = field(default=None, compare=False)
    connections_per_key: int = 1000
    messages_per_s_per_key: float = 500.0
    subscriptions_per_key: int = 50_000
    auth_timeout_s: float = 5.0


@dataclass(slots=True)
class Visitor:
    """Who asks: from where, with which key, and whether one is needed.

    ``problem`` is what is wrong with an upgrade to a WebSocket, to be told once it is open.
    ``has_foreign_bearer``: the upgrade has a bearer token that is no key of ours, as an
    authenticating proxy adds; it is a wrong key only if no right one follows. ``is_forwarded``:
    a proxy of this machine that is not in ``trusted_proxies`` passed the request on.
    """

    address: str
    is_here: bool
    needs_key: bool
    correlation_id: str = ""
    key: ApiKey | None = None
    problem: Refused | None = None
    has_foreign_bearer: bool = False
    is_forwarded: bool = False

    @property
    def name(self) -> str:
        """Whose allowance is used: the key's, or the address's."""
        return f"key {self.key.name}" if self.key is not None else f"address {self.counted_as}"

    @property
    def counted_as(self) -> str:
        """The address, or its IPv6 network, whose requests and connections count together."""
        return visitors.counted_as(self.address)

    @property
    def is_welcome(self) -> bool:
        """Nothing is missing."""
        return self.problem is None and (self.key is not None or not self.needs_key)

    def may(self, scope: str) -> bool:
        """Return True if the visitor has the scope, or needs no key."""
        return not self.needs_key if self.key is None else scope in self.key.scopes


class Doors:
    """Looks at everybody who comes."""

    log = Logger()

    def __init__(
        self, *, clock: IReactorTime, policy: DoorPolicy, keys: KeyRing | None, metrics: Metrics
    ) -> None:
        self.policy = policy
        self.clock = clock
        self._keys = keys
        self._metrics = metrics
        limits = ConnectionLimits(
            policy.connections_per_address, policy.connections_without_key, policy.connections
        )
        self._callers = Callers(
            limits, policy.proxies, clock=clock, metrics=metrics, room=policy.room
        )
        self._calls = Allowances(policy.calls_per_s, 2 * policy.calls_per_s)
        self._wrong_keys = Allowances(WRONG_KEYS_PER_S, WRONG_KEYS)
        self._unnamed_told_at: float | None = None

    def arrive(self, request: Any) -> Visitor:
        """Who this is. Raises Refused when the request goes no further."""
        try:
            return self._arrive(request)
        except Refused as refused:
            self._metrics.count("requests_refused_at_the_door", refused.code)
            raise

    def cors_headers(self, request: Any) -> dict[bytes, bytes]:
        """Return the CORS headers of the answer to a request, the same for every status."""
        origin = header_reader(request)(b"origin")
        return cors.answer_headers(request, origin, allowed=self._is_allowed(origin, request))

    def place(self, peer: object) -> Place | None:
        """Return a place for a new connection from this peer; None if there are too many."""
        return self._callers.place(address_of(peer))

    def is_still_good(self, key: ApiKey) -> bool:
        """Has this key been neither revoked nor changed?"""
        return self._keys is not None and self._keys.holds(key)

    def look_again(self) -> None:
        """Take notice of a key file that has changed."""
        if self._keys is not None:
            self._keys.look_again()

    def show_key(self, visitor: Visitor, text: Secret) -> None:
        """Authenticate the visitor by the text of a key. Raises Refused (401, 429).

        The key is compared first: only wrong ones are throttled, so that a client with a right key
        is let in however many wrong ones come from its address.
        """
        key = self._find(text)
        if key is None:
            raise self.wrong_key(visitor)
        visitor.key = key

    def wrong_key(self, visitor: Visitor) -> Refused:
        """Count a wrong key, and return its refusal: 401, or 429 after too many of them."""
        wait_s = self._wrong_keys.take(visitor.counted_as, self.clock.seconds()).wait_s
        if wait_s > 0:
            return Refused(
                429,
                "too many wrong keys came from this address",
                code="TOO_MANY_WRONG_KEYS",
                retry_after_s=wait_s,
            )
        return _unauthorized("the key is wrong, or has been revoked", "KEY_WRONG")

    def _find(self, text: Secret) -> ApiKey | None:
        return None if self._keys is None else self._keys.find(text)

    # -- one request

    def _arrive(self, request: Any) -> Visitor:
        self._check_host(request)
        visitor = self._visitor(request)
        if becomes_websocket(request):
            self._upgrade(request, visitor)
            return visitor
        self._check_origin(request)
        if is_preflight(request):
            # Browsers send no key along with this question.
            return visitor
        segment = first_segment(request)
        if segment == READINESS:
            self._recognise(request, visitor)
        elif segment not in OPEN:
            self._read_key(request, visitor)
        if segment not in UNCOUNTED:
            self._check_rate(request, visitor)
        if segment not in OPEN:
            check_scope(visitor, READ)
        self._check_body(request)
        return visitor

    def _upgrade(self, request: Any, visitor: Visitor) -> None:
        try:
            self._check_origin(request)
            self._read_key_of_upgrade(request, visitor)
            # All programs of this machine share one address; how many there may be is not a
            # matter of who may come in.
            if visitor.key is not None or not visitor.is_here:
                self._check_rate(request, visitor)
            if visitor.key is not None:
                check_scope(visitor, READ)
        except Refused as refused:
            visitor.problem = refused

    def _visitor(self, request: Any) -> Visitor:
        peer, header = peer_address(request), header_reader(request)
        source = self.policy.proxies.source(peer, header, header_names(request))
        if not source.is_named:
            self._tell_unnamed(peer, header(FORWARDED_FOR), first_segment(request))
        is_here = self.policy.is_local and source.is_local
        return Visitor(
            address=source.address,
            is_here=is_here,
            needs_key=self.policy.require_key or not is_here,
            is_forwarded=source.is_forwarded,
            correlation_id=getattr(request, "correlation_id", ""),
        )

    def _tell_unnamed(self, proxy: str, said: str | None, segment: bytes) -> None:
        """Log, at most once a minute, that a trusted proxy names no client of a request."""
        if said is None and segment in UNCOUNTED:
            # The proxy's own health checks have no client.
            return
        now = self.clock.seconds()
        if self._unnamed_told_at is not None and now - self._unnamed_told_at < UNNAMED_S:
            return
        self._unnamed_told_at = now
        self.log.warn(
            "a trusted proxy names no client: {proxy} sends {said}, so its clients share one limit",
            proxy=proxy,
            said="no X-Forwarded-For"
            if said is None
            else f"X-Forwarded-For {redact(said)[-_SAID:]!a}",
        )

    def _check_host(self, request: Any) -> None:
        host = header_reader(request)(b"host")
        if host is None and request.clientproto == b"HTTP/1.0":
            # Health checks of old proxies. A browser, which could be led here, names its host.
            return
        name = visitors.host_name(host or "")
        ours = visitors.is_local_name(name) or visitors.is_address(name)
        if not (ours or name in self.policy.hosts):
            raise Refused(
                403,
                "this server does not answer to that Host; if it should, add it to `hosts`",
                code="HOST_REFUSED",
            )

    def _check_origin(self, request: Any) -> None:
        header = header_reader(request)
        origin, host = header(b"origin"), header(b"host") or ""
        if origin is None or visitors.is_same_origin(origin, host) or cors.is_public(request):
            return
        if not self._is_allowed(origin, request):
            raise Refused(403, cors.why_not(origin), code="ORIGIN_REFUSED")

    def _is_allowed(self, origin: str | None, request: Any) -> bool:
        return cors.is_allowed(
            origin, origins=self.policy.origins, is_local=lambda: self._is_local(request)
        )

    def _is_local(self, request: Any) -> bool:
        peer, header = peer_address(request), header_reader(request)
        source = self.policy.proxies.source(peer, header, header_names(request))
        return self.policy.is_local and source.is_local

    def _read_key(self, request: Any, visitor: Visitor) -> None:
        """Authenticate by Authorization, if it has a bearer token. Raises Refused."""
        text = bearer_token(request)
        # Where no key is needed, a superfluous one does no harm.
        if text is not None and (self._keys is not None or visitor.needs_key):
            self.show_key(visitor, text)

    def _recognise(self, request: Any, visitor: Visitor) -> None:
        """Authenticate by a right key; ignore a missing or wrong one."""
        text = bearer_token(request)
        if text is not None:
            visitor.key = self._find(text)

    def _read_key_of_upgrade(self, request: Any, visitor: Visitor) -> None:
        """Authenticate by Authorization. Raises Refused for a wrong key; a token that is no key of
        ours is ignored at first, since the client may send its key in ``connect``.
        """
        text = bearer_token(request)
        if text is None:
            return
        visitor.key = self._find(text)
        visitor.has_foreign_bearer = visitor.key is None
        if visitor.has_foreign_bearer and text.reveal().startswith(PREFIX):
            self._read_key(request, visitor)

    def _check_rate(self, request: Any, visitor: Visitor) -> None:
        allowance = self._calls.take(visitor.name, self.clock.seconds())
        for name, value in allowance.headers().items():
            request.setHeader(name.lower().encode(), value.encode())
        if allowance.wait_s > 0:
            raise Refused(
                429,
                f"more than {self.policy.calls_per_s:g} requests a second",
                retry_after_s=allowance.wait_s,
            )

    def _check_body(self, request: Any) -> None:
        if not getattr(request, "body_bytes", 0):
            return
        kind = (header_reader(request)(b"content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise Refused(415, "a body must be JSON, and its Content-Type application/json")


def check_scope(visitor: Visitor, scope: str) -> None:
    """Raises Refused unless the visitor has the scope, or needs no key at all."""
    if visitor.key is None:
        if visitor.needs_key:
            why = (
                " (the request came through a proxy that is not in `trusted_proxies`)"
                if visitor.is_forwarded
                else ""
            )
            raise _unauthorized(f"a key is needed: Authorization: Bearer KEY{why}", "KEY_REQUIRED")
    elif scope not in visitor.key.scopes:
        raise Refused(403, f"the key has no scope {scope}", code="SCOPE_REFUSED")


def _unauthorized(detail: str, code: str) -> Refused:
    return Refused(401, detail, code=code, headers={"WWW-Authenticate": "Bearer"})
