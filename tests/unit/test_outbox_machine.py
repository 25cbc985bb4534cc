"""A client that reads as it likes: whatever the order of events, it misses nothing unsaid."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.stream_case import Client, StreamCase

SYMBOLS = {1: "EURUSD", 2: "GBPUSD", 3: "XAUUSD"}
SOME = st.sets(st.sampled_from(sorted(SYMBOLS.values())), min_size=1)


class Seen:
    """What one client has read so far, checked message by message."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.wants: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.pongs: list[int] = []
        self.asked: list[int] = []

    def read(self) -> None:
        """Check all that has come."""
        for message in self.client.heard():
            if message["type"] == "tick":
                self._tick(message)
            elif message["type"] == "pong":
                self.pongs.append(message["id"])
            elif message["type"] in {"subscribeResponse", "unsubscribeResponse"}:
                symbols = set(message["symbols"])
                for changed in self.wants ^ symbols:
                    self.numbers.pop(changed, None)
                self.wants = symbols

    def _tick(self, tick: dict[str, Any]) -> None:
        symbol, number = tick["symbol"], tick["seq"]
        assert symbol in self.wants, f"{symbol} is not wanted"
        last = self.numbers.get(symbol)
        if tick.get("snapshot"):
            # The last known, whatever else waits behind it; it is no step in the counting.
            assert last is None or number >= last
            return
        if last is not None:
            assert number == last + 1 + tick.get("conflated", 0), (symbol, last, tick)
        self.numbers[symbol] = number


class _Stream(StreamCase):
    """The stream; a test case without tests."""

    def flushLoggedErrors(self, *errorTypes: Any) -> list[Any]:
        """The real test looks after what is logged."""
        return []


class OutboxMachine(RuleBasedStateMachine):
    """Two clients on sockets that take only so much."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = _Stream()
        self.stream.setUp()
        self.stream.ready()
        self.seen = [Seen(self.stream.client()) for _ in range(2)]
        self.price = 100_000
        self.sent: dict[str, int] = {}
        self.pings = 0

    @rule(symbols=st.lists(st.sampled_from(sorted(SYMBOLS)), min_size=1, max_size=6))
    def prices(self, symbols: list[int]) -> None:
        """Some prices within one turn."""
        for number in symbols:
            self.price += 1000
            self.stream.spot(number, self.price, self.price + 1000)
            self.sent[SYMBOLS[number]] = self.price
        self.stream.turn()

    @rule(who=st.integers(0, 1), room=st.none() | st.integers(0, 400))
    def room(self, who: int, room: int | None) -> None:
        """The socket takes so many bytes from now on (None: as many as there are)."""
        self.seen[who].client.wire.kernel.room = room
        self.stream.turn()
        self.seen[who].read()

    @rule(who=st.integers(0, 1), names=SOME, kind=st.sampled_from(["subscribe", "unsubscribe"]))
    def want(self, who: int, names: set[str], kind: str) -> None:
        """It changes its mind."""
        self.seen[who].client.say({"type": kind, "symbols": sorted(names)})
        self.seen[who].read()

    @rule(who=st.integers(0, 1))
    def ping(self, who: int) -> None:
        """It wants an answer."""
        self.pings += 1
        self.seen[who].asked.append(self.pings)
        self.seen[who].client.say({"type": "ping", "id": self.pings})
        self.seen[who].read()

    @rule()
    def read_all(self) -> None:
        """Everybody reads: all answers are there, in order, and the newest price of each want."""
        for one in self.seen:
            one.client.wire.kernel.room = None
        for _ in range(6):
            self.stream.turn()
        for one in self.seen:
            one.read()
            assert one.client.goodbye is None, one.client.goodbye
            assert one.pongs == one.asked
            for symbol, last in one.numbers.items():
                tick = self.stream.account.last_tick(symbol)
                assert tick is None or tick.seq == last, (symbol, last, tick)

    def teardown(self) -> None:
        """No timer is left."""
        self.read_all()
        self.stream.tearDown()


class OutboxMachineTest(SynchronousTestCase):
    """Many orders of events."""

    def test_in_any_order(self) -> None:
        """Full sockets, changes of mind, questions: in order, complete, and what is left out is
        counted.
        """
        run_state_machine_as_test(
            OutboxMachine,
            settings=settings(max_examples=60, stateful_step_count=25, deadline=None),
        )
