"""Who is measured: the product and the baselines, and how each is started."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import installs
from bench.answers import ACCOUNT_ID
from bench.children import Child

STARTS_WITHIN_S = 30.0
PRODUCT = "product"
CREDENTIALS = ("CTRADER_CLIENT_ID", "CTRADER_CLIENT_SECRET", "CTRADER_ACCESS_TOKEN")


@dataclass(frozen=True, slots=True)
class Start:
    """A command and its environment."""

    command: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve ticks. ``raw``: it is fed with records instead of TLS and protobuf."""

    name: str
    what: str
    start: Callable[[int, int, Path, Mapping[str, str]], Start] = field(repr=False)
    raw: bool = True


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def environ(**more: str) -> dict[str, str]:
    """Our own environment without what configures the daemon."""
    ours = ("CTRADER_", "SIMULATOR_", "WS_", "HOST", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **more}


def twistd(*arguments: str) -> tuple[str, ...]:
    """twistd of our environment, in the foreground."""
    program = str(Path(sys.executable).with_name("twistd"))
    return (program, "--nodaemon", "--pidfile=", *arguments)


def daemon_environ(port: int, venue_port: int, folder: Path, more: Mapping[str, str]) -> Start:
    """The daemon with its defaults: only the two ports, the authority and the credentials."""
    return Start(
        twistd("ctrader-stream"),
        environ(
            CTRADER_ENV="demo",
            CTRADER_OPENAPI_HOST="127.0.0.1",
            CTRADER_OPENAPI_PORT=str(venue_port),
            CTRADER_CA_FILE=str(folder / "ca.pem"),
            CTRADER_ACCOUNT_ID=str(ACCOUNT_ID),
            WS_PORT=str(port),
            **dict.fromkeys(CREDENTIALS, "bench"),
            **more,
        ),
    )


def _script(
    script: str, environment: str = "", *extra: str
) -> Callable[[int, int, Path, Mapping[str, str]], Start]:
    def start(port: int, feed_port: int, folder: Path, more: Mapping[str, str]) -> Start:
        interpreter = installs.python(environment) if environment else Path(sys.executable)
        where = ("--port", str(port), "--feed-port", str(feed_port))
        path = str(installs.BASELINES / script)
        # -E: what PYTHONPATH says is for our own environment.
        command = (str(interpreter), "-E", "-W", "ignore", path, *where, *extra)
        return Start(command, environ(**more))

    return start


def _node(port: int, feed_port: int, folder: Path, more: Mapping[str, str]) -> Start:
    program, modules = installs.node()
    where = ("--port", str(port), "--feed-port", str(feed_port))
    command = (str(program), str(installs.BASELINES / "node_ws.js"), *where)
    return Start(command, environ(NODE_PATH=str(modules), NODE_ENV="production", **more))


_ALL = (
    Server(PRODUCT, "twistd ctrader-stream, defaults", daemon_environ, raw=False),
    Server("node-ws", "Node ws, JSON.stringify and send per client", _node),
    Server("bare", "bare Python loop, one send per tick and client", _script("bare_send.py")),
    Server(
        "bare-batch",
        "bare Python loop, one send per client and burst: the floor",
        _script("bare_send.py", "", "--batch"),
    ),
    Server("autobahn", "Autobahn sendMessage per client", _script("autobahn_naive.py")),
    Server("fastapi", "FastAPI, uvicorn, send_text", _script("fastapi_app.py", "fastapi")),
    Server("socketify", "uWebSockets by socketify", _script("socketify_app.py", "socketify")),
    Server(
        "sdk",
        "official SDK, fan-out by hand with Autobahn",
        _script("sdk_fanout.py", "sdk"),
        raw=False,
    ),
)
SERVERS = {server.name: server for server in _ALL}


def wait_until_open(child: Child, port: int) -> None:
    """Until somebody accepts; Broken when it ends before, or takes too long."""
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends:
        if not child.is_alive():
            raise child.broken("ended at its start")
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise child.broken("does not listen")


def wait_until_ready(child: Child, port: int) -> None:
    """The product: until it is authenticated at the venue."""
    wait_until_open(child, port)
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
        connection.close()
        if status == http.client.OK:
            return
        time.sleep(0.05)
    raise child.broken("does not become ready")
