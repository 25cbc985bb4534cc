"""What clients offer as extensions: the good is accepted, the rest passed over, nobody refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web.extension_offers import DEFLATE, acceptable_offers, read_extensions
from tests.rfc6455 import HANDSHAKE
from tests.unit.stream_case import StreamCase
from tests.unit.stream_wires import Wire

#: What is offered, and what is agreed on when compression is switched on.
ACCEPTED = {
    "permessage-deflate": "permessage-deflate",
    "Permessage-Deflate": "permessage-deflate",
    "permessage-deflate; client_max_window_bits": "permessage-deflate",
    "permessage-deflate;client_max_window_bits=15": "permessage-deflate",
    # A hint of the client about itself, which costs us nothing.
    "permessage-deflate; client_max_window_bits=8": "permessage-deflate",
    "permessage-deflate; client_no_context_takeover": "permessage-deflate",
    "permessage-deflate; Server_No_Context_Takeover": (
        "permessage-deflate; server_no_context_takeover"
    ),
    "permessage-deflate; server_max_window_bits=9": (
        "permessage-deflate; server_max_window_bits=9"
    ),
    'permessage-deflate; server_max_window_bits="10"': (
        "permessage-deflate; server_max_window_bits=10"
    ),
    "permessage-deflate ; server_max_window_bits = 12 ; client_max_window_bits": (
        "permessage-deflate; server_max_window_bits=12"
    ),
    " , ,permessage-deflate,, ": "permessage-deflate",
    # The first of several that can be accepted.
    "permessage-deflate; server_max_window_bits=8, permessage-deflate": "permessage-deflate",
    "permessage-deflate; server_max_window_bits=8, "
    "permessage-deflate; server_max_window_bits=11, permessage-deflate": (
        "permessage-deflate; server_max_window_bits=11"
    ),
    "permessage-deflate; mux=1, permessage-deflate; client_max_window_bits": "permessage-deflate",
    "x-webkit-deflate-frame, permessage-deflate": "permessage-deflate",
    "permessage-bzip2, permessage-snappy, permessage-brotli; x=1, permessage-deflate": (
        "permessage-deflate"
    ),
    'mux; max-channels=4; flow-control, foo; bar="baz", permessage-deflate': "permessage-deflate",
}

#: What is declined as a whole: the connection goes on without an extension.
DECLINED = (
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=010",
    "permessage-deflate; server_max_window_bits=+10",
    "permessage-deflate; server_max_window_bits=10.0",
    "permessage-deflate; server_max_window_bits=x",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=09",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover=true",
    "permessage-deflate; client_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; unknown",
    "permessage-deflate; unknown=1; server_max_window_bits=10",
    "permessage-bzip2",
    "permessage-bzip2; client_max_compress_level=99",
    "x-webkit-deflate-frame",
    "foo; bar=1",
    # What breaks the grammar offers nothing, whatever else is in it.
    "",
    ",",
    ";",
    "permessage-deflate;",
    "permessage-deflate; ;, permessage-deflate",
    "permessage-deflate; =10",
    "permessage-deflate; server_max_window_bits=",
    'permessage-deflate; server_max_window_bits="10',
    'permessage-deflate; server_max_window_bits=10"',
    'permessage-deflate; server_max_window_bits=""',
    'permessage-deflate; server_max_window_bits="1 0"',
    'permessage-deflate; x="a,b", permessage-deflate',
    "permessage-deflate permessage-deflate",
    "permessage-deflate server_max_window_bits=10",
    "=, permessage-deflate",
    "(comment), permessage-deflate",
    "permessage-deflate, \u00e9",
    "permessage-deflate; a=b=c, permessage-deflate",
)


class ReadingTest(SynchronousTestCase):
    """The grammar."""

    def test_several(self) -> None:
        """Names and parameters in lower case, values as they are."""
        header = ' Mux ; max-channels = 4;FLOW,permessage-deflate; X="Y" ,, a'
        expected = [
            ("mux", [("max-channels", "4"), ("flow", None)]),
            ("permessage-deflate", [("x", "Y")]),
            ("a", []),
        ]
        self.assertEqual(read_extensions(header), expected)

    @given(st.text(alphabet='ab=;," \t8\\', max_size=60))
    def test_anything(self, header: str) -> None:
        """No text breaks the reader; what it reads can be written and read again."""
        found = read_extensions(header)
        written = ", ".join(
            "; ".join([name, *(n if v is None else f"{n}={v}" for n, v in parameters)])
            for name, parameters in found
        )
        self.assertEqual(read_extensions(written), found)

    def test_long(self) -> None:
        """A header as long as one may be is read in no time."""
        for part in (" ", ",", "a", "a,", ";a", '="', " ;", "a "):
            read_extensions(f"permessage-deflate{part * (16_000 // len(part))}")

    def test_parameters(self) -> None:
        """As Autobahn takes them; the client's hint about its own window is not passed on."""
        header = "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"
        parameters = {"server_max_window_bits": ["9"], "client_max_window_bits": [True]}
        self.assertEqual(acceptable_offers(header), [(DEFLATE, parameters)])


class HandshakeTest(StreamCase):
    """Handshakes with these offers."""

    def agreed(self, *headers: str) -> str | None:
        """What the answer to a handshake agrees on; it must be one."""
        lines = "".join(f"Sec-WebSocket-Extensions: {header}\r\n" for header in headers)
        wire = Wire(self.clock)
        wire.protocol = self.factory.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        wire.protocol.dataReceived(HANDSHAKE + lines.encode("latin-1") + b"\r\n")
        wire.turn()
        answer = wire.kernel.octets.decode("latin-1")
        wire.lose()
        self.assertTrue(answer.startswith("HTTP/1.1 101 "), (headers, answer))
        found = [
            line.partition(": ")[2]
            for line in answer.split("\r\n")
            if line.lower().startswith("sec-websocket-extensions")
        ]
        return found[0] if found else None

    def test_switched_on(self) -> None:
        """The first offer that can be accepted is, with the parameters that it asked for."""
        self.build(compression=True)
        for header, expected in ACCEPTED.items():
            self.assertEqual(self.agreed(header), expected, header)

    def test_declined(self) -> None:
        """The connection goes on without."""
        self.build(compression=True)
        for header in DECLINED:
            self.assertIsNone(self.agreed(header), header)

    def test_switched_off(self) -> None:
        """Every offer is passed over."""
        for header in (*ACCEPTED, *DECLINED):
            self.assertIsNone(self.agreed(header), header)
