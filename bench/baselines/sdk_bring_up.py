"""The official SDK up to the first price, the SDK's own way. It does not verify the certificate."""

from ctrader_open_api import Client, Protobuf, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import (
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOASpotEvent,
    ProtoOASubscribeSpotsReq,
    ProtoOASymbolsListReq,
)
from twisted.internet import defer

ACCOUNT = 1_000_001
SPOT = ProtoOASpotEvent().payloadType


class Quotes:
    """The last bid and ask of each symbol, and its sequence numbers."""

    def __init__(self):
        self.names = {}
        self._sides = {}
        self._seqs = {}

    def merge(self, event, received):
        """The whole tick as the object that becomes its JSON; None while a side is missing."""
        number = event.symbolId
        sides = self._sides.setdefault(number, [None, None])
        if event.HasField("bid"):
            sides[0] = event.bid
        if event.HasField("ask"):
            sides[1] = event.ask
        bid, ask = sides
        if bid is None or ask is None:
            return None
        seq = self._seqs[number] = self._seqs.get(number, 0) + 1
        return {
            "type": "tick",
            "symbol": self.names[number],
            "symbolId": number,
            "bid": bid / 100_000,
            "ask": ask / 100_000,
            "spread": round((ask - bid) / 100_000, 5),
            "timestamp": event.timestamp,
            "seq": seq,
            "receivedAt": received,
        }


def connect(port, quotes, spot):
    """A client that authenticates, subscribes to everything, and calls ``spot`` for each event."""

    @defer.inlineCallbacks
    def bring_up(client):
        yield client.send(ProtoOAApplicationAuthReq(clientId="bench", clientSecret="bench"))
        account = {"ctidTraderAccountId": ACCOUNT}
        yield client.send(ProtoOAAccountAuthReq(accessToken="bench", **account))
        answer = yield client.send(ProtoOASymbolsListReq(**account))
        quotes.names = {s.symbolId: s.symbolName for s in Protobuf.extract(answer).symbol}
        request = ProtoOASubscribeSpotsReq(subscribeToSpotTimestamp=True, **account)
        request.symbolId.extend(quotes.names)
        yield client.send(request)

    def received(_, envelope):
        if envelope.payloadType == SPOT:
            spot(Protobuf.extract(envelope))

    client = Client("127.0.0.1", port, TcpProtocol)
    client.setConnectedCallback(lambda client: bring_up(client).addErrback(print))
    client.setMessageReceivedCallback(received)
    client.startService()
    return client
