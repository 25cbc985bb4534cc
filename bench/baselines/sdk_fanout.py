"""The official SDK with the fan-out that its users write: Autobahn, one ``sendMessage`` a client.

python sdk_fanout.py --port P --feed-port F      (the feed speaks TLS and protobuf)
"""

import json
import time

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from feed import acknowledgement, arguments
from sdk_bring_up import Quotes, connect
from twisted.internet import reactor

wanting = {}
quotes = Quotes()


class Stream(WebSocketServerProtocol):
    symbols = ()

    def onMessage(self, payload, isBinary):
        self.symbols = json.loads(payload)["symbols"]
        for symbol in self.symbols:
            wanting.setdefault(symbol, {})[self] = None
        self.sendMessage(json.dumps(acknowledgement(self.symbols)).replace(" ", "").encode())

    def onClose(self, wasClean, code, reason):
        for symbol in self.symbols:
            wanting[symbol].pop(self, None)


def spot(event):
    tick = quotes.merge(event, time.time_ns() // 1_000_000)
    if tick is not None:
        payload = json.dumps(tick, separators=(",", ":")).encode()
        for client in list(wanting.get(tick["symbol"], ())):
            client.sendMessage(payload)


if __name__ == "__main__":
    options = arguments()
    factory = WebSocketServerFactory()
    factory.protocol = Stream
    reactor.listenTCP(options.port, factory, backlog=4096, interface="127.0.0.1")
    connect(options.feed_port, quotes, spot)
    reactor.run()
