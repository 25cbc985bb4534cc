"""Restoring is a goal: whatever happens in whatever order, what is wanted is had in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.joined_daemon import Floor, JoinedCase

NAMES = [f"SYM{number:03}" for number in range(30)]
SOME = st.sets(st.sampled_from([*NAMES, "NOSUCH"]), max_size=12)
SUBSCRIBE, UNSUBSCRIBE = "ProtoOASubscribeSpotsReq", "ProtoOAUnsubscribeSpotsReq"
REQUESTS = [
    SUBSCRIBE,
    UNSUBSCRIBE,
    "ProtoOASymbolByIdReq",
    "ProtoOAAccountAuthReq",
    "ProtoOASymbolsListReq",
    "ProtoOAApplicationAuthReq",
]
#: Codes that do not make us give a symbol up.
CODES = [
    "UNKNOWN_ERROR",
    "TIMEOUT_ERROR",
    "BLOCKED_PAYLOAD_TYPE",
    "ALREADY_SUBSCRIBED",
    "ALREADY_LOGGED_IN",
    "ACCOUNT_NOT_AUTHORIZED",
    "CH_CLIENT_NOT_AUTHENTICATED",
    "CANT_ROUTE_REQUEST",
    "MARKET_CLOSED",
]


class World(JoinedCase):
    """A daemon and its venue; a test case without tests."""

    synthetic = 30
    rate = 0.0


class RestoreMachine(RuleBasedStateMachine):
    """Wants change, and the venue does its worst; `settle` looks whether all is as wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.setUp()
        self.world.start()
        self.people = [Floor(self.world.clock) for _ in range(3)]

    @rule(who=st.integers(0, 2), names=SOME)
    def subscribe(self, who: int, names: set[str]) -> None:
        """More wants."""
        self.world.account.subscribe(self.people[who], sorted(names))

    @rule(who=st.integers(0, 2), names=SOME)
    def unsubscribe(self, who: int, names: set[str]) -> None:
        """Fewer wants."""
        self.world.account.unsubscribe(self.people[who], sorted(names))

    @rule(who=st.integers(0, 2))
    def leave(self, who: int) -> None:
        """Somebody goes."""
        self.world.account.leave(self.people[who])

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0, 12.0, 70.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.run_for(max(seconds, 0.001), step_s=1.0)

    @rule(request=st.sampled_from(REQUESTS), code=st.sampled_from(CODES), times=st.integers(1, 3))
    def refuse(self, request: str, code: str, times: int) -> None:
        """Requests will be refused."""
        if (request, code) != (SUBSCRIBE, "ALREADY_SUBSCRIBED"):
            # A venue that says so of what it does not send cannot be found out.
            self.world.mischief.error(request, code, times=times)

    @rule(request=st.sampled_from(REQUESTS), do_the_work=st.booleans())
    def swallow(self, request: str, do_the_work: bool) -> None:
        """A request will not be answered, done or not."""
        self.world.mischief.swallow(request, do_the_work)

    @rule(request=st.sampled_from(REQUESTS), seconds=st.sampled_from([0.5, 9.0, 15.0]))
    def late(self, request: str, seconds: float) -> None:
        """An answer will be late, perhaps for another life."""
        self.world.mischief.late(request, seconds)

    @rule()
    def drop(self) -> None:
        """The connection is cut."""
        self.world.mischief.drop()

    @rule(stale=st.booleans())
    def throw_out(self, stale: bool) -> None:
        """The account is thrown out, or it is only said."""
        self.world.mischief.account_disconnect(stale=stale)

    @rule(how=st.sampled_from(["session-ends", "session-survives"]))
    def invalidate(self, how: Any) -> None:
        """The token is invalidated."""
        self.world.mischief.token_invalidated(how)

    @rule()
    def settle(self) -> None:
        """All is well at the venue: in the end it sends exactly what is wanted."""
        world = self.world
        world.mischief.clear()
        # The longest waits are a minute; the one begun just before may be followed by another.
        world.run_for(150, step_s=1.0)
        wanted: set[str] = set()
        for who in self.people:
            wanted.update(world.account.subscriptions(who))
        assert world.phase() == "connected"
        assert "NOSUCH" not in wanted
        venue = world.simulator.venue
        (connection,) = venue.connections
        had = venue.feed.subscribed((connection, world.account.account_id))
        names = {venue.catalogue.by_id[number].name for number in had}
        assert names == wanted, (sorted(names - wanted), sorted(wanted - names))
        assert world.account.confirmed() == len(wanted)
        assert world.application.pending() == 0

    def teardown(self) -> None:
        """No timer is left."""
        self.settle()
        self.world.tearDown()


class RestoreMachineTest(SynchronousTestCase):
    """Many orders of events."""

    def test_a_subscription_done_when_nobody_wants_it(self) -> None:
        """The venue carries out long after its time what was asked for again and ended since."""
        machine = RestoreMachine()
        machine.late(SUBSCRIBE, 15.0)
        machine.subscribe(0, {"SYM000"})
        machine.wait(2.0)
        machine.leave(0)
        machine.teardown()

    def test_an_end_done_when_it_is_wanted_again(self) -> None:
        """The same the other way round: a wanted symbol must not fall silent."""
        machine = RestoreMachine()
        machine.subscribe(0, {"SYM000", "SYM001"})
        machine.wait(2.0)
        machine.late(UNSUBSCRIBE, 15.0)
        machine.unsubscribe(0, {"SYM000"})
        machine.wait(17.0)
        machine.subscribe(1, {"SYM000"})
        machine.wait(12.0)
        machine.teardown()

    def test_a_subscription_done_in_another_life(self) -> None:
        """The venue carries it out when the account was thrown out and is back, and nobody wants it
        any more.
        """
        machine = RestoreMachine()
        # A turn is on its way already, so that the request leaves before the bad news is read.
        machine.leave(0)
        machine.invalidate("session-ends")
        machine.late(SUBSCRIBE, 9.0)
        machine.subscribe(0, {"SYM000"})
        machine.leave(0)
        machine.wait(0.0)
        machine.teardown()

    def test_a_subscription_done_between_two_lives(self) -> None:
        """The same while the account is let in again and its symbols are listed."""
        machine = RestoreMachine()
        # A turn is on its way already, so that the request leaves before the bad news is read.
        machine.leave(0)
        machine.invalidate("session-ends")
        machine.late(SUBSCRIBE, 6.0)
        machine.late("ProtoOASymbolsListReq", 8.0)
        machine.subscribe(0, {"SYM000"})
        machine.leave(0)
        machine.wait(0.0)
        machine.teardown()

    def test_already_something_else(self) -> None:
        """A venue says of a subscription that the account is logged in: that is no subscription."""
        machine = RestoreMachine()
        machine.refuse(SUBSCRIBE, "ALREADY_LOGGED_IN", 1)
        machine.subscribe(0, {"SYM000"})
        machine.wait(0.0)
        machine.teardown()

    def test_in_any_order(self) -> None:
        """Whatever happens in whatever order, what is wanted is had in the end, and no more."""
        run_state_machine_as_test(
            RestoreMachine,
            settings=settings(max_examples=60, stateful_step_count=20, deadline=None),
        )
