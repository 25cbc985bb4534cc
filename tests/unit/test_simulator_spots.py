"""Prices of the simulated venue: the same seed gives the same ticks, whoever listens."""

from __future__ import annotations

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.simulator.feed import LONGEST_CATCH_UP
from ctrader_twisted.simulator.prices import Move, Walk
from ctrader_twisted.simulator.service import Behaviour
from ctrader_twisted.simulator.symbols import instruments
from tests.unit.joined_client import ACCOUNT, NOW_MS, JoinedClient, VenueCase

Seen = list[tuple[int, int | None, int | None]]


def seen(client: JoinedClient) -> Seen:
    """The spots that came: (symbol id, bid, ask), absent sides as None."""
    return [
        (
            one.symbolId,
            one.bid if one.HasField("bid") else None,
            one.ask if one.HasField("ask") else None,
        )
        for one in client.messages(api_pb2.ProtoOASpotEvent)
    ]


class Steps(VenueCase):
    """The walk by itself."""

    def walk(self, seed: int, steps: int = 4000) -> list[Move]:
        """So many steps of a new walk."""
        walk = Walk(instruments(), seed)
        return [walk.step() for _ in range(steps)]

    def test_the_seed_is_everything(self) -> None:
        """The same seed gives the same steps, another gives others."""
        self.assertEqual(self.walk(7), self.walk(7))
        self.assertNotEqual(self.walk(7), self.walk(8))

    def test_about_two_in_five_are_one_sided(self) -> None:
        """No step is without a change, and both sides get their share alone."""
        moves = self.walk(1)
        bids_only = sum(one.ask_points is None for one in moves) / len(moves)
        asks_only = sum(one.bid_points is None for one in moves) / len(moves)
        self.assertGreater(min(bids_only, asks_only), 0.1)
        self.assertLess(abs(bids_only + asks_only - 0.4), 0.05)
        self.assertFalse([one for one in moves if one.bid_points is one.ask_points is None])

    def test_the_rate_is_shared_by_weight(self) -> None:
        """The rate is that of all listed symbols: eleven large ones and 39 of 100 synthetic ones
        are about half of it, and all of them all.
        """
        symbols = instruments(100)
        large = "EURUSD GBPUSD USDJPY AUDUSD XAUUSD XAGUSD US500 US100 DE40 BTCUSD ETHUSD"
        board = large.split() + [f"SYM{number:03d}" for number in range(39)]
        chosen = {one.symbol_id for one in symbols if one.name in board}
        self.assertEqual(len(chosen), 50)
        weights = {one.symbol_id: one.weight for one in symbols}
        share = sum(weights[number] for number in chosen) / sum(weights.values())
        self.assertEqual((share * 226, sum(weights.values())), (112, 226))
        walk = Walk(symbols, 1)
        hits = sum(walk.step().symbol_id in chosen for _ in range(20_000))
        self.assertLess(abs(hits / 20_000 - share), 0.02)

    def test_prices_are_possible(self) -> None:
        """Always positive, bid below ask, rounded to the digits, and near where they began."""
        listed = {one.symbol_id: one for one in instruments()}
        walk = Walk(list(listed.values()), 3)
        for _ in range(30_000):
            moved = walk.step()
            bid, ask = walk.quote(moved.symbol_id)
            self.assertTrue(0 < bid < ask, moved)
            scale = listed[moved.symbol_id].points_per_unit
            self.assertEqual((bid % scale, ask % scale), (0, 0))
            start = walk.start(moved.symbol_id)
            self.assertLess(abs(bid - start), 0.1 * start)

    def test_prices_come_home(self) -> None:
        """The leash: a price that is 4 % away from where it began turns, however far it went."""
        walk = Walk(instruments(), 3)
        for away in (0.8, 1.2):
            far = round(walk.start(1) * away)
            walk.move_to(1, far, far + 8)
            for _ in range(200_000):
                walk.step()
            self.assertLess(abs(walk.quote(1)[0] / walk.start(1) - 1), 0.05)

    def test_every_symbol_moves(self) -> None:
        """None is forgotten, and EURUSD moves more often than GBPCHF."""
        moves = [one.symbol_id for one in self.walk(1)]
        self.assertEqual(set(moves), {one.symbol_id for one in instruments()})
        ids = {one.name: one.symbol_id for one in instruments()}
        self.assertGreater(moves.count(ids["EURUSD"]), 4 * moves.count(ids["GBPCHF"]))


class Delivery(VenueCase):
    """From the walk to those who asked."""

    def test_the_first_event_is_whole(self) -> None:
        """After the acknowledgement, one event per symbol with both sides and the last close."""
        client = self.logged_in()
        client.subscribe(1, 2, timed=True)
        answer, *events = [one.message for one in client.heard()]
        self.assertIsInstance(answer, api_pb2.ProtoOASubscribeSpotsRes)
        self.assertEqual([one.symbolId for one in events], [1, 2])
        for event in events:
            self.assertTrue(event.HasField("bid"))
            self.assertTrue(event.HasField("ask"))
            self.assertTrue(event.HasField("sessionClose"))
            self.assertEqual(event.timestamp, NOW_MS)

    def test_timestamps_only_on_demand(self) -> None:
        """Without the wish for it there is none, first event or later."""
        client = self.logged_in()
        client.subscribe(1)
        self.clock.advance(2)
        events = client.messages(api_pb2.ProtoOASpotEvent)
        self.assertGreater(len(events), 1)
        self.assertFalse([one for one in events if one.HasField("timestamp")])

    def test_timestamps_are_of_the_wall_clock(self) -> None:
        """They follow the wall, not the clock that drives the timers."""
        client = self.logged_in()
        client.subscribe(1, timed=True)
        client.octets()
        self.now_ms += 12_345
        self.clock.advance(2)
        stamps = {one.timestamp for one in client.messages(api_pb2.ProtoOASpotEvent)}
        self.assertEqual(stamps, {NOW_MS + 12_345})

    def test_a_delayed_first_event_stays_the_first(self) -> None:
        """Ticks of the meantime are not sent before it; the delay is a setting."""
        self.open_venue(Behaviour(first_spot_delay_s=0.1), rate=1000)
        client = self.logged_in()
        client.subscribe(1)
        client.octets()
        self.clock.pump([0.03] * 3)
        self.assertEqual(client.octets(), b"")
        self.clock.pump([0.03] * 10)
        (first, *later) = seen(client)
        self.assertNotIn(None, first)
        self.assertTrue(later)

    def test_the_rate_is_over_all_symbols(self) -> None:
        """Fifty a second in total, and only those asked for are delivered."""
        client = self.logged_in()
        client.subscribe(*self.venue.catalogue.by_id)
        client.octets()
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(seen(client)), 50)

    def test_whoever_listens(self) -> None:
        """A listener of one symbol gets just what a listener of all gets of that symbol, and one
        that comes later joins the same walk."""
        every = self.logged_in()
        every.subscribe(*self.venue.catalogue.by_id)
        single = self.logged_in()
        single.subscribe(1)
        every.octets()
        single.octets()
        self.clock.pump([0.25] * 20)
        expected = [one for one in seen(every) if one[0] == 1]
        self.assertEqual(seen(single), expected)

        self.open_venue()
        self.clock.advance(1)
        late = self.logged_in()
        late.subscribe(1)
        late.octets()
        self.clock.pump([0.25] * 16)
        joined = seen(late)
        self.assertGreater(len(joined), 5)
        self.assertEqual(joined, expected[-len(joined) :])

    def test_a_change_of_pace_changes_no_price(self) -> None:
        """The same time in other steps is the same walk."""
        walks = []
        for steps in ([0.02] * 100, [0.5] * 4, [2.0]):
            self.open_venue()
            client = self.logged_in()
            client.subscribe(1, 2, 3)
            self.clock.pump(steps)
            walks.append(seen(client))
            client.hang_up()
        self.assertEqual(walks[0], walks[1])
        self.assertEqual(walks[0], walks[2])

    def test_a_burst_is_one_write(self) -> None:
        """So many ticks share a moment, and leave together."""
        self.open_venue(rate=100, burst=10)
        client = self.logged_in()
        client.subscribe(*self.venue.catalogue.by_id)
        client.octets()
        writes: list[bytes] = []
        client.transport.write = writes.append
        self.clock.pump([0.01] * 11)
        self.assertEqual(len(writes), 1)
        self.assertEqual(self.venue.feed.delivered, 10)

    def test_unsubscribed_is_silent(self) -> None:
        """No event after the acknowledgement, and no timer for nobody."""
        client = self.logged_in()
        client.subscribe(1)
        client.ask(api_pb2.ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=ACCOUNT, symbolId=[1]))
        self.clock.advance(5)
        self.assertEqual(seen(client), [])

    def test_a_long_night(self) -> None:
        """With nobody there for a day, the next listener is served at once and no tick is owed."""
        self.clock.advance(86_400)
        client = self.logged_in()
        client.subscribe(1)
        client.octets()
        self.clock.advance(0.02)
        self.assertLessEqual(len(seen(client)), 1)

    def test_a_clock_that_leaps(self) -> None:
        """A machine that slept owes nobody the ticks of the night; those of now go on."""
        self.open_venue(Behaviour(silence_cut_s=1e6))
        client = self.logged_in()
        client.subscribe(*self.venue.catalogue.by_id)
        client.octets()
        before = self.venue.feed.delivered
        self.clock.advance(86_400)
        self.assertLessEqual(self.venue.feed.delivered - before, LONGEST_CATCH_UP)
        client.octets()
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(seen(client)), 50)

    def test_ticks_by_hand(self) -> None:
        """A test may say the price itself; with no rate nothing else moves."""
        self.open_venue(rate=0)
        client = self.logged_in()
        client.subscribe(1)
        client.octets()
        self.venue.publish("EURUSD", bid_points=110_000)
        self.venue.publish("EURUSD", bid_points=110_001, ask_points=110_011)
        self.clock.advance(10)
        self.assertEqual(seen(client), [(1, 110_000, None), (1, 110_001, 110_011)])
        with self.assertRaises(LookupError):
            self.venue.publish("NOPE", bid_points=1)

    def test_two_accounts_hear_as_themselves(self) -> None:
        """Events carry the account that asked."""
        client = self.logged_in()
        client.account_auth(1000002)
        for account_id in (1000001, 1000002):
            client.ask(
                api_pb2.ProtoOASubscribeSpotsReq(ctidTraderAccountId=account_id, symbolId=[1])
            )
        self.venue.publish("EURUSD", bid_points=110_000)
        accounts = [one.ctidTraderAccountId for one in client.messages(api_pb2.ProtoOASpotEvent)]
        self.assertEqual(sorted(accounts), [1000001, 1000002])
