"""A control port: one JSON object a line in, one JSON answer a line out.

``{"do": "drop"}`` flips a switch, its arguments stand beside ``do``; ``{"do": "help"}`` lists the
switches and ``{"do": "state"}`` tells how the venue is. Loopback only.

The first line must be a JSON object, or the connection is closed: a web page can send an HTTP
request to any port of this machine, with a command in its body.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from ctrader_twisted.errors import CtraderError
from ctrader_twisted.simulator.mischief import describe
from ctrader_twisted.simulator.service import Simulator

log = Logger()

LOOPBACK = "127.0.0.1"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_HTTP = re.compile(rb"[!-~]+ +[!-~]+ +HTTP/[0-9]", re.IGNORECASE)


def is_object(line: bytes) -> bool:
    """Return True if the line is a JSON object."""
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


class Controls:
    """Lines to answers; no socket."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one line; bad input is answered, never raised."""
        try:
            return {"ok": True, **self._do(line)}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return {"ok": False, "error": f"this is not a JSON object: {error}"}
        except (CtraderError, LookupError) as error:
            return {"ok": False, "error": str(error)}

    def _do(self, line: bytes) -> dict[str, Any]:
        arguments = _decode(line)
        name = arguments.pop("do", None)
        if not isinstance(name, str):
            raise LookupError('say what to "do", by name; {"do": "help"} lists the switches')
        if name == "help":
            return {"switches": self._help()}
        if name == "state":
            return self._state()
        felt = self._simulator.mischief.flip(name, arguments)
        log.info("Control: {name}, felt by {felt}.", name=name, felt=felt)
        return {"felt": felt}

    def _help(self) -> dict[str, dict[str, str]]:
        return {
            name: {"arguments": describe(switch), "what": " ".join((switch.__doc__ or "").split())}
            for name, switch in sorted(self._simulator.mischief.switches().items())
        }

    def _state(self) -> dict[str, Any]:
        venue = self._simulator.venue
        return {
            "port": self._simulator.port,
            "connections": len(venue.connections),
            "applications": sum(one.application for one in venue.connections),
            "accounts": sorted({each for one in venue.connections for each in one.accounts}),
            "subscriptions": venue.feed.subscriptions,
            "ticks_delivered": venue.feed.delivered,
            "rate": venue.feed.rate,
            "arrivals": venue.arrivals,
        }


class ControlConnection(LineOnlyReceiver):
    """One person, or script, at the switches."""

    delimiter = b"\n"
    MAX_LENGTH = 64 * 1024

    def __init__(self, controls: Controls, everybody: set[ControlConnection]) -> None:
        self._controls = controls
        self._everybody = everybody
        # Whether the first line was a JSON object.
        self._speaks_json = False

    def connectionMade(self) -> None:
        """Somebody is there."""
        self._everybody.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Gone."""
        self._everybody.discard(self)

    def lineReceived(self, line: bytes) -> None:
        """One command."""
        if not line.strip():
            return
        self._speaks_json = self._speaks_json or is_object(line)
        if self._speaks_json:
            self.sendLine(msgspec.json.encode(self._controls.answer(line)))
        elif _HTTP.match(line):
            self._refuse("this port takes JSON objects, one a line, and no HTTP")
        else:
            self._refuse("the first line is not a JSON object, so the connection is closed")

    def lineLengthExceeded(self, line: bytes) -> None:
        """Too much; say so and close."""
        self._refuse(f"a line is at most {self.MAX_LENGTH} bytes")

    def _refuse(self, error: str) -> None:
        self.sendLine(msgspec.json.encode({"ok": False, "error": error}))
        transport: Any = self.transport
        transport.loseConnection()


class ControlFactory(ServerFactory):
    """Builds control connections, and closes them all."""

    noisy = False

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._everybody: set[ControlConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> ControlConnection:
        """A protocol for one."""
        return ControlConnection(self._controls, self._everybody)

    def close_all(self) -> None:
        """Send everybody home."""
        for connection in list(self._everybody):
            transport: Any = connection.transport
            transport.abortConnection()


class ControlService(Service):
    """The control port while it runs; ``port`` is the bound one."""

    def __init__(self, simulator: Simulator, reactor: Any, port: int) -> None:
        self._factory = ControlFactory(Controls(simulator))
        self._endpoint = TCP4ServerEndpoint(reactor, port, interface=LOOPBACK)
        self._listening: IListeningPort | None = None
        self.port = port

    def startService(self) -> None:
        """Listen; CannotListenError when the port is taken."""
        super().startService()
        problems: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listens, problems.append)
        if problems:
            problems[0].raiseException()

    def stopService(self) -> Deferred[None]:
        """Close the port and all connections."""
        super().stopService()
        self._factory.close_all()
        listening, self._listening = self._listening, None
        closed = maybeDeferred(listening.stopListening) if listening else succeed(None)
        return closed.addCallback(lambda _: None)

    def _listens(self, listening: IListeningPort) -> None:
        address: Any = listening.getHost()
        self._listening, self.port = listening, address.port
        log.info("The control port is {address}.", address=address)
