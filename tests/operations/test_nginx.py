"""Behind a real nginx with TLS: who is believed about where a client comes from."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urljoin

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ctrader_twisted.simulator.certificates import make_identity
from ctrader_twisted.web.keys import add_key
from tests.integration.twistd import TWISTD, clean_environment

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NAME = "ticks.example.com"
BOUND_S = 20.0
# A path below which the same daemon is served once more.
BELOW = "/prices/"


@dataclass
class Front:
    """nginx in front, the daemon behind, and a key."""

    tls_port: int
    daemon_port: int
    key: str
    trusted: ssl.SSLContext

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        """One request through nginx."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.tls_port, context=self.trusted, timeout=BOUND_S
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Host": NAME, **named})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = "json" in found.get("content-type", "")
        return answer.status, found, json.loads(body) if is_json else body

    def websocket(self, path: str = "/ws", **more: Any) -> Any:
        """A WebSocket through nginx."""
        raw = socket.create_connection(("127.0.0.1", self.tls_port), timeout=BOUND_S)
        return connect(
            f"wss://{NAME}{path}", sock=raw, ssl=self.trusted, server_hostname=NAME, **more
        )


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(command: list[str | Path], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that does not outlive the block."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until_ready(process: subprocess.Popen[str]) -> int:
    """Read the daemon's log until its session is ready; the port it listens on."""
    assert process.stdout is not None
    port = 0
    for line in process.stdout:
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        port = int(match[1]) if match else port
        if "is ready" in line and port:
            return port
    raise AssertionError("the daemon ended")


def until_open(process: subprocess.Popen[str], port: int) -> None:
    """Wait until somebody listens there."""
    ends = monotonic() + BOUND_S
    while monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(f"nginx ended: {process.communicate()[0]}")
    raise AssertionError("nginx does not listen")


def nginx_conf(folder: Path, *, tls_port: int, daemon_port: int) -> Path:
    """The file that we ship, with this test's ports and certificate, in a minimal nginx.conf."""
    text = (ROOT / "contrib/nginx/ctrader-stream.conf").read_text()
    for ours, here in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{daemon_port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{tls_port} ssl;"),
        ("/etc/ssl/certs/ticks.example.com.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/private/ticks.example.com.key", f"{folder}/key.pem"),
    ):
        assert text.count(ours) == 1, ours
        text = text.replace(ours, here)
    at, end = text.index("    location / {"), text.rindex("}")
    below = text[at:end].replace("location / {", f"location {BELOW} {{")
    below = below.replace("http://ctrader_stream;", "http://ctrader_stream/;")
    (folder / "site.conf").write_text(text[:end] + below + text[end:])
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n"
        "events {}\nhttp {\naccess_log off;\n" + paths + f"include {folder}/site.conf;\n}}\n"
    )
    return conf


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The daemon, and nginx before it."""
    folder = tmp_path_factory.mktemp("nginx")
    identity = make_identity((NAME,))
    (folder / "cert.pem").write_bytes(identity.certificate_pem)
    (folder / "key.pem").write_bytes(identity.key_pem)
    key = add_key(folder / "keys.json", "ops", ["read"], "now").reveal()
    (folder / "tap.conf").write_text(
        f"[web]\nws_port = 0\nkeys_file = {folder}/keys.json\nhosts = {NAME}\n"
        "trusted_proxies = 127.0.0.1\nauth_timeout_s = 0.5\n"
    )
    trusted = ssl.create_default_context(cadata=identity.ca_pem.decode())
    trusted.check_hostname = False
    twistd = [TWISTD, "-n", "--pidfile=", "ctrader-stream", "--port", "0"]
    with running(twistd, cwd=folder, env=clean_environment()) as daemon:
        daemon_port = until_ready(daemon)
        tls_port = free_port()
        conf = nginx_conf(folder, tls_port=tls_port, daemon_port=daemon_port)
        with running([NGINX, "-p", folder, "-c", conf]) as nginx:
            until_open(nginx, tls_port)
            yield Front(tls_port, daemon_port, key, trusted)


def test_health_through_nginx(front: Front) -> None:
    """What needs no key gets through, and our headers come back."""
    status, headers, body = front.ask("/healthz", X_Correlation_Id="through-1")
    assert (status, body) == (200, {"status": "ok"})
    assert headers["x-correlation-id"] == "through-1"


def test_strangers_need_a_key(front: Front) -> None:
    """Whoever comes through nginx is a stranger, whatever it claims to be."""
    for claim in ({}, {"X_Forwarded_For": "127.0.0.1"}, {"X_Real_IP": "127.0.0.1"}):
        status, _, problem = front.ask("/metrics", **claim)
        assert (status, problem["code"]) == (401, "KEY_REQUIRED"), claim
    status, _, text = front.ask("/metrics", Authorization=f"Bearer {front.key}")
    assert status == 200
    assert b"ctrader_stream_ticks_received_total" in text


def test_foreign_host_and_origin(front: Front) -> None:
    """Host and Origin arrive as the browser sent them, and are checked."""
    assert front.ask("/healthz", Host="evil.example")[0] == 403
    assert front.ask("/healthz", Origin="https://evil.example")[0] == 403
    assert front.ask("/healthz", Origin=f"https://{NAME}")[0] == 200


def test_the_page_below_a_path(front: Front) -> None:
    """All that the page loads and asks is found below the path at which it is served."""
    status, _, page = front.ask(BELOW, Accept="text/html")
    assert status == 200
    found = re.findall(rb'(?:src|href)="(?!https:)([^"#]+)', page)
    assert len(found) > 10
    key = {"Authorization": f"Bearer {front.key}"}
    for address in [*map(bytes.decode, found), "ctrader/diagnose?symbol=EURUSD"]:
        path = urljoin(BELOW, address)
        assert path.startswith(BELOW), address
        assert front.ask(path, **key)[0] == 200, path
    with front.websocket(urljoin(BELOW, "ws"), origin=f"https://{NAME}") as client:
        client.send(json.dumps({"type": "connect", "token": front.key}))
        assert json.loads(client.recv(BOUND_S))["status"] == "connected"


def test_ticks_through_nginx(front: Front) -> None:
    """A WebSocket with its key in connect gets ticks."""
    with front.websocket(origin=f"https://{NAME}") as client:
        client.send(json.dumps({"type": "connect", "token": front.key}))
        assert json.loads(client.recv(BOUND_S))["status"] == "connected"
        client.send(json.dumps({"type": "subscribe", "symbols": ["EURUSD"]}))
        while json.loads(client.recv(BOUND_S))["type"] != "tick":
            pass


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, 4408),
        ({"origin": "https://evil.example"}, 4403),
        ({"additional_headers": {"Authorization": "Bearer wrong"}}, 4401),
    ],
)
def test_close_codes_through_nginx(front: Front, more: dict[str, Any], code: int) -> None:
    """The close codes survive the proxy."""
    with front.websocket(**more) as client, pytest.raises(ConnectionClosed) as closed:
        client.recv(BOUND_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_by_tls_only(front: Front) -> None:
    """Browsers are told to come by TLS from now on, with every answer, refusals included."""
    for path, expected in (("/healthz", 200), ("/metrics", 401)):
        status, headers, _ = front.ask(path)
        assert status == expected
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert re.fullmatch("nginx|TwistedWeb.*|", headers.get("server", ""))


def test_large_body(front: Front) -> None:
    """A body that the daemon would refuse does not get as far as the daemon."""
    assert front.ask("/healthz", Content_Length=str(2**20))[0] == 413


def test_floods_are_limited(front: Front) -> None:
    """Last, since it uses up what one address may ask: 429 comes, and HSTS with it."""
    for _ in range(2000):
        status, headers, _ = front.ask("/healthz")
        if status == 429:
            break
    assert status == 429
    assert "strict-transport-security" in headers
