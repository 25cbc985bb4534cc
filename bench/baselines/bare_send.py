"""A bare loop of sends: the least that Python can do. No framework, no sets of symbols, no errors.

    python bare_send.py --port P --feed-port F [--batch]

One frame for each tick, made once; one ``send`` for each tick and client, or with ``--batch`` one
for each client and read of the feed. Whoever sends anything is given every tick.
"""

import base64
import hashlib
import json
import select
import socket

from feed import RECORD, acknowledgement, arguments

SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TICK = (
    '{"type":"tick","symbol":"SYM%03d","symbolId":%d,"bid":%.5f,"ask":%.5f,"spread":%.5f,'
    '"timestamp":%d,"seq":%d,"receivedAt":%d}'
)


def frame(payload):
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return b"\x81\x7e" + size.to_bytes(2, "big") + payload


class Loop:
    def __init__(self, options):
        self.batch = options.batch
        self.epoll = select.epoll()
        self.door = socket.create_server(("127.0.0.1", options.port), backlog=4096)
        self.feed = socket.create_connection(("127.0.0.1", options.feed_port))
        self.joining = {}
        self.sends = {}
        self.seqs = [0] * 10_000
        self.rest = b""
        for sock in (self.door, self.feed):
            self.epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self):
        door, feed = self.door.fileno(), self.feed.fileno()
        while True:
            for fd, _ in self.epoll.poll():
                if fd == feed:
                    if not self.fan():
                        return
                elif fd == door:
                    self.enter()
                elif fd in self.joining:
                    self.join(fd)
                else:
                    # A close, or a pong; either way it is over.
                    self.sends.pop(fd, None)
                    self.epoll.unregister(fd)

    def fan(self):
        some = self.feed.recv(65_536)
        received = 0
        self.rest += some
        whole = len(self.rest) // RECORD.size * RECORD.size
        frames = []
        for index, bid, ask, stamp in RECORD.iter_unpack(self.rest[:whole]):
            received = received or stamp // 1000
            seq = self.seqs[index] = self.seqs[index] + 1
            a, b, spread = bid / 100_000, ask / 100_000, (ask - bid) / 100_000
            text = TICK % (index, index + 1, a, b, spread, stamp, seq, received)
            frames.append(frame(text.encode()))
        self.rest = self.rest[whole:]
        for payload in [b"".join(frames)] if self.batch else frames:
            for send in self.sends.values():
                send(payload)
        return some

    def enter(self):
        sock, _ = self.door.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.joining[sock.fileno()] = (sock, False)
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def join(self, fd):
        sock, upgraded = self.joining[fd]
        some = sock.recv(65_536)
        if not some:
            del self.joining[fd]
            return
        if not upgraded:
            key = some.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + SALT).digest())
            sock.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.joining[fd] = (sock, True)
            return
        del self.joining[fd]
        sock.send(frame(json.dumps(acknowledgement([])).replace(" ", "").encode()))
        self.sends[fd] = sock.send


if __name__ == "__main__":
    Loop(arguments(batch={"action": "store_true"})).run()
