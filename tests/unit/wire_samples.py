"""Messages of the venue as bytes, with any one field spoilt; and which field holds which enum."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.wire.codec import REGISTRY, Entry

MODULES = (common_pb2, model_pb2, api_pb2)
FOLDER = Path(__file__).parents[2] / "proto" / "ctrader_twisted" / "pb"

#: Names of fields, from the message to the one that is meant.
Way = tuple[str, ...]
#: Makes another field of a right one.
Spoil = Callable[[FieldDescriptor, bytes], bytes]

VARINT, DOUBLE, LENGTH = 0, 1, 2

#: What the venue sends: all but requests. The envelope is not in the registry.
OF_THE_VENUE = tuple(entry for entry in REGISTRY if not entry.class_name.endswith("Req"))


def open_enums() -> dict[tuple[str, str], EnumDescriptor]:
    """The enum of every int32 field whose comment names one, by message and field."""
    enums: dict[str, EnumDescriptor] = {}
    for module in MODULES:
        enums.update(module.DESCRIPTOR.enum_types_by_name)
    found, message = {}, ""
    for path in sorted(FOLDER.glob("*.proto")):
        for line in path.read_text().splitlines():
            if begun := re.match(r"message (\w+)", line):
                message = begun[1]
            field = re.match(r"  \w+ int32 (\w+) = .*// (\w+)", line)
            if field and field[2] in enums:
                found[message, field[1]] = enums[field[2]]
    return found


OPEN_ENUMS = open_enums()


def enum_of(field: FieldDescriptor) -> EnumDescriptor | None:
    """The enum whose values a field holds, also where its type is int32."""
    return field.enum_type or OPEN_ENUMS.get((field.containing_type.name, field.name))


def ways(message: Descriptor, here: Way = ()) -> Iterator[tuple[Way, FieldDescriptor]]:
    """Every field of a message, and of the messages in it."""
    for field in message.fields:
        yield (*here, field.name), field
        if field.message_type is not None:
            yield from ways(field.message_type, (*here, field.name))


def varint(number: int) -> bytes:
    """A number as it stands on the wire; a negative one has ten bytes."""
    number &= 2**64 - 1
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def tag(field: FieldDescriptor | int, wire_type: int) -> bytes:
    """The key in front of a value."""
    number = field if isinstance(field, int) else field.number
    return varint(number << 3 | wire_type)


def nested(field: FieldDescriptor, octets: bytes) -> bytes:
    """A field with a length in front of its value."""
    return tag(field, LENGTH) + varint(len(octets)) + octets


def sample(message: Descriptor, at: Way = (), spoil: Spoil | None = None) -> bytes:
    """A message with all of its fields, each once; the one ``at`` is what ``spoil`` makes of it."""
    return b"".join(_field(field, at, spoil) for field in message.fields)


def _field(field: FieldDescriptor, at: Way, spoil: Spoil | None) -> bytes:
    inner = at[1:] if at[:1] == (field.name,) else ()
    enum = enum_of(field)
    if field.message_type is not None:
        octets = nested(field, sample(field.message_type, inner, spoil if inner else None))
    elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        octets = nested(field, b"text")
    elif field.type == FieldDescriptor.TYPE_DOUBLE:
        octets = tag(field, DOUBLE) + b"\0\0\0\0\0\0\xf0\x3f"
    else:
        octets = tag(field, VARINT) + varint(1 if enum is None else enum.values[0].number)
    return spoil(field, octets) if spoil is not None and at == (field.name,) else octets


def framed(entry: Entry, payload: bytes, message_id: str | None = None) -> bytes:
    """A whole frame with that payload."""
    envelope = common_pb2.ProtoMessage(
        payloadType=entry.payload_type, payload=payload, clientMsgId=message_id
    ).SerializeToString()
    return len(envelope).to_bytes(4, "big") + envelope
