"""A venue that is newer than our definitions, or careless: one message is lost, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.upstream import translate
from ctrader_twisted.wire.codec import HEARTBEAT, REGISTRY, SPOT, Entry, decode
from tests.unit.fakes import frame, spot
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines
from tests.unit.test_upstream_protocol import ProtocolCase
from tests.unit.wire_samples import (
    DOUBLE,
    LENGTH,
    OF_THE_VENUE,
    VARINT,
    Way,
    enum_of,
    framed,
    nested,
    sample,
    tag,
    varint,
    ways,
)

Place = tuple[Entry, Way, FieldDescriptor]
NEWER_VALUES = (99, 2**31 - 1, -1)
#: What these say is acted upon, when it can be read.
MEANT = {
    "ProtoErrorRes",
    "ProtoOAErrorRes",
    "ProtoOAClientDisconnectEvent",
    "ProtoOAAccountDisconnectEvent",
    "ProtoOAAccountsTokenInvalidatedEvent",
}


def places() -> Iterator[Place]:
    """Every field of everything that the venue sends, at every level."""
    for entry in OF_THE_VENUE:
        for way, field in ways(entry.message_class.DESCRIPTOR):
            yield entry, way, field


def spoilt(place: Place, octets: bytes) -> bytes:
    """A payload with these bytes in place of one field."""
    entry, way, _ = place
    return sample(entry.message_class.DESCRIPTOR, way, lambda *_: octets)


def value_at(message: Any, way: Way) -> Any:
    """What a field holds; of repeated messages the first one's."""
    for name in way:
        message = getattr(message, name)
        if not isinstance(message, (Message, int, str, float, bytes)):
            message = message[0]
    return message


class EnumTest(SynchronousTestCase):
    """A value that our definitions do not have is read as what it is."""

    def test_no_closed_enum(self) -> None:
        """Nothing that the venue sends has an enum for its type, but the inner payload type, which
        is not looked at.
        """
        closed = {field.name for _, _, field in places() if field.enum_type is not None}
        self.assertEqual(closed, {"payloadType"})

    def test_every_enum(self) -> None:
        """At every level: the message is read, and the newer value is in it."""
        seen = set()
        for place in places():
            entry, way, field = place
            if enum_of(field) is None or field.name == "payloadType":
                continue
            seen.add((field.containing_type.name, field.name))
            for number in NEWER_VALUES:
                payload = spoilt(place, tag(field, VARINT) + varint(number))
                message = decode(framed(entry, payload)[4:]).message
                self.assertEqual(value_at(message, way), number, (entry.class_name, way))
        self.assertIn(("ProtoOAExecutionEvent", "executionType"), seen)
        self.assertIn(("ProtoOAMarginCall", "marginCallType"), seen)
        self.assertIn(("ProtoOAGetAccountListByAccessTokenRes", "permissionScope"), seen)
        self.assertGreater(len(seen), 20)

    def test_inner_payload_type(self) -> None:
        """The envelope alone says what a message is."""
        for entry in OF_THE_VENUE:
            field = entry.message_class.DESCRIPTOR.fields_by_name["payloadType"]
            payload = spoilt((entry, ("payloadType",), field), tag(1, VARINT) + varint(9999))
            self.assertIsInstance(decode(framed(entry, payload)[4:]).message, entry.message_class)

    def test_an_execution(self) -> None:
        """The envelope that a newer venue would send, byte by byte."""
        message = decode(bytes.fromhex("08ce10120710cec2f1051863")).message
        assert isinstance(message, api_pb2.ProtoOAExecutionEvent)
        self.assertEqual(message.executionType, 99)

    def test_access_rights(self) -> None:
        """Full rights only when the broker says so: neither unsaid nor newer ones are."""

        def access(*said: int) -> str:
            rights = {"accessRights": said[0]} if said else {}
            message = model_pb2.ProtoOATrader(
                ctidTraderAccountId=1, balance=1, depositAssetId=1, **rights
            )
            return translate.trader(message).access

        self.assertEqual(access(model_pb2.FULL_ACCESS), "full")
        self.assertEqual(access(model_pb2.NO_LOGIN), "no login")
        for said in ((), (99,), (-1,)):
            self.assertEqual(access(*said), "unknown")


class KeptTest(ProtocolCase):
    """Whatever is in a frame of true length: the connection is kept, and later ticks arrive."""

    def make(self, **more: Any) -> Any:
        """Frames of any size."""
        return super().make(**({"frame_limit": 1 << 20} | more))

    def kept(self, octets: bytes, *about: object) -> None:
        """These bytes cost nothing but themselves."""
        self.protocol.dataReceived(octets)
        self.told.clear()
        self.protocol.dataReceived(frame(spot(1, bid=5)))
        self.assertFalse(self.wire.aborted, about)
        self.assertEqual([update.bid for update, _ in self.told.all("received")], [5], about)

    def unreadable(self) -> int:
        """How many were counted."""
        return self.metrics.counted("undecodable_frames")

    def test_missing_fields(self) -> None:
        """A required field that a future venue leaves out, at every level."""
        expected = 0
        for place in places():
            entry, way, field = place
            if field.is_required:
                expected += 1
                self.kept(framed(entry, spoilt(place, b"")), entry.class_name, way)
        self.assertEqual(self.unreadable(), expected)
        self.assertGreater(expected, 200)

    def test_unknown_fields(self) -> None:
        """Fields that we do not have, beside every field."""
        for place in places():
            entry, way, _ = place
            for octets in (tag(1007, VARINT) + b"\1", tag(1007, LENGTH) + b"\3abc"):
                payload = sample(
                    entry.message_class.DESCRIPTOR, way, lambda _, right, more=octets: right + more
                )
                self.kept(framed(entry, payload), entry.class_name, way)
        self.assertEqual(self.unreadable(), 0)

    def test_wrong_wire_types(self) -> None:
        """A number where a text should be, a text where a number should be."""
        for place in places():
            entry, way, field = place
            for octets in (
                tag(field, VARINT) + b"\1",
                tag(field, DOUBLE) + bytes(8),
                nested(field, b"\xff\xff"),
                nested(field, b""),
                tag(field, 5) + bytes(4),
            ):
                self.kept(framed(entry, spoilt(place, octets)), entry.class_name, way)

    def test_lengths_beyond_the_end(self) -> None:
        """A payload whose inner lengths lie."""
        for place in places():
            entry, way, field = place
            lie = tag(field, LENGTH) + varint(2**20)
            self.kept(framed(entry, spoilt(place, lie)), entry.class_name, way)
        self.assertGreater(self.unreadable(), 0)

    def test_texts_that_are_no_text(self) -> None:
        """Every text, with bytes that are not UTF-8."""
        for place in places():
            entry, way, field = place
            if field.type == FieldDescriptor.TYPE_STRING:
                payload = spoilt(place, nested(field, b"\xff\xfe\x80"))
                self.kept(framed(entry, payload), entry.class_name, way)
        self.assertEqual(self.unreadable(), 0)

    def test_payloads_of_garbage(self) -> None:
        """Every type, with bytes that are no message, with and without a client message id."""
        for entry in OF_THE_VENUE:
            for message_id in (None, "c1-1"):
                self.kept(framed(entry, b"\xff\xff\xff", message_id), entry.class_name)
        self.assertEqual(self.unreadable(), 2 * len(OF_THE_VENUE))

    def test_prices_around_it(self) -> None:
        """Prices in front of a spot that cannot be read and behind it, in one read, arrive."""
        entry = REGISTRY.by_number[SPOT]
        bar = spot(1, bid=9)
        bar.trendbar.add()  # type: ignore[attr-defined]
        for payload in (b"\x08", b"\xff" * 7, b"", bytes(200), bar.SerializePartialToString()):
            before = self.unreadable()
            self.told.clear()
            self.protocol.dataReceived(
                frame(spot(1, bid=1)) + framed(entry, payload) + frame(spot(1, bid=2))
            )
            bids = [getattr(one, "bid", 0) for one, _ in self.told.all("received")]
            self.assertEqual([bid for bid in bids if bid], [1, 2])
            self.assertEqual(self.unreadable(), before + 1)
        self.assertFalse(self.wire.aborted)

    def test_told_above(self) -> None:
        """Somebody may wait for what could not be read: it goes on with its id and the reason."""
        entry = REGISTRY.find("ProtoOAAccountAuthRes")
        self.protocol.dataReceived(framed(entry, b"", "c1-7"))
        ((envelope, _),) = self.told.all("received")
        self.assertEqual((envelope.message, envelope.client_message_id), (None, "c1-7"))
        self.assertIn("without required fields: ctidTraderAccountId", str(envelope.error))

    def test_the_log_is_not_flooded(self) -> None:
        """One line for each type, however many come; numbers without end get no end of lines."""
        log = LogLines(self)
        spots, events = REGISTRY.by_number[SPOT], REGISTRY.find("ProtoOAExecutionEvent")
        for _ in range(500):
            self.protocol.dataReceived(framed(spots, b"\x08") + framed(events, b""))
            self.protocol.dataReceived(framed(spots, b"\x08", "with an id"))
        self.assertEqual(self.unreadable(), 1500)
        lines = [line["message"] for line in log.about("ignoring")]
        self.assertEqual(len(lines), 2)
        self.assertIn("payload type 2131: a ProtoOASpotEvent of 1 bytes cannot be read", lines[0])
        self.assertIn("required fields: ctidTraderAccountId, executionType", lines[1])
        for number in range(3000, 4000):
            body = common_pb2.ProtoMessage(payloadType=number).SerializeToString()
            self.protocol.dataReceived(len(body).to_bytes(4, "big") + body)
        self.assertLess(len(log.lines), 110)
        self.assertEqual(self.metrics.counted("unknown_messages"), 1000)

    def test_a_heartbeat_of_any_kind(self) -> None:
        """One with a payload that cannot be read is a sign of life all the same."""
        self.clock.pump([15] * 3)
        self.kept(framed(REGISTRY.by_number[HEARTBEAT], b"\xff\xff"))

    def test_a_thousand_missing_fields(self) -> None:
        """The reason names a few of them."""
        body = nested(_field("ProtoOASymbolsListRes", "symbol"), b"") * 1000
        self.protocol.dataReceived(framed(REGISTRY.find("ProtoOASymbolsListRes"), body, "c1-1"))
        ((envelope, _),) = self.told.all("received")
        self.assertLess(len(str(envelope.error)), 300)
        self.assertIn("and 996 more", str(envelope.error))


class DaemonTest(JoinedCase):
    """The whole daemon: clients notice nothing."""

    def say(self, octets: bytes) -> None:
        """From the venue to us."""
        for connection in self.simulator.venue.connections:
            connection.write(octets)

    def test_every_message(self) -> None:
        """Every type with newer values in all enums at once, without its required fields, and with
        garbage: the account stays connected on its first socket, and ticks.
        """
        self.start("EURUSD", "GBPUSD")
        self.run_for(5)
        told = len(self.floor.states)
        self.mischief.newer_values()
        for entry in OF_THE_VENUE:
            self.say(framed(entry, b"\xff\xff", "an id of somebody else"))
            if entry.class_name not in MEANT:
                self.say(framed(entry, b""))
                self.say(framed(entry, _all_newer(entry)))
        self.run_for(1)
        ticked = len(self.floor.ticks)
        self.run_for(20)
        self.assertEqual(self.floor.states[told:], [])
        self.assertEqual((self.phase(), len(self.joint.attempts)), ("connected", 1))
        self.assertEqual(
            {tick.symbol.name for tick in self.floor.ticks[ticked:]}, {"EURUSD", "GBPUSD"}
        )


def _all_newer(entry: Entry) -> bytes:
    payload = sample(entry.message_class.DESCRIPTOR)
    message = entry.message_class.FromString(payload)
    for way, field in ways(entry.message_class.DESCRIPTOR):
        if enum_of(field) is not None and field.enum_type is None:
            setattr(value_at(message, way[:-1]), field.name, 99)
    # An account that is not ours is not looked into.
    if "ctidTraderAccountId" in entry.message_class.DESCRIPTOR.fields_by_name:
        message.ctidTraderAccountId = 1000001  # type: ignore[attr-defined]
    return message.SerializeToString()


def _field(message: str, name: str) -> FieldDescriptor:
    return REGISTRY.find(message).message_class.DESCRIPTOR.fields_by_name[name]
