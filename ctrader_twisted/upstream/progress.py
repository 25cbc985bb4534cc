"""How far the way to the venue is open: socket, TLS, application. Looked at by the diagnosis."""

from __future__ import annotations

from collections.abc import Callable

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.market.links import Holds, Link
from ctrader_twisted.refusals import advice_for
from ctrader_twisted.tls.failures import ConnectFailed, HandshakeTimeout

STAGES = ("socket", "tls", "application")

_ADVICE = {
    "socket": "Check the network, CTRADER_OPENAPI_HOST and CTRADER_OPENAPI_PORT, and that a "
    "firewall lets us out to that port; the attempts go on by themselves.",
    # Only for a handshake that takes too long: a failed one has the advice of its error.
    "tls": HandshakeTimeout.advice,
    "application": "Check CTRADER_CLIENT_ID and CTRADER_CLIENT_SECRET; the attempts go on.",
}


class Progress:
    """The stages that the current attempt has reached, and what ended the last one.

    While an attempt has come no further than the last one, the last one's trouble still counts.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._reached: dict[str, int] = {}
        self._in_attempt: set[str] = set()
        self._failed_at: str | None = None
        self._failed_ms = 0
        self._reason = ""
        self._code: str | None = None
        self._advice = ""

    def begin(self) -> None:
        """An attempt begins."""
        self._in_attempt.clear()

    def reach(self, stage: str) -> None:
        """This attempt has come so far."""
        self._in_attempt.add(stage)
        self._reached[stage] = self.now_ms()
        if self._failed_at is not None and _number(stage) >= _number(self._failed_at):
            self._failed_at = None

    def fail(self, cause: BaseException, reason: str) -> None:
        """The attempt, or the connection, is over."""
        missing = [stage for stage in STAGES if stage not in self._in_attempt]
        # What had come all the way, and is gone, was a socket.
        stage = missing[0] if missing else STAGES[0]
        if stage != self._failed_at:
            self._failed_ms = self.now_ms()
        self._failed_at, self._reason = stage, reason
        self._code = cause.code if isinstance(cause, VenueRefusal) else None
        self._advice = cause.advice if isinstance(cause, ConnectFailed) else _ADVICE[stage]
        for later in STAGES[_number(stage) :]:
            self._reached.pop(later, None)
        self._in_attempt.clear()

    def links(self) -> list[Link]:
        """The three links."""
        return [self._link(stage) for stage in STAGES]

    def _link(self, stage: str) -> Link:
        if stage == self._failed_at:
            advice = advice_for(self._code) if self._code else self._advice
            return Link(stage, Holds.NO, self._failed_ms, self._reason, advice, self._code)
        if stage in self._reached:
            return Link(stage, Holds.OK, self._reached[stage])
        return Link(stage, Holds.UNKNOWN)


def _number(stage: str) -> int:
    return STAGES.index(stage)
