"""What is fuzzed: functions that take any bytes, and may raise nothing but what they promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import Message
from msgspec import json

from ctrader_twisted import contract
from ctrader_twisted.errors import ClientRequestError, ProtocolError
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.refusals import remedy_for, wait_s
from ctrader_twisted.upstream import translate
from ctrader_twisted.web import client_requests
from ctrader_twisted.wire.codec import decode, encode

CORPUS = Path(__file__).parents[1] / "corpus"


def codec(octets: bytes) -> None:
    """A frame of the venue: a message, or ProtocolError; a message can be written and read back."""
    try:
        envelope = decode(octets)
    except ProtocolError:
        envelope = None
    list(translate.spot_updates([octets, octets], 0, str))
    if envelope is None or envelope.message is None:
        return
    _translated(envelope.message)
    again = decode(encode(envelope.message, envelope.client_message_id))
    if again.message != envelope.message:
        # NaN is not equal to itself; its bytes are.
        written = again.message.SerializeToString() if again.message else b""
        if written != envelope.message.SerializeToString():
            raise AssertionError(f"{envelope.message} became {again.message}")


def _translated(message: Message) -> None:
    """Everything that is made of messages; prices and texts are what they say."""
    refusal = translate.refusal(message)
    if refusal is not None:
        remedy_for(refusal)
        wait_s(refusal, 3, first_s=1, longest_s=60, now_s=1e9)
    if isinstance(message, api_pb2.ProtoOASymbolsListRes):
        json.encode([symbol.key for symbol in translate.symbols(message)])
    elif isinstance(message, api_pb2.ProtoOASymbolByIdRes):
        for details in translate.symbol_details(message):
            details.hours.opened_at(1e9)
    elif isinstance(message, api_pb2.ProtoOATraderUpdatedEvent):
        translate.trader(message.trader)


def requests(octets: bytes) -> None:
    """A message of a client: read, or a ClientRequestError; nothing else, however deep or odd."""
    client_requests.read_id(octets)
    try:
        client_requests.read_header(octets, False)
        client_requests.read(octets, contract.Connect)
        names, _ = client_requests.read_subscribe(octets)
    except ClientRequestError:
        return
    if len({name.upper() for name in names}) != len(names):
        raise AssertionError(f"a name twice: {names}")


TARGETS: dict[str, Callable[[bytes], None]] = {"codec": codec, "requests": requests}
