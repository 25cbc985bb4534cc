"""WebSocket clients on their way in: keys, origins, quotas, and the close codes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ctrader_twisted.web.doors import WRONG_KEYS, DoorPolicy, Doors, Visitor
from ctrader_twisted.web.keys import KeyRing, add_key, revoke_key
from ctrader_twisted.web.lobby import LOOK_S
from ctrader_twisted.web.problems import Refused
from tests.unit.stream_case import Client, StreamCase

AUTH_S = 5.0


class LobbyCase(StreamCase):
    """A stream that strangers reach."""

    policy: dict[str, Any] = {}  # noqa: RUF012 - each class has its own

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key_file = Path(folder.name, "keys.json")
        self.token = self.key("reader")
        super().setUp()
        self.ready()

    def key(self, name: str, *scopes: str) -> str:
        """The text of a new key."""
        return add_key(self.key_file, name, scopes or ("read",), "now").reveal()

    def doors(self) -> Doors:
        """Keys are needed."""
        return Doors(
            clock=self.clock,
            policy=DoorPolicy(is_local=False, auth_timeout_s=AUTH_S, **self.policy),
            keys=KeyRing(self.key_file),
            metrics=self.metrics,
        )

    def come(self, **visitor: Any) -> Client:
        """A client from elsewhere."""
        known = {"address": "192.0.2.1", "is_here": False, "needs_key": True, **visitor}
        return self.client(visitor=Visitor(**known))

    def let_in(self, token: str | None = None) -> Client:
        """A client that has shown its key."""
        client = self.come()
        client.say({"type": "connect", "token": token or self.token})
        return client

    def bye(self, client: Client) -> int:
        """The close code that the client got."""
        client.frames()
        assert client.goodbye is not None, "it was not shown out"
        self.assertIsNone(client.protocol.factory.lobby._waiting.get(client.protocol))
        return client.goodbye[0]


class TokenTest(LobbyCase):
    """`token` in `connect`."""

    def test_right(self) -> None:
        """The key lets in, and connect gets its answer; afterwards all is as without keys."""
        client = self.come()
        answer = client.ask({"type": "connect", "token": self.token, "id": 7})
        self.assertEqual((answer["type"], answer["status"]), ("status", "connected"))
        self.assertEqual(answer["id"], 7)
        self.assertNotIn(self.token, str(answer))
        self.assertEqual(client.subscribe("EURUSD")[0]["results"][0]["status"], "subscribed")
        self.turn(60)
        self.assertIsNone(client.goodbye)

    def test_in_time(self) -> None:
        """Who shows none in time is closed with 4408; until then it hears nothing at all."""
        client = self.come()
        self.lose_venue()
        self.turn(AUTH_S - 0.1)
        self.assertEqual(client.frames(), [])
        self.turn(0.2)
        self.assertEqual(self.bye(client), 4408)

    def test_wrong_or_missing(self) -> None:
        """4401, whatever the first message is instead."""
        for first in (
            {"type": "connect", "token": "cts_wrong"},
            {"type": "connect"},
            {"type": "connect", "token": None},
            {"type": "connect", "token": 3},
            {"type": "subscribe", "symbols": ["EURUSD"], "token": self.token},
            {"type": "ping"},
            b"nonsense",
            b"[" * 10_000,
            b"\xff",
        ):
            self.clock.advance(60)
            client = self.come()
            client.say(first)
            if first == b"\xff":
                self.assertEqual(self.bye(client), 1007)
            else:
                self.assertEqual(self.bye(client), 4401, first)
            client.send_octets(b"")
        self.assertEqual(self.metrics.clients, 0)

    def test_no_second_try(self) -> None:
        """After a wrong key the right one is not looked at: the close frame is on its way."""
        client = self.come()
        client.say({"type": "connect", "token": "x"}, {"type": "connect", "token": self.token})
        self.assertEqual(self.bye(client), 4401)
        self.assertEqual(self.metrics.clients, 0)

    def test_scope(self) -> None:
        """A key without read is 4403."""
        client = self.let_in(self.key("trader", "trade"))
        self.assertEqual(self.bye(client), 4403)

    def test_too_many(self) -> None:
        """An address that keeps guessing is told to wait, by 4429; a right key is let in."""
        for code in (*[4401] * int(WRONG_KEYS), 4429, 4429):
            client = self.come()
            client.say({"type": "connect", "token": "x"})
            self.assertEqual(self.bye(client), code)
        client = self.let_in()
        self.assertEqual(client.heard("status")[0]["status"], "connected")

    def test_gone_while_waiting(self) -> None:
        """A client that leaves before it showed a key leaves nothing behind."""
        client = self.come()
        client.wire.lose()
        self.turn(AUTH_S + 1)
        self.assertEqual(self.metrics.counted("clients_refused", "AUTH_TIMEOUT"), 0)

    def test_shutdown(self) -> None:
        """Who still waits when the daemon goes is told, and no timer is left."""
        client = self.come()
        client.protocol.factory.lobby.stop()
        self.turn()
        self.assertEqual(self.bye(client), 1001)


class HeaderTest(LobbyCase):
    """What was found at the door goes along with the upgrade."""

    def test_key_in_the_header(self) -> None:
        """A client whose header had a key is in at once."""
        key = KeyRing(self.key_file)._keys[0]
        client = self.come(key=key)
        self.assertEqual(client.ask({"type": "connect"})["status"], "connected")

    def test_problems(self) -> None:
        """What is wrong is told by the close code, with the stable code in the reason."""
        for status, code, expected in (
            (401, "KEY_WRONG", 4401),
            (403, "ORIGIN_REFUSED", 4403),
            (403, "SCOPE_REFUSED", 4403),
            (429, "RATE_LIMIT", 4429),
        ):
            client = self.come(problem=Refused(status, "that is why", code=code))
            self.assertEqual(self.bye(client), expected)
            assert client.goodbye is not None
            self.assertTrue(client.goodbye[1].startswith(f"{code}: that is why"))

    def test_here(self) -> None:
        """Where none is needed, none is asked for."""
        client = self.come(needs_key=False)
        self.assertEqual(client.ask({"type": "connect"})["status"], "connected")


class RevokedTest(LobbyCase):
    """A key that is taken away takes its clients along."""

    def test_within_seconds(self) -> None:
        """Clients of a revoked key are closed with 4401 at the next look; others stay."""
        client, other = self.let_in(), self.let_in(self.key("other"))
        self.turn(LOOK_S * 2)
        revoke_key(self.key_file, "reader")
        self.turn(LOOK_S)
        self.assertEqual(self.bye(client), 4401)
        other.frames()
        self.assertIsNone(other.goodbye)
        self.assertEqual(self.metrics.clients, 1)


class QuotaTest(LobbyCase):
    """Limits of one address, and of one key."""

    policy = {  # noqa: RUF012
        "connections_per_address": 2,
        "connections_per_key": 3,
        "messages_per_s_per_key": 5.0,
        "subscriptions_per_key": 4,
    }

    def codes(self, client: Client, *symbols: str) -> list[str | None]:
        """What became of each symbol: None where all is well."""
        answer = client.ask({"type": "subscribe", "symbols": symbols, "snapshot": False})
        return [result.get("code") for result in answer["results"]]

    def test_connections_of_a_key(self) -> None:
        """One more than allowed is 4429; when one leaves there is room again."""
        clients = [self.let_in() for _ in range(3)]
        self.assertEqual(self.bye(self.let_in()), 4429)
        clients[0].wire.lose()
        client = self.let_in()
        self.assertEqual(client.heard("status")[0]["status"], "connected")

    def test_strangers_of_an_address(self) -> None:
        """So many may wait at once without a key; when one shows its key another may come."""
        waiting = [self.come() for _ in range(2)]
        self.assertEqual(self.bye(self.come()), 4429)
        elsewhere = self.come(address="192.0.2.2")
        waiting[0].say({"type": "connect", "token": self.token})
        waiting.append(self.come())
        self.turn(AUTH_S + 1)
        for client in (*waiting[1:], elsewhere):
            self.assertEqual(self.bye(client), 4408)
        self.assertEqual(self.factory.lobby._strangers, {}, "nothing is left of those who went")
        for _ in range(5):
            self.come(needs_key=False, address="127.0.0.1", is_here=True)
        self.assertEqual(self.metrics.clients, 6)

    def test_strangers_of_a_network(self) -> None:
        """The addresses of an IPv6 /64 count together."""
        for number in range(2):
            self.come(address=f"2001:db8::{number}")
        self.assertEqual(self.bye(self.come(address="2001:db8::9")), 4429)
        self.come(address="2001:db8:0:1::1")
        self.assertEqual(
            self.factory.lobby._strangers, {"2001:db8::/64": 2, "2001:db8:0:1::/64": 1}
        )

    def test_messages_of_a_key(self) -> None:
        """All clients of one key share its messages; who says too much may go on later."""
        clients = [self.let_in() for _ in range(3)]
        answers = [client.ask({"type": "ping"}) for client in clients for _ in range(4)]
        codes = [answer.get("code") for answer in answers]
        self.assertEqual(codes.count("RATE_LIMIT"), 5)
        self.turn(1)
        self.assertEqual(clients[0].ask({"type": "ping"})["type"], "pong")

    def test_subscriptions_of_a_key(self) -> None:
        """All clients of one key share its subscriptions; the rows beyond say so, and are counted;
        other keys are not touched.
        """
        one, two = self.let_in(), self.let_in()
        self.assertEqual(self.codes(one, "EURUSD", "GBPUSD", "XAUUSD"), [None] * 3)
        self.assertEqual(
            self.codes(two, "EURUSD", "GBPUSD", "NOSUCH"), [None, "UNKNOWN_SYMBOL", "KEY_LIMIT"]
        )
        self.assertEqual(self.metrics.counted("subscriptions_refused", "KEY_LIMIT"), 1)
        self.assertEqual(self.codes(one, "eurusd"), [None], "what one has takes no place twice")
        other = self.let_in(self.key("other"))
        self.assertEqual(self.codes(other, "EURUSD", "GBPUSD", "XAUUSD"), [None] * 3)

    def test_subscriptions_come_back(self) -> None:
        """A place is free again when its symbol is let go, or its client has gone."""
        one, two = self.let_in(), self.let_in()
        self.codes(one, "EURUSD", "GBPUSD", "XAUUSD")
        self.codes(two, "EURUSD")
        self.assertEqual(self.codes(two, "XAUUSD"), ["KEY_LIMIT"])
        one.ask({"type": "unsubscribe", "symbols": ["GBPUSD"]})
        self.assertEqual(self.codes(two, "XAUUSD"), [None])
        self.assertEqual(self.codes(two, "GBPUSD"), ["KEY_LIMIT"])
        one.wire.lose()
        self.assertEqual(self.codes(two, "GBPUSD"), [None])
        two.wire.lose()
        self.assertEqual(self.factory.lobby._sums, {}, "nothing is left of those who went")

    def test_subscriptions_that_the_catalogue_takes_back(self) -> None:
        """Before there is a catalogue every name counts; one that turns out wrong no more."""
        self.build()
        one, two = self.let_in(), self.let_in()
        self.assertEqual(self.codes(one, "EURUSD", "a", "b", "c"), [None] * 4)
        self.assertEqual(self.codes(two, "GBPUSD"), ["KEY_LIMIT"])
        self.ready()
        self.turn(2)
        self.assertEqual(self.codes(two, "GBPUSD", "XAUUSD"), [None] * 2)

    def test_subscriptions_without_a_key(self) -> None:
        """Who needs no key has the limit of each client only."""
        clients = [self.come(needs_key=False, is_here=True) for _ in range(3)]
        for client in clients:
            self.assertEqual(self.codes(client, "EURUSD", "GBPUSD", "XAUUSD"), [None] * 3)
