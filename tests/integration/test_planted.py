"""Secrets are planted wherever one can be put into the daemon, and hunted in all that leaves it.

The daemon is twistd as a process, once with each form of log, down to the level debug; the venue
refuses, and repeats what it was told. tests/unit/test_secrets_hunt.py does the same at the door.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import treq
from twisted.internet import reactor
from twisted.web.client import HTTPConnectionPool

from ctrader_twisted.simulator.service import Simulator
from ctrader_twisted.web.keys import add_key, revoke_key
from tests.bounded import bounded
from tests.integration.harness import until
from tests.integration.others import a_venue, venue_at
from tests.integration.test_secrets import (
    ACCESS_TOKEN,
    CLIENT_SECRET,
    CREDENTIALS,
    planted,
    spellings,
)
from tests.integration.ticks_client import TicksClient, connect_to, of_type
from tests.integration.twistd import TWISTD, Process, listening, started

ROOT = Path(__file__).parents[2]
COMMAND = TWISTD.with_name("ctrader-stream")
#: Keys that never were: one as ours look, one as others do.
WRONG = "cts_wRong-but-Secret_all-the-same-0815-4711"
FOREIGN = "xk-Foreign9secret8of7another6service5"
FORMS = ("json", "console")


class Hunt:
    """What was planted, and everything that was said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_file = folder / "keys.json"
        self.key = add_key(self.key_file, "ops", ["read"], "now").reveal()
        self.revoked = add_key(self.key_file, "gone", ["read"], "now").reveal()
        revoke_key(self.key_file, "gone")
        self.said: list[str] = []
        planted(folder)

    @property
    def keys(self) -> tuple[str, ...]:
        """Everything that was shown as a key, or could be one; one of them in capitals."""
        return (self.key, self.revoked, WRONG, FOREIGN, self.key.upper())

    def hear(self, *texts: object) -> None:
        """Something left the process."""
        self.said += [
            one if isinstance(one, str) else json.dumps(one, ensure_ascii=False, default=repr)
            for one in texts
        ]

    def assert_clean(self, *more: str) -> None:
        """Nothing that was planted was said, in no spelling, and no good half of it."""
        for secret in (CLIENT_SECRET, ACCESS_TOKEN, *self.keys, *more):
            for spelling in spellings(secret):
                for text in self.said:
                    where = text.find(spelling)
                    assert where < 0, text[max(0, where - 300) : where + 100]


@asynccontextmanager
async def a_daemon(hunt: Hunt, form: str, *command: str | Path) -> AsyncIterator[Any]:
    """The daemon at a venue that is not in its process: both, and the port."""
    ca_file = hunt.folder / "ca.pem"
    async with a_venue(CREDENTIALS) as venue:
        ca_file.write_bytes(venue.ca_pem)
        options = [f"--{name}={value}" for name, value in venue_at(venue.port, ca_file).items()]
        options += ["--ws-port=0", "--backoff-initial-s=0.05", "--backoff-max-s=0.2"]
        options += ["--request-timeout-s=1", f"--keys-file={hunt.key_file}", "--require-key=true"]
        twistd = ["-n", "--pidfile=", "--logger", f"tests.integration.loud.{form}"]
        async with started(
            hunt.folder,
            *options,
            command=[*command, *twistd, "ctrader-stream"],
            environment={"PYTHONPATH": str(ROOT)},
        ) as process:
            port = await listening(process)
            hunt.hear(Path(f"/proc/{process.transport.pid}/cmdline").read_bytes().decode())
            yield venue, process, port
            hunt.hear(Path(f"/proc/{process.transport.pid}/comm").read_text())
            process.signal("TERM")
            await process.end(10)
            hunt.hear(process.out, process.err)


async def ask(port: int, path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
    """Status, and all of the answer: headers and body."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    url = f"http://127.0.0.1:{port}{path}"
    response = await treq.request(method, url, pool=pool, timeout=5, **more)
    body = await response.text()
    return response.code, f"{list(response.headers.getAllRawHeaders())} {body}"


async def knock_everywhere(hunt: Hunt, port: int) -> None:
    """Keys, right and wrong, in all the places where people put them."""
    codes = set()
    for key in hunt.keys:
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": key},
            {"Cookie": f"token={key}"},
            {"X-Api-Key": key},
            # By this name a caller wants to be known; only what looks like ours is no name.
            {"X-Correlation-Id": "x" if key is FOREIGN else key},
            {"Origin": f"http://{key}.example"},
        ):
            code, said = await ask(port, "/metrics", headers=headers)
            codes.add(code)
            hunt.hear(said)
        let_in = {"Authorization": f"Bearer {hunt.key}"}
        hunt.hear((await ask(port, f"/readyz?token={key}", headers=let_in))[1])
        nowhere = (await ask(port, f"/{key}", headers=let_in))[1]
        # Who asks for a path that there is not, or about a symbol, is answered by its name; nobody
        # else may hear of it. Only what looks like a key of ours is masked in the answer, too.
        hunt.hear("" if key is FOREIGN else nowhere)
        await ask(port, f"/ctrader/diagnose?symbol={key}", headers=let_in)
    assert {200, 401} <= codes, codes
    for path in ("/", "/healthz", "/readyz", "/version", "/ctrader/diagnose?symbol=EURUSD"):
        hunt.hear((await ask(port, path, headers={"Authorization": f"Bearer {hunt.key}"}))[1])
    body = json.dumps({"token": hunt.key, "client_secret": CLIENT_SECRET}).encode()
    hunt.hear((await ask(port, "/readyz", "POST", data=body))[1])


async def say_everything(hunt: Hunt, port: int) -> None:
    """Keys in a `connect`, in broken JSON, as a type, as a symbol."""
    for key in hunt.keys:
        for first in (
            json.dumps({"type": "connect", "token": key, "protocol": "no such"}),
            json.dumps({"type": "connect", "token": [key]}),
            json.dumps({"type": key, "token": key}),
            f'{{"type": "connect", "token": "{key}"',
            f'{{"token": "{key}", "type"}}',
        ):
            hunt.hear(await answered(port, first))


async def answered(port: int, first: str) -> str:
    """All that a client hears that begins with this."""
    client = await connect_to(port)
    client.sendMessage(first.encode())
    await until(lambda: client.messages or client.close_code, "some answer")
    await client.bye()
    return f"{client.messages} {client.close_code}"


async def a_guest(hunt: Hunt, port: int) -> TicksClient:
    """Who is let in, and then says odd things."""
    client = await connect_to(port)
    client.say("connect", token=hunt.key)
    await client.next(of_type("status"), "an answer", 10)
    client.say("subscribe", symbols=["EURUSD"], token=hunt.key, client_secret=CLIENT_SECRET)
    client.say("connect", token=WRONG)
    client.sendMessage(b'{"type": "subscribe", "token": "%s", "symbols"' % hunt.key.encode())
    await client.heard(of_type("tick"), "a tick", 15)
    return client


async def refuse(
    hunt: Hunt, process: Process, venue: Simulator, port: int, client: TicksClient
) -> None:
    """The venue refuses, and repeats what it was told, in each of the ways it has."""
    told = f"no luck with {ACCESS_TOKEN} of {CLIENT_SECRET}, token={ACCESS_TOKEN}"
    for request, code in (
        ("ProtoOAApplicationAuthReq", "CH_CLIENT_AUTH_FAILURE"),
        ("ProtoOAAccountAuthReq", "CH_ACCESS_TOKEN_INVALID"),
        ("ProtoOASymbolsListReq", "CH_SERVER_NOT_REACHABLE"),
        ("ProtoOASubscribeSpotsReq", "CH_SERVER_NOT_REACHABLE"),
    ):
        seen = len(client.messages)
        venue.mischief.error(request, code, told)
        venue.mischief.drop()
        await client.heard(of_type("status", status="disconnected"), "the loss", since=seen)
        for path in ("/readyz", "/ctrader/diagnose?symbol=EURUSD", "/metrics"):
            hunt.hear((await ask(port, path, headers={"Authorization": f"Bearer {hunt.key}"}))[1])
        await client.heard(of_type("status", status="connected"), code, 15, since=seen)
    venue.mischief.error("ProtoOASubscribeSpotsReq", f"CODE_{ACCESS_TOKEN}", told)
    client.say("subscribe", symbols=["GBPUSD"])
    await process.says("with a code that we do not know")
    for event in (venue.mischief.client_disconnect, venue.mischief.token_invalidated):
        seen = len(client.messages)
        event(reason=told)
        await client.heard(of_type("status", status="connected"), "again", 15, since=seen)
    hunt.hear(client.messages)


async def command(hunt: Hunt, *words: str | Path, **environment: str) -> Process:
    """What `ctrader-stream WORDS` says."""
    async with started(
        hunt.folder, *map(str, words), command=[COMMAND], environment=environment
    ) as process:
        await process.end(30)
        hunt.hear(process.out, process.err)
        return process


@pytest.mark.parametrize("form", FORMS)
@bounded(120)
async def test_a_life(tmp_path: Path, form: str) -> None:
    """Good and wrong keys everywhere, a venue that repeats our credentials, a key file that
    breaks, and the commands of an operator: nothing of it is said.
    """
    hunt = Hunt(tmp_path)
    async with a_daemon(hunt, form, TWISTD) as (venue, process, port):
        client = await a_guest(hunt, port)
        await refuse(hunt, process, venue, port, client)
        key_file = tmp_path / "shown.key"
        key_file.write_text(f"{hunt.key}\n")
        at = ("--url", f"http://127.0.0.1:{port}", "--key-file", key_file)
        assert (await command(hunt, "status", *at)).status == 0
        assert (await command(hunt, "doctor", "EURUSD", *at)).status == 0
        assert (await command(hunt, "check-config")).status == 0
        key_file.write_text(f"{WRONG}\n")
        assert (await command(hunt, "status", *at)).status == 1
        await say_everything(hunt, port)
        await knock_everywhere(hunt, port)
        hunt.key_file.write_text(f'{{"keys": [{{"name": "{hunt.key}", "sha256": {WRONG}')
        await ask(port, "/metrics", headers={"Authorization": f"Bearer {hunt.key}"})
        await until(lambda: "nobody is let in by a key" in process.err, "the complaint")
    assert "no luck with" in process.err
    hunt.assert_clean()


@pytest.mark.parametrize("form", FORMS)
@bounded(60)
async def test_a_crash(tmp_path: Path, form: str) -> None:
    """Faults whose words hold secrets are logged without them; and no object of ours prints one."""
    hunt = Hunt(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.write_text("\n".join([CLIENT_SECRET, ACCESS_TOKEN, hunt.key, WRONG]), "utf-8")
    wrapper = (Path(TWISTD).with_name("python"), "-m", "tests.integration.crashing", secrets)
    async with a_daemon(hunt, form, *wrapper) as (_, process, port):
        client = await a_guest(hunt, port)
        for how in ("a timer", "a thread", "a Deferred"):
            await process.says(f"planted fault in {how}")
        match = await process.says(r"living: (\d+) kinds: (.*)\.")
        assert int(match[1]) > 40
        for kind in ("Settings", "KeyRing", "Connection", "Session", "Lobby"):
            assert kind in match[2], match[2]
        hunt.hear(client.messages)
    hunt.assert_clean()
