"""What must hold whenever the way to the venue was lost and came back."""

from __future__ import annotations

from tests.integration.harness import SYNTHETIC, Running, until
from tests.integration.ticks_client import Message, TicksClient, connected

#: Which word may follow which.
LEGAL = {
    "disconnected": {"reconnecting"},
    "reconnecting": {"ctrader-connecting", "disconnected", "error"},
    "ctrader-connecting": {"connected", "disconnected", "error"},
    "error": {"reconnecting"},
    "connected": {"disconnected", "error"},
}

#: How much later than announced a busy machine may be.
LATE_S = 0.5


async def everything_ticks(running: Running) -> TicksClient:
    """A client that wants two hundred symbols and has heard of each of them."""
    await running.until_ready()
    client = await running.client(*SYNTHETIC)
    await until(lambda: {t["symbol"] for t in client.ticks()} >= set(SYNTHETIC), "all tick")
    await client.ask("connect", "status")
    return client


class Outage:
    """Opened before something goes wrong; `over` waits for the end and looks back."""

    def __init__(self, running: Running, client: TicksClient) -> None:
        self._running = running
        self._client = client
        self.since = len(client.messages)
        self._asked = running.asked()
        self._log_since = len(running.log.lines)
        self._epoch = client.statuses()[-1]["epoch"]

    @property
    def statuses(self) -> list[Message]:
        """Since the beginning of the outage."""
        return self._client.statuses(self.since)

    @property
    def reasons(self) -> set[str]:
        """What the statuses gave as reasons."""
        return {status["reason"] for status in self.statuses if "reason" in status}

    def logged(self) -> list[str]:
        """Warnings and errors since the beginning of the outage."""
        lines = self._running.log.lines[self._log_since :]
        return [line for line in lines if line.startswith(("warn", "error", "critical"))]

    async def noticed(self) -> Message:
        """Wait until clients hear that something is wrong."""
        return await self._client.heard(
            lambda message: message["type"] == "status" and message["status"] != "connected",
            "an outage",
            since=self.since,
        )

    async def over(self, *, requests: int = 4, seconds: float = 12.0) -> None:
        """Wait for the recovery of every symbol, and check all that must be so.

        ``requests``: how many about symbols (digits, spots) may be sent for that.
        """
        await self._client.heard(connected, "the recovery", seconds, since=self.since)
        await until(self._all_tick, "every symbol ticks again", seconds)
        account = self._running.daemon.account
        await until(lambda: account.confirmed() == len(SYNTHETIC), "all confirmed", seconds)
        self._check_statuses()
        self._check_delays()
        self._check_ticks()
        asked = self._running.asked() - self._asked
        assert asked <= requests, f"{asked} requests to restore {len(SYNTHETIC)} symbols"
        answer = await self._client.ask("getSubscriptions", "subscriptions")
        assert answer["symbols"] == SYNTHETIC

    # -- inside

    def _back(self) -> int:
        """The number of the last `connected`."""
        messages = self._client.messages
        return max(
            number for number in range(self.since, len(messages)) if connected(messages[number])
        )

    def _all_tick(self) -> bool:
        heard = {tick["symbol"] for tick in self._client.ticks(self._back())}
        return heard >= set(SYNTHETIC)

    def _check_statuses(self) -> None:
        words = [status["status"] for status in self.statuses]
        steps = zip(["connected", *words], words, strict=False)
        illegal = [step for step in steps if step[1] not in LEGAL[step[0]]]
        assert not illegal, f"{illegal} in {words}"
        for status in self.statuses:
            assert len(status["availableSymbols"]) == 233, "each status has the whole list"
            if status["status"] in {"disconnected", "reconnecting", "error"}:
                assert status["reason"]

    def _check_delays(self) -> None:
        """The announced delay is the one that is used, by the daemon's own time: how long a message
        is on its way to a busy client says nothing of it.
        """
        announced: tuple[float, float] | None = None
        for message in self.statuses:
            time_s = message["serverTime"] / 1000
            if message["status"] == "ctrader-connecting" and announced is not None:
                began_s, delay_s = announced
                assert -0.02 <= time_s - began_s - delay_s <= LATE_S, (time_s - began_s, delay_s)
            announced = None
            if message["status"] == "reconnecting":
                announced = (time_s, message["delayMs"] / 1000)

    def _check_ticks(self) -> None:
        """Nothing from before the outage after it, and nothing during it."""
        messages, back = self._client.messages, self._back()
        new = messages[back]
        assert new["epoch"] != self._epoch
        lost = next(n for n in range(self.since, back) if messages[n]["type"] == "status")
        assert not [m for m in messages[lost:back] if m["type"] == "tick"]
        # The attempt that succeeded; whatever is from before the outage was received before it.
        began_ms = max(m["serverTime"] for m in messages[lost:back] if m["type"] == "status")
        numbers: dict[str, list[int]] = {}
        for tick in self._client.ticks(back):
            assert tick["receivedAt"] >= began_ms - 1
            # All that one read brought was received when it began, also what stood behind the list
            # of symbols, whose reading takes a moment before `connected` is told.
            assert tick["receivedAt"] >= new["serverTime"] - 50
            numbers.setdefault(tick["symbol"], []).append(tick["seq"])
        for symbol, seen in numbers.items():
            assert seen == list(range(1, len(seen) + 1)), (symbol, seen)
