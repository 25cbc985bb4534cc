"""A client of the tick stream that checks each message by what `seq` and `conflated` promise."""

from __future__ import annotations

from typing import Any

from ctrader_twisted.market.model import Tick
from tests.unit.stream_case import Client


class Listener:
    """What one client has read so far, and what it may still expect."""

    def __init__(self, client: Client, *, health: bool, may_be_shown_out: bool) -> None:
        self.client = client
        self._may_be_shown_out = may_be_shown_out
        self.health = health
        # As the account has them, and as the client has been told.
        self.wants: set[str] = set()
        self._told: set[str] = set()
        self._due: dict[str, Tick] = {}
        self._expected: list[Any] = []
        self._heard = 0
        self._last: dict[str, tuple[int, int]] = {}
        # Symbols whose numbers may begin again, since they are others now.
        self._renumbered: set[str] = set()
        # In a new life of the session a symbol that is wanted all the time begins at 1.
        self._from_the_start: set[str] = set()
        self._newest_bid = 0.0
        self._is_connected = True

    # -- what it may expect

    def expects(self, kind: str, request_id: int | None) -> None:
        """A message that must come, in its turn."""
        self._expected.append((kind, request_id))

    def hears(self, messages: list[dict[str, Any]]) -> None:
        """Messages that all must hear."""
        self._expected.extend(messages)

    def wants_now(self, wants: set[str]) -> None:
        """Its wants changed, or did not."""
        self.wants = wants
        for gone in self._due.keys() - wants:
            del self._due[gone]

    def is_due(self, name: str, tick: Tick) -> None:
        """A tick that it must get, unless a newer one of the symbol replaces it."""
        if name in self.wants:
            self._due[name] = tick

    def may_begin_again(self, name: str) -> None:
        """Behind the name there is another symbol now."""
        self._renumbered.add(name)

    def forgets_prices(self) -> None:
        """An outage: no price from before it is owed to anybody."""
        self._due.clear()

    # -- what it got

    def read(self) -> None:
        """Check all that has come."""
        for message in self.client.heard():
            if message["type"] == "tick":
                self._tick(message)
            else:
                self._must(message)

    def has_everything(self) -> None:
        """All that it could expect is here."""
        if not self.client.protocol.is_in:
            # Shown out; the last words do not always arrive.
            assert self._may_be_shown_out
            assert self.client.goodbye is None or self.client.goodbye[0] == 4413
            return
        assert self._heard == len(self._expected), self._expected[self._heard :]
        assert self._told == self.wants
        for name, tick in self._due.items():
            newest = (tick.symbol.symbol_id, tick.seq)
            assert self._last.get(name) == newest, (name, newest, self._last.get(name))

    def _must(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        expected = self._expected[self._heard]
        self._heard += 1
        if isinstance(expected, tuple):
            assert expected == (kind, message.get("id")), (expected, message)
        else:
            assert message == expected, (message, expected)
        if kind in {"subscribeResponse", "unsubscribeResponse"}:
            symbols = set(message["symbols"])
            for changed in self._told ^ symbols:
                self._from_the_start.discard(changed)
                self._last.pop(changed, None)
            self._told = symbols
        elif kind == "status":
            self._is_connected = message["status"] in {"connected", "stale", "tick_resumed"}
            if not self._is_connected:
                self._last.clear()
                self._from_the_start = set(self._told)

    def _tick(self, tick: dict[str, Any]) -> None:
        name, number, seq = tick["symbol"], tick["symbolId"], tick["seq"]
        assert name in self._told, f"{name} is not wanted"
        assert self._is_connected, f"a price during an outage: {tick}"
        was, last = self._last.get(name, (number, None))
        if name in self._renumbered and (was != number or seq < (last or 0)):
            last = None
            self._from_the_start.discard(name)
        if last is None and name in self._from_the_start:
            last = 0
        is_repeated = "snapshot" in tick and seq == last
        if last is not None and not is_repeated:
            assert seq == last + 1 + tick.get("conflated", 0), (last, tick)
        if "snapshot" not in tick:
            assert tick["bid"] > self._newest_bid, f"older than one before it: {tick}"
            self._newest_bid = tick["bid"]
        self._from_the_start.discard(name)
        self._last[name] = (number, seq)
