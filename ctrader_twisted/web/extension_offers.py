"""Offers of WebSocket extensions, as clients make them in ``Sec-WebSocket-Extensions``.

A server declines what it does not want: an extension that it does not know, and an offer of
permessage-deflate with a parameter that is unknown, given twice, or has a value that is not allowed
or not possible here (RFC 7692, section 5 and 7.1). The connection goes on without that offer, and
the next one in the list may be accepted. A header that does not follow the grammar (RFC 6455,
section 9.1) offers nothing.
"""

from __future__ import annotations

import re

DEFLATE = "permessage-deflate"

#: Parameters by name; as Autobahn takes them: several values of each, True for one without a value.
Parameters = dict[str, list[str | bool]]

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*({_WORD}|"{_WORD}"))?')
_NAME = re.compile(rf"[ \t]*({_WORD})")
_BETWEEN = re.compile(r"[ \t]*(?:,[ \t]*)*")
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")
# zlib has no raw stream with a window of 256 bytes, so we cannot promise one.
_SMALLEST_WINDOW = "8"


def acceptable_offers(header: str) -> list[tuple[str, Parameters]]:
    """The offers of permessage-deflate in this header that can be accepted, in its order."""
    return [
        (DEFLATE, dict(parameters))
        for name, given in read_extensions(header)
        if name == DEFLATE and (parameters := _deflate_parameters(given)) is not None
    ]


def read_extensions(header: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Each extension with its parameters; none at all when the header breaks the grammar."""
    found: list[tuple[str, list[tuple[str, str | None]]]] = []
    at = _end(_BETWEEN, header, 0)
    while at < len(header):
        name = _NAME.match(header, at)
        if name is None:
            return []
        at = name.end()
        parameters: list[tuple[str, str | None]] = []
        while (one := _PARAMETER.match(header, at)) is not None:
            value = None if one[2] is None else one[2].strip('"')
            parameters.append((one[1].lower(), value))
            at = one.end()
        found.append((name[1].lower(), parameters))
        after = _end(_BETWEEN, header, at)
        if after < len(header) and "," not in header[at:after]:
            return []
        at = after
    return found


def _deflate_parameters(given: list[tuple[str, str | None]]) -> Parameters | None:
    """The parameters of one offer of permessage-deflate, None when it has to be declined."""
    parameters: Parameters = {}
    for name, value in given:
        if name in parameters:
            return None
        if name in {"server_no_context_takeover", "client_no_context_takeover"}:
            if value is not None:
                return None
            parameters[name] = [True]
        elif name == "server_max_window_bits":
            if value is None or value == _SMALLEST_WINDOW or not _WINDOW_BITS.fullmatch(value):
                return None
            parameters[name] = [value]
        elif name == "client_max_window_bits":
            if value is not None and not _WINDOW_BITS.fullmatch(value):
                return None
            # Only a hint: we inflate with the largest window, whichever the client uses.
            parameters[name] = [True]
        else:
            return None
    return parameters


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
