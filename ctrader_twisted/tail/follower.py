"""Following symbols through connections that come and go.

    follower                              daemon
      | -- connect ----------------------> |
      | <------------------------ status -- |   and, whenever it is `connected`:
      | -- subscribe {symbols} ----------> |
      | <------------- subscribeResponse -- |
      | <------------------------ tick ... -- |

What cannot be helped by waiting ends it: nobody there at the first attempt, every symbol refused,
a close code that means stop. A connection that is lost later is made again, with back-off.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ctrader_twisted.tail.messages import (
    Message,
    NumberText,
    Quote,
    Situation,
    read,
    read_quote,
    read_situation,
    text_of,
)
from ctrader_twisted.tail.rendering import View
from ctrader_twisted.tls.failures import Unreachable, openssl_reason

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
GOODBYE_S = 1.0

# The server says that coming back will not help.
UNAUTHORIZED = 4401
STOP = frozenset({4400, 4401, 4402, 4403, 4404, 4409})
# It says that coming back soon will not help.
SLOWLY = frozenset({1008, 4429})

CONNECT = json.dumps({"type": "connect", "protocol": 1, "client": {"name": "ctrader-stream tail"}})
REQUEST_ID = "tail"

FINISHED, FAILED = 0, 1


class Link(Protocol):
    """An open connection to the daemon."""

    def send(self, text: str) -> None:
        """One message."""

    def close(self) -> None:
        """Say goodbye; `Follower.lost` follows."""


class Follower:
    """Keeps one connection, subscribes on it, and hands what comes to a view."""

    def __init__(
        self,
        *,
        url: str,
        symbols: Sequence[str],
        count: int | None,
        view: View,
        dial: Callable[[Follower], Deferred[object]],
        clock: IReactorTime,
        rng: random.Random,
    ) -> None:
        """``dial`` begins a connection that will call `opened`, `received` and `lost`; its Deferred
        fails when nobody answers. ``count`` ticks are enough; None: go on for ever.
        """
        self._url = url
        # Names are compared in upper case, and each counts once.
        self._symbols: dict[str, str] = {}
        for symbol in symbols:
            self._symbols.setdefault(symbol.upper(), symbol)
        self._missing = count
        self._view = view
        self._dial = dial
        self._clock = clock
        self._rng = rng
        self._link: Link | None = None
        self._dialling: Deferred[object] | None = None
        self._timer: IDelayedCall | None = None
        self._reached = False
        self._status: int | None = None
        self._attempt = 0
        self._delay_s = FIRST_DELAY_S
        self._not_before_s = 0.0
        self._refused: dict[str, str] = {}
        # Symbols that were confirmed once: a later refusal is not final for them.
        self._confirmed: set[str] = set()
        self._unavailable: dict[str, str] = {}
        self._ask_again: IDelayedCall | None = None
        self._last: dict[str, Quote] = {}
        #: Fires with the exit status when all is over.
        self.finished: Deferred[int] = Deferred()

    # -- begin and end

    def start(self) -> None:
        """Try to reach the daemon."""
        self._timer = None
        self._dialling = self._dial(self)
        self._dialling.addErrback(self._not_reached).addErrback(self.broke)

    def finish(self, status: int, why: str = "") -> None:
        """End with this exit status, and with a sentence if there is something to say."""
        if self._status is not None:
            return
        self._status = status
        if why:
            self._view.note(why)
        self._cancel_timer()
        if self._link is None:
            if self._dialling is not None:
                self._dialling.cancel()
            self._end()
        else:
            self._timer = self._clock.callLater(GOODBYE_S, self._end)
            self._link.close()

    def output_lost(self, error: OSError) -> None:
        """Nobody can read what we print; one who has read enough (`| head`) is no error."""
        if isinstance(error, BrokenPipeError):
            self.finish(FINISHED)
        else:
            self.finish(FAILED, f"cannot write to standard output ({error.strerror or error})")

    def broke(self, failure: Failure) -> None:
        """A mistake of ours: say where, and do not go on as if nothing had happened."""
        self.finish(FAILED, f"this should not happen: {failure.getTraceback()}")

    def _end(self) -> None:
        self._cancel_timer()
        if not self.finished.called:
            self.finished.callback(FAILED if self._status is None else self._status)

    def _cancel_timer(self) -> None:
        timers = (self._timer, self._ask_again)
        self._timer = self._ask_again = None
        for timer in timers:
            if timer is not None and timer.active():
                timer.cancel()

    # -- the connection's life

    def opened(self, link: Link) -> None:
        """The daemon is there."""
        if self._status is not None:
            link.close()
            return
        self._link = link
        if self._reached:
            self._view.note(f"connected again to {self._url}")
        self._reached = True
        link.send(CONNECT)

    def lost(self, code: int, reason: str) -> None:
        """The connection is over, or its handshake failed; ``code`` is that of the close frame."""
        self._link = None
        self._cancel_timer()
        said = f"{code}: {reason}" if code not in (0, 1006) else reason
        if self._status is not None:
            self._end()
        elif not self._reached:
            self.finish(
                FAILED, f"what listens at {self._url} does not let us in ({reason}); see --url"
            )
        elif code in STOP:
            advice = "; see --key-file" if code == UNAUTHORIZED else ""
            self.finish(FAILED, f"the daemon has closed the connection for good ({said}){advice}")
        else:
            if code in SLOWLY:
                self._not_before_s = LONGEST_DELAY_S
            self._again(said or "the daemon has closed the connection")

    def _not_reached(self, failure: Failure) -> None:
        reason = reason_of(failure)
        if self._status is not None:
            return
        if self._reached:
            self._again(reason)
        elif isinstance(failure.value, Unreachable) and failure.value.is_refused:
            self.finish(
                FAILED,
                f"nothing listens at {self._url}: start the daemon (twistd -n ctrader-stream), "
                "or name another address with --url",
            )
        else:
            self.finish(FAILED, f"{self._url} cannot be reached ({reason}); see --url")

    def _again(self, reason: str) -> None:
        self._attempt += 1
        jittered = self._delay_s * self._rng.uniform(0.5, 1.0)
        delay_s = max(jittered, self._not_before_s)
        self._not_before_s = 0.0
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        now = self._clock.seconds()
        self._timer = self._clock.callLater(delay_s, self.start)
        self._view.situation(
            Situation("lost", "", reason, str(self._attempt), retry_at=now + delay_s), now
        )

    # -- what the daemon says

    def received(self, text: str) -> None:
        """One message; of what is unknown nothing is said."""
        if self._status is not None:
            return
        try:
            message = read(text)
            kind = text_of(message, "type")
            if kind == "tick":
                self._tick(read_quote(message), text)
                return
        except ValueError as error:
            self._view.note(f"a message was not understood ({error})")
            return
        take = {
            "status": self._take_status,
            "subscribeResponse": self._take_results,
            "requestError": self._take_request_error,
            "error": self._take_error,
            "warning": self._take_warning,
            "gap": self._take_gap,
        }.get(kind)
        if take is not None:
            take(message)

    def _tick(self, quote: Quote, text: str) -> None:
        key = quote.symbol.upper()
        if key not in self._symbols or (quote.snapshot and self._is_known(key, quote)):
            return
        self._last[key] = quote
        try:
            self._view.tick(quote, text)
        except OSError as error:
            self.output_lost(error)
            return
        if self._missing is not None:
            self._missing -= 1
            if self._missing == 0:
                self.finish(FINISHED)

    def _is_known(self, key: str, quote: Quote) -> bool:
        """The last known tick, which each new subscription brings, may be the one we had."""
        last = self._last.get(key)
        return last is not None and (last.timestamp_ms, last.bid, last.ask) == (
            quote.timestamp_ms,
            quote.bid,
            quote.ask,
        )

    def _take_status(self, message: Message) -> None:
        now = self._clock.seconds()
        situation = read_situation(message, now)
        self._view.situation(situation, now)
        if situation.word == "connected":
            self._subscribe()

    def _subscribe(self) -> None:
        if self._ask_again is not None and self._ask_again.active():
            self._ask_again.cancel()
        self._ask_again = None
        if self._link is not None:
            request = {"type": "subscribe", "id": REQUEST_ID, "symbols": [*self._symbols.values()]}
            self._link.send(json.dumps(request))

    def _take_results(self, message: Message) -> None:
        # Served: the next loss is a new one, not more of the last.
        self._attempt, self._delay_s = 0, FIRST_DELAY_S
        rows = message.get("results")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                self._take_result(row)
        if self._symbols.keys() <= self._refused.keys():
            self.finish(FAILED, "no symbol is left to follow")

    def _take_result(self, row: Message) -> None:
        symbol = text_of(row, "symbol")
        key = symbol.upper()
        code = text_of(row, "code")
        reason = text_of(row, "message") or code or "no reason was given"
        is_refused = text_of(row, "status") == "error"
        if not is_refused:
            self._refused.pop(key, None)
            if row.get("pending") is not True:
                self._confirmed.add(key)
        if key in self._confirmed or not is_refused:
            self._take_availability(key, symbol, reason if is_refused or code else "")
            # The daemon does not keep a refused symbol, so it has to be asked for again.
            if is_refused and self._ask_again is None and self._status is None:
                self._ask_again = self._clock.callLater(LONGEST_DELAY_S, self._subscribe)
            return
        if self._refused.get(key) != reason:
            self._refused[key] = reason
            self._view.refused(self._symbols.get(key, symbol), reason)

    def _take_availability(self, key: str, symbol: str, reason: str) -> None:
        """Note a change of a subscribed symbol; ``reason``: why it has no prices, else empty."""
        before = self._unavailable.get(key, "")
        if reason and reason != before:
            self._unavailable[key] = reason
            self._view.note(f"{symbol} has no prices now ({reason}); waiting for it")
        elif before and not reason:
            del self._unavailable[key]
            self._view.note(f"{symbol} is available again")

    def _take_request_error(self, message: Message) -> None:
        said = f"{text_of(message, 'code')}: {text_of(message, 'message')}"
        if message.get("temporary") is True and self._link is not None:
            self._view.note(f"the daemon cannot serve us now ({said})")
            retry_ms = message.get("retryAfterMs")
            if isinstance(retry_ms, NumberText):
                self._not_before_s = min(max(float(retry_ms) / 1000, 0.0), LONGEST_DELAY_S)
            self._link.close()
        else:
            self.finish(FAILED, f"the daemon refuses what we ask for ({said})")

    def _take_error(self, message: Message) -> None:
        self.finish(FAILED, f"the daemon reports a fatal error: {text_of(message, 'message')}")

    def _take_warning(self, message: Message) -> None:
        self._view.note(f"warning: {text_of(message, 'message') or text_of(message, 'code')}")

    def _take_gap(self, message: Message) -> None:
        symbol, reason = text_of(message, "symbol"), text_of(message, "reason")
        self._view.note(f"ticks of {symbol} are missing ({reason})")


def reason_of(failure: Failure) -> str:
    """Why a connection could not be made or kept, in words."""
    error = failure.value
    if isinstance(error, SSL.Error):
        return f"TLS: {openssl_reason(error) or 'the connection was cut'}"
    return (str(error) or str(failure.getErrorMessage())).rstrip(".")
