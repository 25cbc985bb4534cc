"""One id from a client's message to the venue and back: account, session, requests together."""

from __future__ import annotations

from pathlib import Path

import ctrader_twisted
from ctrader_twisted import errands
from ctrader_twisted.accounts import Wanted
from ctrader_twisted.errands import Errand
from ctrader_twisted.errors import NotConnected
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.requests import Lane
from tests.unit.fakes import ACCOUNT, Recorder, refusal_of, spot
from tests.unit.log_lines import LogLines
from tests.unit.test_accounts import DETAILS, NAMES, SUBSCRIBE, AccountCase

LIST = api_pb2.ProtoOASymbolsListReq


PACKAGE = Path(ctrader_twisted.__file__).parent
# Through these a tick goes, and nothing else does.
TICK_PATH = (
    "wire/codec.py",
    "upstream/protocol.py",
    "upstream/application.py",
    "upstream/translate.py",
    "accounts/account.py",
    "market",
    "web/fanout.py",
    "web/outbox.py",
)


class CorrelationTest(AccountCase):
    """Which id stands in which line."""

    def setUp(self) -> None:
        super().setUp()
        self.log = LogLines(self)

    def ask(self, known_as: str, *names: str) -> list[Wanted]:
        """A client's request, in a reactor turn that is not over yet."""
        with Errand(known_as):
            return list(self.account.subscribe(self.one, names))

    def sent(self) -> list[tuple[str, str]]:
        """What was sent to the venue since it was looked at: kind, and correlation id."""
        lines, self.log.lines = self.log.about(" sent as "), []
        return [(one["request"][7:-3], one["correlation_id"]) for one in lines]

    def own(self) -> str:
        """What the newest connection's own requests are called."""
        return f"own:{self.application._run}-{self.lives}"

    lives = 0

    def connect(self) -> None:
        """The next connection."""
        super().connect()
        self.lives += 1

    def test_a_subscription(self) -> None:
        """Digits and prices are asked for the client that wants them; the log-in for nobody."""
        self.connect()
        kinds = ["ApplicationAuth", "AccountAuth", "SymbolsList"]
        self.assertEqual(self.sent(), [(kind, self.own()) for kind in kinds])
        self.ask("a.1", "EURUSD")
        self.serve()
        self.assertEqual(self.log.ids("answered after"), ["a.1", "a.1"])
        self.assertEqual(self.sent(), [("SymbolById", "a.1"), ("SubscribeSpots", "a.1")])
        self.over()

    def test_many_clients_in_one_turn(self) -> None:
        """One request for several clients names each that caused it, and nobody who joined."""
        self.connect()
        self.sent()
        for number in range(10):
            self.ask(f"c{number}.1", "EURUSD")
        self.ask("d.1", "GBPUSD", "EURUSD")
        self.serve()
        self.assertEqual({known_as for _, known_as in self.sent()}, {"c0.1 d.1"})
        self.over()

    def test_what_comes_already(self) -> None:
        """A symbol that is had costs no request, and its next owner no line."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.serve()
        self.log.lines.clear()
        self.ask("b.1", "EURUSD")
        self.serve()
        self.wire.say(spot(1, bid=1000, ask=2000))
        self.assertEqual(len(self.ticks()), 1)
        self.assertEqual(self.log.lines, [])
        self.over()

    def test_the_way_of_a_tick(self) -> None:
        """No module that is there for ticks knows of errands; and a tick leaves no line."""
        for place in TICK_PATH:
            for path in [PACKAGE / place, *(PACKAGE / place).glob("*.py")]:
                if path.is_file():
                    self.assertNotIn("errand", path.read_text(), path)

    def test_without_a_connection(self) -> None:
        """What cannot be asked is a matter for the log, too: its client is told of it."""
        taken: list[str] = []

        class Client(Errand):
            def leads_on(self) -> None:
                taken.append(self.known_as)

        with Client("a.1"):
            asked = self.account.session.ask(LIST(ctidTraderAccountId=ACCOUNT), LIST, Lane.READ)
        self.failureResultOf(asked, NotConnected)
        self.assertEqual(taken, ["a.1"])

    def test_after_an_outage(self) -> None:
        """What was had comes back for nobody; what was not had, for whoever still waits for it."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.serve()
        self.ask("b.1", "GBPUSD")
        self.clock.advance(0)
        self.sent()
        self.wire.lose()
        self.assertEqual(self.log.ids("lost after"), ["b.1", "b.1"])
        self.ask("c.1", "XAUUSD")
        self.connect()
        self.serve()
        sent = [
            known_as for kind, known_as in self.sent() if kind in ("SymbolById", "SubscribeSpots")
        ]
        self.assertEqual({" ".join(sorted(one.split())) for one in sent}, {"b.1 c.1"})
        self.wire.lose()
        self.connect()
        self.serve()
        self.assertEqual({known_as for _, known_as in self.sent()}, {self.own()})
        self.over()

    def test_a_retry(self) -> None:
        """What is asked once more is asked for the same client, under a new message id."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.clock.advance(0)
        self.answer(DETAILS)
        self.clock.pump([10, 1])
        self.assertEqual(self.log.ids("timed_out"), ["a.1"])
        self.assertEqual(self.log.ids("again in 1 s"), ["a.1"])
        again = self.log.about("SubscribeSpotsReq sent as")
        self.assertEqual([one["correlation_id"] for one in again], ["a.1", "a.1"])
        self.assertEqual(len({one["client_message_id"] for one in again}), 2)
        self.wire.read()
        self.over()

    def test_a_refusal(self) -> None:
        """Refused by the venue: the answer, what is made of it, and the list that is looked at."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.clock.advance(0)
        self.answer(DETAILS)
        request = self.wire.take(SUBSCRIBE)
        self.wire.say(refusal_of("SYMBOL_NOT_FOUND"), request.client_message_id)
        told = self.log.of("a.1")
        self.assertIn("SubscribeSpotsReq", told[-2])
        self.assertTrue(told[-2].endswith("(SYMBOL_NOT_FOUND)"))
        self.assertEqual(told[-1], "subscribe: symbol 1 refused: SYMBOL_NOT_FOUND; again in 2 s")
        self.assertEqual(len(self.told.all("want_changed")), 1)
        self.sent()
        self.clock.advance(2)
        # The first list was never compared with another.
        self.assertEqual(self.sent(), [("SubscribeSpots", "a.1"), ("SymbolsList", "a.1")])
        self.answer(LIST)
        self.over()

    def test_an_unknown_name(self) -> None:
        """A name that is not on the list has it fetched again, for whoever asked for it first."""
        self.connect()
        self.ask("a.1", "NEWUSD")
        self.ask("b.1", "OTHER")
        self.sent()
        self.clock.advance(60)
        self.assertEqual(self.sent(), [("SymbolsList", "a.1")])
        self.answer(LIST)
        self.over()

    def test_news_of_the_venue(self) -> None:
        """A symbol that the venue changes is looked at for nobody, although somebody wanted it."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.serve()
        self.sent()
        changed = api_pb2.ProtoOASymbolChangedEvent(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        self.wire.say(changed)
        self.serve()
        self.assertEqual(self.sent(), [("SymbolById", self.own())])
        self.over()

    def test_the_end_of_a_want(self) -> None:
        """What nobody wants any more is unsubscribed for nobody; who comes back is a new cause."""
        self.connect()
        self.ask("a.1", "EURUSD")
        self.serve()
        self.sent()
        with Errand("a.2"):
            self.account.unsubscribe(self.one, ["EURUSD"])
        self.clock.advance(0)
        self.clock.advance(6)
        self.serve()
        self.assertEqual(self.sent(), [("UnsubscribeSpots", self.own())])
        self.ask("b.1", "EURUSD")
        self.serve()
        self.assertEqual(self.sent(), [("SubscribeSpots", "b.1")])
        self.over()

    def test_names_before_the_list(self) -> None:
        """A name that two lists do not have is withdrawn for whoever asked for it."""
        told: list[str] = []
        self.told.reactions["want_changed"] = lambda *_: told.append(errands.current())
        self.ask("a.1", "NOSUCH")
        self.connect()
        self.assertEqual(told, [])
        self.clock.advance(2)
        self.answer(LIST)
        self.assertEqual(told, ["a.1"])
        self.assertEqual(len(self.account._feed._causes), 0)
        self.serve()
        self.over()

    def test_a_flood_of_names(self) -> None:
        """Names by the thousand while the venue is away leave no notes behind."""
        other = Recorder()
        for number in range(300):
            with Errand(f"a.{number}"):
                self.account.subscribe(other, [f"N{number}-{each}" for each in range(50)])
            self.account.leave(other)
            self.clock.advance(1)
        self.assertLess(len(self.account._feed._causes), 50 * 10)
        self.assertEqual(set(NAMES), {1, 2, 3, 9})
        self.connect()
        self.over()
