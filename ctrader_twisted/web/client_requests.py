"""What a client sends, read with suspicion: from bytes to the types of the contract."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from ctrader_twisted import contract
from ctrader_twisted.accounts import Wanted
from ctrader_twisted.errors import ClientRequestError

_header = msgspec.json.Decoder(contract.Header)
_tag = msgspec.json.Decoder(contract.Tag)
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
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


def names(request: contract.Subscribe) -> list[str]:
    """The names that a request is about; ClientRequestError when it has none."""
    asked = request.names()
    if asked is None:
        raise ClientRequestError("BAD_REQUEST", "`symbols` (an array of names) is missing")
    return asked


def within(
    names: list[str], had: Collection[str], known: Collection[str] | None, room: float
) -> tuple[list[str], list[str]]:
    """Those of ``names`` that may be subscribed to, and those beyond ``room`` more.

    ``had`` are the names that the client has already, ``known`` those that there are (None: nobody
    knows yet).
    """
    if len(names) <= room:
        return names, []
    wants = {name.upper() for name in had}
    possible = None if known is None else {name.upper() for name in known}
    most = len(wants) + room
    allowed, beyond = [], []
    for name in names:
        key = name.upper()
        # What cannot be had takes no place; the account says why.
        if key in wants or (possible is not None and key not in possible):
            allowed.append(name)
        elif len(wants) < most:
            wants.add(key)
            allowed.append(name)
        else:
            beyond.append(name)
    return allowed, beyond


def subscribed(wanted: Wanted) -> contract.Result:
    """What became of a want, as it is told."""
    if wanted.code is None and not wanted.pending:
        return _had(wanted.name)
    return contract.Result(
        symbol=wanted.name,
        status="subscribed" if wanted.code is None else "error",
        message=wanted.message or UNSET,
        code=wanted.code or UNSET,
        pending=wanted.pending,
    )


@lru_cache(maxsize=10_000)
def _had(name: str) -> contract.Result:
    # The names are the catalogue's, and every client that comes hears the same of them.
    return contract.Result(symbol=name, status="subscribed")
