"""Autobahn as its examples show it: one ``sendMessage`` for each client and tick.

python autobahn_naive.py --port P --feed-port F
"""

import json

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from feed import Feed, acknowledgement, arguments
from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import protocol, reactor  # noqa: E402

wanting = {}


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


class Upstream(protocol.Protocol):
    def connectionMade(self):
        self.feed = Feed()

    def dataReceived(self, data):
        for tick in self.feed.ticks(data):
            payload = json.dumps(tick, separators=(",", ":")).encode()
            for client in list(wanting.get(tick["symbol"], ())):
                client.sendMessage(payload)

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


def main():
    options = arguments()
    factory = WebSocketServerFactory()
    factory.protocol = Stream
    reactor.listenTCP(options.port, factory, backlog=4096, interface="127.0.0.1")
    upstream = protocol.ClientFactory.forProtocol(Upstream)
    reactor.connectTCP("127.0.0.1", options.feed_port, upstream)
    reactor.run()


if __name__ == "__main__":
    main()
