"""One knock at the venue's door, for the doctor: name, socket, TLS, application, account, symbol.

Blocking, with the same TLS policy as the daemon. Used by the command line only, and only while no
daemon runs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import count

from google.protobuf.message import Message

from ctrader_twisted.errors import PayloadError, ProtocolError, VenueRefusal
from ctrader_twisted.market.links import Holds, Link
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.refusals import Remedy, advice_for, remedy_for
from ctrader_twisted.tls.addresses import look_up
from ctrader_twisted.tls.authorities import Authorities
from ctrader_twisted.tls.blocking import BlockingTls, open_tls
from ctrader_twisted.tls.failures import NameNotResolved, Unreachable, place
from ctrader_twisted.upstream import translate
from ctrader_twisted.upstream.reasons import reason_of
from ctrader_twisted.wire.codec import Envelope, decode, encode

CAP_BYTES = 1 << 24
# Seconds for one frame to arrive, such as a long list of symbols over a slow line.
FRAME_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The venue's address and our credentials."""

    host: str
    port: int
    authorities: Authorities
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    account_id: int
    timeout_s: float


class _Shut(Exception):
    """A link that does not hold; those after it are not tried."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.cause)
        self.link = link


def knock(door: Door, symbol: str) -> Iterator[Link]:
    """Each link as it is found, up to the first that does not hold."""
    with ExitStack() as stack:
        try:
            addresses = _resolve(door)
            yield Link("dns", Holds.OK, cause=", ".join(addresses))
            secure = yield from _open(door, addresses)
            talk = _Talk(stack.enter_context(closing(secure)), door.timeout_s)
            yield from _introduce(talk, door)
            yield _listed(talk, door, symbol)
        except _Shut as shut:
            yield shut.link


def _resolve(door: Door) -> list[str]:
    try:
        return look_up(door.host)
    except NameNotResolved as error:
        raise _no("dns", str(error), error.advice) from error


def _open(door: Door, addresses: list[str]) -> Generator[Link, None, BlockingTls]:
    """Connect by TCP and TLS: yield the links of both, and return the connection."""
    tried = open_tls(door.host, door.port, addresses, door.authorities, timeout_s=door.timeout_s)
    if tried.tls is None and not tried.failed:
        unreachable = Unreachable(door.host, door.port, tried.unreachable)
        raise _no("socket", str(unreachable), unreachable.advice)
    answers = [*tried.failed, *filter(None, [tried.address])]
    silent = [f"{address} does not" for address in tried.unreachable]
    where = place(door.host, door.port, ", ".join(answers))
    yield Link("socket", Holds.OK, cause="; ".join((f"{where} answers", *silent)))
    failed = [
        reason_of(error, place(door.host, door.port, address))
        for address, error in tried.failed.items()
    ]
    if tried.tls is None:
        advice = next(iter(tried.failed.values())).advice
        raise _no("tls", "; ".join(failed), advice)
    until = f"{tried.tls.version}, valid until {tried.tls.valid_until:%Y-%m-%d %H:%M} UTC"
    yield Link("tls", Holds.OK, cause="; ".join((until, *failed)))
    return tried.tls


class _Talk:
    """Question and answer on one TLS connection."""

    def __init__(self, secure: BlockingTls, timeout_s: float) -> None:
        self._secure = secure
        self._timeout_s = timeout_s
        self._numbers = count(1)

    def ask(self, link: str, request: Message) -> Message:
        """The answer; _Shut, naming the link, when it is a refusal, or none comes."""
        message_id = f"doctor-{next(self._numbers)}"
        body = encode(request, message_id)
        ends = time.monotonic() + self._timeout_s
        try:
            self._secure.sendall(len(body).to_bytes(4, "big") + body)
            while True:
                envelope = _readable(self._frame(ends), message_id)
                if envelope.client_message_id == message_id and envelope.message is not None:
                    break
                if time.monotonic() > ends:
                    raise TimeoutError(f"only other messages came in {self._timeout_s:g} s")
        except (OSError, ProtocolError) as error:
            name = type(request).__name__
            advice = "Try again; if it stays so, ask the broker."
            raise _no(link, f"{name} was not answered: {error}", advice) from error
        refused = translate.refusal(envelope.message)
        if refused is not None and remedy_for(refused) is not Remedy.SUCCEED:
            raise _refused(link, refused)
        return envelope.message

    def _frame(self, ends: float) -> bytes:
        size = int.from_bytes(self._exactly(4, ends), "big")
        if size > CAP_BYTES:
            raise ProtocolError(f"a frame of {size} bytes is announced")
        return self._exactly(size, max(ends, time.monotonic() + FRAME_TIMEOUT_S))

    def _exactly(self, size: int, ends: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            left_s = ends - time.monotonic()
            if left_s <= 0 and parts:
                raise ProtocolError(f"{len(parts)} of {size} bytes came in {FRAME_TIMEOUT_S:g} s")
            self._secure.settimeout(min(self._timeout_s, max(0.01, left_s)))
            part = self._secure.recv(size - len(parts))
            if not part:
                raise ProtocolError("the venue closed the connection")
            parts += part
        return bytes(parts)


def _readable(frame: bytes, message_id: str) -> Envelope:
    """Decode one frame. An unreadable payload raises only if the frame answers ``message_id``."""
    try:
        return decode(frame)
    except PayloadError as error:
        if error.client_message_id == message_id:
            raise
        return Envelope(error.payload_type, None, error.client_message_id, error)


def _introduce(talk: _Talk, door: Door) -> Iterator[Link]:
    talk.ask("application", translate.application_auth(door.client_id, door.client_secret))
    yield Link("application", Holds.OK, cause="client id and secret are accepted")
    talk.ask("account", translate.account_auth(door.account_id, door.access_token))
    yield Link("account", Holds.OK, cause=f"account {door.account_id} is open to us")


def _listed(talk: _Talk, door: Door, name: str) -> Link:
    answer = talk.ask("symbol", translate.symbols_list(door.account_id))
    with suppress(_Shut):
        talk.ask("account", translate.account_logout(door.account_id))
    if not isinstance(answer, api_pb2.ProtoOASymbolsListRes):
        raise _no("symbol", f"the list of symbols is a {type(answer).__name__}", "Try again.")
    catalogue = Catalogue(translate.symbols(answer))
    symbol = catalogue.by_name(name)
    if symbol is None:
        cause = f"the account has no symbol called {name!r}; it has {len(catalogue.names)} others"
        return Link("symbol", Holds.NO, cause=cause, advice=_similar(name, catalogue.names))
    if not symbol.enabled:
        advice = "Ask the broker to enable it for this account."
        return Link("symbol", Holds.NO, cause=f"{symbol.name} is not enabled", advice=advice)
    return Link("symbol", Holds.OK, cause=symbol.description)


def _similar(name: str, names: Iterable[str]) -> str:
    """Advice that lists symbols of the broker with similar names."""
    wanted = name.upper()
    # Most names differ only by a suffix (EURUSD.r) or a separator (EUR/USD).
    plain = {known: re.sub(r"[^A-Z0-9]", "", known.upper()) for known in names}
    found = [known for known, text in plain.items() if text.startswith(re.sub(r"\W", "", wanted))]
    found += get_close_matches(wanted, list(plain), n=3)
    near = list(dict.fromkeys(found))[:5]
    if near:
        return f"Brokers spell names in their own ways; similar ones here: {', '.join(near)}."
    return (
        "Brokers spell names in their own ways; the page of a running daemon lists all symbols, "
        "and so does availableSymbols of its status message."
    )


def _no(link: str, cause: str, advice: str) -> _Shut:
    return _Shut(Link(link, Holds.NO, cause=cause, advice=advice))


def _refused(link: str, refusal: VenueRefusal) -> _Shut:
    advice = advice_for(refusal.code)
    return _Shut(Link(link, Holds.NO, cause=str(refusal), advice=advice, code=refusal.code))
