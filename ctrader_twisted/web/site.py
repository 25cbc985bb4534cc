"""The resource tree: WebSocket, REST and files on one port."""

from __future__ import annotations

from autobahn.twisted.resource import WebSocketResource
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

HEADERS_TIMEOUT_S = 60


class Root(Resource):
    """WebSocket upgrades on ``/ws`` and ``/`` go to the tick stream, everything else to REST."""

    def __init__(self, *, tick_stream: IResource, rest: IResource) -> None:
        super().__init__()
        self._tick_stream = tick_stream
        self._rest = rest

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """The resource for the first segment of the path."""
        asks_upgrade = b"websocket" in (request.getHeader(b"upgrade") or b"").lower()
        if path == b"ws" or (path == b"" and asks_upgrade):
            return self._tick_stream
        # REST sees the whole path: what was taken from it to come here is put back.
        request.postpath = [path, *(request.postpath or ())]
        request.prepath = (request.prepath or [])[:-1]
        return self._rest


class QuietSite(Site):
    """A site without the access log: health checks would fill it."""

    noisy = False

    def log(self, request: object) -> None:
        """Nothing."""


def make_site(*, tick_stream: object, rest: IResource) -> Site:
    """The one site of the daemon. Slow headers are cut after a minute; WebSockets are not."""
    root = Root(tick_stream=WebSocketResource(tick_stream), rest=rest)
    return QuietSite(root, timeout=HEADERS_TIMEOUT_S)
