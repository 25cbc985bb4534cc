"""The doctor: a daemon that is asked, and a venue that is knocked at when there is no daemon."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from ctrader_twisted import cli, doctor
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.market.links import Holds, Link, first_broken
from ctrader_twisted.simulator.service import Simulator
from ctrader_twisted.tls.authorities import parse
from ctrader_twisted.upstream.knock import Door, knock
from tests.bounded import bounded
from tests.integration.harness import Running, until


@asynccontextmanager
async def serving(simulator: Simulator) -> AsyncIterator[None]:
    """A venue that is not embedded."""
    service = simulator.service(reactor)
    service.startService()
    try:
        yield
    finally:
        await service.stopService()


def ask(port: int, symbol: str, *, as_json: bool = False) -> tuple[int, str]:
    """What `ctrader-stream doctor SYMBOL --url ...` does: exit status and standard output."""
    out, err = io.StringIO(), io.StringIO()
    status = doctor.run(
        symbol,
        url=f"http://127.0.0.1:{port}",
        is_asked_for=True,
        key="",
        as_json=as_json,
        out=out,
        err=err,
    )
    return status, out.getvalue()


@bounded(20)
async def test_a_daemon_is_asked() -> None:
    """Route and command say the same: nothing broken, then nobody subscribed, then what broke."""
    async with Running() as running:
        await running.until_ready()
        client = await running.client("EURUSD", "SYM001")
        await until(lambda: {t["symbol"] for t in client.ticks()} >= {"SYM001"}, "ticks")
        status, said = await deferToThread(ask, running.port, "sym001")
        assert (status, "Every link holds." in said) == (0, True), said
        status, said = await deferToThread(ask, running.port, "SYM002")
        assert status == 1
        assert "The first broken link is subscription" in said
        code, body = await running.get("/ctrader/diagnose?symbol=SYM002")
        assert (code, body["first_broken"]) == (200, "subscription")
        running.venue.mischief.auth_refused("application", times=0)
        running.venue.mischief.drop()
        await until(lambda: running.daemon.account.state.code == "CH_CLIENT_AUTH_FAILURE", "no")
        status, said = await deferToThread(ask, running.port, "SYM001")
        assert "The first broken link is application" in said
        answer = await client.ask("connect", "status")
        assert answer["trouble"]["name"] == "application"
        assert answer["trouble"]["advice"]
        running.venue.mischief.clear()


@pytest.mark.parametrize("query", ["", "?symbol=", "?symbol=A&symbol=B", "?symbol=%00"])
@bounded(10)
async def test_a_question_without_a_symbol(query: str) -> None:
    """Anything but one symbol is a problem, with an example."""
    async with Running() as running:
        code, body = await running.get(f"/ctrader/diagnose{query}")
        assert code == 422
        assert "symbol=EURUSD" in body["detail"]


@bounded(20)
async def test_a_bad_certificate_is_the_link_tls() -> None:
    """A daemon whose venue shows an expired certificate: socket ok, TLS not, in plain words."""
    async with Running(certificate="expired") as running:
        await until(lambda: running.daemon.account.state.reason, "a reason")
        code, body = await running.get("/ctrader/diagnose?symbol=EURUSD")
        assert (code, body["first_broken"]) == (200, "tls")
        assert "expired" in body["cause"]
        assert next(link for link in body["links"] if link["name"] == "socket")["holds"] == "ok"


@bounded(10)
async def test_no_daemon_there() -> None:
    """The daemon that is meant does not run: one sentence, no traceback."""
    with pytest.raises(ConfigurationError, match="no daemon answers"):
        await deferToThread(ask, 9, "EURUSD")


@bounded(10)
async def test_something_else_there() -> None:
    """What answers is not ours: one sentence."""

    class Babble(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.0 200 OK\r\n\r\n<html>")
            self.transport.loseConnection()

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(Babble)
    )
    try:
        with pytest.raises(ConfigurationError, match="is no ctrader-stream"):
            await deferToThread(ask, port.getHost().port, "EURUSD")
    finally:
        await port.stopListening()


def door(simulator: Simulator, **changes: Any) -> Door:
    """The venue's door, with what is right unless it is changed."""
    credentials = simulator.credentials
    right: dict[str, Any] = {
        "host": "localhost",
        "port": simulator.port,
        "authorities": lambda: parse(simulator.ca_pem).certificates,
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "access_token": credentials.access_token,
        "account_id": credentials.account_id,
        "timeout_s": 3.0,
    }
    return Door(**{**right, **changes})


async def knocked(simulator: Simulator, symbol: str = "EURUSD", **changes: Any) -> list[Link]:
    """All links, as found."""
    return list(await deferToThread(lambda: list(knock(door(simulator, **changes), symbol))))


@bounded(30)
async def test_knocking_finds_each_breakage() -> None:
    """Name, port, authority, secret, token, account, symbol: each is named, with advice."""
    simulator = Simulator(reactor)
    async with serving(simulator):
        links = await knocked(simulator)
        assert [link.holds for link in links] == [Holds.OK] * 6, links
        breakages: list[tuple[str, dict[str, Any], str]] = [
            ("dns", {"host": "no-such-host.invalid"}, "could not be resolved"),
            ("socket", {"port": 9}, "refused"),
            ("tls", {"authorities": tuple}, "not trusted here"),
            ("application", {"client_secret": "wrong"}, "CH_CLIENT_AUTH_FAILURE"),
            ("account", {"access_token": "wrong"}, "CH_ACCESS_TOKEN_INVALID"),
            ("account", {"account_id": 42}, "CH_CTID_TRADER_ACCOUNT_NOT_FOUND"),
            ("account", {"account_id": 2000001}, "CANT_ROUTE_REQUEST"),
        ]
        for name, changes, words in breakages:
            broken = first_broken(await knocked(simulator, **changes))
            assert broken is not None
            assert broken.name == name, broken
            assert words in broken.cause, broken
            assert broken.advice
        broken = first_broken(await knocked(simulator, "NOSUCH"))
        assert broken is not None
        assert broken.name == "symbol"
        simulator.mischief.swallow("ProtoOAApplicationAuthReq")
        broken = first_broken(await knocked(simulator, timeout_s=0.3))
        assert broken is not None
        assert "was not answered" in broken.cause


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("expired", "has expired"), ("wrong-host", "another"), ("self-signed", "signed by itself")],
)
@bounded(10)
async def test_certificates_in_plain_words(certificate: Any, words: str) -> None:
    """Why a certificate is refused, without OpenSSL's vocabulary."""
    simulator = Simulator(reactor, certificate=certificate)
    async with serving(simulator):
        links = await knocked(simulator)
        assert [link.name for link in links] == ["dns", "socket", "tls"]
        assert words in links[-1].cause


@bounded(10)
async def test_without_a_daemon_the_configuration_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A configuration that cannot be used is the first link; secrets are in no output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTRADER_ENV", "demo")
    monkeypatch.setenv("CTRADER_CLIENT_SECRET", "a-secret-to-hide")
    out, err = io.StringIO(), io.StringIO()
    said = {"url": "", "is_asked_for": False, "key": "", "as_json": True, "out": out, "err": err}
    assert doctor.run("EURUSD", **said) == 1  # type: ignore[arg-type]
    report = msgspec.json.decode(out.getvalue())
    assert report["first_broken"] == "configuration"
    assert "CTRADER_CLIENT_ID" in report["cause"]
    assert "a-secret-to-hide" not in out.getvalue() + err.getvalue()


@bounded(20)
async def test_without_a_daemon_the_venue_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """With a good configuration every link holds but the first: start the daemon."""
    simulator = Simulator(reactor)
    async with serving(simulator):
        monkeypatch.chdir(tmp_path)
        broken_block = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        (tmp_path / "ca.pem").write_bytes(broken_block + simulator.ca_pem)
        monkeypatch.setenv("CTRADER_OPENAPI_HOST", "127.0.0.1")
        monkeypatch.setenv("CTRADER_OPENAPI_PORT", str(simulator.port))
        monkeypatch.setenv("CTRADER_CA_FILE", str(tmp_path / "ca.pem"))
        links = await deferToThread(lambda: list(doctor.examine("EURUSD")))
        broken = first_broken(links)
        assert broken is not None
        assert (broken.name, links[-1].name) == ("process", "process"), links
        assert "not used in full: block 1 (line 1) cannot be read" in links[0].cause


@bounded(10)
async def test_without_a_daemon_named_files_are_read(tmp_path: Any) -> None:
    """A service's credentials are in a file of another name, and its settings elsewhere."""
    (tmp_path / "tap.conf").write_text("[web]\nlisten = unix:/nowhere/at.all\n")
    (tmp_path / "env").write_text("CTRADER_ENV=live\nCTRADER_CLIENT_ID=7_app\n")
    (tmp_path / "env").chmod(0o600)
    named = ["--config", str(tmp_path / "tap.conf"), "--env-file", str(tmp_path / "env")]
    arguments = cli.make_parser().parse_args(["doctor", "--json", *named])
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        assert arguments.run(arguments) == 1
    report = msgspec.json.decode(out.getvalue())
    assert report["first_broken"] == "configuration"
    assert "CTRADER_CLIENT_SECRET" in report["cause"]
