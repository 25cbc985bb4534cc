"""The envelope and the registry of messages: bytes in, values out.

A frame (without its four length bytes) is one serialised ``ProtoMessage``. What is inside is told
by the envelope's payload type alone: the venue leaves the inner ``payloadType`` unset.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ctrader_twisted.errors import PayloadError, ProtocolError, UnknownMessage
from ctrader_twisted.pb import api_pb2, common_pb2

HEARTBEAT = int(common_pb2.HEARTBEAT_EVENT)
SPOT = int(api_pb2.PROTO_OA_SPOT_EVENT)

# How a frame begins that is nothing but a ProtoOASpotEvent, by its size in bytes: field 1 (the
# payload type) is 2131, and field 2 (the payload) takes all the rest. Nearly every frame is such.
SPOT_HEAD_SIZE = 5
SPOT_HEADS = {SPOT_HEAD_SIZE + size: b"\x08\xd3\x10\x12" + bytes((size,)) for size in range(1, 128)}

# How many missing fields an error names at most.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Envelope:
    """One decoded frame.

    ``message`` is None when the payload type is not in the registry: such frames are tolerated,
    because the venue may know more than we do. It is None, too, when the payload cannot be read:
    ``error`` then says why.
    """

    payload_type: int
    message: Message | None
    client_message_id: str | None = None
    error: PayloadError | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of message: its class and the three names that mean it."""

    payload_type: int
    class_name: str
    enum_name: str
    message_class: type[Message]


def _entries(module: ModuleType) -> Iterator[Entry]:
    for name, descriptor in module.DESCRIPTOR.message_types_by_name.items():
        field = descriptor.fields_by_name.get("payloadType")
        if field is None or field.enum_type is None:
            continue
        value = field.enum_type.values_by_number[field.default_value]
        yield Entry(value.number, name, value.name, getattr(module, name))


class Registry:
    """Every message that has a payload type, found by class name, UPPER_SNAKE name or number."""

    def __init__(self, *modules: ModuleType) -> None:
        self.by_number: dict[int, Entry] = {}
        self._by_name: dict[str, Entry] = {}
        self._by_class: dict[type[Message], Entry] = {}
        for module in modules:
            for entry in _entries(module):
                self.by_number[entry.payload_type] = entry
                self._by_name[entry.class_name] = entry
                self._by_name[entry.enum_name] = entry
                self._by_class[entry.message_class] = entry

    def find(self, name: str | int) -> Entry:
        """The entry that ``name`` means: ``"ProtoOASpotEvent"``, ``"PROTO_OA_SPOT_EVENT"`` or
        ``2131``.

        Raises UnknownMessage with the nearest names otherwise.
        """
        found = self.by_number.get(name) if isinstance(name, int) else self._by_name.get(name)
        if found is None and isinstance(name, str) and re.fullmatch(r"[0-9]{1,6}", name):
            found = self.by_number.get(int(name))
        if found is None:
            raise UnknownMessage(f"no message is called {name!r}{self._suggestion(name)}")
        return found

    def of(self, message: Message) -> Entry:
        """The entry of a message's class; UnknownMessage for a class without payload type."""
        entry = self._by_class.get(type(message))
        if entry is None:
            raise UnknownMessage(f"{type(message).__name__} cannot be sent: it has no payload type")
        return entry

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.by_number.values())

    def _suggestion(self, name: str | int) -> str:
        if isinstance(name, int):
            near = sorted(self.by_number, key=lambda number: abs(number - name))[:2]
            return "; the nearest are " + " and ".join(
                f"{number} ({self.by_number[number].class_name})" for number in sorted(near)
            )
        folded = {known.lower(): known for known in self._by_name}
        match = difflib.get_close_matches(str(name).lower(), folded, n=1, cutoff=0.4)
        return f"; did you mean {folded[match[0]]!r}?" if match else ""


REGISTRY = Registry(common_pb2, api_pb2)


def encode(message: Message, client_message_id: str | None = None) -> bytes:
    """The frame for one message.

    Raises ProtocolError when a required field is missing.
    """
    entry = REGISTRY.of(message)
    try:
        payload = message.SerializeToString()
    except EncodeError as error:
        missing = _listed(missing_fields(message))
        raise ProtocolError(f"{entry.class_name} cannot be sent without: {missing}") from error
    envelope = common_pb2.ProtoMessage(payloadType=entry.payload_type, payload=payload)
    if client_message_id is not None:
        envelope.clientMsgId = client_message_id
    return envelope.SerializeToString()


def decode(frame: bytes) -> Envelope:
    """One frame as an Envelope.

    Raises ProtocolError when the bytes are not an envelope, and PayloadError when its payload is
    not what its type promises, or a required field is missing (protobuf itself does not check
    that).
    """
    try:
        envelope = common_pb2.ProtoMessage.FromString(frame)
    except DecodeError as error:
        raise ProtocolError(f"a frame of {len(frame)} bytes is not an envelope") from error
    if not envelope.IsInitialized():
        raise ProtocolError(f"a frame of {len(frame)} bytes has no payload type")
    message_id = text(envelope.clientMsgId) if envelope.HasField("clientMsgId") else None
    entry = REGISTRY.by_number.get(envelope.payloadType)
    if entry is None:
        return Envelope(envelope.payloadType, None, message_id)
    try:
        message = entry.message_class.FromString(envelope.payload)
        require(message)
    except (DecodeError, ProtocolError) as error:
        what = f"the payload of {entry.class_name} ({len(envelope.payload)} bytes) cannot be read"
        raise PayloadError(
            str(error) if isinstance(error, ProtocolError) else what,
            payload_type=entry.payload_type,
            client_message_id=message_id,
        ) from error
    return Envelope(entry.payload_type, message, message_id)


def require(message: Message) -> None:
    """Raise ProtocolError unless all required fields are there.

    Asking protobuf costs more than parsing did, so of a spot it is asked only when it matters
    (see `translate.spot_updates`).
    """
    if not message.IsInitialized():
        missing = _listed(missing_fields(message))
        name = type(message).__name__
        raise ProtocolError(f"{name} arrived without required fields: {missing}")


def text(value: str | bytes) -> str:
    """A string field as text. What is not UTF-8 comes out of protobuf as bytes, and one misspelt
    description must not cost the connection: it is read with replacement characters.
    """
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def has_unknown_fields(message: Message) -> bool:
    """True when the venue sent fields that our definitions do not have (top level only)."""
    return len(UnknownFieldSet(message)) > 0


def _listed(names: list[str]) -> str:
    """The first names as text; bounded, since a list of symbols may lack a field in each."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def missing_fields(message: Message) -> list[str]:
    """The paths of the required fields that are not set, ``["symbolId", "trader.balance"]``."""
    # The type stubs leave this method out; every implementation of the runtime has it.
    find: Callable[[], list[str]] = getattr(message, "FindInitializationErrors")  # noqa: B009
    return find()
