"""Every request that the venue serves, and what it answers.

A function takes the venue, the connection and the message, and returns an Answer or raises
Refusal. The table at the end is the whole of what is served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from ctrader_twisted.pb import api_pb2, model_pb2
from ctrader_twisted.simulator import catalogue
from ctrader_twisted.simulator.frames import Refusal

if TYPE_CHECKING:
    from ctrader_twisted.simulator.server import VenueConnection
    from ctrader_twisted.simulator.venue import Venue

USER_ID = 4711


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply, and what happens right after it."""

    reply: Message
    afterwards: Callable[[], None] | None = None


# -- who is there


def application_auth(
    venue: Venue, connection: VenueConnection, request: api_pb2.ProtoOAApplicationAuthReq
) -> Answer:
    """Once per connection."""
    credentials, behaviour = venue.credentials, venue.behaviour
    if connection.application and behaviour.second_application_auth_code:
        raise Refusal(behaviour.second_application_auth_code, "Client is already authenticated")
    if (request.clientId, request.clientSecret) != (
        credentials.client_id,
        credentials.client_secret,
    ):
        raise Refusal("CH_CLIENT_AUTH_FAILURE", "clientId or clientSecret is incorrect")
    if sum(one.application for one in venue.connections) >= behaviour.connections_per_application:
        raise Refusal("CONNECTIONS_LIMIT_EXCEEDED", "Too many connections of this application")
    connection.introduce()
    return Answer(api_pb2.ProtoOAApplicationAuthRes())


def version(venue: Venue, _: VenueConnection, __: api_pb2.ProtoOAVersionReq) -> Answer:
    """A free string."""
    return Answer(api_pb2.ProtoOAVersionRes(version=venue.behaviour.version))


def refresh_token(
    venue: Venue, _: VenueConnection, request: api_pb2.ProtoOARefreshTokenReq
) -> Answer:
    """A new pair; the old one is void, and its sessions hear of it after the answer."""
    old, new = venue.grants.refresh(request.refreshToken)
    ends = venue.behaviour.refresh_ends_sessions

    def afterwards() -> None:
        if ends:
            venue.invalidate(old.access_token, "Access token was refreshed", end_sessions=True)

    reply = api_pb2.ProtoOARefreshTokenRes(
        accessToken=new.access_token,
        tokenType="bearer",
        expiresIn=venue.behaviour.token_life_s,
        refreshToken=new.refresh_token,
    )
    return Answer(reply, afterwards)


def account_list(
    venue: Venue, _: VenueConnection, request: api_pb2.ProtoOAGetAccountListByAccessTokenReq
) -> Answer:
    """The accounts of both worlds."""
    venue.grants.check(request.accessToken)
    may_trade = venue.credentials.may_trade
    return Answer(
        api_pb2.ProtoOAGetAccountListByAccessTokenRes(
            accessToken=request.accessToken,
            permissionScope=model_pb2.SCOPE_TRADE if may_trade else model_pb2.SCOPE_VIEW,
            ctidTraderAccount=venue.grants.listing(),
        )
    )


def ctid_profile(
    venue: Venue, _: VenueConnection, request: api_pb2.ProtoOAGetCtidProfileByTokenReq
) -> Answer:
    """Only a user id."""
    venue.grants.check(request.accessToken)
    profile = model_pb2.ProtoOACtidProfile(userId=USER_ID)
    return Answer(api_pb2.ProtoOAGetCtidProfileByTokenRes(profile=profile))


def account_auth(
    venue: Venue, connection: VenueConnection, request: api_pb2.ProtoOAAccountAuthReq
) -> Answer:
    """Once per account and connection."""
    account_id = request.ctidTraderAccountId
    venue.grants.check_account(request.accessToken, account_id)
    if venue.rules.back_end_down:
        raise Refusal("CANT_ROUTE_REQUEST", "No back end", account_id=account_id)
    if account_id in connection.accounts:
        raise Refusal(
            "ALREADY_LOGGED_IN",
            "Trading account is already authorized in this channel",
            account_id=account_id,
        )
    if venue.behaviour.newer_connection_kicks_older:
        for older in venue.on_account(account_id):
            venue.dismiss(older, account_id)
    connection.accounts[account_id] = request.accessToken
    return Answer(api_pb2.ProtoOAAccountAuthRes(ctidTraderAccountId=account_id))


def account_logout(
    venue: Venue, connection: VenueConnection, request: api_pb2.ProtoOAAccountLogoutReq
) -> Answer:
    """The answer, then an AccountDisconnectEvent."""
    account_id = request.ctidTraderAccountId
    return Answer(
        api_pb2.ProtoOAAccountLogoutRes(ctidTraderAccountId=account_id),
        lambda: venue.dismiss(connection, account_id),
    )


# -- reference


def symbols_list(
    venue: Venue, _: VenueConnection, request: api_pb2.ProtoOASymbolsListReq
) -> Answer:
    """Light symbols, with the archived ones when asked."""
    archived = catalogue.archived_symbols() if request.includeArchivedSymbols else []
    return Answer(
        api_pb2.ProtoOASymbolsListRes(
            ctidTraderAccountId=request.ctidTraderAccountId,
            symbol=map(catalogue.light_symbol, venue.catalogue.by_id.values()),
            archivedSymbol=archived,
        )
    )


def symbol_by_id(venue: Venue, _: VenueConnection, request: api_pb2.ProtoOASymbolByIdReq) -> Answer:
    """Full symbols; unknown ids are left out."""
    _refuse_empty(venue, request.ctidTraderAccountId, request.symbolId)
    wanted = dict.fromkeys(request.symbolId)
    known = venue.catalogue.by_id
    return Answer(
        api_pb2.ProtoOASymbolByIdRes(
            ctidTraderAccountId=request.ctidTraderAccountId,
            symbol=[catalogue.full_symbol(known[one]) for one in wanted if one in known],
            archivedSymbol=[one for one in catalogue.archived_symbols() if one.symbolId in wanted],
        )
    )


def symbols_for_conversion(
    venue: Venue, _: VenueConnection, request: api_pb2.ProtoOASymbolsForConversionReq
) -> Answer:
    """The chain of symbols from one asset to another."""
    account_id = request.ctidTraderAccountId
    known = catalogue.ASSET_IDS.values()
    for asset_id in (request.firstAssetId, request.lastAssetId):
        if asset_id not in known:
            raise Refusal("ENTITY_NOT_FOUND", f"No asset {asset_id}", account_id=account_id)
    chain = venue.catalogue.between(request.firstAssetId, request.lastAssetId)
    return Answer(
        api_pb2.ProtoOASymbolsForConversionRes(
            ctidTraderAccountId=account_id, symbol=map(catalogue.light_symbol, chain)
        )
    )


def asset_list(_: Venue, __: VenueConnection, request: api_pb2.ProtoOAAssetListReq) -> Answer:
    """Every asset."""
    return Answer(
        api_pb2.ProtoOAAssetListRes(
            ctidTraderAccountId=request.ctidTraderAccountId, asset=catalogue.assets()
        )
    )


def asset_class_list(
    _: Venue, __: VenueConnection, request: api_pb2.ProtoOAAssetClassListReq
) -> Answer:
    """Every asset class."""
    return Answer(
        api_pb2.ProtoOAAssetClassListRes(
            ctidTraderAccountId=request.ctidTraderAccountId, assetClass=catalogue.asset_classes()
        )
    )


def category_list(
    _: Venue, __: VenueConnection, request: api_pb2.ProtoOASymbolCategoryListReq
) -> Answer:
    """Every symbol category."""
    return Answer(
        api_pb2.ProtoOASymbolCategoryListRes(
            ctidTraderAccountId=request.ctidTraderAccountId, symbolCategory=catalogue.categories()
        )
    )


# -- the account


def trader(venue: Venue, _: VenueConnection, request: api_pb2.ProtoOATraderReq) -> Answer:
    """The account's settings and balance."""
    account_id = request.ctidTraderAccountId
    return Answer(
        api_pb2.ProtoOATraderRes(
            ctidTraderAccountId=account_id, trader=venue.accounts[account_id].trader()
        )
    )


def reconcile(_: Venue, __: VenueConnection, request: api_pb2.ProtoOAReconcileReq) -> Answer:
    """No positions and no orders: this venue does not trade yet."""
    return Answer(api_pb2.ProtoOAReconcileRes(ctidTraderAccountId=request.ctidTraderAccountId))


# -- spots


def subscribe_spots(
    venue: Venue, connection: VenueConnection, request: api_pb2.ProtoOASubscribeSpotsReq
) -> Answer:
    """The acknowledgement, then one event per symbol with the latest bid and ask."""
    account_id, behaviour = request.ctidTraderAccountId, venue.behaviour
    _refuse_empty(venue, account_id, request.symbolId)
    wanted = _known(venue, account_id, request.symbolId)
    seat = (connection, account_id)
    already = venue.feed.subscribed(seat).intersection(wanted)
    if already and (behaviour.mixed_subscription_refused or len(already) == len(wanted)):
        listed = ", ".join(map(str, sorted(already)))
        raise Refusal(
            "ALREADY_SUBSCRIBED", f"Already subscribed to: {listed}", account_id=account_id
        )
    fresh = [one for one in wanted if one not in already]

    def first_events() -> None:
        close = behaviour.first_spot_has_session_close
        venue.feed.snapshot(seat, fresh, session_close=close)

    def afterwards() -> None:
        venue.feed.subscribe(seat, fresh, timed=request.subscribeToSpotTimestamp)
        connection.later(behaviour.first_spot_delay_s, first_events)

    return Answer(api_pb2.ProtoOASubscribeSpotsRes(ctidTraderAccountId=account_id), afterwards)


def unsubscribe_spots(
    venue: Venue, connection: VenueConnection, request: api_pb2.ProtoOAUnsubscribeSpotsReq
) -> Answer:
    """The acknowledgement; refused as a whole when one of the symbols is not subscribed."""
    account_id, behaviour = request.ctidTraderAccountId, venue.behaviour
    _refuse_empty(venue, account_id, request.symbolId)
    unwanted = _known(venue, account_id, request.symbolId)
    seat = (connection, account_id)
    missing = set(unwanted) - venue.feed.subscribed(seat)
    if missing and behaviour.not_subscribed_code:
        listed = ", ".join(map(str, sorted(missing)))
        raise Refusal(
            behaviour.not_subscribed_code, f"Not subscribed to: {listed}", account_id=account_id
        )
    venue.feed.unsubscribe(seat, unwanted)
    return Answer(api_pb2.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=account_id))


def _refuse_empty(venue: Venue, account_id: int, symbol_ids: Any) -> None:
    if not symbol_ids and venue.behaviour.empty_list_code:
        raise Refusal(
            venue.behaviour.empty_list_code, "symbolId must not be empty", account_id=account_id
        )


def _known(venue: Venue, account_id: int, symbol_ids: Any) -> list[int]:
    """The symbols asked for, each once; Refusal because of one that is unknown."""
    asked, code = dict.fromkeys(symbol_ids), venue.behaviour.unknown_symbol_code
    known = [one for one in asked if one in venue.catalogue.by_id]
    if code and len(known) < len(asked):
        unknown = next(one for one in asked if one not in venue.catalogue.by_id)
        raise Refusal(code, f"Symbol {unknown} is not found", account_id=account_id)
    return known


#: Requests that can be confirmed without being done.
PRETENDED: dict[str, type[Any]] = {
    "ProtoOASubscribeSpotsReq": api_pb2.ProtoOASubscribeSpotsRes,
    "ProtoOAUnsubscribeSpotsReq": api_pb2.ProtoOAUnsubscribeSpotsRes,
}

AnswerFunction = Callable[["Venue", "VenueConnection", Any], Answer]

#: Served before the application has said who it is.
FOR_STRANGERS: dict[type[Message], AnswerFunction] = {
    api_pb2.ProtoOAApplicationAuthReq: application_auth,
    api_pb2.ProtoOAVersionReq: version,
    api_pb2.ProtoOARefreshTokenReq: refresh_token,
}

#: Served without an authorised account.
FOR_APPLICATIONS: dict[type[Message], AnswerFunction] = {
    api_pb2.ProtoOAGetAccountListByAccessTokenReq: account_list,
    api_pb2.ProtoOAGetCtidProfileByTokenReq: ctid_profile,
    api_pb2.ProtoOAAccountAuthReq: account_auth,
}

#: Served on an authorised account.
FOR_ACCOUNTS: dict[type[Message], AnswerFunction] = {
    api_pb2.ProtoOAAccountLogoutReq: account_logout,
    api_pb2.ProtoOASymbolsListReq: symbols_list,
    api_pb2.ProtoOASymbolByIdReq: symbol_by_id,
    api_pb2.ProtoOASymbolsForConversionReq: symbols_for_conversion,
    api_pb2.ProtoOAAssetListReq: asset_list,
    api_pb2.ProtoOAAssetClassListReq: asset_class_list,
    api_pb2.ProtoOASymbolCategoryListReq: category_list,
    api_pb2.ProtoOATraderReq: trader,
    api_pb2.ProtoOAReconcileReq: reconcile,
    api_pb2.ProtoOASubscribeSpotsReq: subscribe_spots,
    api_pb2.ProtoOAUnsubscribeSpotsReq: unsubscribe_spots,
}
