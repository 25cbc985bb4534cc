"""Messages to frames as this venue words them, and frames to requests as it reads them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from ctrader_twisted.errors import CtraderError
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.simulator.behaviour import Behaviour
from ctrader_twisted.wire.codec import REGISTRY, encode, missing_fields

_LENGTH = struct.Struct("!I")
#: Field 900 with the bytes "new": what a venue newer than our definitions might send.
_NEWER_FIELD = bytes((0xA2, 0x38, 0x03)) + b"new"


class Refusal(CtraderError):
    """A request that is not granted.

    ``proxy`` refusals go out as ProtoErrorRes, the others as ProtoOAErrorRes; times in seconds
    (``maintenance_end_s`` since the epoch). ``close`` ends the connection after it.
    """

    def __init__(
        self,
        code: str,
        description: str = "",
        *,
        proxy: bool = False,
        account_id: int | None = None,
        retry_after_s: int | None = None,
        maintenance_end_s: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.proxy = proxy
        self.account_id = account_id
        self.retry_after_s = retry_after_s
        self.maintenance_end_s = maintenance_end_s
        self.close = close

    def message(self) -> Message:
        """The error as it is sent; a proxy's maintenance end is in milliseconds."""
        if self.proxy:
            proxy = common_pb2.ProtoErrorRes(errorCode=self.code)
            if self.description:
                proxy.description = self.description
            if self.maintenance_end_s is not None:
                proxy.maintenanceEndTimestamp = self.maintenance_end_s * 1000
            return proxy
        error = api_pb2.ProtoOAErrorRes(errorCode=self.code)
        if self.description:
            error.description = self.description
        if self.account_id is not None:
            error.ctidTraderAccountId = self.account_id
        if self.retry_after_s is not None:
            error.retryAfter = self.retry_after_s
        if self.maintenance_end_s is not None:
            error.maintenanceEndTimestamp = self.maintenance_end_s
        return error


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked; ``name`` is its class name, ``account_id`` None where it has none."""

    message: Message
    message_id: str | None

    @property
    def name(self) -> str:
        """The class name of the message."""
        return self.message.DESCRIPTOR.name

    @property
    def account_id(self) -> int | None:
        """The account that it speaks of."""
        found = getattr(self.message, "ctidTraderAccountId", None)
        return None if found is None else int(found)


class Wording:
    """How messages become frames: the inner payload type is set, or newer fields are, on demand."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._inner_payload_type = behaviour.inner_payload_type
        self.newer_fields = False

    def frame(self, message: Message, message_id: str | None = None) -> bytes:
        """One message with its four length bytes."""
        if self._inner_payload_type:
            message.payloadType = REGISTRY.of(message).payload_type  # type: ignore[attr-defined]
        if self.newer_fields:
            message.MergeFromString(_NEWER_FIELD)
        return framed(encode(message, message_id))


def framed(content: bytes) -> bytes:
    """The four length bytes, and the content."""
    return _LENGTH.pack(len(content)) + content


def bare(name: str) -> Message:
    """An empty message by any of its names; UnknownMessage when there is none."""
    return REGISTRY.find(name).message_class()


def careless_frame(message: Message, message_id: str | None = None) -> bytes:
    """A frame whose message lacks every required field."""
    careless = type(message)()
    envelope = common_pb2.ProtoMessage(
        payloadType=REGISTRY.of(message).payload_type,
        payload=careless.SerializePartialToString(),
    )
    if message_id is not None:
        envelope.clientMsgId = message_id
    return framed(envelope.SerializeToString())


def open_envelope(frame: bytes) -> common_pb2.ProtoMessage:
    """The envelope of one frame; Refusal when the bytes are none."""
    try:
        envelope = common_pb2.ProtoMessage.FromString(frame)
    except DecodeError as error:
        raise Refusal("INVALID_REQUEST", "Cannot decode the message", proxy=True) from error
    if not envelope.IsInitialized():
        raise Refusal("INVALID_REQUEST", "Message missing required fields: payloadType", proxy=True)
    return envelope


def open_request(envelope: common_pb2.ProtoMessage) -> Request:
    """The request in an envelope.

    Refusal for a type that nobody knows, a payload that cannot be read, and missing fields.
    """
    entry = REGISTRY.by_number.get(envelope.payloadType)
    if entry is None:
        raise Refusal(
            "UNSUPPORTED_MESSAGE", f"Unknown payload type {envelope.payloadType}", proxy=True
        )
    try:
        message = entry.message_class.FromString(envelope.payload)
    except DecodeError as error:
        raise Refusal("INVALID_REQUEST", f"Cannot decode {entry.class_name}") from error
    if missing := missing_fields(message):
        raise Refusal("INVALID_REQUEST", "Message missing required fields: " + ", ".join(missing))
    return Request(message, envelope.clientMsgId if envelope.HasField("clientMsgId") else None)
