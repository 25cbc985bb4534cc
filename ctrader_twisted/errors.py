"""Everything that can go wrong, on one page.

Each docstring is the sentence behind the error; codes and times are attributes, never substrings.
The venue's own codes, and what is done about them, are the table in `refusals`.
"""

from __future__ import annotations


class CtraderError(Exception):
    """The root: catching it catches all that we raise on purpose."""


class ConfigurationError(CtraderError):
    """The configuration cannot be used; the text is one sentence that says where and what to do."""


class ProtocolError(CtraderError):
    """Bytes from the venue break the protocol.

    The connection is dropped and made anew, unless only a payload is wrong (`PayloadError`).
    """


class PayloadError(ProtocolError):
    """The payload of a frame cannot be read, although its envelope is right.

    The next frame begins where the length says, so the connection is kept and only this message is
    lost.
    """

    def __init__(self, text: str, *, payload_type: int, client_message_id: str | None) -> None:
        super().__init__(text)
        self.payload_type = payload_type
        self.client_message_id = client_message_id


class UnknownMessage(CtraderError, LookupError):
    """No message has this class name, enum name or number."""


class NotConnected(CtraderError):
    """There is no authenticated connection; nothing was sent."""


class ConnectionEnded(CtraderError):
    """The connection ended while an answer was awaited.

    ``sent`` tells whether the request had left: if so, its outcome is unknown.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class RequestTimeout(CtraderError):
    """No answer came in time.

    ``sent`` tells whether the request had left: if so, its outcome is unknown, never "failed".
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class VenueRefusal(CtraderError):
    """The venue answered with an error.

    ``code`` is the venue's name for it, ``description`` its words (possibly empty),
    ``retry_after_s`` and ``maintenance_end_s`` (seconds since the epoch) its advice, if any.
    """

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        retry_after_s: float | None = None,
        maintenance_end_s: float | None = None,
        account_id: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description
        self.retry_after_s = retry_after_s
        self.maintenance_end_s = maintenance_end_s
        self.account_id = account_id


class ClientRequestError(CtraderError):
    """A client asked for something that it cannot have; it is told, and stays connected.

    ``code`` is stable and UPPER_SNAKE; ``temporary`` says whether asking again may help.
    """

    def __init__(
        self, code: str, message: str, *, temporary: bool = False, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.temporary = temporary
        self.retry_after_ms = retry_after_ms
