"""Where WebSocket clients wait until it is clear that they may come in.

The upgrade is always accepted first, because browsers show the code of a close and nothing of a
refused handshake. Who brought a key in a header, or needs none, passes at once; the others have a
few seconds to show it in ``connect``. Until then they are in no list and hear of nothing.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrader_twisted import contract
from ctrader_twisted.logs import Secret
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.allowances import Allowances
from ctrader_twisted.web.callers import Place
from ctrader_twisted.web.doors import READ, Doors, Visitor, check_scope
from ctrader_twisted.web.keys import ApiKey
from ctrader_twisted.web.problems import Refused

GOING_AWAY = 1001
UNAUTHORIZED = 4401
FORBIDDEN = 4403
TOO_LATE = 4408
QUOTA = 4429

CODES = {401: UNAUTHORIZED, 403: FORBIDDEN, 429: QUOTA}

# How soon a key that was revoked stops working for those who are in.
LOOK_S = 2.0

_presented = msgspec.json.Decoder(contract.Presented)


class Guest(Protocol):
    """One client, as the lobby sees it."""

    visitor: Visitor
    place: Place

    def admitted(self) -> None:
        """It may come in."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye with a close code."""


class Lobby:
    """Everybody who came by WebSocket: waiting, or in."""

    def __init__(self, *, doors: Doors, clock: IReactorTime, metrics: Metrics) -> None:
        self._doors = doors
        self._policy = doors.policy
        self._clock = clock
        self._metrics = metrics
        self._waiting: dict[Guest, IDelayedCall] = {}
        self._strangers: Counter[str] = Counter()
        self._inside: dict[Guest, str] = {}
        self._counts: Counter[str] = Counter()
        self._keyed: dict[Guest, ApiKey] = {}
        self._watch: IDelayedCall | None = None
        rate = self._policy.messages_per_s_per_key
        self._messages = Allowances(rate, 2 * rate)
        # How many subscriptions each client with a key has, and the sum of each key.
        self._subscribed: dict[Guest, int] = {}
        self._sums: Counter[str] = Counter()

    def opened(self, guest: Guest) -> None:
        """The handshake of a client is through: let it in, let it wait, or show it out."""
        visitor = guest.visitor
        if visitor.problem is not None:
            self._show_out(guest, visitor.problem)
        elif visitor.is_welcome:
            self._let_in(guest)
        elif self._strangers[visitor.counted_as] >= self._policy.connections_per_address:
            # Behind a proxy of ours; of those who come directly the door counts every connection.
            self._show_out(guest, _too_many(self._policy.connections_per_address, "address"))
        else:
            seconds = self._policy.auth_timeout_s
            self._strangers[visitor.counted_as] += 1
            self._waiting[guest] = self._clock.callLater(seconds, self._too_late, guest)

    def heard(self, guest: Guest, payload: bytes) -> bool:
        """The first message of one that waits; True when its key let it in."""
        if not self._waits_no_more(guest):
            return False
        try:
            self._doors.show_key(guest.visitor, self._token(guest.visitor, payload))
            check_scope(guest.visitor, READ)
        except Refused as refused:
            self._show_out(guest, refused)
            return False
        return self._let_in(guest)

    def left(self, guest: Guest) -> None:
        """A client is gone, from wherever it was. Leaving twice does nothing."""
        self._waits_no_more(guest)
        name = self._inside.pop(guest, None)
        if name is not None:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
        self.holds(guest, 0)
        self._subscribed.pop(guest, None)
        self._keyed.pop(guest, None)
        if not self._keyed and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def stop(self) -> None:
        """The daemon goes away: nobody waits any more."""
        for guest in list(self._waiting):
            self.left(guest)
            guest.close(GOING_AWAY, "the server is shutting down")

    def must_wait_s(self, guest: Guest) -> float:
        """Seconds until whoever shares this client's key may say something again; 0 is now."""
        if guest.visitor.key is None:
            return 0.0
        return self._messages.take(guest.visitor.name, self._clock.seconds()).wait_s

    def room(self, guest: Guest) -> float:
        """How many more subscriptions the clients of this one's key may have; without a key, any
        number.
        """
        key = self._keyed.get(guest)
        return inf if key is None else self._policy.subscriptions_per_key - self._sums[key.name]

    def holds(self, guest: Guest, count: int) -> None:
        """A client has so many subscriptions now."""
        key = self._keyed.get(guest)
        if key is None:
            return
        self._sums[key.name] += count - self._subscribed.get(guest, 0)
        self._subscribed[guest] = count
        if not self._sums[key.name]:
            del self._sums[key.name]

    # -- inside

    def _waits_no_more(self, guest: Guest) -> bool:
        """Out of the waiting list; False when it was not in it."""
        timer = self._waiting.pop(guest, None)
        if timer is None:
            return False
        if timer.active():
            timer.cancel()
        address = guest.visitor.counted_as
        self._strangers[address] -= 1
        if not self._strangers[address]:
            del self._strangers[address]
        return True

    def _let_in(self, guest: Guest) -> bool:
        visitor = guest.visitor
        policy = self._policy
        if visitor.key is not None:
            most = policy.connections_per_key
            if self._counts[visitor.name] >= most:
                self._show_out(guest, _too_many(most, "key"))
                return False
            guest.place.key_shown()
        self._inside[guest] = visitor.name
        self._counts[visitor.name] += 1
        if visitor.key is not None:
            self._keyed[guest] = visitor.key
            if self._watch is None:
                self._watch = self._clock.callLater(LOOK_S, self._look_round)
        guest.admitted()
        return True

    def _show_out(self, guest: Guest, refused: Refused) -> None:
        self._metrics.count("clients_refused", refused.code)
        again = f"; come back in {refused.retry_after} s" if refused.retry_after else ""
        guest.close(CODES.get(refused.status, FORBIDDEN), f"{refused.code}: {refused}{again}")

    def _token(self, visitor: Visitor, payload: bytes) -> Secret:
        """Return the key in the first message. Raises Refused if there is none."""
        try:
            first = _presented.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            first = contract.Presented()
        if first.type == "connect" and first.token:
            return Secret(first.token)
        if visitor.has_foreign_bearer:
            raise self._doors.wrong_key(visitor)
        raise Refused(
            401, "a key is needed: as `token` in the first message, a connect", code="KEY_REQUIRED"
        )

    def _too_late(self, guest: Guest) -> None:
        self._waits_no_more(guest)
        if guest.visitor.has_foreign_bearer:
            self._show_out(guest, self._doors.wrong_key(guest.visitor))
            return
        self._metrics.count("clients_refused", "AUTH_TIMEOUT")
        seconds = self._policy.auth_timeout_s
        guest.close(TOO_LATE, f"no key was shown within {seconds:g} s")

    def _look_round(self) -> None:
        self._watch = None
        self._doors.look_again()
        for guest, key in list(self._keyed.items()):
            if not self._doors.is_still_good(key):
                self._metrics.count("clients_refused", "KEY_REVOKED")
                guest.close(UNAUTHORIZED, "KEY_REVOKED: the key has been revoked")
        if self._keyed and self._watch is None:
            self._watch = self._clock.callLater(LOOK_S, self._look_round)


def _too_many(most: int, whose: str) -> Refused:
    return Refused(429, f"no more than {most} connections of one {whose}", code="QUOTA")
