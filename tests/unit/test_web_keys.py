"""API keys: the file they are in, the doors they open, and what a wrong one gets."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any

from twisted.logger import globalLogPublisher

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.web.doors import WRONG_KEYS, WRONG_KEYS_PER_S
from ctrader_twisted.web.keys import KeyRing, add_key, read_keys, revoke_key
from tests.unit.door_case import Answer, DoorCase

GOOD = {"name": "a", "scopes": ["read"], "sha256": "0" * 64, "made_at": "now"}
WRONG_ENTRIES = [
    json.dumps({"keys": [{**GOOD, **wrong}]}).encode()
    for wrong in (
        {"sha256": "é" * 64},
        {"sha256": "0" * 63},
        {"sha256": ""},
        {"scopes": ["root"]},
        {"scopes": "read"},
        {"name": ""},
        {"name": "a\nb"},
        {"made_at": 1},
    )
]


class KeyFileTest(DoorCase):
    """What is stored, and what is refused."""

    def refusal(self, call: Any, *arguments: Any) -> str:
        """The one sentence of the ConfigurationError that must come."""
        said = str(self.assertRaises(ConfigurationError, call, *arguments))
        self.assertTrue(said.endswith((".", "?")), said)
        return said

    def test_only_a_hash(self) -> None:
        """The text of a key is nowhere in the file; its hash, name, scopes and date are."""
        text = self.key("ops", "trade", "read")
        stored = self.key_file.read_text()
        self.assertNotIn(text, stored)
        key = json.loads(stored)["keys"][0]
        self.assertEqual((key["name"], key["scopes"]), ("ops", ["read", "trade"]))
        self.assertEqual(key["sha256"], hashlib.sha256(text.encode()).hexdigest())
        self.assertEqual(key["made_at"], "2026-01-01T00:00:00Z")

    def test_256_bits(self) -> None:
        """No two keys are the same, and 43 characters carry 256 random bits."""
        texts = {self.key(f"k{number}") for number in range(20)}
        self.assertEqual(len(texts), 20)
        for text in texts:
            self.assertRegex(text, r"^cts_[A-Za-z0-9_-]{43}$")

    def test_owner_only(self) -> None:
        """The file is made for its owner alone, whatever the umask, and refused when opened up."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.key()
        self.assertEqual(self.key_file.stat().st_mode & 0o777, 0o600)
        self.assertEqual([p.name for p in self.key_file.parent.iterdir()], ["keys.json"])
        for mode in (0o640, 0o604, 0o620, 0o666):
            self.key_file.chmod(mode)
            said = self.refusal(KeyRing, self.key_file)
            self.assertIn(f"mode 0{mode:o}", said)
            self.assertIn("chmod 600", said)

    def test_missing_or_damaged(self) -> None:
        """A file that is not there, or is no such file, is one sentence."""
        self.assertIn("keys add", self.refusal(KeyRing, self.key_file))
        for content in (b"", b"{", b"[]", b'{"keys": 1}', *WRONG_ENTRIES, b"\xff\xfe"):
            self.key_file.write_bytes(content)
            self.key_file.chmod(0o600)
            self.assertIn("damaged", self.refusal(KeyRing, self.key_file))
        self.refusal(add_key, self.key_file, "ops", ["read"], "now")
        self.assertEqual(self.key_file.read_bytes(), b"\xff\xfe", "a damaged file is left alone")

    def test_names_and_scopes(self) -> None:
        """A name is a word and given once; a scope is one of three."""
        self.key("ops")
        self.assertIn("already", self.refusal(self.key, "ops"))
        for name in ("", "-x", "a b", "a\nb", "é", "x" * 65):
            self.assertIn("no name", self.refusal(self.key, name))
        self.assertIn("no scope 'root'", self.refusal(self.key, "x", "root"))
        said = self.refusal(add_key, self.key_file, "x", [], "now")
        self.assertIn("a key needs a scope", said)
        self.assertEqual([key.name for key in read_keys(self.key_file)], ["ops"])

    def test_revoke(self) -> None:
        """A revoked key is gone; an unknown one is said to be unknown."""
        self.key("a")
        self.key("b")
        revoke_key(self.key_file, "a")
        self.assertEqual([key.name for key in read_keys(self.key_file)], ["b"])
        self.assertIn("no key 'a'", self.refusal(revoke_key, self.key_file, "a"))

    def test_no_folder(self) -> None:
        """A folder that is not there is one sentence."""
        said = self.refusal(add_key, self.key_file.parent / "no" / "k", "a", ["read"], "now")
        self.assertIn("folder", said)


class ChangesTest(DoorCase):
    """The ring follows the file."""

    def setUp(self) -> None:
        super().setUp()
        self.first = Secret(self.key("first"))
        self.ring = KeyRing(self.key_file)
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.see)
        self.addCleanup(globalLogPublisher.removeObserver, self.see)

    def see(self, event: dict[str, Any]) -> None:
        """What is logged about keys."""
        if event.get("log_namespace", "").endswith("keys.KeyRing"):
            self.lines.append(event["log_level"].name)

    def test_added_and_revoked(self) -> None:
        """A new key works at once, and a revoked one no more; nothing is restarted."""
        second = Secret(self.key("second"))
        key = self.ring.find(second)
        assert key is not None
        self.assertTrue(self.ring.holds(key))
        revoke_key(self.key_file, "second")
        self.assertIsNone(self.ring.find(second))
        self.assertFalse(self.ring.holds(key))
        self.assertIsNotNone(self.ring.find(self.first))

    def test_wrong_file_lets_nobody_in(self) -> None:
        """A file that goes, opens up or breaks lets nobody in, says so once, and recovers."""
        stored = self.key_file.read_bytes()
        for change in (
            self.key_file.unlink,
            lambda: self.key_file.chmod(0o644),
            lambda: self.key_file.write_bytes(b"{"),
        ):
            self.lines.clear()
            change()
            for _ in range(3):
                self.assertIsNone(self.ring.find(self.first))
            self.assertEqual(self.lines, ["error"])
            self.key_file.unlink(missing_ok=True)
            self.key_file.write_bytes(stored)
            self.key_file.chmod(0o600)
            self.assertIsNotNone(self.ring.find(self.first))

    def test_nonsense(self) -> None:
        """Whatever is shown as a key is compared, and is none."""
        for text in ("", "x", "cts_", "\udcff", "é" * 1000, self.first.reveal() + "x"):
            self.assertIsNone(self.ring.find(Secret(text)), ascii(text[:9]))


class WorkTest(DoorCase):
    """What is done for a key does not depend on whether it is right: time tells nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.texts = [self.key(f"k{number}") for number in range(5)]
        self.revoked = self.key("gone")
        revoke_key(self.key_file, "gone")
        self.work: list[tuple[str, int, int]] = []
        self.ring = KeyRing(self.key_file, digest=self.digest, is_same=self.is_same)

    def digest(self, text: Secret) -> str:
        """Hashing, written down."""
        self.work.append(("hash", len(text.reveal()), 1))
        return hashlib.sha256(text.reveal().encode()).hexdigest()

    def is_same(self, one: str, other: str) -> bool:
        """Comparing, written down."""
        self.work.append(("compare", len(one), len(other)))
        return hmac.compare_digest(one, other)

    def shown(self) -> dict[str, str]:
        """Keys of one length: right ones from both ends of the file, and all kinds of wrong."""
        right = self.texts[0]
        return {
            "the first": right,
            "the last": self.texts[-1],
            "unknown": "cts_" + "x" * 43,
            "wrong in the first place": "xxxx" + right[4:],
            "wrong in the last place": right[:-1] + ("A" if right[-1] != "A" else "B"),
            "revoked": self.revoked,
        }

    def test_same_work(self) -> None:
        """One hash of what was shown, and one comparison of whole hashes for every key there is:
        for right, wrong, unknown and revoked ones alike.
        """
        expected = [("hash", 47, 1), *[("compare", 64, 64)] * len(self.texts)]
        found = {}
        for name, text in self.shown().items():
            self.work.clear()
            key = self.ring.find(Secret(text))
            found[name] = None if key is None else key.name
            self.assertEqual(self.work, expected, name)
        self.assertEqual(found, dict.fromkeys(found) | {"the first": "k0", "the last": "k4"})

    def test_same_work_at_the_door(self) -> None:
        """Nor does a whole request bring more or less of it, wherever it goes to; where no key is
        needed there is none.
        """
        self.build(is_local=False, keys=self.ring)
        work = set()
        for number, text in enumerate(self.shown().values()):
            for target in ("/nowhere", "/version", "/readyz"):
                self.work.clear()
                self.ask(target, peer=f"192.0.2.{number}", Authorization=f"Bearer {text}")
                work.add(tuple(self.work))
            self.work.clear()
            self.ask("/healthz", peer=f"192.0.2.{number}", Authorization=f"Bearer {text}")
            self.assertEqual(self.work, [])
        self.assertEqual(len(work), 1)


class BearerTest(DoorCase):
    """`Authorization: Bearer` where a key is needed."""

    def setUp(self) -> None:
        super().setUp()
        self.reader = self.key("reader")
        self.trader = self.key("trader", "trade")
        self.build(with_keys=True, is_local=False)

    def ask_with(self, authorization: str, target: str = "/nowhere", **more: Any) -> Answer:
        """With this header; a path behind the door answers 404."""
        return self.ask(target, Authorization=authorization, **more)

    def test_right(self) -> None:
        """A key with the scope opens; the word Bearer in any case."""
        self.assert_refused(self.ask_with(f"Bearer {self.reader}"), 404, "NOT_FOUND")
        self.assert_refused(self.ask_with(f"bearer {self.reader}"), 404, "NOT_FOUND")

    def test_missing(self) -> None:
        """Without a key it is 401 with what to send, also for this machine."""
        for peer in ("192.0.2.1", "127.0.0.1"):
            answer = self.ask("/nowhere", peer=peer)
            self.assert_refused(answer, 401, "KEY_REQUIRED")
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    def test_health_and_page(self) -> None:
        """What machines and browsers ask first needs none."""
        for target in ("/healthz", "/readyz", "/"):
            self.assertEqual(self.ask(target).status, 200)

    def test_wrong(self) -> None:
        """A wrong bearer token is 401, and is never repeated."""
        for given in ("Bearer cts_wrong-wrong", "Bearer", "Bearer  ", f"Bearer x {self.reader}"):
            self.build(with_keys=True, is_local=False)
            answer = self.ask_with(given)
            self.assert_refused(answer, 401, "KEY_WRONG")
            self.assertNotIn(b"wrong-wrong", answer.body)

    def test_other_schemes(self) -> None:
        """Credentials of another scheme are somebody else's: as if there were none."""
        for given in (
            "Basic eDp5",
            "basic",
            "Digest username=x",
            "Negotiate YII=",
            "Token x",
            "AWS4-HMAC-SHA256 Credential=x",
            self.reader,
            f"Basic x, Bearer {self.reader}",
            "",
        ):
            self.assert_refused(self.ask_with(given), 401, "KEY_REQUIRED")
        self.assertEqual(self.metrics.counted("requests_refused_at_the_door", "KEY_WRONG"), 0)

    def test_two_headers(self) -> None:
        """Of two headers the one with a bearer token counts; two such are no key."""
        right, basic = f"Authorization: Bearer {self.reader}", "Authorization: Basic eDp5"
        for lines, status, code in (
            ((basic, right), 404, "NOT_FOUND"),
            ((right, basic), 404, "NOT_FOUND"),
            ((right, "Authorization: Bearer x"), 401, "KEY_WRONG"),
            ((right, right), 401, "KEY_WRONG"),
            ((basic, basic), 401, "KEY_REQUIRED"),
        ):
            socket = self.socket()
            head = "\r\n".join(("GET /nowhere HTTP/1.1", "Host: localhost", *lines))
            socket.send(head.encode() + b"\r\n\r\n")
            self.assert_refused(socket.answer(), status, code)

    def test_open_paths(self) -> None:
        """What needs no key looks at none, counts none, and is open after any number of them."""
        for given in ("Bearer x", "Bearer cts_wrong", "Basic eDp5", "Bearer", "\xff"):
            for target in ("/healthz", "/readyz", "/", "/favicon.ico", "/static/ctrader-stream.js"):
                for _ in range(int(WRONG_KEYS)):
                    answer = self.ask_with(given, target)
                    self.assertEqual(answer.status, 200, (given, target))
        self.assert_refused(self.ask_with("Bearer x"), 401, "KEY_WRONG")

    def test_scope(self) -> None:
        """A key without the scope is 403: scopes imply nothing."""
        self.assert_refused(self.ask_with(f"Bearer {self.trader}"), 403, "SCOPE_REFUSED")

    def test_too_many_wrong(self) -> None:
        """After some wrong keys an address is slowed for wrong keys; a right one is let in."""
        for _ in range(int(WRONG_KEYS)):
            self.assertEqual(self.ask_with("Bearer x", peer="192.0.2.1").status, 401)
        answer = self.ask_with("Bearer x", peer="192.0.2.1")
        self.assert_refused(answer, 429, "TOO_MANY_WRONG_KEYS")
        self.assertEqual(answer.headers["retry-after"], str(round(1 / WRONG_KEYS_PER_S)))
        for peer in ("192.0.2.1", "192.0.2.2"):
            self.assertEqual(self.ask_with(f"Bearer {self.reader}", peer=peer).status, 404)
        self.assertEqual(self.ask_with("Bearer x", peer="192.0.2.1").status, 429)
        self.assertEqual(self.ask_with("Bearer x", peer="192.0.2.2").status, 401)
        self.assertEqual(self.ask_with("Basic eDp5", peer="192.0.2.1").status, 401)
        self.clock.advance(1 / WRONG_KEYS_PER_S)
        self.assertEqual(self.ask_with("Bearer x", peer="192.0.2.1").status, 401)
        self.assertEqual(self.ask_with("Bearer x", peer="192.0.2.1").status, 429)

    def test_revoked(self) -> None:
        """A revoked key is wrong from the next request on."""
        self.assertEqual(self.ask_with(f"Bearer {self.reader}").status, 404)
        revoke_key(self.key_file, "reader")
        self.assert_refused(self.ask_with(f"Bearer {self.reader}"), 401, "KEY_WRONG")

    def test_own_allowance(self) -> None:
        """Two keys of one address have an allowance each."""
        other = self.key("other")
        self.build(with_keys=True, is_local=False, calls_per_s=1.0)
        for _ in range(2):
            self.assertEqual(self.ask_with(f"Bearer {self.reader}").status, 404)
        self.assertEqual(self.ask_with(f"Bearer {self.reader}").status, 429)
        self.assertEqual(self.ask_with(f"Bearer {other}").status, 404)


class LoopbackTest(DoorCase):
    """Where only this machine can reach us."""

    def test_none_needed(self) -> None:
        """No key is asked for; one that is shown does no harm where there is no ring."""
        self.assertEqual(self.ask("/nowhere").status, 404)
        self.assertEqual(self.ask("/nowhere", Authorization="Bearer anything").status, 404)

    def test_through_a_proxy(self) -> None:
        """Who was brought by a proxy is not of this machine, trusted or not."""
        for header in ("X_Forwarded_For", "Forwarded", "X_Real_IP", "Via"):
            answer = self.ask("/nowhere", **{header: "127.0.0.1"})
            self.assert_refused(answer, 401, "KEY_REQUIRED")

    def test_required_all_the_same(self) -> None:
        """`require_key` asks everybody."""
        text = self.key()
        self.build(with_keys=True, require_key=True)
        self.assertEqual(self.ask("/nowhere").status, 401)
        self.assertEqual(self.ask("/nowhere", Authorization=f"Bearer {text}").status, 404)
