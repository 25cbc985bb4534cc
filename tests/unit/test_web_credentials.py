"""Credentials of others: what proxies add to Authorization, for HTTP and WebSocket."""

from __future__ import annotations

import json
from typing import Any

from ctrader_twisted.market.model import AccountState, Phase
from ctrader_twisted.web.doors import UNNAMED_S, WRONG_KEYS
from ctrader_twisted.web.keys import add_key
from tests.unit.log_lines import Line, LogLines
from tests.unit.site_case import SiteCase, trusted
from tests.unit.stream_case import Client

AUTH_S = 5.0
FOREIGN = (
    "Basic eDp5",
    "Bearer eyJhbGciOiJub25lIn0.e30.",
    "Bearer wrong",
    "Bearer",
    "Negotiate YII=",
    "cts_wrong",
)


class ForeignCredentialsTest(SiteCase):
    """A WebSocket whose upgrade has credentials that are not for us."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(is_local=False, auth_timeout_s=AUTH_S, calls_per_s=1000.0)

    def come(self, *authorization: str) -> Client:
        """A client from elsewhere with these headers."""
        lines = [f"Authorization: {value}" for value in authorization]
        return self.websocket(peer="192.0.2.1", headers=lines)

    def bye(self, client: Client) -> tuple[int, str]:
        """Close code and stable code."""
        client.frames()
        assert client.goodbye is not None
        return client.goodbye[0], client.goodbye[1].partition(":")[0]

    def test_a_right_token(self) -> None:
        """The token in connect lets in, whatever is in the header, and however often."""
        for given in FOREIGN * (1 + int(WRONG_KEYS)):
            self.assertTrue(self.is_let_in(self.come(given), token=self.token), given)
        self.assertTrue(self.is_let_in(self.come("Basic eDp5", "Bearer x"), token=self.token))

    def test_a_right_key_beside_another_header(self) -> None:
        """The right key in a header of its own lets in, too."""
        client = self.come("Basic eDp5", f"Bearer {self.token}")
        self.assertTrue(self.is_let_in(client))

    def test_no_token(self) -> None:
        """Without a token a foreign bearer token is a wrong key, and another scheme is none."""
        for given in FOREIGN:
            client = self.come(given)
            client.say({"type": "subscribe", "symbols": ["EURUSD"]})
            is_bearer = given.startswith("Bearer")
            code = "KEY_WRONG" if is_bearer else "KEY_REQUIRED"
            self.assertEqual(self.bye(client), (4401, code), given)

    def test_silence(self) -> None:
        """Who says nothing hears of the wrong bearer token when its time is over."""
        bearer, basic = self.come("Bearer wrong"), self.come("Basic eDp5")
        self.turn(AUTH_S)
        self.assertEqual(self.bye(bearer), (4401, "KEY_WRONG"))
        self.assertEqual(self.bye(basic)[0], 4408)

    def test_a_key_of_ours_that_is_wrong(self) -> None:
        """A revoked or mistyped key is told at once."""
        self.assertEqual(self.bye(self.come("Bearer cts_wrong")), (4401, "KEY_WRONG"))

    def test_too_many(self) -> None:
        """Wrong ones are counted, and do not stand in the way of right ones."""
        for code in (*["KEY_WRONG"] * int(WRONG_KEYS), "TOO_MANY_WRONG_KEYS"):
            client = self.come("Bearer wrong")
            client.say({"type": "connect"})
            self.assertEqual(self.bye(client)[1], code)
        self.assertEqual(self.bye(self.come("Bearer cts_wrong")), (4429, "TOO_MANY_WRONG_KEYS"))
        self.assertTrue(self.is_let_in(self.come(f"Bearer {self.token}")))
        self.assertTrue(self.is_let_in(self.come("Bearer wrong"), token=self.token))

    def test_scope(self) -> None:
        """A key that may not read is refused by its scope, as before."""
        trader = add_key(self.key_file, "trader", ["trade"], "now").reveal()
        self.assertEqual(self.bye(self.come(f"Bearer {trader}")), (4403, "SCOPE_REFUSED"))

    def test_where_none_is_needed(self) -> None:
        """On this machine a foreign header does not matter."""
        self.serve()
        for given in FOREIGN:
            client = self.websocket(headers=[f"Authorization: {given}"])
            self.assertTrue(self.is_let_in(client), given)


class UnnamedClientsTest(SiteCase):
    """Trusted proxies that name no client."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(proxies=trusted("10.0.0.0/8", "unix"))
        self.log = LogLines(self)

    def told(self) -> list[Line]:
        """The log lines about it."""
        return self.log.about("a trusted proxy names no client")

    def test_one_line_a_minute(self) -> None:
        """One line, and the next one when a minute has passed."""
        headers = ["X-Forwarded-For: unknown"]
        for _ in range(3):
            self.get(peer="10.0.0.1", headers=headers)
            self.websocket(peer="10.0.0.2", headers=headers)
        self.assertEqual(len(self.told()), 1)
        self.turn(UNNAMED_S)
        self.get(peer="unix", headers=headers)
        self.assertEqual([event["proxy"] for event in self.told()], ["10.0.0.1", "unix"])
        self.assertIn("'unknown'", self.told()[0]["said"])

    def test_what_is_said(self) -> None:
        """It is told in one harmless line of a bounded length, without a key."""
        for said in ("\x1b[31m", "\xff", "x" * 9000, self.token, "{x}", ""):
            self.turn(UNNAMED_S)
            self.get(peer="10.0.0.1", headers=[f"X-Forwarded-For: {said}"])
        self.assertEqual(len(self.told()), 6)
        for event in self.told():
            self.assertTrue(event["said"].isascii() and event["said"].isprintable())
            self.assertLess(len(event["said"]), 150)
            self.assertNotIn(self.token, event["said"])

    def test_nothing_to_tell(self) -> None:
        """Named clients, direct ones, and health checks of the proxy itself are no line."""
        self.get(peer="10.0.0.1", headers=["X-Forwarded-For: 192.0.2.1"])
        self.get(peer="127.0.0.1")
        self.get(peer="127.0.0.1", headers=["X-Forwarded-For: unknown"])
        self.get("/healthz", peer="10.0.0.1")
        self.get("/readyz", peer="10.0.0.1")
        self.assertEqual(self.told(), [])
        self.get(peer="10.0.0.1")
        self.assertEqual(self.told()[0]["said"], "no X-Forwarded-For")


class ReadinessTest(SiteCase):
    """`/readyz` of a daemon that is not ready."""

    def reasons(self, **asked: Any) -> list[str]:
        """What it says."""
        answer = self.get("/readyz", **asked)
        self.assertEqual(answer.status, 503)
        reasons: list[str] = json.loads(answer.body)["reasons"]
        return reasons

    def setUp(self) -> None:
        super().setUp()
        self.state = AccountState(
            Phase.RECONNECTING, code="CH_CLIENT_AUTH_FAILURE", reason="hush at 192.0.2.9:5035"
        )
        self.full = ["the session is reconnecting: hush at 192.0.2.9:5035 [CH_CLIENT_AUTH_FAILURE]"]
        self.short = ["the session is reconnecting [CH_CLIENT_AUTH_FAILURE]"]

    def test_local(self) -> None:
        """On this machine it says everything, and not where a proxy was between."""
        self.assertEqual(self.reasons(), self.full)
        self.assertEqual(self.reasons(headers=["X-Forwarded-For: ::1"]), self.short)
        self.assertEqual(self.reasons(headers=["Via: x"]), self.short)

    def test_strangers(self) -> None:
        """Strangers get the code, whatever they show; a right key that may read, the text."""
        self.serve(is_local=False)
        trader = add_key(self.key_file, "trader", ["trade"], "now").reveal()
        for given in ("", "Bearer cts_wrong", "Basic eDp5", "Bearer", f"Bearer {trader}"):
            headers = [f"Authorization: {given}"] if given else []
            self.assertEqual(self.reasons(headers=headers), self.short, given)
        headers = [f"Authorization: Bearer {self.token}"]
        self.assertEqual(self.reasons(headers=headers), self.full)
        self.assertEqual(self.reasons(headers=headers, peer="192.0.2.1"), self.full)

    def test_key_required(self) -> None:
        """With `require_key` this machine is nobody known, either."""
        self.serve(require_key=True)
        self.assertEqual(self.reasons(), self.short)

    def test_codes_that_are_text(self) -> None:
        """What the venue sends as a code and is none is not repeated."""
        self.serve(is_local=False)
        for code in ("hush hush", "x\n", "A" * 65, "", None, "CODE hush", "Ä"):
            self.state = AccountState(Phase.ERROR, code=code, reason="hush")
            self.assertEqual(self.reasons(), ["the session is error"], code)
