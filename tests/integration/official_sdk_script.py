"""Runs in the environment of the official SDK, never in ours: one client's first minute.

Everything here is the SDK's own way of doing it. The port and the credentials come from the
environment; each step is printed, and the exit status is 0 when all of them were made.
"""

from __future__ import annotations

import os
import sys

from ctrader_open_api import Client, Protobuf, TcpProtocol
from ctrader_open_api.messages.OpenApiMessages_pb2 import (
    ProtoOAAccountAuthReq,
    ProtoOAApplicationAuthReq,
    ProtoOAErrorRes,
    ProtoOASpotEvent,
    ProtoOASubscribeSpotsReq,
    ProtoOASymbolByIdReq,
    ProtoOASymbolsListReq,
)
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

ACCOUNT = int(os.environ["SIMULATOR_ACCOUNT_ID"])
SPOTS_WANTED = 20
GIVE_UP_AFTER_S = 30

outcome = {"status": 1}
spots = []


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def finish(code):
    outcome["status"] = code
    if reactor.running:
        reactor.stop()


def received(_, envelope):
    if envelope.payloadType != ProtoOASpotEvent().payloadType:
        return
    spots.append(Protobuf.extract(envelope))
    if len(spots) == SPOTS_WANTED:
        first = spots[0]
        assert first.ctidTraderAccountId == ACCOUNT
        assert first.HasField("bid")
        assert first.HasField("ask")
        assert any(one.HasField("bid") != one.HasField("ask") for one in spots)
        say(f"spots {len(spots)}")
        finish(0)


@inlineCallbacks
def talk(client):
    def ask(request):
        return client.send(request).addCallback(checked)

    def checked(envelope):
        answer = Protobuf.extract(envelope)
        if isinstance(answer, ProtoOAErrorRes):
            raise RuntimeError(f"{answer.errorCode}: {answer.description}")
        return answer

    request = ProtoOAApplicationAuthReq()
    request.clientId = os.environ["SIMULATOR_CLIENT_ID"]
    request.clientSecret = os.environ["SIMULATOR_CLIENT_SECRET"]
    yield ask(request)
    say("application authorised")

    request = ProtoOAAccountAuthReq()
    request.ctidTraderAccountId = ACCOUNT
    request.accessToken = os.environ["SIMULATOR_ACCESS_TOKEN"]
    answer = yield ask(request)
    say(f"account {answer.ctidTraderAccountId} authorised")

    request = ProtoOASymbolsListReq()
    request.ctidTraderAccountId = ACCOUNT
    answer = yield ask(request)
    names = {one.symbolName: one.symbolId for one in answer.symbol}
    say(f"symbols {len(names)}")

    request = ProtoOASymbolByIdReq()
    request.ctidTraderAccountId = ACCOUNT
    request.symbolId.append(names["EURUSD"])
    answer = yield ask(request)
    say(f"digits {answer.symbol[0].digits}")

    request = ProtoOASubscribeSpotsReq()
    request.ctidTraderAccountId = ACCOUNT
    request.symbolId.extend(names[name] for name in ("EURUSD", "GBPUSD", "XAUUSD"))
    yield ask(request)
    say("subscribed")


def connected(client):
    say("connected")
    talk(client).addErrback(lambda failure: (say(failure.getTraceback()), finish(1)))


def main():
    client = Client("localhost", int(os.environ["VENUE_PORT"]), TcpProtocol)
    client.setConnectedCallback(connected)
    client.setDisconnectedCallback(lambda _, reason: say(f"disconnected: {reason.value}"))
    client.setMessageReceivedCallback(received)
    client.startService()
    reactor.callLater(GIVE_UP_AFTER_S, finish, 2)
    reactor.run()
    sys.exit(outcome["status"])


main()
