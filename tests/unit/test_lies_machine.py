"""State machine: wrong answers of the venue in any order; once it is right, all wants are met."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.pb import common_pb2, model_pb2
from ctrader_twisted.upstream.requests import BURST
from tests.unit.joined_daemon import Floor, JoinedCase

NAMES = [f"SYM{number:03}" for number in range(12)]
SOME = st.sets(st.sampled_from(NAMES), max_size=6)
WANTS = st.sets(st.sampled_from([*NAMES, "NOSUCH"]), max_size=8)
SUBSCRIBE, UNSUBSCRIBE = "ProtoOASubscribeSpotsReq", "ProtoOAUnsubscribeSpotsReq"
REQUESTS = [
    SUBSCRIBE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    "ProtoOASymbolByIdReq",
    "ProtoOASymbolsListReq",
    "ProtoOAAccountAuthReq",
]
CODES = [*common_pb2.ProtoErrorCode.keys(), *model_pb2.ProtoOAErrorCode.keys(), "NEVER_SEEN", ""]
#: How many requests are lied to; 0 is until the venue is honest.
TIMES = st.sampled_from([0, 1, 1, 2, 5])


class World(JoinedCase):
    """A daemon and its venue; a test case without tests. Counts what the venue is asked."""

    synthetic = 12
    rate = 0.0
    batch = 5

    def asked(self) -> int:
        """How many requests were sent so far."""
        counts = self.metrics.all().items()
        return sum(
            number
            for (name, label), number in counts
            if name == "messages_out" and label != "ProtoHeartbeatEvent"
        )

    def run_for(self, seconds: float, step_s: float = 1.0) -> None:
        """Time passes; in none of it is the venue asked for more than the budget."""
        before, began = self.asked(), self.clock.seconds()
        attempts = len(self.joint.attempts) if hasattr(self, "joint") else 0
        super().run_for(seconds, step_s)
        # Each connection begins with a whole burst.
        bursts = 2 + len(self.joint.attempts) - attempts
        passed = self.clock.seconds() - began
        allowed = self.budget.requests_per_s * (passed + BURST * bursts)
        assert self.asked() - before <= allowed, (self.asked() - before, passed, bursts)


class LiesMachine(RuleBasedStateMachine):
    """Clients come and go, and the venue lies; `settle` looks whether all is as wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.setUp()
        self.world.start()
        self.people = [Floor(self.world.clock) for _ in range(3)]
        self.wants: list[set[str]] = [set() for _ in self.people]
        self.was_forgotten = False

    # -- clients

    @rule(who=st.integers(0, 2), names=WANTS)
    def subscribe(self, who: int, names: set[str]) -> None:
        """More wants. A name that was in no list is refused at once, the others never are."""
        told = self.world.account.subscribe(self.people[who], sorted(names))
        self.wants[who] |= names - {"NOSUCH"}
        assert {wanted.name for wanted in told if wanted.is_refused} == names & {"NOSUCH"}

    @rule(who=st.integers(0, 2), names=SOME)
    def unsubscribe(self, who: int, names: set[str]) -> None:
        """Fewer wants."""
        self.world.account.unsubscribe(self.people[who], sorted(names))
        self.wants[who] -= names

    @rule(who=st.integers(0, 2))
    def leave(self, who: int) -> None:
        """Somebody goes."""
        self.world.account.leave(self.people[who])
        self.wants[who] = set()

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 12.0, 70.0, 300.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.run_for(seconds)

    # -- lies

    @rule(kept=st.integers(0, 20), times=TIMES)
    def list_short(self, kept: int, times: int) -> None:
        """A list that is not whole."""
        self.world.mischief.list_short(kept, times)

    @rule(names=SOME, times=TIMES, how=st.sampled_from(["without", "disabled", "renamed"]))
    def list_wrong(self, names: set[str], times: int, how: str) -> None:
        """A list that is wrong about some."""
        getattr(self.world.mischief, f"list_{how}")(tuple(sorted(names)), times=times)

    @rule(how=st.sampled_from(["ids", "names"]), times=TIMES)
    def list_twice(self, how: Any, times: int) -> None:
        """A list in which all stand twice."""
        self.world.mischief.list_twice(how, times)

    @rule(names=SOME, times=TIMES)
    def details_without(self, names: set[str], times: int) -> None:
        """Details that leave some out, or all."""
        self.world.mischief.details_without(tuple(sorted(names)), times)

    @rule(kept=st.integers(0, 3), times=TIMES)
    def details_short(self, kept: int, times: int) -> None:
        """Details that are cut off."""
        self.world.mischief.details_short(kept, times)

    @rule(request=st.sampled_from(REQUESTS), code=st.sampled_from(CODES), times=TIMES)
    def refuse(self, request: str, code: str, times: int) -> None:
        """A refusal, with any code."""
        if (request, code) != (UNSUBSCRIBE, "NOT_SUBSCRIBED_TO_SPOTS"):
            # What a venue sends although it says that it does not costs no client anything.
            self.world.mischief.error(request, code, times=times)

    @rule(times=TIMES)
    def pretend(self, times: int) -> None:
        """Subscriptions are confirmed, and not begun."""
        self.world.mischief.pretend(SUBSCRIBE, times)

    @rule(who=st.integers(0, 2), names=SOME, seconds=st.sampled_from([0.3, 2.0, 12.0]))
    def forget_spots(self, who: int, names: set[str], seconds: float) -> None:
        """Subscriptions are ended without a word, after they have ticked."""
        self.subscribe(who, names)
        self.world.run_for(seconds)
        self.world.mischief.forget_spots(tuple(sorted(names)))
        self.was_forgotten = True

    # -- other faults

    @rule(request=st.sampled_from(REQUESTS), do_the_work=st.booleans())
    def swallow(self, request: str, do_the_work: bool) -> None:
        """A request is not answered, done or not."""
        self.world.mischief.swallow(request, do_the_work)

    @rule(names=SOME)
    def quiet(self, names: set[str]) -> None:
        """No price of these comes for a while."""
        self.world.mischief.quiet(tuple(sorted(names)))

    @rule(names=SOME)
    def storm(self, names: set[str]) -> None:
        """Symbols are said to have changed, many times."""
        for _ in range(20):
            self.world.mischief.symbol_changed(tuple(sorted(names)))
            self.world.run_for(0.1, step_s=0.1)

    @rule()
    def drop(self) -> None:
        """The connection is cut."""
        self.world.mischief.drop()

    @rule(stale=st.booleans())
    def throw_out(self, stale: bool) -> None:
        """The account is thrown out, or it is only said."""
        self.world.mischief.account_disconnect(stale=stale)

    # -- the end

    @rule()
    def settle(self) -> None:
        """The venue is honest: every client has all that it asked for, and no more; each symbol
        ticks; nobody waits for anything; and the venue is left alone.
        """
        world = self.world
        world.mischief.clear()
        # The longest waits are a minute; the one begun just before may be followed by another. In a
        # market that stands still, what was ended without a word is found within an hour.
        world.run_for(150)
        if self.was_forgotten:
            world.run_for(3660, step_s=5.0)
            self.was_forgotten = False
        assert world.phase() == "connected"
        for who, wants in zip(self.people, self.wants, strict=True):
            assert set(world.account.subscriptions(who)) == wants
        wanted = set().union(*self.wants)
        venue = world.simulator.venue
        (connection,) = venue.connections
        had = venue.feed.subscribed((connection, world.account.account_id))
        names = {venue.catalogue.by_id[number].name for number in had}
        assert names == wanted, (sorted(names - wanted), sorted(wanted - names))
        assert world.account.confirmed() == len(wanted)
        assert world.account.unavailable() == {}
        assert wanted <= set(world.account.state.symbols or ())
        world.floor.ticks.clear()
        for name in wanted:
            world.mischief.tick(name, bid_points=100_000, ask_points=100_010)
        world.run_for(0.1, step_s=0.01)
        assert {tick.symbol.name for tick in world.floor.ticks} == wanted
        asked = world.asked()
        # Before these are silent for so long that they are subscribed anew.
        world.run_for(290)
        # A list that lost something is looked at a few times more.
        assert world.asked() - asked <= 3
        assert world.application.pending() == 0

    def teardown(self) -> None:
        """No timer is left."""
        self.settle()
        self.world.tearDown()


class LiesMachineTest(SynchronousTestCase):
    """Many orders of events."""

    def test_in_any_order(self) -> None:
        """Whatever the venue said, in the end every client has what it asked for."""
        run_state_machine_as_test(
            LiesMachine,
            settings=settings(max_examples=60, stateful_step_count=20, deadline=None),
        )
