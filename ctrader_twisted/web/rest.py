"""REST: Klein, one class, one table that turns errors into problems (RFC 9457)."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec
from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

import twisted
from ctrader_twisted import contract
from ctrader_twisted.market.model import AccountState, Phase
from ctrader_twisted.web import problems
from ctrader_twisted.web.cors import add_vary
from ctrader_twisted.web.doors import READ, Visitor
from ctrader_twisted.web.problems import Refused
from ctrader_twisted.web.scrape import CONTENT_TYPE

_INTERNAL = 500
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class Rest:
    """The routes outside the WebSocket."""

    app = Klein()
    # Another spelling is another address: no redirects.
    app.url_map.merge_slashes = False
    log = Logger()

    def __init__(
        self,
        *,
        state: Callable[[], AccountState],
        environment: str,
        details: Callable[[], dict[str, Any]],
        scrape: Callable[[], bytes],
        version: str,
        diagnose: Callable[[str], contract.Diagnosis] | None = None,
    ) -> None:
        """``state`` is asked at every request; ``details`` are numbers worth seeing; ``scrape``
        gives Prometheus's text; ``diagnose`` tells why there are no ticks of a symbol.
        """
        self._state = state
        self._environment = environment
        self._details = details
        self._scrape = scrape
        self._version = version
        self._diagnose = diagnose

    def resource(self) -> IResource:
        """The resource to put into the tree."""
        return self.app.resource()

    @app.route("/", methods=["GET"])
    def index(self, request: IRequest) -> bytes:
        """Where to go, for somebody who opens the address in a browser."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        # At the same address browsers get the page.
        add_vary(request, b"accept")
        return (
            b"ctrader-stream\n\n"
            b'WebSocket  /ws       ticks: send {"type":"subscribe","symbols":["EURUSD"]}\n'
            b"GET        /healthz  is the process alive\n"
            b"GET        /readyz   is it connected to the venue, and if not, why\n"
            b"GET        /ctrader/diagnose?symbol=EURUSD  why do I get no ticks\n"
            b"GET        /asyncapi.json  every message of the WebSocket\n"
            b"A browser gets a page with live prices here.\n"
        )

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: IRequest) -> bytes:
        """The process is alive."""
        return _json(request, contract.Health(status="ok"))

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: IRequest) -> bytes:
        """200 while the session is ready; otherwise 503 with the reasons. Clients that may not read
        get only the code of a reason: its text is the venue's, or has an address in it.
        """
        state = self._state()
        ready = state.phase is Phase.CONNECTED
        visitor = getattr(request, "visitor", None)
        may_read = isinstance(visitor, Visitor) and visitor.may(READ)
        if not ready:
            request.setResponseCode(503)
        return _json(
            request,
            contract.Readiness(
                ready=ready,
                status=state.phase.value,
                env=self._environment,
                reasons=[] if ready else [_why(state, with_text=may_read)],
                details=self._details(),
            ),
        )

    @app.route("/ctrader/diagnose", methods=["GET"])
    def diagnose(self, request: IRequest) -> bytes:
        """Why there are no ticks of ``?symbol=``: every link from the process to the client."""
        given = cast(Any, request).args.get(b"symbol", [])
        name = given[0].decode("utf-8", "replace").strip() if len(given) == 1 else ""
        if not name or len(name) > 256 or not name.isprintable():
            raise Refused(422, "give one symbol, as /ctrader/diagnose?symbol=EURUSD")
        if self._diagnose is None:
            raise Refused(404, "this daemon cannot tell")
        return _json(request, self._diagnose(name))

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> bytes:
        """Everything that is counted, for Prometheus."""
        request.setHeader(b"content-type", CONTENT_TYPE)
        return self._scrape()

    @app.route("/version", methods=["GET"])
    def version(self, request: IRequest) -> bytes:
        """What runs here."""
        return _json(
            request,
            contract.Version(
                version=self._version,
                protocol=contract.PROTOCOL,
                python=platform.python_version(),
                twisted=twisted.__version__,
                env=self._environment,
            ),
        )

    @app.handle_errors(HTTPException)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """A request that no route takes."""
        error = cast(HTTPException, failure.value)
        if isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(error.valid_methods or ()))
            return problems.answer(request, problems.not_allowed(request.method, allowed))
        if isinstance(error, NotFound):
            return problems.answer(request, problems.not_found(cast(Any, request).path))
        return problems.answer(request, Refused(error.code or _INTERNAL, error.name))

    @app.handle_errors(Refused)
    def answered_by_a_problem(self, request: IRequest, failure: Failure) -> bytes:
        """A request that an endpoint refuses."""
        return problems.answer(request, cast(Refused, failure.value))

    @app.handle_errors(Exception)
    def broken(self, request: IRequest, failure: Failure) -> bytes:
        """A fault of ours: the details go to the log, not to strangers."""
        known_as = getattr(request, "correlation_id", "")
        self.log.failure("a request failed", failure, correlation_id=known_as)
        return problems.answer(request, Refused(_INTERNAL, "the request failed; see the log"))


def _why(state: AccountState, *, with_text: bool) -> str:
    what = f"the session is {state.phase.value}"
    if with_text and state.reason:
        what += f": {state.reason}"
    elif not _CODE.fullmatch(state.code or ""):
        # What the venue sends as a code may be any text.
        return what
    return f"{what} [{state.code}]" if state.code else what


def _json(request: IRequest, body: msgspec.Struct) -> bytes:
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    return msgspec.json.encode(body)
