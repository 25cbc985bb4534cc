"""The wire: definitions against the facts, the registry, the envelope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ProtocolError, UnknownMessage
from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.wire.codec import (
    REGISTRY,
    SPOT_HEAD_SIZE,
    SPOT_HEADS,
    Envelope,
    decode,
    encode,
    has_unknown_fields,
)
from tests.unit.wire_samples import MODULES, enum_of

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "wire.json").read_text())

SCALARS = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def described(field: FieldDescriptor) -> dict[str, Any]:
    """One field in the vocabulary of wire.json."""
    kind, default = SCALARS.get(field.type), None
    enum = enum_of(field)
    if enum is not None:
        # An int32 in what the venue sends, see model.proto: the bytes are the same.
        kind = f"enum:{enum.name}"
    elif field.message_type is not None:
        kind = f"message:{field.message_type.name}"
    if field.has_default_value:
        default = field.default_value
        if enum is not None:
            default = enum.values_by_number[default].name
    label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
    facts = {
        "number": field.number,
        "name": field.name,
        "type": kind,
        "label": label,
        "default": default,
        "deprecated": field.GetOptions().deprecated,
    }
    return facts | ({"packed": True} if field.is_packed else {})


def normal(fact: dict[str, Any]) -> dict[str, Any]:
    """A field of wire.json with its default in the type that the descriptor gives."""
    if fact["type"] == "bool" and fact["default"] is not None:
        return fact | {"default": str(fact["default"]).lower() == "true"}
    return fact


class DefinitionTests(SynchronousTestCase):
    """Our .proto files say exactly what the recorded definitions say."""

    def test_every_message_and_field(self) -> None:
        """Each message has the recorded fields: number, name, type, label, default."""
        ours: dict[str, Descriptor] = {}
        for module in MODULES:
            ours.update(module.DESCRIPTOR.message_types_by_name)
        self.assertEqual(set(ours), set(FACTS["messages"]))
        for name, facts in FACTS["messages"].items():
            fields = [described(field) for field in ours[name].fields]
            self.assertEqual(
                sorted(fields, key=lambda f: f["number"]),
                sorted(map(normal, facts["fields"]), key=lambda f: f["number"]),
                name,
            )

    def test_every_enum_and_value(self) -> None:
        """Each enum has the recorded names and numbers."""
        ours = {}
        for module in MODULES:
            for name, descriptor in module.DESCRIPTOR.enum_types_by_name.items():
                ours[name] = {value.name: value.number for value in descriptor.values}
        self.assertEqual(ours, FACTS["enums"])

    def test_payload_types(self) -> None:
        """The registry knows every message with a payload type, by the recorded number."""
        recorded = {
            name: facts["payload_type"]
            for name, facts in FACTS["messages"].items()
            if facts["payload_type"] is not None
        }
        self.assertEqual({e.class_name: e.payload_type for e in REGISTRY}, recorded)

    def test_names_cannot_collide_with_the_official_sdk(self) -> None:
        """Files and messages are registered under names of our own."""
        for module in MODULES:
            self.assertTrue(module.DESCRIPTOR.name.startswith("ctrader_twisted/pb/"))
            self.assertEqual(module.DESCRIPTOR.package, "ctrader_twisted.pb")


class RegistryTests(SynchronousTestCase):
    """A message is found by any of its names, or the caller is told."""

    def test_three_spellings(self) -> None:
        """Class name, enum name, number and number as text mean the same message."""
        for entry in REGISTRY:
            for name in (
                entry.class_name,
                entry.enum_name,
                entry.payload_type,
                str(entry.payload_type),
            ):
                self.assertIs(REGISTRY.find(name), entry)

    def test_unknown_names_suggest_the_nearest(self) -> None:
        """A wrong name is an error that helps."""
        for name, hint in (
            ("ProtoOASpotEvnt", "ProtoOASpotEvent"),
            ("proto_oa_spot_event", "PROTO_OA_SPOT_EVENT"),
            (2132 + 1000, "2188"),
        ):
            with self.assertRaises(UnknownMessage) as caught:
                REGISTRY.find(name)
            self.assertIn(hint, str(caught.exception))

    def test_hopeless_names_still_raise(self) -> None:
        """A name like nothing we know is an error without a guess."""
        for name in ("", "?", "9" * 400):
            with self.assertRaises(UnknownMessage):
                REGISTRY.find(name)

    def test_a_class_without_payload_type_cannot_be_sent(self) -> None:
        """Model messages are parts, not messages."""
        with self.assertRaises(UnknownMessage):
            encode(model_pb2.ProtoOAAsset(assetId=1, name="EUR"))


class EnvelopeTests(SynchronousTestCase):
    """Frames to envelopes and back."""

    @given(st.none() | st.text(min_size=1, max_size=40), st.integers(0, 2**63 - 1))
    def test_round_trip(self, message_id: str | None, bid: int) -> None:
        """What was encoded is decoded."""
        spot = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=7, symbolId=1, bid=bid)
        self.assertEqual(decode(encode(spot, message_id)), Envelope(2131, spot, message_id))

    @given(st.binary(max_size=200))
    def test_garbage_is_a_protocol_error_or_a_tolerated_unknown(self, frame: bytes) -> None:
        """No bytes whatever raise anything but ProtocolError."""
        try:
            envelope = decode(frame)
        except ProtocolError:
            return
        self.assertIsInstance(envelope, Envelope)

    @given(st.data())
    def test_truncated_frames(self, data: st.DataObject) -> None:
        """A frame cut anywhere is never taken for the whole message."""
        spot = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=7, symbolId=1, bid=5, ask=6)
        frame = encode(spot)
        cut = data.draw(st.integers(0, len(frame) - 1))
        with self.assertRaises(ProtocolError):
            decode(frame[:cut])

    def test_unknown_payload_type(self) -> None:
        """A type that we do not know is tolerated: number and id are kept, the body is not read."""
        frame = common_pb2.ProtoMessage(payloadType=9999, payload=b"\xff", clientMsgId="x")
        self.assertEqual(decode(frame.SerializeToString()), Envelope(9999, None, "x"))

    def test_missing_required_fields_are_named(self) -> None:
        """protobuf lets them pass; we do not."""
        frame = common_pb2.ProtoMessage(payloadType=2131, payload=b"")
        with self.assertRaises(ProtocolError) as caught:
            decode(frame.SerializeToString())
        self.assertIn("ProtoOASpotEvent", str(caught.exception))
        self.assertIn("symbolId", str(caught.exception))

    def test_missing_payload_type(self) -> None:
        """An envelope without its type is a protocol error."""
        with self.assertRaises(ProtocolError):
            decode(b"")

    def test_sending_without_required_fields(self) -> None:
        """What lacks a required field does not leave; the error names the field."""
        with self.assertRaises(ProtocolError) as caught:
            encode(api_pb2.ProtoOAAccountAuthReq(ctidTraderAccountId=1))
        self.assertIn("accessToken", str(caught.exception))

    def test_heartbeat_with_empty_payload(self) -> None:
        """Heartbeats come with or without a payload."""
        frame = common_pb2.ProtoMessage(payloadType=51).SerializeToString()
        self.assertEqual(decode(frame).message, common_pb2.ProtoHeartbeatEvent())

    def test_unknown_fields_are_tolerated_and_seen(self) -> None:
        """Fields newer than our definitions survive decoding and can be counted."""
        body = api_pb2.ProtoOAVersionRes(version="93").SerializeToString() + b"\xf8\x07\x01"
        frame = common_pb2.ProtoMessage(payloadType=2105, payload=body).SerializeToString()
        message = decode(frame).message
        assert message is not None
        self.assertTrue(has_unknown_fields(message))
        self.assertFalse(has_unknown_fields(api_pb2.ProtoOAVersionRes(version="93")))


class SpotHeadsTests(SynchronousTestCase):
    """By its head and its size a frame is known to be nothing but a spot event."""

    def is_short(self, frame: bytes) -> bool:
        """True when the head says so."""
        return frame[:SPOT_HEAD_SIZE] == SPOT_HEADS.get(len(frame))

    @given(
        st.sampled_from([2131, 2130, 51, 2131 + 2**14]),
        st.binary(max_size=150),
        st.none() | st.text(max_size=3),
    )
    def test_only_such(self, number: int, payload: bytes, message_id: str | None) -> None:
        """A spot of usual size without an id, and no other frame."""
        envelope = common_pb2.ProtoMessage(
            payloadType=number, payload=payload, clientMsgId=message_id
        )
        expected = number == 2131 and 0 < len(payload) < 128 and message_id is None
        frame = envelope.SerializeToString()
        self.assertEqual(self.is_short(frame), expected)
        if expected:
            self.assertEqual(frame[SPOT_HEAD_SIZE:], payload)

    @given(st.integers(1, 127), st.binary(max_size=300))
    def test_whatever_follows(self, size: int, rest: bytes) -> None:
        """However odd the rest is: all of it is the payload, or the head does not say so."""
        frame = SPOT_HEADS[SPOT_HEAD_SIZE + size] + rest
        self.assertEqual(self.is_short(frame), size == len(rest))
        if size == len(rest):
            self.assertEqual(common_pb2.ProtoMessage.FromString(frame).payload, rest)
