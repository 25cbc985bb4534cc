"""Cross-origin requests of browsers (CORS): which origins may call, and the headers of an answer.

The headers are decided before anything can be refused, and are on every answer, errors included:
without them a page is told nothing but "Failed to fetch".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ctrader_twisted.web import visitors

# The client module may be loaded by pages of every origin, since it can tell a page that the stream
# refuses why. It holds no data.
PUBLIC = frozenset(
    {
        b"/static/ctrader-stream.js",
        b"/static/ctrader-stream-link.js",
        b"/static/ctrader-stream-wants.js",
    }
)

_EVERYBODY = {b"access-control-allow-origin": b"*"}
# Headers of an answer that scripts may read, beside those that CORS always allows.
_EXPOSED = b"Retry-After, X-Correlation-Id, RateLimit, RateLimit-Policy"
# A cache must not give the answer for one origin to a page of another.
_VARY = {b"vary": b"Origin"}


def is_public(request: Any) -> bool:
    """Return True for a file that pages of every origin may read."""
    return getattr(request, "method", b"") in (b"GET", b"HEAD") and request.path in PUBLIC


def is_allowed(
    origin: str | None, *, origins: Collection[str], is_local: Callable[[], bool]
) -> bool:
    """Return True if pages of the origin may call: a configured one, or any page of this machine
    in a local request.
    """
    if origin is None:
        return False
    return origin.lower() in origins or (visitors.is_local_origin(origin) and is_local())


def answer_headers(request: Any, origin: str | None, *, allowed: bool) -> dict[bytes, bytes]:
    """Return the CORS headers of the answer, which are the same whatever its status."""
    if is_public(request):
        return _EVERYBODY
    if not allowed or origin is None:
        return _VARY
    return {
        b"access-control-allow-origin": origin.encode("latin-1"),
        b"access-control-expose-headers": _EXPOSED,
        **_VARY,
    }


def preflight_headers() -> dict[bytes, bytes]:
    """Return the headers that tell a page of an allowed origin what it may send."""
    return {
        b"access-control-allow-methods": b"GET, POST, DELETE",
        b"access-control-allow-headers": (
            b"Authorization, Content-Type, Idempotency-Key, X-Correlation-Id"
        ),
        b"access-control-max-age": b"600",
    }


def add_vary(request: Any, names: bytes) -> None:
    """Add request headers to those by which the answer varies."""
    had = request.responseHeaders.getRawHeaders(b"vary") or []
    request.setHeader(b"vary", b", ".join([*had, names]))


def why_not(origin: str) -> str:
    """Return the sentence for a page whose origin is not allowed."""
    if origin.lower() == "null" or origin.lower().startswith("file:"):
        # Sandboxed pages of any site have this origin, too, so it cannot be allowed.
        return (
            "a page opened from a file may not call; serve it, as by python3 -m http.server, "
            "from localhost"
        )
    return "pages of that origin may not call this server; if they should, add it to `origins`"
