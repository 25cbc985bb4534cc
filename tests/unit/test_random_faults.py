"""Random faults from a seed, at any byte: whatever happened, in the end all is as wanted."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Account
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.application import Budget
from tests.unit.fakes import frame, refusal_of
from tests.unit.joined_daemon import Floor, JoinedCase

NAMES = [f"SYM{number:03}" for number in range(60)]
REQUESTS = [
    "ProtoOASubscribeSpotsReq",
    "ProtoOAUnsubscribeSpotsReq",
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
    "ACCOUNT_NOT_AUTHORIZED",
    "CH_CLIENT_NOT_AUTHENTICATED",
    "CANT_ROUTE_REQUEST",
    "CH_ACCESS_TOKEN_INVALID",
    "MARKET_CLOSED",
]


SEEDS = 20
STEPS = 60


class World(JoinedCase):
    """Two accounts of one venue, and little room: small batches, a budget that runs out."""

    accounts = (1000001, 1000002)
    synthetic = len(NAMES)
    rate = 0.0
    batch = 5
    budget = Budget(requests_per_s=10, history_per_s=1, timeout_s=10)


class Fate:
    """What befalls a world, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.world = World()
        self.world.setUp()
        self.people = {
            account.account_id: [Floor(self.world.clock) for _ in range(3)]
            for account in self.world.everybody
        }
        self.told: list[str] = []
        self._acts: list[tuple[int, Callable[[], object]]] = [
            (30, self.wait),
            (20, self.subscribe),
            (10, self.unsubscribe),
            (5, self.leave),
            (6, self.cut),
            (8, self.refuse),
            (5, self.swallow),
            (5, self.late),
            (3, self.duplicate),
            (4, self.throw_out),
            (3, self.invalidate),
            (2, self.disconnect),
            (4, self.babble),
            (2, self.silence),
            (2, self.octets),
            (3, self.rename),
            (3, self.disable),
            (2, self.jump),
            (1, self.maintenance),
            (1, self.slow),
        ]

    def run(self, steps: int) -> None:
        """Let it come."""
        self.world.start()
        weights = [weight for weight, _ in self._acts]
        for _ in range(steps):
            (act,) = self.draw.choices([act for _, act in self._acts], weights)
            self.told.append(f"{self.world.clock.seconds():.2f} {act.__name__}")
            act()

    # -- what clients do

    def _somebody(self) -> tuple[Account, Floor]:
        account = self.draw.choice(self.world.everybody)
        return account, self.draw.choice(self.people[account.account_id])

    def _some(self) -> list[str]:
        names = [each.name for each in self.world.simulator.venue.catalogue.by_id.values()]
        names = [name for name in names if "SYM" in name]
        return self.draw.sample([*names, "NOSUCH"], self.draw.choice([1, 2, 5, 40]))

    def subscribe(self) -> None:
        """More wants."""
        account, who = self._somebody()
        account.subscribe(who, self._some())

    def unsubscribe(self) -> None:
        """Fewer wants."""
        account, who = self._somebody()
        account.unsubscribe(who, self._some())

    def leave(self) -> None:
        """Somebody goes."""
        account, who = self._somebody()
        account.leave(who)

    # -- what time does

    def wait(self) -> None:
        """Time passes."""
        seconds = self.draw.choice([0.0, 0.001, 0.01, 0.05, 0.3, 1.1, 3.0, 12.0, 70.0])
        self.world.run_for(max(seconds, 0.0005), step_s=0.5)

    def jump(self) -> None:
        """The time of day jumps."""
        self.world.start_ms += self.draw.randint(-60, 60) * 1000

    # -- what the network does

    def cut(self) -> None:
        """The connection ends at some byte, in one direction or the other."""
        if self.world.joint.ends:
            ours = self.world.joint.ends[-1]
            end = self.draw.choice([ours, ours.other])
            end.cut_after(self.draw.choice([0, 1, 3, 4, 5, 17, 60, 200, 1000, 4000]))

    def silence(self) -> None:
        """The connection is half-open."""
        self.draw.choice([self.world.mischief.mute, self.world.mischief.stall])()

    # -- what the venue does

    def refuse(self) -> None:
        """Requests will be refused."""
        request, code = self.draw.choice(REQUESTS), self.draw.choice(CODES)
        if request == "ProtoOAAccountAuthReq" and self.draw.random() < 0.3:
            code = "ALREADY_LOGGED_IN"
        self.world.mischief.error(request, code, times=self.draw.choice([1, 1, 2, 5]))

    def swallow(self) -> None:
        """A request will not be answered, done or not."""
        self.world.mischief.swallow(self.draw.choice(REQUESTS), self.draw.random() < 0.5)

    def late(self) -> None:
        """An answer will be late, perhaps for another life."""
        # An unsubscription that is served after its deadline, and thus after the subscription that
        # followed, undoes what nobody could know of.
        request = self.draw.choice(REQUESTS)
        seconds = self.draw.choice([0.3, 3] if "Unsubscribe" in request else [0.3, 3, 11, 15])
        self.world.mischief.late(request, seconds)

    def duplicate(self) -> None:
        """An answer will come three times."""
        self.world.mischief.duplicate(self.draw.choice(REQUESTS), copies=3)

    def slow(self) -> None:
        """Every request will be served later."""
        self.world.mischief.slow(self.draw.choice([0.0, 0.2, 2.0]))

    def throw_out(self) -> None:
        """Accounts are thrown out, or it is only said."""
        number = self.draw.choice([None, *self.world.accounts])
        self.world.mischief.account_disconnect(number, stale=self.draw.random() < 0.3)

    def invalidate(self) -> None:
        """The token is invalidated."""
        how = self.draw.choice(["session-ends", "session-survives"])
        self.world.mischief.token_invalidated(how)

    def disconnect(self) -> None:
        """The application is thrown out."""
        self.world.mischief.client_disconnect(close=self.draw.random() < 0.5)

    def maintenance(self) -> None:
        """Nobody is let in for a while."""
        self.world.mischief.maintenance(self.draw.choice([1, 30]))

    def octets(self) -> None:
        """Frames that are not what they should be."""
        mischief = self.world.mischief
        self.draw.choice(
            [
                mischief.garbage,
                mischief.half_frame,
                mischief.unknown_type,
                mischief.unknown_fields,
                mischief.missing_field,
                mischief.newer_values,
                mischief.oversize,
            ]
        )()

    def babble(self) -> None:
        """Answers that nobody asked for, with ids of others, and prices of the unknown."""
        number = self.draw.choice([*self.world.accounts, 99])
        said = self.draw.choice(
            [
                frame(api_pb2.ProtoOASubscribeSpotsRes(ctidTraderAccountId=number), "foreign"),
                frame(api_pb2.ProtoOAAccountAuthRes(ctidTraderAccountId=number), "foreign"),
                frame(refusal_of("INVALID_REQUEST", "no", ctidTraderAccountId=number), "foreign"),
                frame(refusal_of("ACCOUNT_NOT_AUTHORIZED", ctidTraderAccountId=number)),
                frame(
                    api_pb2.ProtoOASpotEvent(
                        ctidTraderAccountId=number, symbolId=self.draw.choice([1, 999999]), bid=7
                    )
                ),
            ]
        )
        for connection in self.world.simulator.venue.connections:
            connection.write(said)

    def rename(self) -> None:
        """A symbol has another name; perhaps nobody says so."""
        catalogue = self.world.simulator.venue.catalogue
        number = self.draw.choice([n for n, each in catalogue.by_id.items() if "SYM" in each.name])
        known = catalogue.by_id[number]
        new = known.name.removesuffix(".x") if known.name.endswith(".x") else f"{known.name}.x"
        catalogue.by_id[number] = replace(known, name=new)
        del catalogue._id_of[known.name]
        catalogue._id_of[new] = number
        if self.draw.random() < 0.8:
            self.world.mischief.symbol_changed((new,))

    def disable(self) -> None:
        """A symbol cannot be had any more, or again."""
        catalogue = self.world.simulator.venue.catalogue
        known = self.draw.choice([each for each in catalogue.by_id.values() if "SYM" in each.name])
        self.world.mischief.symbol_changed((known.name,), enabled=not known.enabled)

    # -- the end

    def settle(self) -> None:
        """All is well again, and one change of a symbol brings the list up to date."""
        world = self.world
        if any(one.mute or one.stalled for one in world.simulator.venue.connections):
            # What a mute venue did not say is lost, which no network does to a living connection.
            world.mischief.drop()
        world.mischief.clear()
        for end in world.joint.ends:
            end.cut_after(None)
            end.other.cut_after(None)
        world.run_for(200)
        world.mischief.symbol_changed(("EURUSD",))
        world.run_for(100)

    def change(self) -> None:
        """Nothing is wrong, but symbols come, go and get other names, and so do wants."""
        for _ in range(5):
            for act in self.draw.sample(
                [self.rename, self.disable, self.subscribe, self.unsubscribe], 3
            ):
                self.told.append(f"{self.world.clock.seconds():.2f} {act.__name__}")
                act()
            self.world.run_for(self.draw.choice([0.1, 3, 70]))
        self.settle()

    def wanted(self, account: Account) -> list[str]:
        """What somebody wants of it and can be had; all the rest is told to be missing."""
        listed = {
            each.name
            for each in self.world.simulator.venue.catalogue.by_id.values()
            if each.enabled
        }
        people = self.people[account.account_id]
        wants = {name for who in people for name in account.subscriptions(who)}
        told = account._feed.unavailable
        assert {name.upper() for name in wants - listed} <= told.keys(), (wants - listed, told)
        return sorted(wants & listed)

    def part(self) -> None:
        """Everybody leaves, and the daemon ends."""
        for account in self.world.everybody:
            for who in self.people[account.account_id]:
                account.leave(who)
        self.world.tearDown()


class RandomFaultsTest(SynchronousTestCase):
    """Some lives of two accounts."""

    def test_in_the_end_all_is_as_wanted(self) -> None:
        """The venue sends what is wanted and no more, a tick of each comes through under its name,
        no request waits, no timer is left, and nothing unforeseen was logged.
        """
        for seed in range(SEEDS):
            fate = Fate(seed)
            fate.run(STEPS)
            fate.settle()
            try:
                self.look(fate)
                fate.change()
                self.look(fate)
                fate.part()
                gc.collect()
                self.assertEqual(self.flushLoggedErrors(), [])
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(fate.told)) from error

    def look(self, fate: Fate) -> None:
        """All is as wanted."""
        world, venue = fate.world, fate.world.simulator.venue
        (connection,) = venue.connections
        for _ in range(10):
            # Symbols that have been silent for five minutes are subscribed anew now and then.
            if world.application.pending():
                world.run_for(1)
        self.assertEqual(world.application.pending(), 0)
        for account in world.everybody:
            number, floor = account.account_id, world.floors[account.account_id]
            self.assertEqual(account.state.phase.value, "connected")
            wanted = fate.wanted(account)
            ids = venue.feed.subscribed((connection, number))
            self.assertEqual(sorted(venue.catalogue.by_id[each].name for each in ids), wanted)
            self.assertEqual(account.confirmed(), len(wanted))
            floor.ticks.clear()
            for name in wanted:
                world.mischief.tick(name, bid_points=100_000, ask_points=100_010)
            world.run_for(0.01)
            self.assertEqual(sorted(tick.symbol.name for tick in floor.ticks), wanted)
