"""Who wants which symbol."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.demand import Demand, Group

GRACE_S = 5.0
KEYS = st.sets(st.sampled_from(["EURUSD", "GBPUSD", "XAUUSD", "US30"]), max_size=4)
WHO = st.integers(0, 3)


class Holder:
    """A consumer that remembers where it stands."""

    def __init__(self) -> None:
        self.group: Group | None = None

    def join(self, group: Group | None) -> None:
        """Our wants changed."""
        self.group = group


class DemandTest(SynchronousTestCase):
    """The table by example."""

    def setUp(self) -> None:
        self.demand = Demand(GRACE_S)
        self.one, self.other = Holder(), Holder()

    def test_wanting_twice_counts_once(self) -> None:
        """One unwant ends what was wanted twice by the same consumer."""
        self.demand.want(self.one, ["EURUSD"])
        self.demand.want(self.one, ["EURUSD"])
        self.demand.unwant(self.one, ["EURUSD"], 0.0)
        self.assertEqual(self.demand.consumers("EURUSD"), [])
        self.assertEqual(self.demand.wanted(GRACE_S), set())

    def test_equal_wants_share_a_group(self) -> None:
        """Consumers of the same symbols stand in one group, others elsewhere."""
        self.demand.want(self.one, ["EURUSD", "US30"])
        self.demand.want(self.other, ["US30"])
        self.assertIsNot(self.one.group, self.other.group)
        self.assertEqual(len(self.demand.groups("US30")), 2)
        self.demand.want(self.other, ["EURUSD"])
        self.assertIs(self.one.group, self.other.group)
        self.assertEqual(list(self.demand.groups("US30")), [self.one.group])

    def test_grace_of_the_last_consumer(self) -> None:
        """A symbol is wanted until its grace is over, and its end can be waited for."""
        self.demand.want(self.one, ["EURUSD", "US30"])
        self.demand.want(self.other, ["US30"])
        self.demand.leave(self.one, 100.0)
        self.assertEqual(self.demand.wanted(104.9), {"EURUSD", "US30"})
        self.assertEqual(self.demand.next_change(), 105.0)
        self.assertEqual(self.demand.wanted(105.0), {"US30"})
        self.assertIsNone(self.demand.next_change())

    def test_wanted_again_within_the_grace(self) -> None:
        """Somebody who comes back in time ends the grace; it does not run on beneath."""
        self.demand.want(self.one, ["EURUSD"])
        self.demand.leave(self.one, 0.0)
        self.demand.want(self.other, ["EURUSD"])
        self.assertIsNone(self.demand.next_change())
        self.assertEqual(self.demand.wanted(1000.0), {"EURUSD"})

    def test_narrowing_lets_the_rest_linger(self) -> None:
        """Of a set of wants only those taken back get a grace."""
        self.demand.want(self.one, ["EURUSD", "US30"])
        self.demand.unwant(self.one, ["US30", "NEVER"], 0.0)
        self.assertEqual(self.demand.wanted(GRACE_S), {"EURUSD"})
        self.assertEqual(self.demand.wants_of(self.one), {"EURUSD"})

    def test_joined_before_leaving_the_old_group(self) -> None:
        """A consumer is told its new group while it still stands in the old one."""
        seen: list[bool] = []
        demand = self.demand

        class Curious(Holder):
            def join(self, group: Group | None) -> None:
                if self.group is not None:
                    seen.append(self in self.group.members)
                super().join(group)

        curious: Any = Curious()
        demand.want(curious, ["EURUSD"])
        demand.leave(curious, 0.0)
        demand.leave(curious, 0.0)
        self.assertEqual(seen, [True])
        self.assertIsNone(curious.group)


class DemandMachine(RuleBasedStateMachine):
    """The table against a dictionary of sets."""

    def __init__(self) -> None:
        super().__init__()
        self.demand = Demand(GRACE_S)
        self.holders = [Holder() for _ in range(4)]
        self.wants: dict[int, set[str]] = {who: set() for who in range(4)}
        self.until: dict[str, float] = {}
        self.now = 0.0

    @rule(who=WHO, keys=KEYS)
    def want(self, who: int, keys: set[str]) -> None:
        """Somebody wants more."""
        is_changed = self.demand.want(self.holders[who], keys)
        self._become(who, self.wants[who] | keys, is_changed)

    @rule(who=WHO, keys=KEYS)
    def unwant(self, who: int, keys: set[str]) -> None:
        """Somebody wants less."""
        is_changed = self.demand.unwant(self.holders[who], keys, self.now)
        self._become(who, self.wants[who] - keys, is_changed)

    @rule(who=WHO)
    def leave(self, who: int) -> None:
        """Somebody goes."""
        is_changed = self.demand.leave(self.holders[who], self.now)
        self._become(who, set(), is_changed)

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.5, 5.0]))
    def time_passes(self, seconds: float) -> None:
        """Graces run."""
        self.now += seconds

    def _become(self, who: int, keys: set[str], is_changed: bool) -> None:
        before = set().union(*self.wants.values())
        self.wants[who] = set(keys)
        after = set().union(*self.wants.values())
        assert is_changed == (before != after)
        self.until.update(dict.fromkeys(before - after, self.now + GRACE_S))
        for key in after:
            self.until.pop(key, None)

    @invariant()
    def wanted_is_what_is_held_or_lingers(self) -> None:
        """The symbols to subscribe are those of the model."""
        lingering = {key for key, until in self.until.items() if until > self.now}
        assert self.demand.wanted(self.now) == lingering.union(*self.wants.values())
        ends = [until for until in self.until.values() if until > self.now]
        assert self.demand.next_change() == min(ends, default=None)

    @invariant()
    def deliveries_reach_whoever_wants(self) -> None:
        """Each symbol leads to its consumers, each exactly once, and to no empty group."""
        for key in ("EURUSD", "GBPUSD", "XAUUSD", "US30"):
            holders = [self.holders[who] for who, keys in self.wants.items() if key in keys]
            reached = self.demand.consumers(key)
            assert len(reached) == len(holders)
            assert set(reached) == set(holders)
            assert all(group.members for group in self.demand.groups(key) or ())

    @invariant()
    def everybody_knows_where_they_stand(self) -> None:
        """The group that a consumer was told is the one that holds it."""
        for who, holder in enumerate(self.holders):
            assert self.demand.wants_of(holder) == self.wants[who]
            assert (holder.group is None) == (not self.wants[who])
            assert holder.group is None or holder in holder.group.members


class DemandMachineTest(SynchronousTestCase):
    """The state machine, for both runners."""

    def test_machine(self) -> None:
        """No sequence of wants, leaves and time brings the table and the model apart."""
        limits = settings(max_examples=60, stateful_step_count=30, deadline=None)
        # Its invariants are the assertions.
        run_state_machine_as_test(DemandMachine, settings=limits)
