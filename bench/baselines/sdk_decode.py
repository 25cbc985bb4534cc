"""What the official SDK spends on a frame: receive, extract, merge, json.dumps. Prints JSON.

python sdk_decode.py FILE      (frames with their lengths, as they come from a socket)
"""

import json
import sys
import time
from pathlib import Path

from ctrader_open_api import Protobuf, TcpProtocol
from sdk_bring_up import SPOT, Quotes
from twisted.internet.testing import StringTransport

CHUNK = 16_384


class Sink:
    """Stands where the SDK's factory does."""

    numberOfMessagesToSendPerSecond = 5

    def __init__(self):
        self.frames = self.written = 0
        self.quotes = Quotes()
        self.quotes.names = {number: f"SYM{number - 1:03d}" for number in range(1, 1000)}

    def connected(self, protocol):
        pass

    def received(self, envelope):
        self.frames += 1
        if envelope.payloadType == SPOT:
            tick = self.quotes.merge(Protobuf.extract(envelope), time.time_ns() // 1_000_000)
            if tick is not None:
                self.written += len(json.dumps(tick, separators=(",", ":")).encode())


def main():
    stream = Path(sys.argv[1]).read_bytes()
    protocol = TcpProtocol()
    protocol.factory = sink = Sink()
    protocol.makeConnection(StringTransport())
    chunks = [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]
    before = time.process_time()
    for chunk in chunks:
        protocol.dataReceived(chunk)
    spent = time.process_time() - before
    print(json.dumps({"frames": sink.frames, "cpu_s": spent, "written": sink.written}))


if __name__ == "__main__":
    main()
