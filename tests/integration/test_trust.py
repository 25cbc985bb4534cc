"""Whom the daemon trusts: the right certificate of the right host, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

from ctrader_twisted.simulator.certificates import Identity, make_identity
from ctrader_twisted.simulator.service import Simulator
from tests.bounded import bounded
from tests.integration.harness import Running, until
from tests.integration.others import Deaf, Plain, a_venue, serving, venue_at
from tests.integration.ticks_client import of_type


def of_nobody() -> Identity:
    """A certificate of one authority, announced as that of another."""
    real, other = make_identity(), make_identity()
    return Identity(other.ca_pem, real.certificate_pem, real.key_pem)


BAD = {
    "expired": ("expired", "the certificate of 127.0.0.1 has expired"),
    "wrong host": ("wrong-host", "the certificate of 127.0.0.1 is for another host name"),
    "self-signed": ("self-signed", "the certificate of 127.0.0.1 was signed by itself"),
    "unknown authority": (
        of_nobody,
        "the certificate of 127.0.0.1 comes from an authority that is not trusted here",
    ),
}


async def refused(running: Running, words: str) -> None:
    """The cause is told to clients, in the log and by /readyz, and it is tried again and again."""
    client = await running.client()
    again = of_type("status", status="reconnecting", attempt=4)
    status = await client.heard(again, "attempt 4", 12)
    assert words in status["reason"]
    assert running.log.with_words("warn", "no connection to the venue", words)
    code, body = await running.get("/readyz")
    assert (code, body["ready"]) == (503, False)
    await until(lambda: running.daemon.account.state.reason, "a reason")
    assert words in str(running.daemon.account.state.reason)


@pytest.mark.parametrize("name", BAD)
@bounded(30)
async def test_a_bad_certificate(name: str) -> None:
    """It is refused before a byte of ours is sent, and the cause is named in plain words."""
    kind, words = BAD[name]
    certificate: Any = kind if isinstance(kind, str) else kind()
    async with Running(certificate=certificate) as running:
        await refused(running, words)
        assert not running.metrics.frames_in
        assert not running.metrics.all().get(("requests_answered", "session"))


@bounded(30)
async def test_no_tls_at_all() -> None:
    """A server that speaks plain text is named as such."""
    async with serving(Plain) as port, Running(venue_at(port)) as running:
        await refused(running, "this is no TLS server")


@bounded(30)
async def test_tls_that_never_finishes() -> None:
    """A server that takes the connection and says nothing is given up after the deadline."""
    options = {"connect-timeout-s": "0.4"}
    async with serving(Deaf) as port, Running({**venue_at(port), **options}) as running:
        await refused(running, "not ready 0.4 s after it began (stuck in TLS)")


@bounded(30)
async def test_nobody_is_there() -> None:
    """A port on which nobody listens."""
    async with serving(Deaf) as port:
        pass
    async with Running(venue_at(port)) as running:
        await refused(running, "nothing listens there (connection refused)")


@bounded(30)
async def test_the_right_authority(tmp_path: Path) -> None:
    """A venue of one's own, with the file of its authority, is trusted; others may be in it."""
    async with a_venue() as venue:
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(b"about it\n" + make_identity().ca_pem + venue.ca_pem)
        async with Running(venue_at(venue.port, ca_file)) as running:
            client = await running.client("EURUSD")
            await client.heard(of_type("tick", symbol="EURUSD"), "a tick")
            assert (await running.get("/readyz"))[0] == 200


@bounded(30)
async def test_the_system_does_not_know_the_simulator() -> None:
    """Without the file the same venue is refused: there is no unverified way in."""
    async with a_venue() as venue, Running(venue_at(venue.port)) as running:
        await refused(running, "comes from an authority that is not trusted here")


@bounded(30)
async def test_it_heals_by_itself(tmp_path: Path) -> None:
    """A certificate that is renewed at the venue is accepted at the next attempt."""
    bad = Simulator(reactor, certificate="expired")
    good = Simulator(reactor)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(bad.ca_pem + good.ca_pem)
    service = bad.service(reactor)
    service.startService()
    async with Running(venue_at(bad.port, ca_file)) as running:
        await refused(running, "certificate has expired")
        await service.stopService()
        service = good.service(reactor, bad.port)
        service.startService()
        await running.until_ready()
    await service.stopService()


@bounded(30)
async def test_authorities_with_comments_in_any_language(tmp_path: Path) -> None:
    """Bundles carry names that are not ASCII: a refusal is explained, and tried again, as well."""
    bad = Simulator(reactor, certificate="expired")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes("# Főtanúsítvány\n".encode() + bad.ca_pem)
    service = bad.service(reactor)
    service.startService()
    async with Running(venue_at(bad.port, ca_file)) as running:
        await refused(running, "certificate has expired")
    await service.stopService()
