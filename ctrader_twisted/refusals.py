"""The one table of the venue's error codes: what each means for us, and for the person in charge.

Three carriers bring a code (ProtoErrorRes, ProtoOAErrorRes, ProtoOAOrderErrorEvent); whichever it
was, the row here says what happens next. A code without a row is not repeated before long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ctrader_twisted.errors import VenueRefusal

# The longest that the venue's own advice can keep us waiting: an end that is hours away is an
# estimate, and one that is years away is a mistake of units.
ADVICE_MAX_S = 3600.0


class Remedy(Enum):
    """What we do after a refusal. The value is the sentence that documents show."""

    SUCCEED = "treat as success: it is already so"
    RETRY = "repeat, doubling the wait; a stated retryAfter comes first"
    WAIT_UNTIL = "end the connection, and connect again at the stated end (within an hour)"
    REFRESH = "authorise once more with the stored token, then only slowly"
    REAUTHORISE = "authorise the account again"
    RECONNECT = "end the connection and begin anew"
    WAIT = "leave this one alone for the longest wait, then repeat"
    RECONCILE = "tell the caller; look at what is there before repeating"
    FIX = "tell the caller; not repeated unchanged"
    GIVE_UP = "a person has to act; probed at the longest wait"


@dataclass(frozen=True, slots=True)
class Row:
    """One code: what we do, and the sentence for the person in charge."""

    remedy: Remedy
    advice: str


def _rows(remedy: Remedy, **advice: str) -> dict[str, Row]:
    return {code: Row(remedy, text) for code, text in advice.items()}


AFTER_RENEWAL = (
    "In the file that CTRADER_ACCESS_TOKEN_FILE names a new token is used at the next attempt; in "
    "CTRADER_ACCESS_TOKEN it needs a restart."
)

TABLE: dict[str, Row] = {
    **_rows(
        Remedy.SUCCEED,
        ALREADY_LOGGED_IN="Nothing to do.",
        ALREADY_SUBSCRIBED="Nothing to do.",
        CH_CLIENT_ALREADY_AUTHENTICATED="Nothing to do.",
    ),
    **_rows(
        Remedy.RETRY,
        UNKNOWN_ERROR="The venue failed without a reason; if it lasts, ask the broker.",
        TIMEOUT_ERROR="The venue's back end was slow; if it lasts, ask the broker.",
        CANT_ROUTE_REQUEST="Check that CTRADER_ENV is the world of the account (isLive): a demo "
        "account needs demo, a live one live. Else the broker's server is down.",
        CONCURRENT_MODIFICATION="Another program changes the same object.",
        BLOCKED_PAYLOAD_TYPE="Too many requests: lower requests_per_s or history_per_s.",
        CH_SERVER_NOT_REACHABLE="The broker's server is down; wait.",
        REQUEST_FREQUENCY_EXCEEDED="Too many requests: lower requests_per_s or history_per_s.",
        POSITION_LOCKED="The position is being changed.",
        PENDING_EXECUTION="The order is being executed.",
    ),
    **_rows(
        Remedy.WAIT_UNTIL,
        SERVER_IS_UNDER_MAINTENANCE="The venue is under maintenance; wait for its end.",
    ),
    "OA_AUTH_TOKEN_EXPIRED": Row(
        Remedy.REFRESH,
        f"The access token has expired: get a new one. {AFTER_RENEWAL}",
    ),
    "CH_ACCESS_TOKEN_INVALID": Row(
        Remedy.REFRESH,
        f"The access token is unknown or revoked: grant access again. {AFTER_RENEWAL}",
    ),
    **_rows(
        Remedy.REAUTHORISE,
        ACCOUNT_NOT_AUTHORIZED="The venue forgot the account; it is authorised again by itself.",
    ),
    **_rows(
        Remedy.RECONNECT,
        CH_CLIENT_NOT_AUTHENTICATED="The venue forgot the application; it connects by itself.",
    ),
    **_rows(
        Remedy.WAIT,
        MARKET_CLOSED="The market is closed; wait for its session.",
        SYMBOL_HAS_HOLIDAY="The symbol has a holiday; wait for its end.",
        NO_QUOTES="The venue has no price; wait for one.",
        TRADING_DISABLED="Trading of this symbol is off; wait, or ask the broker.",
    ),
    **_rows(
        Remedy.RECONCILE,
        POSITION_NOT_FOUND="There is no such position (or not yet).",
        ORDER_NOT_FOUND="There is no such pending order (any more).",
        POSITION_NOT_OPEN="The position is not open.",
        UNABLE_TO_CANCEL_ORDER="The order could not be cancelled; perhaps it was filled.",
        UNABLE_TO_AMEND_ORDER="The order could not be changed; perhaps it was filled.",
    ),
    **_rows(
        Remedy.FIX,
        INVALID_REQUEST="The venue says what is wrong in its description.",
        ENTITY_NOT_FOUND="What was named does not exist.",
        FRAME_TOO_LONG="The request is too large: lower subscribe_batch.",
        INCORRECT_BOUNDARIES="The from/to window is not possible.",
        WORSE_GSL_NOT_ALLOWED="A guaranteed stop may not be loosened.",
        NOT_SUBSCRIBED_TO_SPOTS="The symbol must be subscribed first.",
        SYMBOL_NOT_FOUND="The account has no such symbol; look at availableSymbols.",
        UNKNOWN_SYMBOL="The account has no such symbol; look at availableSymbols.",
        NOT_ENOUGH_MONEY="The free margin is too small.",
        MAX_EXPOSURE_REACHED="The exposure limit of the symbol is reached.",
        TRADING_BAD_VOLUME="The volume is below, above or off the symbol's steps.",
        TRADING_BAD_STOPS="Stop loss or take profit is on the wrong side of the price.",
        TRADING_BAD_PRICES="The price is not valid.",
        TRADING_BAD_STAKE="The stake is not valid.",
        PROTECTION_IS_TOO_CLOSE_TO_MARKET="Stop loss or take profit is too near to the price.",
        TRADING_BAD_EXPIRATION_DATE="The expiry is not valid.",
        SHORT_SELLING_NOT_ALLOWED="This symbol cannot be sold short.",
    ),
    **_rows(
        Remedy.GIVE_UP,
        UNSUPPORTED_MESSAGE="The venue does not serve this message: a fault of ours, report it.",
        RET_NO_SUCH_LOGIN="The account does not exist: check CTRADER_ACCOUNT_ID.",
        RET_ACCOUNT_DISABLED="The account is disabled: ask the broker.",
        CONNECTIONS_LIMIT_EXCEEDED="The application has too many connections: stop some other one.",
        CH_CLIENT_AUTH_FAILURE="Check CTRADER_CLIENT_ID and CTRADER_CLIENT_SECRET, and that the "
        "application is active at openapi.ctrader.com. A new secret in the file of "
        "CTRADER_CLIENT_SECRET_FILE is used at the next attempt; otherwise it needs a restart.",
        CH_CTID_TRADER_ACCOUNT_NOT_FOUND="Check CTRADER_ACCOUNT_ID: it is the ctidTraderAccountId, "
        "not the trader login, and the token must have been granted for it.",
        CH_OA_CLIENT_NOT_FOUND="The application is unknown: check CTRADER_CLIENT_ID.",
        CHANNEL_IS_BLOCKED="The venue blocks this application or account: ask the broker.",
        TOO_MANY_POSITIONS="The account may not have more positions; close some.",
        TRADING_NOT_ALLOWED="The account or its token may not trade.",
    ),
}

# Advice for codes of our own, which clients and the diagnosis get in the place of a venue's code.
OURS: dict[str, str] = {
    "NO_SYMBOLS": "The venue lists no symbols yet, or the account may have none; it is asked again "
    "by itself. If it lasts, ask the broker.",
    "NO_ANSWER": "The venue does not answer; it is asked again by itself.",
    "SYMBOL_DISABLED": "The venue's list says that this symbol is disabled; prices follow by "
    "themselves when it is enabled. If it lasts, ask the broker to enable it for this account.",
    "SYMBOL_NOT_LISTED": "The venue's list has no symbol of this name now; it is looked for again "
    "by itself. If the symbol has another name now, subscribe to that one.",
}

UNKNOWN = Row(Remedy.FIX, "A code that this version does not know; the log has all of it.")

# The whole connection has to go, whoever it was that was refused.
CONNECTION_WIDE = frozenset({Remedy.RECONNECT, Remedy.WAIT_UNTIL})

# Not about what was asked, only about how often.
TOO_OFTEN = frozenset({"BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"})

_AT_THE_LONGEST = frozenset({Remedy.GIVE_UP, Remedy.FIX, Remedy.RECONCILE, Remedy.WAIT})


def is_known(code: str) -> bool:
    """Whether the table has a row for this code of the venue."""
    return code in TABLE


def has_advice(code: str) -> bool:
    """Whether this is a code of the venue that we know, or one of our own."""
    return code in TABLE or code in OURS


def remedy_for(refusal: VenueRefusal) -> Remedy:
    """What to do about a refusal."""
    # The real venue says "not authorised" by INVALID_REQUEST, with the reason in its description.
    described = refusal.description.lower()
    if refusal.code == "INVALID_REQUEST" and "not authorized" in described:
        return Remedy.REAUTHORISE
    return TABLE.get(refusal.code, UNKNOWN).remedy


def advice_for(code: str) -> str:
    """A sentence for the person in charge."""
    return OURS.get(code) or TABLE.get(code, UNKNOWN).advice


def advised_s(error: BaseException, now_s: float) -> float:
    """How long the venue itself asks us to wait: seconds, 0 when it does not.

    ``now_s``: the time of day, in seconds since the epoch.
    """
    if not isinstance(error, VenueRefusal):
        return 0.0
    wait_s = error.retry_after_s or 0.0
    if error.maintenance_end_s:
        wait_s = max(wait_s, error.maintenance_end_s - now_s)
    return min(max(wait_s, 0.0), ADVICE_MAX_S)


def wait_s(
    error: BaseException, attempts: int, *, first_s: float, longest_s: float, now_s: float = 0.0
) -> float:
    """How long to wait before trying again what failed with ``error``.

    ``attempts``: how often it has failed before this. The wait doubles from ``first_s``, or from
    the venue's retryAfter where that is more, up to ``longest_s`` (or that retryAfter).
    """
    remedy = remedy_for(error) if isinstance(error, VenueRefusal) else Remedy.RETRY
    advice_s = advised_s(error, now_s)
    if remedy in _AT_THE_LONGEST or (remedy is Remedy.REFRESH and attempts > 0):
        return max(longest_s, advice_s)
    # 2**n without an upper bound would overflow after months of retrying.
    doubled = 2.0 ** min(attempts, 32)
    if isinstance(error, VenueRefusal) and error.maintenance_end_s:
        # The end does not come later because we came too early.
        return max(min(first_s * doubled, longest_s), advice_s)
    return min(max(first_s, advice_s) * doubled, max(longest_s, advice_s))
