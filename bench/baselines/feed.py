"""What the Python baselines share: records in, ticks out. Standard library only."""

import argparse
import struct
import time

RECORD = struct.Struct(">IQQQ")


def arguments(**more):
    """Where to listen, and where the venue is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--feed-port", type=int, required=True)
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    return parser.parse_args()


class Feed:
    """28-byte records, however they are cut."""

    def __init__(self):
        self._rest = b""
        self._seqs = {}

    def ticks(self, some):
        """Each tick as the object that becomes its JSON."""
        some = self._rest + some
        whole = len(some) // RECORD.size * RECORD.size
        self._rest = some[whole:]
        received = time.time_ns() // 1_000_000
        for index, bid, ask, stamp in RECORD.iter_unpack(some[:whole]):
            yield self.tick(index, bid, ask, stamp, received)

    def tick(self, index, bid, ask, stamp, received):
        """One tick."""
        seq = self._seqs[index] = self._seqs.get(index, 0) + 1
        return {
            "type": "tick",
            "symbol": f"SYM{index:03d}",
            "symbolId": index + 1,
            "bid": bid / 100_000,
            "ask": ask / 100_000,
            "spread": round((ask - bid) / 100_000, 5),
            "timestamp": stamp,
            "seq": seq,
            "receivedAt": received,
        }


def acknowledgement(symbols):
    """The answer to subscribe."""
    return {
        "type": "subscribeResponse",
        "results": [{"symbol": symbol, "status": "subscribed"} for symbol in symbols],
        "symbols": symbols,
    }
