"""A venue that is not whole yet, or says what is not so: wants stay, and are had when it heals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.accounts.listing import Listing
from ctrader_twisted.market.model import Symbol
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import common_pb2, model_pb2
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines

SUBSCRIBE, UNSUBSCRIBE = "ProtoOASubscribeSpotsReq", "ProtoOAUnsubscribeSpotsReq"
DETAILS, LIST = "ProtoOASymbolByIdReq", "ProtoOASymbolsListReq"
WANTS = ("EURUSD", "GBPUSD", "XAUUSD")
#: Every code of the venue, one that nobody has seen, and none.
CODES = [*common_pb2.ProtoErrorCode.keys(), *model_pb2.ProtoOAErrorCode.keys(), "NEVER_SEEN", ""]


class LiesCase(JoinedCase):
    """A daemon with three wants that the venue serves."""

    def setUp(self) -> None:
        super().setUp()
        self.start(*WANTS)
        self.assertEqual(self.account.confirmed(), 3)
        self.asked = len(self.joint.requests())

    def reconnect(self) -> None:
        """The connection is cut, and made again."""
        self.mischief.drop()
        for _ in range(70):
            self.run_for(1)
            if self.phase() == "connected":
                return
        self.fail("no connection in 70 s")

    def requests(self, name: str) -> int:
        """How many requests of that class were sent since all was well."""
        return self.joint.requests()[self.asked :].count(name)

    def assert_served(self, within_s: float = 65) -> None:
        """All that was wanted is wanted, confirmed, and ticks, within that time."""
        self.run_for(within_s)
        self.assertEqual(self.account.subscriptions(self.floor), sorted(WANTS))
        self.assertEqual(self.floor.withdrawals, [])
        self.floor.ticks.clear()
        self.run_for(10)
        self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, set(WANTS))
        self.assertEqual(self.account.confirmed(), 3)
        self.assertEqual(self.account._feed.unavailable, {})
        self.assertEqual(set(WANTS) - set(self.account.state.symbols or ()), set())


class OnceTest(LiesCase):
    """One bad answer on the way back."""

    def test_lists(self) -> None:
        """An empty, short, disabled, renamed or doubled list: recovered within seconds."""
        lies: list[tuple[str, dict[str, Any]]] = [
            ("list_short", {}),
            ("list_short", {"kept": 1}),
            ("list_short", {"kept": 10}),
            ("list_without", {"symbols": ("EURUSD",)}),
            ("list_without", {"symbols": WANTS}),
            ("list_disabled", {}),
            ("list_disabled", {"symbols": ("EURUSD",)}),
            ("list_renamed", {"symbols": ("EURUSD",)}),
            ("list_twice", {"how": "ids"}),
            ("list_twice", {"how": "names"}),
        ]
        for name, arguments in lies:
            getattr(self.mischief, name)(**arguments)
            self.reconnect()
            self.assert_served(within_s=5)

    def test_lists_asked_for_in_between(self) -> None:
        """The same lists, given in the middle of a session."""
        for lie in (self.mischief.list_short, self.mischief.list_disabled):
            lie()
            self.mischief.symbol_changed(("USDJPY",))
            self.assert_served(within_s=65)

    def test_lists_without_what_nobody_wants(self) -> None:
        """A symbol that is left out once is offered again within seconds."""
        for lie in (self.mischief.list_without, self.mischief.list_disabled):
            lie(("USDJPY",))
            self.reconnect()
            self.assertNotIn("USDJPY", self.account.state.symbols or ())
            self.run_for(5)
            self.assertIn("USDJPY", self.account.state.symbols or ())
        asked = len(self.joint.requests())
        self.run_for(600)
        self.assertLess(len(self.joint.requests()) - asked, 3)

    def test_subscriptions(self) -> None:
        """Every code for the first subscription after a reconnect: one or all at once."""
        for code in CODES:
            self.mischief.error(SUBSCRIBE, code)
            self.reconnect()
            self.assert_served()

    def test_details(self) -> None:
        """Details that leave out some or all, and every code for them."""
        self.mischief.details_without(("EURUSD",))
        self.reconnect()
        self.assert_served(within_s=5)
        self.mischief.details_without()
        self.reconnect()
        self.assert_served(within_s=5)
        self.mischief.details_short(1)
        self.reconnect()
        self.assert_served(within_s=5)
        for code in CODES:
            self.mischief.error(DETAILS, code)
            self.reconnect()
            self.assert_served()

    def test_confirmed_and_not_done(self) -> None:
        """A subscription that is confirmed, or said to be there, and is not: renewed by itself."""
        self.mischief.pretend(SUBSCRIBE)
        self.reconnect()
        self.assert_served(within_s=12)
        self.mischief.error(SUBSCRIBE, "ALREADY_SUBSCRIBED", times=7)
        self.reconnect()
        self.assert_served(within_s=30)

    def test_no_first_price_is_logged_once(self) -> None:
        """A symbol that has no price at all is renewed ever less often, and told once."""
        lines = LogLines(self)
        self.mischief.pretend(SUBSCRIBE, times=0)
        self.reconnect()
        asked = len(self.joint.requests())
        self.run_for(600)
        self.assertEqual(len(lines.about("no first price")), 1)
        self.assertLess(len(self.joint.requests()) - asked, 100)


class ForAWhileTest(LiesCase):
    """The same answer for five minutes, over several connections."""

    def survives(self, seconds: float = 300) -> None:
        """So long; a reconnect in the middle; then the venue is honest."""
        self.reconnect()
        self.run_for(seconds / 2)
        self.reconnect()
        self.run_for(seconds / 2)
        self.assertEqual(self.account.subscriptions(self.floor), sorted(WANTS))
        self.mischief.clear()
        self.assert_served(within_s=65)

    def test_empty_lists(self) -> None:
        """The old catalogue stays, and prices come all the while."""
        self.mischief.list_short(times=0)
        self.reconnect()
        self.assert_served(within_s=5)
        self.assertIn("enabled symbols", self.account._feed.listing.fault)
        self.assertGreater(self.metrics.counted("symbol_lists_rejected"), 1)
        self.survives()
        self.assertEqual(self.account._feed.listing.fault, "")

    def test_lists_without_one(self) -> None:
        """What the list leaves out is asked for by its id, and comes; it is not offered to others,
        and who asks for it by name is served.
        """
        self.mischief.list_without(("EURUSD",), times=0)
        self.reconnect()
        self.run_for(30)
        self.assertEqual((self.account.confirmed(), self.floor.news), (3, []))
        self.assertNotIn("EURUSD", self.account.state.symbols or ())
        self.survives()

    def test_disabled(self) -> None:
        """Clients hear it once, and once when it is over."""
        self.mischief.list_disabled(("EURUSD",), times=0)
        self.survives()
        told = [(wanted.code, wanted.pending) for wanted in self.floor.news]
        self.assertEqual(told, [("SYMBOL_DISABLED", True), (None, False)])

    def test_renamed(self) -> None:
        """No price of a symbol that the venue calls otherwise; clients are told how."""
        self.mischief.list_renamed(("EURUSD",), times=0)
        self.reconnect()
        (told,) = self.floor.news
        self.assertEqual((told.code, told.pending), ("SYMBOL_NOT_LISTED", True))
        self.assertIn("EURUSD.x", told.message or "")
        self.survives()

    def test_twice(self) -> None:
        """Each symbol stands in every list twice, the false one first: the true one is kept."""
        true = self.simulator.venue.catalogue.named("EURUSD").symbol_id
        for how in ("ids", "names"):
            self.mischief.list_twice(how, times=0)
            self.reconnect()
            for _ in range(3):
                self.mischief.symbol_changed(("USDJPY",))
                self.run_for(62)
                self.floor.ticks.clear()
                self.run_for(10)
                told = [tick.symbol for tick in self.floor.ticks if tick.symbol.key == "EURUSD"]
                self.assertEqual({symbol.symbol_id for symbol in told}, {true})
            self.survives()

    def test_subscriptions(self) -> None:
        """Whatever the venue says, for as long as it says it."""
        for code in (
            "SYMBOL_NOT_FOUND",
            "ENTITY_NOT_FOUND",
            "INVALID_REQUEST",
            "NEVER_SEEN",
            "",
            "MARKET_CLOSED",
        ):
            self.floor.news.clear()
            self.mischief.error(SUBSCRIBE, code, times=0)
            self.survives()
            self.assertEqual([one.code for one in self.floor.news].count(code), 3)
            self.assertEqual(self.floor.news[-3:], [Wanted(name) for name in sorted(WANTS)])

    def test_details(self) -> None:
        """A symbol that is described by nobody."""
        self.mischief.details_without(("EURUSD",), times=0)
        self.survives()

    def test_already_subscribed(self) -> None:
        """Said of everything, and done for nothing."""
        self.mischief.error(SUBSCRIBE, "ALREADY_SUBSCRIBED", times=0)
        self.survives()


class AskedForLaterTest(LiesCase):
    """A list that is wrong for longer than it is looked at every few seconds."""

    def lie(self, lie: Callable[..., object]) -> None:
        """Every list is wrong about USDJPY, which nobody wants."""
        lie(("USDJPY",), times=0)
        self.reconnect()
        self.run_for(75)
        self.assertNotIn("USDJPY", self.account.state.symbols or ())

    def test_wanted_during_the_lie(self) -> None:
        """Who then subscribes is served, and the symbol is offered again, soon after the end."""
        for lie in ("list_without", "list_disabled", "list_renamed"):
            self.lie(getattr(self.mischief, lie))
            self.account.subscribe(self.floor, ["USDJPY"])
            self.run_for(150)
            self.mischief.clear()
            self.run_for(65)
            self.assertEqual(self.account.confirmed(), 4)
            self.assertIn("USDJPY", self.account.state.symbols or ())
            self.assertEqual(self.account._feed.unavailable, {})
            self.account.unsubscribe(self.floor, ["USDJPY"])
            self.run_for(65)

    def test_wanted_after_the_lie(self) -> None:
        """The subscription itself has the list looked at."""
        for lie in ("list_without", "list_disabled", "list_renamed"):
            self.lie(getattr(self.mischief, lie))
            self.mischief.clear()
            self.account.subscribe(self.floor, ["USDJPY"])
            self.run_for(65)
            self.assertEqual(self.account.confirmed(), 4)
            self.assertIn("USDJPY", self.account.state.symbols or ())
            self.account.unsubscribe(self.floor, ["USDJPY"])
            self.run_for(65)

    def test_wanted_by_nobody(self) -> None:
        """It is offered again when the lie has been over for as long as it lasted."""
        for lie in ("list_without", "list_disabled", "list_renamed"):
            self.lie(getattr(self.mischief, lie))
            self.run_for(525)
            self.mischief.clear()
            self.run_for(600)
            self.assertIn("USDJPY", self.account.state.symbols or ())

    def test_gone_for_good(self) -> None:
        """The looks become rare, and end."""
        clock, asked = Clock(), list[float]()
        listing = Listing(clock=clock, metrics=Metrics(), ask=lambda: asked.append(clock.seconds()))

        def take(*names: str) -> None:
            listing.take(Catalogue(Symbol(n, name) for n, name in enumerate(names, 1)))
            listing.is_wanting(False)

        take("A", "B", "C")
        while (next_s := listing.next_s()) is not None or not asked:
            clock.advance(next_s or 0.0)
            take("A", "B")
            self.assertLess(len(asked), 40)
        self.assertLess(clock.seconds(), 86_400)
        self.assertGreater(clock.seconds(), 43_200)
        self.assertEqual(clock.getDelayedCalls(), [])


class FirstListTest(JoinedCase):
    """The first list of all."""

    def test_empty(self) -> None:
        """Not ready, with the reason; asked again ever more slowly; then all is as wanted."""
        self.mischief.list_short(times=5)
        self.account.subscribe(self.floor, ["EURUSD", "NOSUCH"])
        self.start()
        self.assertEqual((self.phase(), self.account.state.code), ("reconnecting", "NO_SYMBOLS"))
        self.run_for(40)
        self.assertEqual((self.phase(), self.account.confirmed()), ("connected", 1))
        self.assertEqual([gone.name for gone in self.floor.withdrawals], ["NOSUCH"])

    def test_nothing_enabled(self) -> None:
        """The same: nothing can be subscribed to."""
        self.mischief.list_disabled(times=2)
        self.start("EURUSD")
        self.run_for(10)
        self.assertEqual((self.phase(), self.account.confirmed()), ("connected", 1))

    def test_short(self) -> None:
        """A want from before the first list is kept until a second list was seen."""
        self.mischief.list_short(3)
        self.account.subscribe(self.floor, ["XAUUSD", "NOSUCH"])
        self.start()
        self.assertEqual(self.account.subscriptions(self.floor), ["NOSUCH", "XAUUSD"])
        self.run_for(5)
        self.assertEqual(self.account.subscriptions(self.floor), ["XAUUSD"])
        self.assertEqual(self.account.confirmed(), 1)
        (gone,) = self.floor.withdrawals
        self.assertEqual((gone.name, gone.code, gone.pending), ("NOSUCH", "UNKNOWN_SYMBOL", False))

    def test_typing_error(self) -> None:
        """A name that was never in any list is unknown at once."""
        self.start()
        (wanted,) = self.account.subscribe(self.floor, ["EURUDS"])
        self.assertEqual((wanted.code, wanted.is_refused), ("UNKNOWN_SYMBOL", True))


class GoneTest(LiesCase):
    """Symbols that are gone for good."""

    synthetic = 300

    def gone(self, *names: str) -> None:
        """Off the list, and refused by id."""
        catalogue = self.simulator.venue.catalogue
        for name in names:
            del catalogue.by_id[catalogue._id_of.pop(name)]

    def test_one(self) -> None:
        """Told with a code, kept, and asked for about once a minute."""
        self.gone("EURUSD")
        self.reconnect()
        self.run_for(600)
        asked = len(self.joint.requests())
        self.run_for(3600)
        self.assertLess(len(self.joint.requests()) - asked, 4 * 65)
        self.assertEqual(self.account.subscriptions(self.floor), sorted(WANTS))
        (told,) = self.floor.news
        self.assertEqual((told.name, told.code, told.pending), ("EURUSD", "SYMBOL_NOT_FOUND", True))
        self.assertEqual(self.account.confirmed(), 2)
        (again,) = self.account.subscribe(self.floor, ["eurusd"])
        self.assertEqual((again.code, again.pending), ("SYMBOL_NOT_FOUND", True))

    def test_hundreds(self) -> None:
        """Never more than a few requests a second, and nobody else waits for them."""
        names = [f"SYM{number:03}" for number in range(300)]
        self.account.subscribe(self.floor, names)
        self.run_for(5)
        self.gone(*names[:250])
        self.reconnect()
        self.run_for(120)
        asked = len(self.joint.requests())
        self.run_for(600)
        self.assertLess(len(self.joint.requests()) - asked, 3 * 600)
        self.assertEqual(self.account.confirmed(), 53)
        self.account.subscribe(self.floor, ["USDJPY"])
        self.run_for(2)
        self.assertEqual(self.account.confirmed(), 54)

    def test_clients_that_ask_again_and_again(self) -> None:
        """Clients that insist do not make us insist."""
        self.gone("EURUSD", "GBPUSD")
        self.reconnect()
        self.run_for(60)
        asked = len(self.joint.requests())
        for _ in range(600):
            self.account.subscribe(self.floor, ["EURUSD", "GBPUSD"])
            self.run_for(0.1, step_s=0.1)
        self.assertLess(len(self.joint.requests()) - asked, 200)

    def test_an_account_that_has_less_now(self) -> None:
        """A list that is short for a quarter of an hour is what the venue means."""
        catalogue = self.simulator.venue.catalogue
        kept = [each.name for each in list(catalogue.by_id.values())[:20]]
        self.gone(*(name for name in list(catalogue._id_of) if name not in kept))
        self.reconnect()
        self.run_for(600)
        self.assertGreater(len(self.account.state.symbols or ()), 300)
        self.run_for(400)
        self.assertEqual(len(self.account.state.symbols or ()), 20)
        self.assertEqual(self.account.subscriptions(self.floor), sorted(WANTS))

    def test_another_id(self) -> None:
        """A symbol that comes back under another id is subscribed by that one."""
        catalogue = self.simulator.venue.catalogue
        known = catalogue.named("EURUSD")
        other = catalogue.named("USDJPY")
        # The walk of prices knows the ids of the beginning; so two change places.
        catalogue.by_id[known.symbol_id] = replace(other, symbol_id=known.symbol_id)
        catalogue.by_id[other.symbol_id] = replace(known, symbol_id=other.symbol_id)
        catalogue._id_of |= {"EURUSD": other.symbol_id, "USDJPY": known.symbol_id}
        self.mischief.symbol_changed(("EURUSD",))
        self.floor.ticks.clear()
        self.run_for(70)
        self.floor.ticks.clear()
        self.run_for(10)
        ids = {tick.symbol.symbol_id for tick in self.floor.ticks if tick.symbol.name == "EURUSD"}
        self.assertEqual(ids, {other.symbol_id})


class StormTest(LiesCase):
    """Events without end."""

    def test_symbols_that_change(self) -> None:
        """Ten changes a second for a minute: one description a second, one list a minute."""
        for _ in range(600):
            self.mischief.symbol_changed(WANTS)
            self.run_for(0.1, step_s=0.1)
        self.assertLess(self.requests(DETAILS), 65)
        self.assertLess(self.requests(LIST), 4)
        self.assert_served(within_s=5)
