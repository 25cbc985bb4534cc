"""A client of the simulated venue, joined to it in memory: no socket, no TLS, a Clock for time."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.simulator.service import Behaviour, Simulator
from ctrader_twisted.wire.codec import Envelope, decode, encode

ACCOUNT = 1000001
SECRET = "simulator-secret"
TOKEN = "simulator-token"
NOW_MS = 1_750_000_000_000

M = TypeVar("M", bound=Message)


def framed(content: bytes) -> bytes:
    """With its four length bytes."""
    return len(content).to_bytes(4, "big") + content


class JoinedClient:
    """Talks to one server-side connection; ``octets`` is what it has said and nobody took yet."""

    def __init__(self, simulator: Simulator) -> None:
        self.transport = StringTransport()
        self.connection = simulator.factory.buildProtocol(None)
        self.connection.makeConnection(self.transport)
        self._ids = 0

    def send(self, message: Message, message_id: str | None = "id") -> None:
        """One request; the answer is not awaited."""
        self.send_octets(framed(encode(message, message_id)))

    def send_octets(self, octets: bytes) -> None:
        """Anything."""
        self.connection.dataReceived(octets)

    def ask(self, message: Message) -> Any:
        """One request; the message that answers it (others that came are thrown away)."""
        self._ids += 1
        message_id = f"ask {self._ids}"
        self.send(message, message_id)
        answers = [one for one in self.heard() if one.client_message_id == message_id]
        if len(answers) != 1:
            raise AssertionError(f"{type(message).__name__} was answered by {answers}")
        return answers[0].message

    def octets(self) -> bytes:
        """What came, taken away."""
        octets = self.transport.value()
        self.transport.clear()
        return octets

    def heard(self) -> list[Envelope]:
        """What came as messages, taken away."""
        rest, envelopes = self.octets(), []
        while rest:
            end = 4 + int.from_bytes(rest[:4], "big")
            envelopes.append(decode(rest[4:end]))
            rest = rest[end:]
        return envelopes

    def messages(self, kind: type[M]) -> list[M]:
        """What came of one kind; the rest is thrown away."""
        return [one.message for one in self.heard() if isinstance(one.message, kind)]

    @property
    def closed(self) -> bool:
        """Whether the venue has closed the connection (politely or not)."""
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def application_auth(self, secret: str = SECRET) -> Any:
        """Say which application this is."""
        return self.ask(
            api_pb2.ProtoOAApplicationAuthReq(clientId="simulator-client", clientSecret=secret)
        )

    def account_auth(self, account_id: int = ACCOUNT, token: str = TOKEN) -> Any:
        """Open an account."""
        return self.ask(
            api_pb2.ProtoOAAccountAuthReq(ctidTraderAccountId=account_id, accessToken=token)
        )

    def log_in(self) -> JoinedClient:
        """Both, with the defaults."""
        self.application_auth()
        self.account_auth()
        return self

    def subscribe(self, *symbol_ids: int, timed: bool = False) -> None:
        """Ask for spots, and leave what comes."""
        self.send(
            api_pb2.ProtoOASubscribeSpotsReq(
                ctidTraderAccountId=ACCOUNT, symbolId=symbol_ids, subscribeToSpotTimestamp=timed
            )
        )

    def hang_up(self) -> None:
        """The connection is over."""
        self.connection.connectionLost(Failure(ConnectionDone()))


class VenueCase(SynchronousTestCase):
    """A venue on a Clock; each test ends with everybody gone and no timer left."""

    def setUp(self) -> None:
        self.clock = Clock()
        self._clients: list[JoinedClient] = []
        self.now_ms = NOW_MS
        self.open_venue()

    def open_venue(self, behaviour: Behaviour | None = None, **settings: Any) -> None:
        """Another venue than the default one."""
        self.simulator = Simulator(
            self.clock, behaviour=behaviour, now_ms=lambda: self.now_ms, **settings
        )
        self.venue, self.mischief = self.simulator.venue, self.simulator.mischief

    def connect(self) -> JoinedClient:
        """A stranger."""
        client = JoinedClient(self.simulator)
        self._clients.append(client)
        return client

    def logged_in(self) -> JoinedClient:
        """Somebody with the principal account open."""
        return self.connect().log_in()

    def refused(self, answer: Any, code: str) -> str:
        """Assert that the answer is a refusal of that code; its description."""
        self.assertEqual(getattr(answer, "errorCode", f"granted: {answer!r}"), code)
        return str(answer.description)

    def tearDown(self) -> None:
        for client in self._clients:
            client.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.venue.connections, [])
        self.assertEqual(self.venue.feed.subscriptions, 0)
