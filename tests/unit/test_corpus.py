"""What coverage-guided fuzzing has found worth keeping, run again without it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.upstream import translate
from ctrader_twisted.wire.codec import decode, encode
from tests.fuzz.targets import CORPUS, TARGETS
from tests.unit.fakes import symbols_answer


class CorpusTest(SynchronousTestCase):
    """Every kept input through its target."""

    def test_codec(self) -> None:
        """Any bytes as a frame of the venue: a message or a ProtocolError, and it reads back."""
        self.run_through("codec")

    def test_requests(self) -> None:
        """Any bytes as a client's message: a request or a ClientRequestError."""
        self.run_through("requests")

    def test_text_in_another_encoding(self) -> None:
        """A description in Latin-1 is read with replacement characters, and costs nothing."""
        octets = encode(symbols_answer({1: "DAX"})).replace(b"DAX", b"D\xc4X")
        message: Any = decode(octets).message
        (symbol,) = translate.symbols(message)
        self.assertEqual((symbol.name, symbol.key), ("D\ufffdX", "D\ufffdX"))

    def run_through(self, name: str) -> None:
        """All files of one corpus."""
        files = sorted((CORPUS / name).iterdir())
        self.assertGreater(len(files), 10)
        for file in files:
            TARGETS[name](file.read_bytes())
