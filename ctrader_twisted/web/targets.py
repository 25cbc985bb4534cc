"""Request targets (RFC 9112 3.2) and the rest of a head that is too large to be parsed."""

from __future__ import annotations

import re

# An http address instead of a path, as clients send it that take us for a proxy.
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

# Longer lines are no Origin that we know.
_LONGEST_LINE = 512


def split_target(target: bytes) -> tuple[bytes | None, bytes]:
    """Return authority and path (with its query) of a target; None as the authority of a target
    that has none.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None, target
    authority, path = match.groups()
    return authority, path if path.startswith(b"/") else b"/" + path


class RestOfHead:
    """Finds Origin in the rest of a request head that is refused and not parsed any more.

    An allowed page can read a refusal only if the answer names its origin, and the header may come
    after the line that is too long. ``limit`` bytes are looked at.
    """

    def __init__(self, limit: int) -> None:
        self.origins: list[bytes] = []
        self.is_complete = False
        self._room = limit
        self._line = b""

    def feed(self, octets: bytes) -> None:
        """Look at more octets; ``is_complete`` says that no more are needed."""
        self._room -= len(octets)
        *lines, rest = (self._line + octets).split(b"\r\n")
        for line in lines:
            if not line:
                self.is_complete = True
                return
            name, _, value = line.partition(b":")
            if name.lower() == b"origin":
                self.origins.append(value.strip(b" \t"))
        # The last octet may be the first one of a line's end.
        self._line = rest if len(rest) <= _LONGEST_LINE else rest[:_LONGEST_LINE] + rest[-1:]
        self.is_complete = self._room <= 0
