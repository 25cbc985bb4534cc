"""A client that reads as it likes: whatever the order of events, it misses nothing unsaid."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.model import FeedNews, SymbolNews
from tests.rfc6455 import BadFrame
from tests.unit.fakes import last_tick
from tests.unit.outbox_listener import Listener
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import OpaqueWire, Wire

NAMES = ["EURUSD", "GBPUSD", "XAUUSD"]
# Twisted's own bound before it pauses a producer is 64 KiB: too much for a few prices.
TLS_BUFFER = 300
WINDOW_S = 0.01


class _Stream(StreamCase):
    """The stream; a test case without tests."""

    def flushLoggedErrors(self, *errorTypes: Any) -> list[Any]:
        """The real test looks after what is logged."""
        return []


class OutboxMachine:
    """Two clients on sockets that take only so much, and two who read everything at once."""

    def __init__(
        self, *, tls: bool = False, window_s: float = 0.0, outbox_bytes: int = 1 << 20
    ) -> None:
        self.tls = tls
        self.is_bounded = outbox_bytes < 1 << 20
        self.stream = _Stream()
        self.stream.clock_starts()
        self.stream.build(
            window_s=window_s, outbox_bytes=outbox_bytes, messages_per_s=10_000, symbols=10
        )
        # What became of wants, told to clients: behind the status, where there is one.
        self.told: list[Any] = []
        self.has_status = False
        self.tell = self.stream.audience.want_changed
        self.stream.audience.want_changed = self.want_changed  # type: ignore[method-assign]
        self.stream.ready()
        self.referees = [self.stream.client() for _ in range(2)]
        self.referees[1].say({"type": "connect", "features": ["health"]})
        self.price = 100_000
        self.requests = 0
        self.people: list[Listener] = []
        self.people += [self.arrival(health=False), self.arrival(health=True)]

    def arrival(self, *, health: bool) -> Listener:
        """A client that nobody knows yet."""
        wire: Wire = Wire(self.stream.clock)
        if self.tls:
            wire = OpaqueWire(self.stream.clock)
            wire.bufferSize = TLS_BUFFER
        client = self.stream.client(wire)
        person = Listener(client, health=health, may_be_shown_out=self.is_bounded)
        self.ask(person, {"type": "connect", "features": ["health"] if health else []}, "status")
        for referee in self.referees:
            referee.heard()
        return person

    def ask(self, person: Listener, request: dict[str, Any], answer: str) -> None:
        """One request of one client, in the middle of a turn."""
        if person.client.protocol.is_in:
            self.requests += 1
            person.expects(answer, self.requests)
            person.client.murmur({**request, "id": self.requests})
            self.note_wants()

    def note_wants(self) -> None:
        """What the account holds is what counts."""
        for person in self.people:
            outbox = person.client.protocol.outbox
            person.wants_now(set(self.stream.account.subscriptions(outbox)))

    def announced(self) -> None:
        """What everybody hears: those who read at once know what it is."""
        heard = [referee.heard() for referee in self.referees]
        for person in self.people:
            person.hears(heard[person.health])
        told, self.told, self.has_status = self.told, [], False
        for consumers in told:
            self.expect_rows(consumers)

    def want_changed(self, consumers: Any, wanted: Any) -> None:
        """Some clients hear what became of a want."""
        if self.has_status:
            self.told.append(consumers)
        else:
            self.expect_rows(consumers)
        self.tell(consumers, wanted)

    def expect_rows(self, consumers: Any) -> None:
        """One message for each of them."""
        for person in self.people:
            if person.client.protocol.is_in and person.client.protocol.outbox in consumers:
                person.expects("subscribeResponse", None)

    def begin(self, room: int | None) -> None:
        """A market that moves, and one client that may be slow from the beginning."""
        for who in range(2):
            self.subscribe(who, set(NAMES), snapshot=True)
        self.prices(NAMES, turn=True)
        self.room(0, room)
        self.prices(NAMES, turn=True)

    # -- the market

    def prices(self, symbols: list[str], turn: bool) -> None:
        """Some prices within one turn, which may go on."""
        for name in symbols:
            self.price += 1000
            account = self.stream.account
            before = last_tick(account, name)
            for number, called in self.stream.venue.names.items():
                if called.strip("()") == name:
                    self.stream.spot(number, self.price, self.price + 1000)
            after = last_tick(account, name)
            if after is not None and after is not before:
                for person in self.people:
                    person.is_due(name, after)
        if turn:
            self.stream.turn()

    def wait(self, seconds: float) -> None:
        """Windows and graces end."""
        self.stream.turn(seconds)

    def outage(self) -> None:
        """The venue is lost, and comes back."""
        self.stream.lose_venue()
        self.announced()
        for person in self.people:
            person.forgets_prices()
        self.has_status = True
        self.stream.ready()
        self.announced()
        self.note_wants()

    def catalogue(self, name: str, how: str) -> None:
        """A symbol leaves the list, comes back, or gets another number, perhaps that of another."""
        names, digits = self.stream.venue.names, self.stream.venue.digits
        number = next((one for one, called in names.items() if called.strip("()") == name), 0)
        if number:
            del names[number]
        if how != "gone":
            number = max(digits) + 1 if how == "number" or not number else number
            digits[number] = 5
            names[number] = f"({name})" if how == "off" else name
        if how == "swap" and 1 in names:
            names[number], names[1] = names[1], names[number]
        for person in self.people:
            for each in NAMES:
                person.may_begin_again(each)
        self.has_status = True
        self.stream.account.session.list_again()
        self.announced()
        self.note_wants()

    def symbol_health(self, names: set[str], code: str) -> None:
        """Some symbols are silent, or come again."""
        account = self.stream.account
        concerned = {c: None for name in sorted(names) for c in account.consumers(name)}
        news = SymbolNews("demo", code, f"{code} {self.price}", tuple(sorted(names)))
        for person in self.people:
            if person.health and person.client.protocol.outbox in concerned:
                person.expects("warning", None)
        self.stream.audience.symbol_health(list(concerned), news)

    def feed_health(self, word: Any) -> None:
        """A whole source is."""
        self.stream.audience.feed_health(FeedNews("demo", word, f"{word} {self.price}"))
        self.announced()

    # -- the clients

    def room(self, who: int, room: int | None) -> None:
        """The socket takes so many bytes from now on (None: as many as there are)."""
        self.people[who].client.wire.kernel.room = room
        self.stream.turn()
        self.people[who].read()

    def subscribe(self, who: int, names: set[str], snapshot: bool) -> None:
        """It wants more, or the same again."""
        person = self.people[who]
        request = {"type": "subscribe", "symbols": sorted(names), "snapshot": snapshot}
        self.ask(person, request, "subscribeResponse")
        if snapshot:
            for name in sorted(names & person.wants):
                tick = last_tick(self.stream.account, name)
                if tick is not None:
                    person.is_due(name, tick)

    def unsubscribe(self, who: int, names: set[str]) -> None:
        """It wants less."""
        request = {"type": "unsubscribe", "symbols": sorted(names)}
        self.ask(self.people[who], request, "unsubscribeResponse")

    def ping(self, who: int) -> None:
        """It wants an answer."""
        self.ask(self.people[who], {"type": "ping"}, "pong")

    def leave(self, who: int) -> None:
        """It goes without a word, and another comes in its place."""
        person = self.people[who]
        person.read()
        person.client.wire.lose()
        self.stream.clients.remove(person.client)
        self.people[who] = self.arrival(health=person.health)

    def read_all(self) -> None:
        """Everybody reads: all answers are there, in order, and the newest price of each want."""
        for person in self.people:
            person.client.wire.kernel.room = None
        while any(person.client.wire.is_writing for person in self.people):
            self.stream.turn()
        self.stream.turn(WINDOW_S)
        for person in self.people:
            person.read()
            person.has_everything()

    def teardown(self) -> None:
        """Every tick that was offered to somebody is accounted for, and no timer is left."""
        self.read_all()
        clients: list[Client] = [*self.stream.clients]
        self.stream.tearDown()
        assert all(client.wire.disconnected for client in clients)
        counts = self.stream.metrics
        told = counts.ticks_out + counts.conflated + counts.ticks_dropped
        assert counts.ticks_offered == told, (counts.ticks_offered, told)


def some(random: Random) -> set[str]:
    """One name or more."""
    return set(random.sample(NAMES, random.randint(1, 3)))


# How often, what, and with which arguments.
Chance = tuple[int, str, Callable[[Random], dict[str, Any]]]
Step = tuple[str, dict[str, Any]]
CATALOGUES = ["gone", "off", "back", "back", "number", "swap"]
CHANCES: list[Chance] = [
    (
        12,
        "prices",
        lambda r: {"symbols": r.choices(NAMES, k=r.randint(1, 4)), "turn": r.random() < 0.6},
    ),
    (3, "wait", lambda r: {"seconds": r.choice([0.0, WINDOW_S / 10, 2 * WINDOW_S, 6.0])}),
    (1, "outage", lambda r: {}),
    (1, "catalogue", lambda r: {"name": r.choice(NAMES), "how": r.choice(CATALOGUES)}),
    (1, "symbol_health", lambda r: {"names": some(r), "code": r.choice(["STALE", "RESUMED"])}),
    (1, "feed_health", lambda r: {"word": r.choice(["stale", "tick_resumed", "quiet"])}),
    (4, "room", lambda r: {"who": r.randint(0, 1), "room": r.choice([None, 0, r.randint(1, 50)])}),
    (4, "room", lambda r: {"who": r.randint(0, 1), "room": r.randint(50, 400)}),
    (
        5,
        "subscribe",
        lambda r: {"who": r.randint(0, 1), "names": some(r), "snapshot": r.random() < 0.6},
    ),
    (3, "unsubscribe", lambda r: {"who": r.randint(0, 1), "names": some(r)}),
    (2, "ping", lambda r: {"who": r.randint(0, 1)}),
    (1, "leave", lambda r: {"who": r.randint(0, 1)}),
    (1, "read_all", lambda r: {}),
]


def story(seed: int) -> list[Step]:
    """What happens, by a seed."""
    random = Random(seed)
    room = random.choice([None, None, random.randint(0, 400)])
    chances = random.choices(CHANCES, [weight for weight, _, _ in CHANCES], k=random.randint(5, 60))
    return [("begin", {"room": room}), *((name, make(random)) for _, name, make in chances)]


def told(steps: list[Step], how: dict[str, Any]) -> Exception | None:
    """Let it happen; what went wrong."""
    machine = OutboxMachine(**how)
    try:
        for name, arguments in steps:
            getattr(machine, name)(**arguments)
        machine.teardown()
    except (AssertionError, BadFrame, LookupError, TypeError, ValueError) as error:
        return error
    return None


def shortest(steps: list[Step], how: dict[str, Any], error: Exception) -> list[Step]:
    """The same failure without the steps that it does not need."""
    size = len(steps) // 2
    while size:
        before = len(steps)
        for start in range(len(steps) - size, 0, -size):
            shorter = steps[:start] + steps[start + size :]
            if type(told(shorter, how)) is type(error):
                steps = shorter
        size = size if len(steps) < before else size // 2
    return steps


class OutboxMachineTest(SynchronousTestCase):
    """Many orders of events."""

    def run_machine(self, **how: Any) -> None:
        """One kind of transport or window."""
        for seed in range(150):
            steps = story(seed)
            error = told(steps, how)
            if error is not None:
                steps = shortest(steps, how, error)
                raise AssertionError(f"seed {seed}: {steps}: {told(steps, how)!r}") from error

    def test_in_any_order(self) -> None:
        """Full sockets, changes of mind, outages, lists that change: in order, complete, and what
        is left out is counted.
        """
        self.run_machine()

    def test_over_tls(self) -> None:
        """The same where Twisted writes, pauses and resumes."""
        self.run_machine(tls=True)

    def test_in_a_window(self) -> None:
        """The same when prices are gathered for some milliseconds."""
        self.run_machine(window_s=WINDOW_S)

    def test_with_a_small_bound(self) -> None:
        """Who is shown out hears nothing after the goodbye, and nobody else notices."""
        self.run_machine(outbox_bytes=1500)
