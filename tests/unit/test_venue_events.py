"""What the venue says of its own accord, and what the daemon does about it."""

from __future__ import annotations

from decimal import Decimal

from google.protobuf.message import Message

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream import translate
from tests.unit.fakes import frame
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines


class EventCase(JoinedCase):
    """A daemon that is subscribed to two symbols, and has heard of both."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self) -> None:
        """Connected and subscribed."""
        self.start("EURUSD", "GBPUSD")
        self.run_for(5)
        self.mark()

    def mark(self) -> None:
        """What is counted, is counted from here."""
        self.asked = len(self.joint.requests())
        self.told = len(self.floor.states)
        self.ticked = len(self.floor.ticks)

    def since(self) -> list[str]:
        """The requests since then, but those about symbols."""
        skip = {"ProtoOASymbolsListReq", "ProtoOASymbolByIdReq"}
        return [name for name in self.joint.requests()[self.asked :] if name not in skip]

    def well(self) -> None:
        """Connected on the first socket, both symbols confirmed, and both ticking."""
        self.assertEqual(self.phase(), "connected")
        self.assertEqual(self.account.confirmed(), 2)
        self.assertEqual(len(self.joint.attempts), 1)
        self.mark()
        self.run_for(10)
        ticking = {tick.symbol.name for tick in self.floor.ticks[self.ticked :]}
        self.assertEqual(ticking, {"EURUSD", "GBPUSD"})


class LongWordsTest(EventCase):
    """A venue whose texts have no end."""

    def said(self, message: Message) -> None:
        """The venue says that; what clients and the log are told of it is short."""
        lines = LogLines(self)
        for connection in list(self.simulator.venue.connections):
            connection.write(frame(message))
        self.run_for(70)
        self.assertEqual(self.phase(), "connected")
        states = self.floor.states[self.told :]
        self.assertTrue(states)
        for _, state in states:
            self.assertLess(len(state.reason or "") + len(state.code or ""), 1000)
        self.assertLess(max(len(line["message"]) for line in lines.lines), 2000)
        self.mark()

    def test_cut(self) -> None:
        """Reasons, descriptions and codes."""
        words = "no end " * 100_000
        self.said(api_pb2.ProtoOAClientDisconnectEvent(reason=words))
        self.said(
            api_pb2.ProtoOAAccountsTokenInvalidatedEvent(
                ctidTraderAccountIds=[1000001], reason=words
            )
        )
        self.said(
            api_pb2.ProtoOAErrorRes(
                ctidTraderAccountId=1000001, errorCode="ACCOUNT_NOT_AUTHORIZED", description=words
            )
        )
        self.said(
            common_pb2.ProtoErrorRes(errorCode="CH_CLIENT_NOT_AUTHENTICATED", description=words)
        )
        for code in (words, "ACCOUNT_DISABLED"):
            self.mischief.error("ProtoOAAccountAuthReq", code, description=words)
            self.said(api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=1000001))

    def test_the_same_account_many_times(self) -> None:
        """One event costs one look at its words, whomever it names how often."""
        looked: list[object] = []

        def words(value: str | bytes, *_: int) -> str:
            looked.append(value)
            return str(value)

        self.patch(translate, "words", words)
        event = api_pb2.ProtoOAAccountsTokenInvalidatedEvent(
            ctidTraderAccountIds=[1000001, 7] * 1000, reason="words"
        )
        for connection in list(self.simulator.venue.connections):
            connection.write(frame(event))
        self.run_for(1)
        self.assertEqual(looked.count("words"), 1)


class TokenInvalidatedTest(EventCase):
    """2147, with the three behaviours that were seen of the real venue."""

    def test_session_ends(self) -> None:
        """Its accounts are thrown out: one authorisation with the stored token, one subscription;
        the AccountDisconnect that follows is the echo of the same, and causes no second one.
        """
        self.mischief.token_invalidated("session-ends")
        self.run_for(2)
        self.assertEqual(self.since(), ["ProtoOAAccountAuthReq", "ProtoOASubscribeSpotsReq"])
        codes = [state.code for _, state in self.floor.states[self.told :]]
        self.assertEqual(codes[0], "TOKEN_INVALIDATED")
        self.well()

    def test_session_survives(self) -> None:
        """It was only said: ALREADY_LOGGED_IN is a success, and prices are asked for anew."""
        self.mischief.token_invalidated("session-survives")
        self.run_for(2)
        self.assertEqual(
            self.since(),
            [
                "ProtoOAAccountAuthReq",
                "ProtoOAUnsubscribeSpotsReq",
                "ProtoOASubscribeSpotsReq",
            ],
        )
        self.well()

    def test_revoked(self) -> None:
        """The stored token is void: tried at once, then once a minute; the connection is kept."""
        self.mischief.token_invalidated("revoked")
        self.run_for(130)
        self.assertEqual(self.since(), ["ProtoOAAccountAuthReq"] * 3)
        self.assertEqual(self.account.state.code, "CH_ACCESS_TOKEN_INVALID")
        self.mischief.clear()
        self.run_for(60)
        self.well()

    def test_the_stored_token_is_looked_up(self) -> None:
        """A token that was replaced in the store is found at the next attempt."""
        self.mischief.token_invalidated("revoked")
        self.run_for(0.5)
        self.token = "anything"
        self.run_for(61)
        auths = [name for name in self.since() if name == "ProtoOAAccountAuthReq"]
        self.assertEqual(len(auths), 2)
        octets = self.joint.ends[0].said
        self.assertIn(b"anything", octets)

    def test_never_a_refresh(self) -> None:
        """Whatever is said about tokens, we never refresh because of it: it would loop."""
        for how in ("session-ends", "session-survives", "revoked"):
            self.mischief.token_invalidated(how)
            self.run_for(70)
        self.assertNotIn("ProtoOARefreshTokenReq", self.joint.requests())


class AccountDisconnectTest(EventCase):
    """2164, true and stale."""

    def test_true(self) -> None:
        """The account comes back on the same connection at once."""
        self.mischief.account_disconnect()
        self.run_for(1)
        self.assertEqual(self.since(), ["ProtoOAAccountAuthReq", "ProtoOASubscribeSpotsReq"])
        self.assertEqual(
            self.floor.words(self.told), ["disconnected", "reconnecting", "connecting", "connected"]
        )
        self.well()

    def test_stale(self) -> None:
        """It was only said: authorising again finds that we never left."""
        self.mischief.account_disconnect(stale=True)
        self.run_for(1)
        self.well()

    def test_stale_echo_after_a_token_change(self) -> None:
        """The event of the old token arrives when the new one is in: no loop, no reconnect."""
        self.token = "simulator-token"
        self.mischief.token_invalidated("session-ends")
        self.run_for(1)
        self.mischief.account_disconnect(stale=True)
        self.run_for(3)
        auths = self.since().count("ProtoOAAccountAuthReq")
        self.assertEqual(auths, 2)
        self.well()

    def test_a_venue_that_lets_in_and_throws_out(self) -> None:
        """Again and again for ten minutes: ever more slowly, never as a tight loop."""
        ends = self.clock.seconds() + 600
        while self.clock.seconds() < ends:
            self.mischief.account_disconnect()
            self.run_for(0.5)
        self.assertLess(self.since().count("ProtoOAAccountAuthReq"), 30)
        self.run_for(61)
        self.assertEqual(self.phase(), "connected")

    def test_one_account_of_two(self) -> None:
        """An event about an account that is not ours changes nothing."""
        event = api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=42)
        self.joint.ends[0].other.write(frame(event))
        self.run_for(1)
        self.assertEqual(self.since(), [])
        self.well()


class ClientDisconnectTest(EventCase):
    """2148."""

    def test_everything_begins_anew(self) -> None:
        """Every session is gone, so the connection is made anew, with the venue's reason told."""
        self.mischief.client_disconnect("moving house")
        self.run_for(3)
        self.assertEqual(len(self.joint.attempts), 2)
        reasons = [state.reason or "" for _, state in self.floor.states[self.told :]]
        self.assertTrue(any("moving house" in reason for reason in reasons), reasons)
        self.assertEqual((self.phase(), self.account.confirmed()), ("connected", 2))


class SymbolChangedTest(EventCase):
    """2120, and a list of symbols that may be out of date."""

    def test_described_again(self) -> None:
        """The details of those ids are fetched again at once, and the list soon after."""
        self.mischief.symbol_changed(("EURUSD",), minimum_cents=200_000)
        self.run_for(0.5)
        self.assertEqual(self.joint.requests()[self.asked :], ["ProtoOASymbolByIdReq"])
        self.run_for(61)
        self.assertEqual(self.joint.requests()[self.asked + 1 :], ["ProtoOASymbolsListReq"])
        self.assertEqual(len(self.floor.states), self.told)
        self.well()

    def test_no_longer_enabled(self) -> None:
        """A symbol that is taken off is unsubscribed and off the list of everybody; it stays
        wanted, and is had again when it is back, though nobody says so.
        """
        self.mischief.symbol_changed(("EURUSD",), enabled=False)
        self.run_for(70)
        (gone,) = self.floor.news
        self.assertEqual((gone.name, gone.code, gone.pending), ("EURUSD", "SYMBOL_DISABLED", True))
        self.assertEqual(self.account.confirmed(), 1)
        self.assertNotIn("EURUSD", self.account.state.symbols or ())
        self.assertEqual(self.floor.words(self.told), ["connected"])
        self.assertEqual(self.account.subscriptions(self.floor), ["EURUSD", "GBPUSD"])
        self.simulator.venue.catalogue.change("EURUSD", enabled=True, minimum_cents=None)
        self.run_for(65)
        self.assertEqual(self.floor.news[1:], [Wanted("EURUSD")])
        self.assertEqual(self.account.confirmed(), 2)

    def test_new_symbol(self) -> None:
        """An unknown name makes us look again, once a minute at the most; then it can be had."""
        self.mischief.symbol_changed(("USDJPY",), enabled=False)
        self.run_for(70)
        self.mischief.symbol_changed(("USDJPY",), enabled=True)
        self.mark()
        for _ in range(50):
            self.account.subscribe(self.floor, ["NOSUCH"])
            self.run_for(1)
        lists = self.joint.requests()[self.asked :].count("ProtoOASymbolsListReq")
        self.assertLessEqual(lists, 1)
        self.run_for(20)
        self.assertIn("USDJPY", self.account.state.symbols or ())

    def test_list_refused_again_and_again(self) -> None:
        """A venue that gives no list is not asked for it at every typing error of a client."""
        self.mischief.error("ProtoOASymbolsListReq", "UNKNOWN_ERROR", times=0)
        self.run_for(70)
        self.mark()
        for _ in range(50):
            self.account.subscribe(self.floor, ["NOSUCH"])
            self.run_for(1)
        self.assertEqual(self.joint.requests()[self.asked :], ["ProtoOASymbolsListReq"])
        self.well()

    def test_list_refused(self) -> None:
        """When the list cannot be had again, the old one stays, and so do we."""
        for refuse in (
            lambda: self.mischief.error("ProtoOASymbolsListReq", "UNKNOWN_ERROR"),
            lambda: self.mischief.swallow("ProtoOASymbolsListReq"),
        ):
            refuse()
            self.mischief.symbol_changed(("EURUSD",))
            self.run_for(75)
            self.well()


class TraderUpdatedTest(EventCase):
    """2123."""

    def test_remembered(self) -> None:
        """What the broker says about the account replaces what was known, and disturbs nothing."""
        self.assertIsNone(self.account.session.trader)
        self.mischief.trader_updated(balance_cents=123_456)
        self.run_for(1)
        trader = self.account.session.trader
        assert trader is not None
        self.assertEqual((trader.balance, trader.access), (Decimal("1234.56"), "full"))
        self.assertEqual(self.since(), [])
        self.well()


class TwoAccountsTest(JoinedCase):
    """Two accounts on one connection."""

    accounts = (1000001, 1000002)

    def test_one_thrown_out(self) -> None:
        """The other one goes on without a word."""
        self.start("EURUSD")
        other = self.floors[1000002]
        told = len(other.states)
        self.mischief.account_disconnect(1000001)
        self.run_for(2)
        self.assertEqual(self.phase(), "connected")
        self.assertEqual(other.states[told:], [])

    def test_fair(self) -> None:
        """A thousand wants of the one do not make the other wait for its two."""
        self.start()
        for account, names in zip(self.everybody, (["EURUSD"], ["GBPUSD"]), strict=True):
            account.subscribe(self.floors[account.account_id], names)
        self.run_for(1)
        self.assertEqual([account.confirmed() for account in self.everybody], [1, 1])


class UnansweredTest(JoinedCase):
    """A request that the venue carried out without saying so."""

    synthetic = 200
    rate = 500.0

    def test_subscribed_without_a_word(self) -> None:
        """The same hundred are asked for again, and ALREADY_SUBSCRIBED is about all of them; the
        first prices, which came meanwhile, are not thrown away.
        """
        names = [f"SYM{number:03}" for number in range(200)]
        self.start()
        self.mischief.swallow("ProtoOASubscribeSpotsReq", do_the_work=True)
        self.want(*names)
        self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, set(names))
        self.run_for(12)
        self.assertEqual(self.account.confirmed(), 200)
        self.assertEqual(self.joint.requests().count("ProtoOASubscribeSpotsReq"), 3)

    def had(self) -> set[str]:
        """What the venue sends."""
        venue = self.simulator.venue
        (connection,) = venue.connections
        ids = venue.feed.subscribed((connection, self.account.account_id))
        return {venue.catalogue.by_id[number].name for number in ids}

    def test_unsubscribed_without_a_word(self) -> None:
        """Some of them are wanted again before the next attempt: they are subscribed anew."""
        for names in (["SYM001"], ["SYM001", "SYM003"], ["SYM001", "SYM002", "SYM003"]):
            self.start("SYM001", "SYM002", "SYM003")
            self.mischief.swallow("ProtoOAUnsubscribeSpotsReq", do_the_work=True)
            self.account.unsubscribe(self.floor, ["SYM001", "SYM002", "SYM003"])
            self.run_for(6)
            self.account.subscribe(self.floor, names)
            self.run_for(30)
            self.assertEqual(self.had(), set(names))
            self.assertEqual(self.account.confirmed(), len(names))
            self.floor.ticks.clear()
            self.run_for(10)
            self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, set(names))
            self.tearDown()
            self.setUp()

    def test_subscribed_without_a_word_and_unwanted(self) -> None:
        """What the venue may have begun is ended, also when the repeated list is refused."""
        for code in ("SYMBOL_NOT_FOUND", "ALREADY_SUBSCRIBED", "NEVER_SEEN"):
            self.start("EURUSD")
            self.mischief.swallow("ProtoOASubscribeSpotsReq", do_the_work=True)
            self.want("SYM001", "SYM002", "SYM003")
            self.account.unsubscribe(self.floor, ["SYM001", "SYM002"])
            self.mischief.error("ProtoOASubscribeSpotsReq", code)
            self.run_for(90)
            self.assertEqual(self.had(), {"EURUSD", "SYM003"}, code)
            self.assertEqual(self.account.confirmed(), 2, code)
            self.tearDown()
            self.setUp()
