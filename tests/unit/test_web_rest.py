"""REST: the real resource, asked by treq without a socket."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.model import AccountState, Phase
from ctrader_twisted.web.rest import Rest


class Routes(SynchronousTestCase):
    """What is there, and what is said of what is not."""

    def setUp(self) -> None:
        self.state = AccountState(Phase.DISCONNECTED)
        self.details: dict[str, Any] = {"clients": 3}
        rest = Rest(
            state=lambda: self.state,
            environment="simulator",
            details=lambda: self.details,
            scrape=lambda: b"up 1\n",
            version="1.2.3",
        )
        self.treq = StubTreq(rest.resource())

    def ask(self, path: str, method: str = "GET") -> tuple[Any, str]:
        """The response, and its body as text."""
        response = self.successResultOf(self.treq.request(method, f"http://localhost{path}"))
        return response, self.successResultOf(response.text())

    def json(self, path: str, method: str = "GET") -> tuple[int, str, Any]:
        """Status, content type and decoded body."""
        response, text = self.ask(path, method)
        (kind,) = response.headers.getRawHeaders("content-type")
        return response.code, kind, json.loads(text)

    def test_alive(self) -> None:
        """`/healthz` asks nobody: it is true whenever it can be answered at all."""
        self.assertEqual(self.json("/healthz"), (200, "application/json", {"status": "ok"}))

    def test_ready(self) -> None:
        """`/readyz` is 200 while the session is open, with numbers worth seeing."""
        self.state = AccountState(Phase.CONNECTED, epoch="e", symbols=("EURUSD",))
        code, kind, body = self.json("/readyz")
        self.assertEqual((code, kind), (200, "application/json"))
        self.assertEqual(
            body,
            {"ready": True, "status": "connected", "env": "simulator", "details": {"clients": 3}},
        )

    def test_not_ready(self) -> None:
        """In every other phase it is 503, and tells why by the code; the venue's text is for those
        only who are known.
        """
        for phase in (one for one in Phase if one is not Phase.CONNECTED):
            self.state = AccountState(phase, code="CH_CLIENT_AUTH_FAILURE", reason="wrong secret")
            code, kind, body = self.json("/readyz")
            self.assertEqual((code, kind), (503, "application/json"))
            self.assertIs(body["ready"], False)
            self.assertEqual(body["status"], phase.value)
            (reason,) = body["reasons"]
            self.assertEqual(reason, f"the session is {phase.value} [CH_CLIENT_AUTH_FAILURE]")

    def test_not_ready_and_nobody_knows_why(self) -> None:
        """There is always a reason, if only the phase."""
        self.assertEqual(self.json("/readyz")[2]["reasons"], ["the session is disconnected"])

    def test_never_cached(self) -> None:
        """Health is of now."""
        for path in ("/healthz", "/readyz"):
            response, _ = self.ask(path)
            self.assertEqual(response.headers.getRawHeaders("cache-control"), ["no-store"])

    def test_unknown_path(self) -> None:
        """404 as a problem (RFC 9457), for paths of any depth."""
        for path in ("/nothing", "/nothing/at/all", "/healthz/more", "/readyz/"):
            code, kind, body = self.json(path)
            self.assertEqual((code, kind), (404, "application/problem+json"))
            self.assertEqual((body["status"], body["code"]), (404, "NOT_FOUND"))
            self.assertTrue(body["title"])
            self.assertTrue(body["detail"])

    def test_wrong_method(self) -> None:
        """405 as a problem, with the methods that there are."""
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            code, kind, body = self.json("/healthz", method)
            self.assertEqual((code, kind), (405, "application/problem+json"))
            self.assertEqual(body["code"], "METHOD_NOT_ALLOWED")
        response, _ = self.ask("/healthz", "POST")
        (allow,) = response.headers.getRawHeaders("allow")
        self.assertIn("GET", allow)

    def test_head(self) -> None:
        """HEAD is GET without a body."""
        response, text = self.ask("/healthz", "HEAD")
        self.assertEqual((response.code, text), (200, ""))

    def test_query(self) -> None:
        """A query does no harm."""
        self.assertEqual(self.json("/healthz?x=%22&x=%00")[0], 200)

    def test_our_failure(self) -> None:
        """A fault of ours is 500 as a problem; what went wrong is for the log only."""

        def break_down() -> dict[str, Any]:
            raise RuntimeError("the secret of the house")

        self.treq = StubTreq(
            Rest(
                state=lambda: self.state,
                environment="x",
                details=break_down,
                scrape=bytes,
                version="0",
            ).resource()
        )
        code, kind, body = self.json("/readyz")
        self.assertEqual((code, kind), (500, "application/problem+json"))
        self.assertEqual(body["status"], 500)
        self.assertNotIn("secret of the house", json.dumps(body))
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertIn("secret of the house", failure.getErrorMessage())
