"""The venue gives a symbol another name while the daemon runs."""

from __future__ import annotations

from tests.unit.stream_case import Client, StreamCase


class RenamedTest(StreamCase):
    """No price under a name that it does not belong to."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def rename(self, **names: str) -> None:
        """The list as it is from now on, by id (``_2="EURUSD"``)."""
        self.venue.names.update({int(number[1:]): name for number, name in names.items()})
        self.account.session.list_again()
        self.turn()

    def ticks(self, client: Client) -> list[tuple[str, int, float]]:
        """Symbol, id and bid of what came."""
        return [(t["symbol"], t["symbolId"], t["bid"]) for t in client.heard("tick")]

    def test_new_name(self) -> None:
        """Who wanted the old name is told and keeps it; the new one gets the prices."""
        client = self.client()
        client.subscribe("GBPUSD")
        self.spot(2, 110_000, 110_010)
        self.rename(_2="GBPUSD.x")
        told = client.heard()[-1]
        self.assertEqual(told["results"][0]["code"], "SYMBOL_NOT_LISTED")
        self.assertIn("GBPUSD.x", told["results"][0]["message"])
        self.assertEqual(told["symbols"], ["GBPUSD"])
        client.subscribe("GBPUSD.X")
        self.spot(2, 120_000, 120_010)
        self.turn()
        self.assertEqual(self.ticks(client), [("GBPUSD.x", 2, 1.2)])

    def test_two_change_places(self) -> None:
        """Prices from before are nobody's: they belonged to another symbol."""
        client = self.client()
        client.subscribe("EURUSD", "GBPUSD")
        self.spot(1, 110_000, 110_010)
        self.spot(2, 120_000, 120_010)
        self.rename(_1="GBPUSD", _2="EURUSD")
        self.assertEqual(len(self.ticks(client)), 2)
        self.assertEqual([one["type"] for one in client.subscribe("EURUSD")], ["subscribeResponse"])
        self.spot(1, 110_001)
        self.spot(1, None, 110_011)
        self.turn()
        self.assertEqual(self.ticks(client), [("GBPUSD", 1, 1.10001)])

    def test_other_case(self) -> None:
        """The same name in another case keeps its price, and is spelled anew."""
        client = self.client()
        client.subscribe("GBPUSD")
        self.spot(2, 110_000, 110_010)
        self.rename(_2="gbpusd")
        self.spot(2, 110_001)
        self.turn()
        self.assertEqual(self.ticks(client), [("GBPUSD", 2, 1.1), ("gbpusd", 2, 1.10001)])
