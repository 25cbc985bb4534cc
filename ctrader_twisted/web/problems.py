"""Errors over HTTP: one table, one shape (RFC 9457, ``application/problem+json``).

Endpoints only raise `Refused`; what becomes of it is decided here. Nothing of a fault of ours goes
out but its correlation id, by which it is found in the log.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

import msgspec
from twisted.web.iweb import IRequest

from ctrader_twisted import contract
from ctrader_twisted.errors import CtraderError
from ctrader_twisted.logs import redact

CORRELATION_HEADER = b"x-correlation-id"

# Status -> what it is called, and the code where nothing more precise is known.
TABLE: Mapping[int, tuple[str, str]] = {
    400: ("Bad Request", "BAD_REQUEST"),
    401: ("Unauthorized", "KEY_REQUIRED"),
    403: ("Forbidden", "FORBIDDEN"),
    404: ("Not Found", "NOT_FOUND"),
    405: ("Method Not Allowed", "METHOD_NOT_ALLOWED"),
    408: ("Request Timeout", "REQUEST_TIMEOUT"),
    409: ("Conflict", "CONFLICT"),
    413: ("Content Too Large", "BODY_TOO_LARGE"),
    414: ("URI Too Long", "ADDRESS_TOO_LONG"),
    415: ("Unsupported Media Type", "NOT_JSON"),
    422: ("Unprocessable Content", "INVALID"),
    426: ("Upgrade Required", "UPGRADE_REQUIRED"),
    429: ("Too Many Requests", "RATE_LIMIT"),
    431: ("Request Header Fields Too Large", "HEAD_TOO_LARGE"),
    500: ("Internal Server Error", "INTERNAL_ERROR"),
    502: ("Bad Gateway", "VENUE_NONSENSE"),
    503: ("Service Unavailable", "NOT_CONNECTED"),
    504: ("Gateway Timeout", "VENUE_TIMEOUT"),
    505: ("HTTP Version Not Supported", "HTTP_VERSION"),
}

_OUR_FAULT = 500
_SHOWN = 100
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Refused(CtraderError):
    """A request that is answered by a problem: ``status`` and ``code`` say which one.

    ``headers`` go out with it; ``retry_after_s`` is rounded up to whole seconds there.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        headers: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code or TABLE.get(status, TABLE[_OUR_FAULT])[1]
        self.headers = dict(headers or {})
        self.retry_after = None if retry_after_s is None else max(1, -int(-retry_after_s // 1))
        if self.retry_after is not None:
            self.headers["Retry-After"] = str(self.retry_after)


def not_found(path: bytes) -> Refused:
    """For a path that leads nowhere; it is named, as far as it can be said in a line."""
    return Refused(404, f"there is nothing at {redact(path.decode('latin-1'))[:_SHOWN]}")


def not_allowed(method: bytes, allowed: str) -> Refused:
    """For a method that there is not at this address, but ``allowed`` are."""
    name = method.decode("latin-1")[:_SHOWN]
    return Refused(405, f"{name} is not possible here, only {allowed}", headers={"Allow": allowed})


def correlation_id(given: bytes | None) -> str:
    """The id that the client gave, if it is a harmless word; otherwise a new one."""
    if given is not None and _GIVEN_ID.fullmatch(given):
        word = given.decode("ascii")
        # It will stand in the log, and come back: a key, sent in the wrong header, may not.
        if redact(word) == word:
            return word
    return secrets.token_hex(8)


def body(refused: Refused, known_as: str) -> bytes:
    """The problem as JSON; ``known_as`` is the correlation id."""
    title = TABLE.get(refused.status, TABLE[_OUR_FAULT])[0]
    return msgspec.json.encode(
        contract.Problem(
            title=title,
            status=refused.status,
            detail=str(refused),
            code=refused.code,
            correlation_id=known_as,
            retry_after=refused.retry_after,
        )
    )


def response(
    refused: Refused, known_as: str, more_headers: Mapping[bytes, bytes] | None = None
) -> bytes:
    """The whole answer, where there is no request to answer through; the connection ends."""
    octets = body(refused, known_as)
    headers = {
        "Server": "ctrader-stream",
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(octets)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Correlation-Id": known_as,
        **refused.headers,
        **{
            name.decode("latin-1").title(): value.decode("latin-1")
            for name, value in (more_headers or {}).items()
        },
    }
    lines = [f"HTTP/1.1 {refused.status} {TABLE.get(refused.status, TABLE[_OUR_FAULT])[0]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + octets


def answer(request: IRequest, refused: Refused) -> bytes:
    """Set status and headers of ``request``; the body to answer with."""
    request.setResponseCode(refused.status, TABLE.get(refused.status, ("Error", ""))[0].encode())
    request.setHeader(b"content-type", b"application/problem+json")
    request.setHeader(b"cache-control", b"no-store")
    for name, value in refused.headers.items():
        request.setHeader(name.lower().encode("ascii"), value.encode("latin-1", "replace"))
    return body(refused, getattr(request, "correlation_id", ""))
