"""The answer to `subscribe`, written once for all who ask for the same.

In the second after a restart thousands of pages come back with the same few lists, and their
answers are the same bytes: what became of fifty symbols costs more to write than to send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from ctrader_twisted import contract
from ctrader_twisted.accounts import Wanted
from ctrader_twisted.web import frames


class SubscribeReplies:
    """Writes them, and remembers the last one: who comes after another often asks for the same."""

    def __init__(self) -> None:
        self._asked: object = None
        self._written = b"", b""

    def write(
        self, request_id: Any, told: Sequence[Wanted], symbols: list[str]
    ) -> tuple[bytes, bytes]:
        """As JSON, and as a frame. ``told``: what became of each symbol that was asked for;
        ``symbols``: all that the client has now. Neither may be changed afterwards.
        """
        # Its spelling: 1 and 1.0 are equal, and each client gets its id back as it wrote it.
        asked = (repr(request_id), told, symbols)
        if self._asked != asked:
            results = [_result(wanted) for wanted in told]
            reply = contract.SubscribeResponse(id=request_id, results=results, symbols=symbols)
            payload = frames.encode(reply)
            self._asked, self._written = asked, (payload, frames.frame(payload))
        return self._written


def _result(wanted: Wanted) -> contract.Result:
    return contract.Result(
        symbol=wanted.name,
        status="error" if wanted.is_refused else "subscribed",
        message=wanted.message or UNSET,
        code=wanted.code or UNSET,
        pending=wanted.pending,
    )
