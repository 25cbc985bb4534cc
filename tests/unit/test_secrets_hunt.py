"""Secrets planted wherever one can be put, and hunted wherever we speak."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from ctrader_twisted.logs import Secret, conceal, console_line, json_line
from ctrader_twisted.web.keys import KeyRing, revoke_key
from ctrader_twisted.web.scrape import Scrape
from tests.unit.door_case import Answer, DoorCase
from tests.unit.test_web_lobby import LobbyCase
from tests.unit.test_web_scrape import gauges

PLANTED = "pl4nted-in-the-settings-4711"


class Ears:
    """Everything that is logged while a test runs, as both of our loggers write it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        """One event."""
        self.lines += [console_line(event), json_line(event)]


class HuntAtTheDoorTest(DoorCase):
    """REST: headers, bodies, paths, faults of ours."""

    def setUp(self) -> None:
        super().setUp()
        self.ears = Ears()
        globalLogPublisher.addObserver(self.ears)
        self.addCleanup(globalLogPublisher.removeObserver, self.ears)
        self.text = self.key("ops")
        self.revoked = self.key("gone")
        revoke_key(self.key_file, "gone")
        conceal(Secret(PLANTED))

    def spoken(self, answers: list[Answer]) -> str:
        """All that left the process: answers with headers, log lines, metrics, reprs."""
        told = [f"{a.status} {a.headers} {a.body!r}" for a in answers]
        scrape = Scrape(metrics=self.metrics, gauges=gauges(), version="1").text().decode()
        ring = KeyRing(self.key_file)
        inside = [repr(x) for x in (ring, vars(ring), self.doors, vars(self.doors), self.site)]
        return "\n".join([*told, *self.ears.lines, scrape, *inside, self.key_file.read_text()])

    def assert_nowhere(self, answers: list[Answer]) -> None:
        """Neither key, nor a planted secret, nor a part of them."""
        said = self.spoken(answers)
        for secret in (self.text, self.revoked, PLANTED):
            for spelling in (secret, secret.upper(), secret.lower()):
                self.assertNotIn(spelling, said)
                self.assertNotIn(spelling[4:30], said)

    def test_wherever_a_key_can_be_put(self) -> None:
        """In the header, twice, in the path, the query, other headers, right, wrong and revoked."""
        self.build(with_keys=True, is_local=False)
        answers = []
        for secret in (self.text, self.revoked, PLANTED, self.text.upper()):
            for headers in (
                {"Authorization": f"Bearer {secret}"},
                {"Authorization": secret},
                {"Authorization": f"Basic {secret}"},
                {"Origin": f"https://{secret}.example"},
                {"Host": f"{secret}.example"},
                {"X_Correlation_Id": "x", "Cookie": f"session={secret}"},
                {"X_Forwarded_For": secret},
            ):
                self.clock.advance(60)
                answers.append(self.ask("/metrics", **headers))
            for target in (f"/{secret}", f"/nowhere?token={secret}", f"/readyz?api_key={secret}"):
                answers.append(self.ask(target))
            body = json.dumps({"token": secret}).encode()
            answers.append(self.ask("/healthz", method="POST", body=body, Content_Type="text/a"))
        self.assert_nowhere(answers)

    def test_a_crash(self) -> None:
        """A fault whose words hold secrets: masked in the log, absent from the answer."""

        def broken() -> Any:
            raise RuntimeError(
                f"no luck with {self.text} and {PLANTED} and Bearer {self.text}, "
                f"{self.text.upper()}, {PLANTED.upper()}, %22{self.text}%22, "
                f"{PLANTED.encode().hex()}, {b64encode(self.text.encode()).decode()}"
            )

        self.build(details=broken)
        answers = [self.ask("/readyz", Authorization=f"Bearer {self.text}")]
        self.assertTrue(any("no luck with" in line for line in self.ears.lines))
        self.assert_nowhere(answers)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_key_file_that_breaks(self) -> None:
        """The complaint about a damaged file repeats nothing of it."""
        ring = KeyRing(self.key_file)
        self.key_file.write_text('{"keys": [{"name": "' + self.text)
        self.assertIsNone(ring.find(Secret(self.text)))
        self.key_file.write_text("")
        self.assertTrue(self.ears.lines)
        self.key_file.chmod(0o600)
        self.key_file.write_text('{"keys": []}')
        self.assert_nowhere([])

    def test_values(self) -> None:
        """Keys in memory print as stars, in errors too."""
        self.build(with_keys=True)
        key = Secret(self.text)
        try:
            raise ValueError(key)
        except ValueError:
            told = Failure().getTraceback() + f"{key} {key!r} {[key]} {{'k': {key}}}"
        self.assertNotIn(self.text, told)


class HuntInTheStreamTest(LobbyCase):
    """WebSocket: tokens, and whatever else a client says."""

    def test_whatever_is_said(self) -> None:
        """Tokens, right and wrong, in the right place and in wrong ones, come back nowhere."""
        ears = Ears()
        globalLogPublisher.addObserver(ears)
        self.addCleanup(globalLogPublisher.removeObserver, ears)
        wrong = "cts_wrong-but-secret-all-the-same-0815"
        said = []
        for token in (self.token, wrong):
            for first in (
                {"type": "connect", "token": token},
                {"type": "connect", "token": token, "protocol": "x"},
                {"type": "connect", "token": [token]},
                {"type": token},
                {"token": token},
            ):
                self.clock.advance(60)
                client = self.come()
                client.say(first)
                said += [str(client.heard()), str(client.goodbye), repr(client.protocol.visitor)]
                client.wire.lose()
        scrape = Scrape(metrics=self.metrics, gauges=gauges(), version="1").text().decode()
        everything = "\n".join([*said, *ears.lines, scrape])
        for secret in (self.token, wrong):
            self.assertNotIn(secret, everything)
            self.assertNotIn(secret[4:30], everything)
