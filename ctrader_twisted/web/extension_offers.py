"""Parser of ``Sec-WebSocket-Extensions``: the offers of permessage-deflate that can be accepted.

Declined are unknown extensions, and offers of permessage-deflate with a parameter that is unknown,
given twice, or whose value is not allowed or not supported here (RFC 7692, sections 5 and 7.1). The
connection goes on without a declined offer, and the next one may be accepted. A header that breaks
the grammar (RFC 6455, section 9.1) offers nothing.
"""

from __future__ import annotations

import re

DEFLATE = "permessage-deflate"

#: Parameters by name, in Autobahn's form: a list of values, True for a parameter without one.
Parameters = dict[str, list[str | bool]]

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*({_WORD}|"{_WORD}"))?')
_NAME = re.compile(rf"[ \t]*({_WORD})")
_BETWEEN = re.compile(r"[ \t]*(?:,[ \t]*)*")
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")
# zlib has no raw stream with a window of 256 bytes, so we cannot promise one.
_SMALLEST_WINDOW = "8"


def acceptable_offers(header: str) -> list[tuple[str, Parameters]]:
    """Return the acceptable offers of permessage-deflate in the header, in its order."""
    return [
        (DEFLATE, dict(parameters))
        for name, given in read_extensions(header)
        if name == DEFLATE and (parameters := _deflate_parameters(given)) is not None
    ]


def read_extensions(header: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return each extension with its parameters; nothing if the header breaks the grammar."""
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
    """Return the parameters of one offer of permessage-deflate; None if it has to be declined."""
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
