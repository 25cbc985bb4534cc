"""What a client sends, read with suspicion: from bytes to the types of the contract."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from ctrader_twisted import contract
from ctrader_twisted.errors import ClientRequestError

_header = msgspec.json.Decoder(contract.Header)
_tag = msgspec.json.Decoder(contract.Tag)
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
# Requests that are remembered as they came: copies of a page all send the same bytes. Few, since a
# client may make one as large as it likes.
REMEMBERED = 8
# How many names one request may have at least. Bounded, since each name has a result in the reply:
# thousands of unknown names would cost the daemon much more than their sender.
NAMES = 1000

StructT = TypeVar("StructT", bound=msgspec.Struct)


def read_header(payload: bytes, is_binary: bool) -> contract.Header:
    """``type`` and ``id``; ClientRequestError for all that is not a JSON object with a type."""
    if is_binary:
        raise ClientRequestError("BINARY", "binary messages are not understood; send text JSON")
    try:
        return _header.decode(payload)
    except msgspec.ValidationError as error:
        raise ClientRequestError("BAD_REQUEST", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientRequestError("NOT_JSON", f"not a JSON object: {error}") from error


def read_id(payload: bytes) -> contract.Id:
    """The ``id`` of a request that is refused; None when it has none, or none that can be read."""
    try:
        return _tag.decode(payload).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read(payload: bytes, kind: type[StructT]) -> StructT:
    """The request as its type; ClientRequestError when a field has the wrong type."""
    try:
        decoder = _decoders.get(kind)
        if decoder is None:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind)
        request: StructT = decoder.decode(payload)
        return request
    except msgspec.ValidationError as error:
        raise ClientRequestError("BAD_REQUEST", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # What the header skipped may be as broken as the rest.
        raise ClientRequestError("NOT_JSON", f"not a JSON object: {error}") from error


@lru_cache(maxsize=REMEMBERED)
def read_subscribe(payload: bytes) -> tuple[tuple[str, ...], bool]:
    """The names that a `subscribe` or `unsubscribe` is about, and whether their last ticks are
    wanted; ClientRequestError when it has none.
    """
    request = read(payload, contract.Subscribe)
    asked = request.names()
    if asked is None:
        raise ClientRequestError("BAD_REQUEST", "`symbols` (an array of names) is missing")
    return tuple(asked), request.snapshot


def check_names(names: Collection[str], limit: int) -> None:
    """Raise ClientRequestError for more names than one request may have. ``limit``: how many
    symbols a client may subscribe to.
    """
    most = max(NAMES, 2 * limit)
    if len(names) > most:
        raise ClientRequestError(
            "TOO_MANY_NAMES",
            f"a request may have {most} names, this one has {len(names)}: send several requests",
        )


def within(
    names: Sequence[str], had: Collection[str], exists: Callable[[str], bool], room: float
) -> tuple[Sequence[str], Sequence[str]]:
    """Those of ``names`` that may be subscribed to, and those beyond ``room`` more.

    ``had`` are the names that the client has already; ``exists(name)`` tells whether a name may
    be subscribed to.
    """
    if len(names) <= room:
        return names, []
    wants = {name.upper() for name in had}
    most = len(wants) + room
    allowed, beyond = [], []
    for name in names:
        key = name.upper()
        # An unknown name takes no room, since the account refuses it.
        if key in wants or not exists(key):
            allowed.append(name)
        elif len(wants) < most:
            wants.add(key)
            allowed.append(name)
        else:
            beyond.append(name)
    return allowed, beyond
