"""What the venue made for load answers: enough of the protocol to bring a client up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from bench.schedule import name
from ctrader_twisted.pb import api_pb2, model_pb2

ACCOUNT_ID = 1_000_001


def answer(asked: Message, symbols: int) -> Message | None:
    """The answer to one request, from a venue with so many symbols."""
    made = _ANSWERS.get(type(asked).__name__)
    return None if made is None else made(asked, symbols)


def _symbols_list(_: Any, symbols: int) -> Message:
    reply = api_pb2.ProtoOASymbolsListRes(ctidTraderAccountId=ACCOUNT_ID)
    for index in range(symbols):
        reply.symbol.append(
            model_pb2.ProtoOALightSymbol(symbolId=index + 1, symbolName=name(index), enabled=True)
        )
    return reply


def _symbol_by_id(asked: Any, _: int) -> Message:
    reply = api_pb2.ProtoOASymbolByIdRes(ctidTraderAccountId=ACCOUNT_ID)
    for number in asked.symbolId:
        reply.symbol.append(model_pb2.ProtoOASymbol(symbolId=number, digits=5, pipPosition=4))
    return reply


def _of_account(kind: Callable[..., Message]) -> Callable[[Any, int], Message]:
    return lambda asked, symbols: kind(ctidTraderAccountId=ACCOUNT_ID)


_ANSWERS: dict[str, Callable[[Any, int], Message]] = {
    "ProtoOAApplicationAuthReq": lambda asked, symbols: api_pb2.ProtoOAApplicationAuthRes(),
    "ProtoOAAccountAuthReq": _of_account(api_pb2.ProtoOAAccountAuthRes),
    "ProtoOAAccountLogoutReq": _of_account(api_pb2.ProtoOAAccountLogoutRes),
    "ProtoOASymbolsListReq": _symbols_list,
    "ProtoOASymbolByIdReq": _symbol_by_id,
    "ProtoOASubscribeSpotsReq": _of_account(api_pb2.ProtoOASubscribeSpotsRes),
    "ProtoOAUnsubscribeSpotsReq": _of_account(api_pb2.ProtoOAUnsubscribeSpotsRes),
}
