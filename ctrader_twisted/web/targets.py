"""Request targets (RFC 9112 3.2) and the rest of a head that is too large to be parsed."""

from __future__ import annotations

import re

# The absolute form, which clients send to a proxy.
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

# A longer line holds no Origin that could be allowed.
_LONGEST_LINE = 512


def split_target(target: bytes) -> tuple[bytes | None, bytes]:
    """Return the authority (None if it has none) and the path with its query of a target."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None, target
    authority, path = match.groups()
    return authority, path if path.startswith(b"/") else b"/" + path


class RestOfHead:
    """Finds Origin in the rest of a refused request head, which is not parsed any more.

    An allowed page can read a refusal only if the answer names its origin, and that header may come
    after the line that is too long. At most ``limit`` bytes are searched.
    """

    def __init__(self, limit: int) -> None:
        self.origins: list[bytes] = []
        self.is_complete = False
        self._room = limit
        self._line = b""

    def feed(self, octets: bytes) -> None:
        """Search more octets; once `is_complete` is True, no more are needed."""
        self._room -= len(octets)
        *lines, rest = (self._line + octets).split(b"\r\n")
        for line in lines:
            if not line:
                self.is_complete = True
                return
            name, _, value = line.partition(b":")
            if name.lower() == b"origin":
                self.origins.append(value.strip(b" \t"))
        # The last octet may be the first one of a line end.
        self._line = rest if len(rest) <= _LONGEST_LINE else rest[:_LONGEST_LINE] + rest[-1:]
        self.is_complete = self._room <= 0
