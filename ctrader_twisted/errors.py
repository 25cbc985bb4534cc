"""Everything that can go wrong, on one page.

Each docstring is the sentence behind the error; codes and times are attributes, never substrings.
The venue's own codes, and what may be done about them, stand in the table at the end.
"""

from __future__ import annotations


class CtraderError(Exception):
    """The root: catching it catches all that we raise on purpose."""


class ConfigurationError(CtraderError):
    """The configuration cannot be used; the text is one sentence that says where and what to do."""


class ProtocolError(CtraderError):
    """What arrived is not what the wire allows; its connection is dropped and made anew."""


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


# -- the venue's codes ---------------------------------------------------------------------------

# What we asked for is already so.
ALREADY_SO = frozenset(
    {"ALREADY_LOGGED_IN", "ALREADY_SUBSCRIBED", "CH_CLIENT_ALREADY_AUTHENTICATED"}
)

# Asking again unchanged will not help soon: a person has to act (or the venue to change its mind).
NEEDS_A_PERSON = frozenset(
    {
        "CH_CLIENT_AUTH_FAILURE",
        "CH_OA_CLIENT_NOT_FOUND",
        "CH_ACCESS_TOKEN_INVALID",
        "OA_AUTH_TOKEN_EXPIRED",
        "CH_CTID_TRADER_ACCOUNT_NOT_FOUND",
        "RET_NO_SUCH_LOGIN",
        "RET_ACCOUNT_DISABLED",
        "CHANNEL_IS_BLOCKED",
        "CONNECTIONS_LIMIT_EXCEEDED",
        "UNSUPPORTED_MESSAGE",
    }
)

# Wait a little and repeat.
TRY_AGAIN = frozenset(
    {
        "BLOCKED_PAYLOAD_TYPE",
        "REQUEST_FREQUENCY_EXCEEDED",
        "TIMEOUT_ERROR",
        "UNKNOWN_ERROR",
        "CH_SERVER_NOT_REACHABLE",
        "CANT_ROUTE_REQUEST",
        "SERVER_IS_UNDER_MAINTENANCE",
    }
)

# One id of a list request is wrong, so the whole list was refused.
ONE_OF_THE_SYMBOLS = frozenset(
    {
        "SYMBOL_NOT_FOUND",
        "UNKNOWN_SYMBOL",
        "ALREADY_SUBSCRIBED",
        "NOT_SUBSCRIBED_TO_SPOTS",
        "ENTITY_NOT_FOUND",
        "INVALID_REQUEST",
    }
)

# Our place on the connection is gone although the connection is not.
NOT_AUTHORISED = frozenset({"ACCOUNT_NOT_AUTHORIZED", "CH_CLIENT_NOT_AUTHENTICATED"})


def is_not_authorised(refusal: VenueRefusal) -> bool:
    """True when the account, or the application, is not authorised on this connection (any more).

    The real venue says so by code, or by INVALID_REQUEST with the reason in its description.
    """
    return refusal.code in NOT_AUTHORISED or (
        refusal.code == "INVALID_REQUEST" and "not authorized" in refusal.description.lower()
    )
