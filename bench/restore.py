"""How long 200 wanted symbols take to stream, once authenticated: at first, and after a drop.

The daemon, its own simulator as a process, and one client which wants everything before there is a
venue. Measured at the client: from the status ``connected`` to the first tick of the last symbol.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from bench.children import Broken, Child, Children
from bench.frames import TEXT, masked, subscribe, upgrade
from bench.schedule import name
from bench.servers import (
    CREDENTIALS,
    PRODUCT,
    SERVERS,
    environ,
    free_port,
    twistd,
    wait_until_open,
)
from bench.stage import Row, Stage

SYMBOLS = 200
PATIENCE_S = 30.0


class Customer:
    """A client that keeps what it hears, with the time."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.sendall(upgrade(port, "/ws"))
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        self._rest = self._rest.partition(b"\r\n\r\n")[2]
        self._sock.sendall(masked(b'{"type":"connect"}'))
        self._sock.sendall(subscribe([name(index) for index in range(SYMBOLS)]))

    def streaming_after_s(self) -> float:
        """From the next ``connected`` to the first tick of the last symbol."""
        connected_s = 0.0
        missing: set[str] = set()
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            for message in self._messages():
                if message["type"] == "status" and message["status"] == "connected":
                    connected_s = time.monotonic()
                    missing = {name(index) for index in range(SYMBOLS)}
                elif message["type"] == "tick":
                    was_missing = bool(missing)
                    missing.discard(message["symbol"])
                    if was_missing and not missing:
                        return time.monotonic() - connected_s
        raise Broken(f"{len(missing) or 'all'} symbols did not stream within {PATIENCE_S:g} s")

    def close(self) -> None:
        """Enough."""
        self._sock.close()

    def _messages(self) -> list[dict[str, Any]]:
        self._receive()
        messages, at = [], 0
        rest = self._rest
        while len(rest) - at >= 2:
            length, body = rest[at + 1], at + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(rest[at + 2 : body], "big")
            if len(rest) < body + length:
                break
            if rest[at] == TEXT:
                messages.append(json.loads(rest[body : body + length]))
            at = body + length
        self._rest = rest[at:]
        return messages

    def _receive(self) -> None:
        some = self._sock.recv(65_536)
        if not some:
            raise Broken("the daemon hung up")
        self._rest += some


def restore(stage: Stage) -> Row:
    """One measurement."""
    port, venue_port, control_port = free_port(), free_port(), free_port()
    with Children(stage.folder) as children:
        start = SERVERS[PRODUCT].start(port, venue_port, stage.folder, {})
        daemon = children.start(
            PRODUCT, start.command, core=stage.server_core, environ=start.environ
        )
        wait_until_open(daemon, port)
        customer = Customer(port)
        venue = _simulator(children, stage, venue_port, control_port)
        first_s = customer.streaming_after_s()
        wait_until_open(venue, control_port)
        with socket.create_connection(("127.0.0.1", control_port), PATIENCE_S) as control:
            control.sendall(b'{"do": "drop"}\n')
            again_s = customer.streaming_after_s()
        customer.close()
    return {"first_ms": first_s * 1000, "again_ms": again_s * 1000}


def _simulator(children: Children, stage: Stage, port: int, control_port: int) -> Child:
    credentials = {key.replace("CTRADER", "SIMULATOR"): "bench" for key in CREDENTIALS}
    command = twistd(
        "ctrader-simulator",
        *("--port", str(port), "--control-port", str(control_port), "--symbols", str(SYMBOLS)),
        *("--certificate", str(stage.folder / "certificate.pem")),
        *("--key", str(stage.folder / "key.pem")),
    )
    more = {"SIMULATOR_ACCOUNT_ID": "1000001"}
    return children.start(
        "simulator", command, core=stage.load_core, environ=environ(**credentials, **more)
    )
