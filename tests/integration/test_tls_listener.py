"""What our TLS listener agrees to: TLS 1.2 or later, forward-secret AEAD suites."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from OpenSSL import SSL
from twisted.internet.threads import deferToThread

from tests.bounded import bounded
from tests.certificates import Case, key, rsa_key
from tests.integration.harness import Running

V11, V12, V13 = SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


def agree(port: int, newest: int, ciphers: str) -> str | None:
    """The suite that a client with these limits agrees on, or "refused"."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(newest)
    context.set_cipher_list(f"{ciphers}:@SECLEVEL=0".encode())
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        try:
            connection.do_handshake()
        except SSL.Error:
            return "refused"
        return connection.get_cipher_name()


@pytest.mark.parametrize("key_kind", ["EC", "RSA"])
@bounded(20)
async def test_suites(key_kind: str, tmp_path: Path) -> None:
    """No CBC, no static RSA, nothing older than TLS 1.2, for both kinds of keys."""
    case = Case("good", leaf_key=rsa_key if key_kind == "RSA" else lambda: key(0))
    chain, key_pem, _ = case.identity()
    pem = tmp_path / "server.pem"
    pem.write_bytes(key_pem + chain)
    exchange = "ECDHE-RSA" if key_kind == "RSA" else "ECDHE-ECDSA"
    listen = f"ssl:port=0:interface=127.0.0.1:privateKey={pem}"
    async with Running({"listen": listen}) as running:
        for newest, ciphers, agreed in (
            (V13, "DEFAULT", "TLS_AES_256_GCM_SHA384"),
            (V12, "ECDHE+AESGCM", f"{exchange}-AES256-GCM-SHA384"),
            (V12, "ECDHE+CHACHA20", f"{exchange}-CHACHA20-POLY1305"),
            (V12, f"{exchange}-AES128-SHA256", "refused"),
            (V12, f"{exchange}-AES256-SHA", "refused"),
            (V12, "AES128-GCM-SHA256", "refused"),
            (V12, "AES256-SHA", "refused"),
            (V11, "DEFAULT", "refused"),
        ):
            said = await deferToThread(agree, running.port, newest, ciphers)
            assert said == agreed, (newest, ciphers)
