"""The resource tree: WebSocket, REST and files on one port, behind one door."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from ctrader_twisted.web import asyncapi, problems
from ctrader_twisted.web.arrivals import ArrivalChannel, ArrivingRequest
from ctrader_twisted.web.callers import NoRoom
from ctrader_twisted.web.client_errands import ClientLog
from ctrader_twisted.web.doors import Doors, Visitor
from ctrader_twisted.web.files import OneFile, StaticFile, StaticFiles
from ctrader_twisted.web.first_look import FirstLook, UpgradeRequest
from ctrader_twisted.web.problems import Refused
from ctrader_twisted.web.request_head import STREAMS, asks_upgrade, becomes_websocket

# Seconds between two requests on one connection. Longer than the 60 s of most load balancers: if we
# closed first, a request that the balancer sends at that moment would be lost.
IDLE_S = 75


class Upgrade(Resource):
    """Where a request becomes a WebSocket, and its visitor goes along."""

    isLeaf = True

    def __init__(self, factory: Any) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Any) -> bytes | int:
        """Hand the connection over; Refused for whoever did not ask for that, or cannot."""
        refused = why_not(request)
        if refused is not None:
            raise refused
        bound = _Bound(self._factory, request.visitor, request.channel)
        answer: bytes | int = WebSocketResource(bound).render(request)
        return answer


def why_not(request: Any) -> Refused | None:
    """Why this request for the tick stream does not become a WebSocket; None when it does."""
    if request.path not in STREAMS:
        return problems.not_found(request.path)
    if request.method != b"GET":
        return problems.not_allowed(request.method, "GET")
    if not asks_upgrade(request):
        return Refused(
            426,
            "this address speaks WebSocket only",
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
        )
    if request.body_bytes:
        return Refused(400, "a request for a WebSocket has no body", code="BAD_HANDSHAKE")
    return None


class _Bound:
    """A factory for one connection: its protocol knows who came."""

    def __init__(self, factory: Any, visitor: Visitor, channel: Any) -> None:
        self._factory = factory
        self._visitor = visitor
        self._channel = channel

    def buildProtocol(self, address: IAddress) -> Any:
        protocol = self._factory.buildProtocol(address)
        protocol.visitor = self._visitor
        protocol.place = self._channel.place
        # What came in one packet with the request is for it.
        self._channel.heir = protocol
        return protocol


class Root(Resource):
    """WebSocket upgrades on ``/ws`` and ``/`` go to the tick stream, browsers to the page, and
    everything else to REST.
    """

    def __init__(self, *, tick_stream: IResource, rest: IResource, files: StaticFiles) -> None:
        super().__init__()
        self._tick_stream = tick_stream
        self._rest = rest
        self._files = files
        self._asyncapi = OneFile(StaticFile.of("asyncapi.json", asyncapi.encoded()))

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """The resource for the first segment of the path."""
        if path == b"ws" or becomes_websocket(request):
            return self._tick_stream
        if path == b"static":
            return self._files
        if path == b"asyncapi.json" and not request.postpath:
            return self._asyncapi
        if path == b"favicon.ico" and not request.postpath:
            return self._files.icon
        # Who asks from a terminal gets a few lines of text there, from REST.
        if path == b"" and b"text/html" in (request.getHeader(b"accept") or b""):
            return self._files.page
        # REST sees the whole path: what was taken from it to come here is put back.
        request.postpath = [path, *(request.postpath or ())]
        request.prepath = (request.prepath or [])[:-1]
        return self._rest


class GuardedSite(Site):
    """A site with a door, and without an access log: health checks would fill it."""

    noisy = False
    # Not Twisted's generic one, which is there for HTTP/2: a WebSocket needs HTTP/1.1.
    protocol: Any = ArrivalChannel

    def __init__(
        self,
        root: IResource,
        *,
        tick_stream: Any,
        doors: Doors,
        body_limit: int,
        arrival_timeout_s: float,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(
            root,
            requestFactory=ArrivingRequest,
            timeout=IDLE_S,
            reactor=reactor,
            # Nobody sends us forms, and whoever does shall not make us read them.
            parsePOSTFormSubmission=False,
        )
        self.client_log = ClientLog(reactor)
        self._doors = doors
        self._tick_stream = tick_stream
        self.body_limit = body_limit
        self.arrival_timeout_s = arrival_timeout_s

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """For a new connection: whose it is, its first bytes will tell."""
        place = self._doors.place(addr)
        return NoRoom() if place is None else FirstLook(self, addr, place)

    def build_channel(self, address: IAddress | None) -> Any:
        """For a connection that speaks HTTP."""
        return super().buildProtocol(address)

    def build_websocket(self, request: UpgradeRequest, address: IAddress | None) -> Any:
        """For a connection that is a WebSocket from its first bytes on. May raise Refused."""
        visitor = self._doors.arrive(request)
        protocol = self._tick_stream.buildProtocol(address)
        protocol.visitor = visitor
        return protocol

    def cors_headers(self, request: Any) -> dict[bytes, bytes]:
        """Return the CORS headers of the answer to a request, the same for every status."""
        return self._doors.cors_headers(request)

    def acceptableProtocols(self) -> list[bytes]:
        """Return the ALPN protocols: HTTP/1.1 only, which a WebSocket needs. Twisted would add h2
        if the packages for it are installed.
        """
        return [b"http/1.1"]

    def arrived(self, request: ArrivingRequest) -> None:
        """Look at whoever asks. Raises Refused when the request goes no further."""
        request.visitor = self._doors.arrive(request)
        if request.visitor.key is not None:
            request.channel.place.key_shown()

    def log(self, request: object) -> None:
        """Nothing."""


def make_site(
    *,
    tick_stream: Any,
    rest: IResource,
    doors: Doors,
    body_limit: int,
    arrival_timeout_s: float,
    reactor: IReactorTime,
) -> Site:
    """The one site of the daemon."""
    return GuardedSite(
        Root(tick_stream=Upgrade(tick_stream), rest=rest, files=StaticFiles()),
        tick_stream=tick_stream,
        doors=doors,
        body_limit=body_limit,
        arrival_timeout_s=arrival_timeout_s,
        reactor=reactor,
    )
