"""Answers that come when their time is over: what was asked has been done after all."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

# A venue that answers nothing any more must not fill our memory.
MOST = 256


class Latecomers:
    """The requests of one connection that were given up, and who wants to know of them."""

    def __init__(self) -> None:
        self._expected: dict[str, tuple[type[Message], Callable[[], None]]] = {}

    def expect(self, message_id: str, answer_type: type[Message], call: Callable[[], None]) -> None:
        """Call, once, should this request be answered by a message of that type."""
        self._expected[message_id] = answer_type, call
        if len(self._expected) > MOST:
            del self._expected[next(iter(self._expected))]

    def came(self, message_id: str | None, message: Message | None) -> None:
        """An answer for which nobody waits any more; a refusal changes nothing."""
        answer_type, call = self._expected.pop(message_id or "", (None, None))
        if call is not None and answer_type is not None and isinstance(message, answer_type):
            call()
