"""What a TLS listener agrees to speak (ALPN): HTTP/1.1, whatever packages are installed."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread
from twisted.web import http

from ctrader_twisted.simulator.certificates import make_identity
from tests.bounded import bounded
from tests.integration.harness import Running
from tests.rfc6455 import HANDSHAKE

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def speak(port: int, ca_pem: str, protocols: list[str], octets: bytes) -> tuple[str | None, bytes]:
    """What a client with these protocols agrees on, and the first line of the answer."""
    context = ssl.create_default_context(cadata=ca_pem)
    if protocols:
        context.set_alpn_protocols(protocols)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(octets)
        return secure.selected_alpn_protocol(), secure.recv(1000).partition(b"\r\n")[0]


@bounded(20)
async def test_http_1_1_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the packages for HTTP/2 are there, which Twisted would offer then."""
    monkeypatch.setattr(http, "H2_ENABLED", True)
    identity = make_identity(("localhost",), "good")
    pem = tmp_path / "server.pem"
    pem.write_bytes(identity.key_pem + identity.certificate_pem)
    ca_pem = identity.ca_pem.decode()
    listen = f"ssl:port=0:interface=127.0.0.1:privateKey={pem}"
    async with Running({"listen": listen}) as running:
        for protocols, agreed in (
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.1", "h2"], "http/1.1"),
            (["http/1.1"], "http/1.1"),
            ([], None),
        ):
            for octets, line in (
                (GET, b"HTTP/1.1 200 OK"),
                (HANDSHAKE + b"\r\n", b"HTTP/1.1 101 Switching Protocols"),
            ):
                said = await deferToThread(speak, running.port, ca_pem, protocols, octets)
                assert said == (agreed, line)
