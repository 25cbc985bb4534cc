"""Faults between the daemon and its venue, on a Clock: the real default settings, hours in seconds.

Everything from the socket's bytes to the account is the product; only TCP and TLS are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ctrader_twisted.refusals import TABLE
from ctrader_twisted.simulator.mischief import Mischief
from ctrader_twisted.simulator.prices import Move
from ctrader_twisted.simulator.symbols import FIRST_SYNTHETIC_ID
from tests.faults.table import Measured, memory_kib
from tests.unit.joined_daemon import JoinedCase

SYMBOLS = [f"SYM{number:03}" for number in range(20)]
STEP_S = 0.05
ACCOUNT = "ProtoOAAccountAuthReq"
APPLICATION = "ProtoOAApplicationAuthReq"
SUBSCRIBE = "ProtoOASubscribeSpotsReq"
LIST = "ProtoOASymbolsListReq"
DETAILS = "ProtoOASymbolByIdReq"


class World(JoinedCase):
    """A daemon and its venue; a test case without tests."""

    synthetic = 20
    rate = 100.0


@dataclass(frozen=True)
class Fault:
    """``flip`` breaks something; after ``lasts_s`` it is well again. ``within_s``: how soon all
    must be restored after that. ``quiet``: clients must not notice anything at all.
    """

    name: str
    promise: str
    flip: Callable[[World], object]
    lasts_s: float = 0.0
    within_s: float = 2.0
    notice_s: float = 1.0
    quiet: bool = False


def mischief(act: Callable[[Mischief], object]) -> Callable[[World], object]:
    """A switch of the venue."""
    return lambda world: act(world.mischief)


def after_drop(act: Callable[[Mischief], object]) -> Callable[[World], object]:
    """A switch, and then the connection is cut: it is met on the way back."""

    def flip(world: World) -> None:
        act(world.mischief)
        world.mischief.drop()

    return flip


def stale_reply(world: World) -> None:
    """An answer that comes when its question belongs to an earlier life of the session."""
    world.mischief.late(ACCOUNT, seconds=12)
    world.mischief.account_disconnect()


def new_want(act: Callable[[Mischief], object]) -> Callable[[World], object]:
    """A switch that is met by the next subscription."""

    def flip(world: World) -> None:
        act(world.mischief)
        world.account.subscribe(world.floor, ["BTCUSD"])

    return flip


def jump(world: World, seconds: int) -> None:
    """The time of day jumps; the steady clock does not."""
    world.start_ms += seconds * 1000


def slow_line(world: World) -> None:
    """A connection on which the list of symbols takes longer than a request may."""

    def restore() -> None:
        world.joint.bytes_per_s = 0
        for end in world.joint.ends:
            end.other.bytes_per_s = 0

    world.joint.bytes_per_s = 150
    world.mischief.drop()
    world.clock.callLater(40, restore)


FAULTS: list[Fault] = [
    Fault("connection reset", "told at once; back in 2 s", mischief(lambda m: m.drop())),
    Fault(
        "connection refused for 5 min",
        "back within 61 s of its end",
        mischief(lambda m: (m.refuse("port"), m.drop())),
        300,
        61,
    ),
    Fault(
        "accepted and closed for 5 min",
        "back within 61 s of its end",
        mischief(lambda m: (m.refuse(), m.drop())),
        300,
        61,
    ),
    Fault(
        "half-open (neither reads nor writes)",
        "found within 75 s",
        mischief(lambda m: m.stall()),
        0,
        3,
        75,
    ),
    Fault(
        "blackhole (reads, says nothing)",
        "found within 75 s",
        mischief(lambda m: m.mute()),
        0,
        3,
        75,
    ),
    Fault(
        "slow handshake: new connections hang for 5 min",
        "back within 91 s of its end",
        mischief(lambda m: (m.stall(lasting=True), m.drop())),
        300,
        91,
    ),
    Fault("garbage in a frame", "dropped at once; back in 2 s", mischief(lambda m: m.garbage())),
    Fault("half a frame, then the end", "back in 2 s", mischief(lambda m: m.half_frame("close"))),
    Fault(
        "half a frame, then silence",
        "found within 75 s",
        mischief(lambda m: m.half_frame()),
        0,
        3,
        75,
    ),
    Fault("a frame of 2 GiB announced", "dropped at once", mischief(lambda m: m.oversize())),
    Fault("unknown payload type", "ignored", mischief(lambda m: m.unknown_type()), quiet=True),
    Fault(
        "unknown fields in all", "ignored", mischief(lambda m: m.unknown_fields()), 60, quiet=True
    ),
    Fault(
        "an execution of a type newer than ours",
        "ignored",
        mischief(lambda m: m.newer_values()),
        quiet=True,
    ),
    Fault(
        "an event without its fields", "ignored", mischief(lambda m: m.missing_field()), quiet=True
    ),
    Fault(
        "a reply without its fields",
        "asked again; back in 4 s",
        after_drop(lambda m: m.missing_field(request=LIST)),
        0,
        4,
    ),
    *(
        Fault(f"{name} unanswered once", "10 s patience; back in 15 s", after_drop(flip), 0, 15)
        for name, flip in {
            "application auth": lambda m: m.swallow(APPLICATION),
            "account auth": lambda m: m.swallow(ACCOUNT),
            "symbol list": lambda m: m.swallow(LIST),
            "symbol details": lambda m: m.swallow(DETAILS),
            "subscription": lambda m: m.swallow(SUBSCRIBE),
            "subscription done, but": lambda m: m.swallow(SUBSCRIBE, do_the_work=True),
        }.items()
    ),
    Fault(
        "late reply (8 s)",
        "waited for",
        new_want(lambda m: m.late(SUBSCRIBE, 8)),
        0,
        10,
        quiet=True,
    ),
    Fault(
        "reply after its deadline (15 s)",
        "asked again; unnoticed",
        new_want(lambda m: m.late(SUBSCRIBE, 15)),
        0,
        30,
        quiet=True,
    ),
    Fault(
        "duplicate reply",
        "the second is let go",
        new_want(lambda m: m.duplicate(SUBSCRIBE, 3)),
        quiet=True,
    ),
    Fault("reply of a previous life", "ignored; back in 15 s", stale_reply, 0, 15),
    Fault("a line of 150 bytes/s for 40 s, and a cut", "waited for, asked once", slow_line, 0, 60),
    Fault(
        "every reply 1 s late, and a cut",
        "waited for",
        after_drop(lambda m: m.slow(1)),
        0,
        10,
    ),
    Fault(
        "token invalidated, session ends",
        "authorised again in 1 s",
        mischief(lambda m: m.token_invalidated("session-ends")),
    ),
    Fault(
        "token invalidated, session survives",
        "ALREADY_LOGGED_IN is a success",
        mischief(lambda m: m.token_invalidated("session-survives")),
    ),
    Fault(
        "token revoked for 10 min",
        "back within 61 s of its end",
        mischief(lambda m: m.token_invalidated("revoked")),
        600,
        61,
    ),
    Fault("account disconnected", "back in 1 s", mischief(lambda m: m.account_disconnect())),
    Fault(
        "account disconnected, only said",
        "back in 1 s",
        mischief(lambda m: m.account_disconnect(stale=True)),
    ),
    Fault("client disconnected", "back in 2 s", mischief(lambda m: m.client_disconnect())),
    Fault(
        "symbol changed",
        "described again, unnoticed",
        mischief(lambda m: m.symbol_changed(("SYM000",))),
        quiet=True,
    ),
    Fault(
        "trader updated",
        "remembered, unnoticed",
        mischief(lambda m: m.trader_updated()),
        quiet=True,
    ),
    Fault(
        "application refused for an hour",
        "back within 61 s of its end",
        after_drop(lambda m: m.auth_refused(times=0)),
        3600,
        61,
    ),
    Fault(
        "account refused for an hour",
        "back within 61 s of its end",
        after_drop(lambda m: m.auth_refused("account", times=0)),
        3600,
        61,
    ),
    Fault(
        "rate limit: subscriptions blocked 3 times, retryAfter 3",
        "back within 25 s",
        after_drop(lambda m: m.error(SUBSCRIBE, "BLOCKED_PAYLOAD_TYPE", retry_after_s=3, times=3)),
        0,
        25,
    ),
    Fault(
        "maintenance of 10 min, end told",
        "back within 3 s of its end",
        new_want(lambda m: m.maintenance(600)),
        600,
        3,
    ),
    Fault(
        "broker's back end down for 10 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.back_end_down()),
        600,
        61,
    ),
    Fault(
        "an empty list of symbols on the way back, once",
        "the old one is used; back in 2 s",
        after_drop(lambda m: m.list_short()),
    ),
    Fault(
        "lists with 3 of all symbols for 5 min",
        "the old one is used; back in 2 s, during them",
        after_drop(lambda m: m.list_short(3, times=0)),
        300,
        STEP_S,
    ),
    Fault(
        "lists without 3 wanted symbols for 5 min",
        "had by their ids; back in 2 s, during them",
        after_drop(lambda m: m.list_without(tuple(SYMBOLS[:3]), times=0)),
        300,
        STEP_S,
    ),
    Fault(
        "all symbols disabled in the list, once",
        "the old one is used; back in 2 s",
        after_drop(lambda m: m.list_disabled()),
    ),
    Fault(
        "3 symbols disabled in the list, once",
        "listed again; back in 5 s",
        after_drop(lambda m: m.list_disabled(tuple(SYMBOLS[:3]))),
        0,
        5,
    ),
    Fault(
        "3 symbols disabled in the list for 5 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.list_disabled(tuple(SYMBOLS[:3]), times=0)),
        300,
        61,
    ),
    Fault(
        "3 symbols under other names in the list, once",
        "listed again; back in 5 s",
        after_drop(lambda m: m.list_renamed(tuple(SYMBOLS[:3]))),
        0,
        5,
    ),
    Fault(
        "a list with each id under two names, once",
        "the known names count; back in 2 s",
        after_drop(lambda m: m.list_twice("ids")),
    ),
    Fault(
        "subscriptions refused as SYMBOL_NOT_FOUND for 5 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.error(SUBSCRIBE, "SYMBOL_NOT_FOUND", times=0)),
        300,
        61,
    ),
    Fault(
        "subscriptions refused with an unknown code for 5 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.error(SUBSCRIBE, "NOBODY_HAS_SEEN_THIS", times=0)),
        300,
        61,
    ),
    Fault(
        "details without 3 wanted symbols, once",
        "described again; back in 5 s",
        after_drop(lambda m: m.details_without(tuple(SYMBOLS[:3]))),
        0,
        5,
    ),
    Fault(
        "details without any symbol for 5 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.details_without(times=0)),
        300,
        61,
    ),
    Fault(
        "subscriptions confirmed and not begun, once",
        "renewed; back within 13 s",
        after_drop(lambda m: m.pretend()),
        0,
        13,
    ),
    Fault(
        "3 subscriptions ended without a word after ticks",
        "`STALE` within 40 s; renewed; back within 320 s",
        mischief(lambda m: m.forget_spots(tuple(SYMBOLS[:3]))),
        0,
        320,
        40,
    ),
    Fault(
        "all subscriptions ended without a word",
        "`stale` within 40 s; renewed; back within 320 s",
        mischief(lambda m: m.forget_spots()),
        0,
        320,
        40,
    ),
    Fault(
        "ALREADY_SUBSCRIBED for what is not, for 5 min",
        "back within 61 s of its end",
        after_drop(lambda m: m.error(SUBSCRIBE, "ALREADY_SUBSCRIBED", times=0)),
        300,
        61,
    ),
    Fault(
        "clock jumps an hour forwards",
        "unnoticed",
        lambda world: jump(world, 3600),
        120,
        quiet=True,
    ),
    Fault(
        "clock jumps an hour backwards",
        "unnoticed",
        lambda world: jump(world, -3600),
        120,
        quiet=True,
    ),
    Fault(
        "subscriptions confirmed and not begun, for 20 min",
        "renewed; another connection; back within 61 s of its end",
        mischief(lambda m: (m.pretend(times=0), m.forget_spots())),
        1200,
        61,
        40,
    ),
    Fault(
        "mute while the market is open",
        "`stale` within 40 s",
        mischief(lambda m: m.quiet()),
        300,
        12,
        40,
    ),
]


def measure(fault: Fault) -> Measured:
    """Run one fault, from a minute of good health to good health."""
    world = World()
    world.setUp()
    world.start(*SYMBOLS)
    world.run_for(65, STEP_S)
    before_kib = memory_kib()
    probe = Probe(world)
    fault.flip(world)
    probe.wait(fault.lasts_s)
    ended = world.clock.seconds()
    if fault.lasts_s:
        world.mischief.clear()
    limit_s = ended + fault.within_s + (0 if fault.lasts_s else fault.notice_s)
    while not probe.is_well(needs_notice=not fault.quiet) and world.clock.seconds() < limit_s:
        probe.wait(STEP_S)
    well = probe.is_well(needs_notice=not fault.quiet)
    recover_s = world.clock.seconds() - ended if well and not fault.quiet else None
    kept = well and (
        probe.noticed_s is None
        if fault.quiet
        else probe.noticed_s is not None and probe.noticed_s <= fault.notice_s
    )
    lost = probe.lost()
    remark = (
        f"{len(world.joint.attempts) - 1} attempts" if fault.lasts_s and not fault.quiet else ""
    )
    world.tearDown()
    return Measured(
        fault.name,
        fault.promise,
        probe.noticed_s,
        recover_s,
        lost,
        before_kib,
        memory_kib(),
        kept,
        remark,
    )


class Probe:
    """What clients of a world see from now on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began = world.clock.seconds()
        self._states = len(world.floor.states)
        self._news = len(world.floor.health)
        self._symbols = len(world.floor.symbols)
        self._ticks = len(world.floor.ticks)
        feed = world.simulator.venue.feed
        self._drawn = feed._drawn
        self._walked = self._ours = 0
        self._draw = feed._walk.step
        feed._walk.step = self._step  # type: ignore[method-assign]
        self.noticed_s: float | None = None

    def wait(self, seconds: float) -> None:
        """Let time pass, and look often."""
        ends = self._world.clock.seconds() + seconds
        while self._world.clock.seconds() < ends - 1e-9:
            self._world.run_for(STEP_S, STEP_S)
            if self.noticed_s is None and self._told():
                self.noticed_s = self._world.clock.seconds() - self._began

    def is_well(self, *, needs_notice: bool) -> bool:
        """Connected, all confirmed, no alarm, and every symbol has ticked since it was told so."""
        world = self._world
        if needs_notice and self.noticed_s is None:
            return False
        if world.phase() != "connected" or world.account.confirmed() < len(SYMBOLS):
            return False
        if world.floor.health[self._news :] and world.floor.health[-1][1].word == "stale":
            return False
        since_ms = 0
        if needs_notice:
            told = [when for when, _ in world.floor.states[self._states :]]
            told += [when for when, _ in world.floor.health[self._news :]]
            told += [when for when, _ in world.floor.symbols[self._symbols :]]
            since_ms = world.start_ms + round(max(told, default=0.0) * 1000)
        recent = {
            tick.symbol.name
            for tick in world.floor.ticks[-3000:]
            if tick.received_ms >= since_ms or not needs_notice
        }
        return recent.issuperset(SYMBOLS)

    def lost(self) -> int:
        """Ticks that the venue drew and clients never had."""
        # The venue does not draw all that it slept through; of that, our share.
        slept = self._world.simulator.venue.feed._drawn - self._drawn - self._walked
        share = self._ours / self._walked if self._walked else 0.0
        # The first tick of each life is the venue's greeting, not a change of price.
        had = sum(tick.seq > 1 for tick in self._world.floor.ticks[self._ticks :])
        return max(0, self._ours + round(slept * share) - had)

    def _step(self) -> Move:
        move = self._draw()
        self._walked += 1
        self._ours += move.symbol_id >= FIRST_SYNTHETIC_ID
        return move

    def _told(self) -> bool:
        states = self._world.floor.states[self._states :]
        return any(state.phase.value != "connected" for _, state in states) or bool(
            self._world.floor.health[self._news :] or self._world.floor.symbols[self._symbols :]
        )


def code_faults() -> Iterator[Fault]:
    """Each error code, once, to each of those who ask by themselves, on the way back."""
    for code in (*TABLE, "NOBODY_HAS_SEEN_THIS"):
        for request in (APPLICATION, ACCOUNT, SUBSCRIBE):
            yield Fault(
                f"{code} to {request.removeprefix('ProtoOA').removesuffix('Req')}",
                "all restored within 65 s",
                after_drop(lambda m, c=code, r=request: m.error(r, c)),  # type: ignore[misc]
                0,
                65,
            )


def run() -> Iterator[Measured]:
    """Every row."""
    for fault in FAULTS:
        yield measure(fault)


def run_codes() -> Iterator[Measured]:
    """Every code."""
    for fault in code_faults():
        yield measure(fault)
