"""A secret that the daemon was given is found in nothing that it says."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path

import pytest

from ctrader_twisted.simulator.service import Credentials
from tests.bounded import bounded
from tests.integration.harness import get, until
from tests.integration.others import a_venue, venue_at
from tests.integration.ticks_client import connect_to, of_type
from tests.integration.twistd import TWISTD, Process, listening, started

#: Unusual, so that they are found however they are written.
CLIENT_SECRET = 'qz"7$Šecret\\{client}%41'
ACCESS_TOKEN = "eyJq.zq-7_token/with+signs=="
CREDENTIALS = Credentials(
    client_id="app-77", client_secret=CLIENT_SECRET, access_token=ACCESS_TOKEN, account_id=4242
)
DOTENV = f"""CTRADER_CLIENT_ID=app-77
CTRADER_CLIENT_SECRET='{CLIENT_SECRET.replace(chr(92), chr(92) * 2)}'
CTRADER_ACCESS_TOKEN={ACCESS_TOKEN}
CTRADER_ACCOUNT_ID=4242
"""


def spellings(secret: str) -> set[str]:
    """As it is, and as URL, JSON or Python would write it; the whole, and a good half of it."""
    found = set()
    for text in (secret, secret[: len(secret) * 2 // 3]):
        found |= {text, urllib.parse.quote(text), urllib.parse.quote_plus(text)}
        found |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        found |= {repr(text)[1:-1], repr(text.encode())[2:-1]}
    return found


def assert_silent(*texts: str) -> None:
    """No text holds a secret, in no spelling."""
    for text in texts:
        for secret in (CLIENT_SECRET, ACCESS_TOKEN):
            assert not [one for one in spellings(secret) if one in text]


def planted(folder: Path) -> None:
    """The secrets, in .env of this folder."""
    (folder / ".env").write_text(DOTENV, "utf-8")
    (folder / ".env").chmod(0o600)


LOGGERS = {
    "twistd": [],
    "console": ["--logger", "ctrader_twisted.logs.console_stderr"],
    "json": ["--logger", "ctrader_twisted.logs.json_stderr"],
    "file": ["--logfile", "/proc/self/fd/1"],
}


def command(logger: str) -> list[str]:
    """twistd in the foreground with one of the loggers."""
    return [str(TWISTD), "-n", "--pidfile=", *LOGGERS[logger], "ctrader-stream"]


@pytest.mark.parametrize("logger", LOGGERS)
@bounded(60)
async def test_a_life_with_refusals(tmp_path: Path, logger: str) -> None:
    """Start, log-in, refusals, losses, requests, stop: nothing that is said holds a secret."""
    planted(tmp_path)
    ca_file = tmp_path / "ca.pem"
    async with a_venue(CREDENTIALS) as venue:
        ca_file.write_bytes(venue.ca_pem)
        options = [f"--{name}={value}" for name, value in venue_at(venue.port, ca_file).items()]
        options += ["--ws-port=0", "--backoff-initial-s=0.05", "--backoff-max-s=0.2"]
        async with started(tmp_path, *options, command=command(logger)) as process:
            port = await listening(process)
            client = await connect_to(port)
            client.say("subscribe", symbols=["EURUSD"])
            await client.next(of_type("tick"), "a tick", 15)
            said = [await told(port)]
            for request in ("ProtoOAApplicationAuthReq", "ProtoOAAccountAuthReq"):
                seen = len(client.messages)
                venue.mischief.error(request, "CH_SERVER_NOT_REACHABLE", "Not now")
                venue.mischief.drop()
                error = of_type("status", status="error")
                await client.heard(error, "a refusal", since=seen)
                said.append(await told(port))
                await client.heard(of_type("status", status="connected"), since=seen)
            process.signal("TERM")
            await process.end(10)
    said += [process.out, process.err, json.dumps(client.messages, ensure_ascii=False)]
    assert_silent(*said)


async def told(port: int) -> str:
    """What anybody may ask."""
    answers = [await get(port, path) for path in ("/", "/readyz", "/healthz", "/nowhere")]
    return json.dumps(answers, ensure_ascii=False)


@pytest.mark.parametrize(
    "line",
    [
        f"CTRADER_CLIENT_SECRE={CLIENT_SECRET}",
        f"CTRADER_ACCOUNT_ID={ACCESS_TOKEN}",
        f"CTRADER_ENV={ACCESS_TOKEN}",
        f"CTRADER_ACCESS_TOKEN={ACCESS_TOKEN}\nCTRADER_ACCESS_TOKEN={ACCESS_TOKEN}",
        f"CTRADER_CLIENT_SECRET='{CLIENT_SECRET}",
    ],
    ids=["misspelt", "as account id", "as environment", "twice", "quote"],
)
@bounded(30)
async def test_a_secret_in_the_wrong_place(tmp_path: Path, line: str) -> None:
    """A .env that cannot be used is refused without repeating what stands in it."""
    (tmp_path / ".env").write_text(f"{line}\n", "utf-8")
    async with started(tmp_path, "--ws-port=0") as process:
        await process.end(20)
    assert process.status == 1
    assert len(process.err.splitlines()) == 1
    assert_silent(process.out, process.err)


@bounded(30)
async def test_a_secret_is_no_option(tmp_path: Path) -> None:
    """On the command line a secret is refused, and not repeated by us."""
    process: Process
    async with started(tmp_path, f"--client-secret={CLIENT_SECRET}") as process:
        await process.end(20)
    assert process.status == 1
    assert_silent(process.out, process.err)


@bounded(30)
async def test_real_credentials_and_the_simulator(tmp_path: Path) -> None:
    """With the simulator in-process, which is handed the credentials and prints none."""
    planted(tmp_path)
    async with started(tmp_path, "--ws-port=0", environment={"CTRADER_ENV": "simulator"}) as one:
        port = await listening(one)
        await until(lambda: "is ready" in one.out, "ready", 15)
        said = await told(port)
        one.signal("TERM")
        await one.end(10)
    assert_silent(one.out, one.err, said)


@bounded(60)
async def test_a_new_token_without_a_restart(tmp_path: Path) -> None:
    """A token that is refused is replaced in its file: the next attempt uses the new one."""
    token, ca_file = tmp_path / "token", tmp_path / "ca.pem"
    token.write_text("an-0ld-token-that-is-refused-4711\n")
    token.chmod(0o600)
    (tmp_path / ".env").write_text(
        DOTENV.replace(f"CTRADER_ACCESS_TOKEN={ACCESS_TOKEN}", "CTRADER_ACCESS_TOKEN_FILE=token"),
        "utf-8",
    )
    (tmp_path / ".env").chmod(0o600)
    async with a_venue(CREDENTIALS) as venue:
        ca_file.write_bytes(venue.ca_pem)
        options = [f"--{name}={value}" for name, value in venue_at(venue.port, ca_file).items()]
        async with started(tmp_path, *options, "--ws-port=0") as process:
            await until(lambda: "CH_ACCESS_TOKEN_INVALID" in process.out, "the refusal", 20)
            fresh = tmp_path / "fresh"
            fresh.write_text(f"{ACCESS_TOKEN}\n", "utf-8")
            fresh.chmod(0o600)
            fresh.replace(token)
            await until(lambda: "is ready" in process.out, "ready", 30)
            process.signal("TERM")
            await process.end(10)
    assert "a new secret was read: CTRADER_ACCESS_TOKEN_FILE in .env" in process.out
    assert_silent(process.out, process.err)
