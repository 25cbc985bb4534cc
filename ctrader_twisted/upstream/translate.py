"""protobuf to our values, our commands to protobuf: the only file that knows both.

Units: spot prices stay in points here (they are whole numbers on the wire, 1/100000 of a price for
every symbol); error times become seconds, whichever unit their carrier uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from google.protobuf.message import DecodeError, Message

from ctrader_twisted.errors import ProtocolError, VenueRefusal
from ctrader_twisted.logs import redact
from ctrader_twisted.market.hours import DAY_S, Holiday, Hours
from ctrader_twisted.market.model import SpotUpdate, Symbol, SymbolDetails, Trader
from ctrader_twisted.market.units import POINT_DIGITS
from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.wire.codec import require, text

# The tag of ProtoOASpotEvent.trendbar (field 6, length-delimited), whose own fields may be missing.
# As a number: a byte is looked for in a sixth of the time that a string of one byte takes.
_TRENDBAR = 0x32
_MOST_MONEY_DIGITS = 28


# What the venue says goes into log lines and to every client, however long it is.
LONGEST_WORDS, LONGEST_CODE = 500, 100


def words(value: str | bytes, longest: int = LONGEST_WORDS) -> str:
    """A text of the venue for logs and clients: credentials of ours masked, and cut if it is long.
    Masked first, since half a credential would not be recognised.
    """
    shown = redact(text(value))
    return shown if len(shown) <= longest else shown[:longest] + "..."


def refusal(message: Message) -> VenueRefusal | None:
    """The error that a message carries, whichever of the three carriers it is; else None.

    ProtoErrorRes gives its maintenance end in ms, ProtoOAErrorRes in seconds. Whatever
    repeats a credential of ours is masked here, before it can go anywhere.
    """
    if isinstance(message, api_pb2.ProtoOAErrorRes):
        return VenueRefusal(
            words(message.errorCode, LONGEST_CODE),
            words(message.description),
            retry_after_s=float(message.retryAfter) if message.HasField("retryAfter") else None,
            maintenance_end_s=(
                float(message.maintenanceEndTimestamp)
                if message.HasField("maintenanceEndTimestamp")
                else None
            ),
            account_id=message.ctidTraderAccountId or None,
        )
    if isinstance(message, common_pb2.ProtoErrorRes):
        return VenueRefusal(
            words(message.errorCode, LONGEST_CODE),
            words(message.description),
            maintenance_end_s=(
                message.maintenanceEndTimestamp / 1000
                if message.HasField("maintenanceEndTimestamp")
                else None
            ),
        )
    if isinstance(message, api_pb2.ProtoOAOrderErrorEvent):
        return VenueRefusal(
            words(message.errorCode, LONGEST_CODE),
            words(message.description),
            account_id=message.ctidTraderAccountId,
        )
    return None


def spot_updates(
    payloads: Iterable[bytes], received_ms: int, unreadable: Callable[[ProtocolError], None]
) -> Iterator[SpotUpdate]:
    """Any number of ProtoOASpotEvents, as bytes, as SpotUpdates.

    Absent fields are 0: no price, no time. An event that cannot be read, or that lacks a required
    field, is left out, and ``unreadable`` is called with the reason. The venue has no id 0, so an
    id of 0 means that the field is missing.
    """
    # One for all of them, since to make a message costs more than to parse it.
    event = api_pb2.ProtoOASpotEvent()
    parse = event.ParseFromString
    for payload in payloads:
        try:
            parse(payload)
        except DecodeError:
            unreadable(ProtocolError(f"a ProtoOASpotEvent of {len(payload)} bytes cannot be read"))
            continue
        account_id, symbol_id = event.ctidTraderAccountId, event.symbolId
        if not symbol_id or not account_id or _TRENDBAR in payload:
            try:
                require(event)
            except ProtocolError as error:
                unreadable(error)
                continue
        yield SpotUpdate(account_id, symbol_id, event.bid, event.ask, event.timestamp, received_ms)


def symbols(answer: api_pb2.ProtoOASymbolsListRes) -> list[Symbol]:
    """ProtoOASymbolsListRes as symbols; an entry without a name cannot be asked for: left out."""
    return [_symbol(light) for light in answer.symbol if light.symbolName]


def _symbol(light: model_pb2.ProtoOALightSymbol) -> Symbol:
    return Symbol(
        light.symbolId,
        text(light.symbolName),
        # Absent means that nothing was said against it.
        light.enabled if light.HasField("enabled") else True,
        text(light.description),
        light.baseAssetId if light.HasField("baseAssetId") else None,
        light.quoteAssetId if light.HasField("quoteAssetId") else None,
        light.symbolCategoryId if light.HasField("symbolCategoryId") else None,
    )


def symbol_details(answer: api_pb2.ProtoOASymbolByIdRes) -> list[SymbolDetails]:
    """ProtoOASymbolByIdRes as details, in the order of the answer."""
    return [
        # Prices are in points, so a symbol cannot have more digits than those.
        SymbolDetails(
            full.symbolId, min(max(full.digits, 0), POINT_DIGITS), full.pipPosition, _hours(full)
        )
        for full in answer.symbol
    ]


def _hours(full: model_pb2.ProtoOASymbol) -> Hours:
    time_zone = text(full.scheduleTimeZone) or "UTC"
    return Hours(
        time_zone,
        tuple((interval.startSecond, interval.endSecond) for interval in full.schedule),
        tuple(_holiday(day, time_zone) for day in full.holiday),
    )


def _holiday(day: model_pb2.ProtoOAHoliday, time_zone: str) -> Holiday:
    return Holiday(
        text(day.name),
        text(day.scheduleTimeZone) or time_zone,
        day.holidayDate,
        day.isRecurring,
        day.startSecond if day.HasField("startSecond") else 0,
        day.endSecond if day.HasField("endSecond") else DAY_S,
    )


def trader(message: model_pb2.ProtoOATrader) -> Trader:
    """ProtoOATrader as a Trader. Money is an integer times 10^-moneyDigits (2, if unsaid)."""
    digits = message.moneyDigits if message.HasField("moneyDigits") else 2
    return Trader(
        message.traderLogin,
        text(message.brokerName),
        # Bounded, since a nonsensical number of digits must not end the connection.
        Decimal(message.balance).scaleb(-min(digits, _MOST_MONEY_DIGITS)),
        # An absent field is no right to trade, although the default of the definitions is full.
        _ACCESS.get(message.accessRights, UNKNOWN) if message.HasField("accessRights") else UNKNOWN,
    )


UNKNOWN = "unknown"
_ACCESS: dict[int, str] = {
    model_pb2.FULL_ACCESS: "full",
    model_pb2.CLOSE_ONLY: "close only",
    model_pb2.NO_TRADING: "no trading",
    model_pb2.NO_LOGIN: "no login",
}


# -- requests


def application_auth(client_id: str, client_secret: str) -> api_pb2.ProtoOAApplicationAuthReq:
    """Who is speaking: the application."""
    return api_pb2.ProtoOAApplicationAuthReq(clientId=client_id, clientSecret=client_secret)


def account_auth(account_id: int, access_token: str) -> api_pb2.ProtoOAAccountAuthReq:
    """Open one account."""
    return api_pb2.ProtoOAAccountAuthReq(ctidTraderAccountId=account_id, accessToken=access_token)


def account_logout(account_id: int) -> api_pb2.ProtoOAAccountLogoutReq:
    """Close one account."""
    return api_pb2.ProtoOAAccountLogoutReq(ctidTraderAccountId=account_id)


def symbols_list(account_id: int) -> api_pb2.ProtoOASymbolsListReq:
    """All symbols of an account, archived ones left out."""
    return api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=account_id)


def symbol_by_id(account_id: int, ids: Iterable[int]) -> api_pb2.ProtoOASymbolByIdReq:
    """The full description of some symbols."""
    return api_pb2.ProtoOASymbolByIdReq(ctidTraderAccountId=account_id, symbolId=ids)


def subscribe_spots(account_id: int, ids: Iterable[int]) -> api_pb2.ProtoOASubscribeSpotsReq:
    """Prices of many symbols in one request, with the venue's time in every event."""
    return api_pb2.ProtoOASubscribeSpotsReq(
        ctidTraderAccountId=account_id, symbolId=ids, subscribeToSpotTimestamp=True
    )


def unsubscribe_spots(account_id: int, ids: Iterable[int]) -> api_pb2.ProtoOAUnsubscribeSpotsReq:
    """The end of the prices of many symbols, in one request."""
    return api_pb2.ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=account_id, symbolId=ids)
