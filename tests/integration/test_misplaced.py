"""A secret in the wrong place: daemon, check-config and doctor complain, and do not repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from ctrader_twisted.simulator.service import Credentials
from tests.bounded import bounded
from tests.integration.others import a_venue, venue_at
from tests.integration.test_secrets import spellings
from tests.integration.twistd import TWISTD, started

#: As the venue's own look: one word, and one that the copying has broken in two.
SECRET = "kD83hfKJh2kf9s8dKJHFkjhsd7263kjhdkfKJHsd8f7"
BROKEN = "kD83hfKJh2kf9s8 dKJHFkjhsd7263"

COMMAND = TWISTD.with_name("ctrader-stream")
COMMANDS = {
    "twistd": (TWISTD, "-n", "--pidfile=", "ctrader-stream", "--ws-port=0"),
    "check-config": (COMMAND, "check-config"),
    "doctor": (COMMAND, "doctor", "EURUSD"),
}
#: Where no daemon answers, so that the doctor looks for itself.
NOBODY = {"WS_PORT": "1"}
#: More of them, without a process, in tests/unit/test_settings.py.
FILES = {
    ".env": f"CTRADER_CLIENT_ID='{BROKEN}'\n",
    "tap.conf": f"[venue]\n{SECRET}\n",
}


async def complaints(folder: Path) -> list[str]:
    """What each command says in this folder, at the same time; each ends with status 1."""
    return list(
        await gatherResults(
            [Deferred.fromCoroutine(complaint(folder, words)) for words in COMMANDS.values()]
        )
    )


async def complaint(folder: Path, words: tuple[Path | str, ...]) -> str:
    """What one command says."""
    async with started(folder, command=words, environment=NOBODY) as process:
        await process.end(30)
    assert process.status == 1, process.told()
    assert "Traceback" not in process.told(), process.told()
    return process.told()


@pytest.mark.parametrize("name", FILES)
@bounded(60)
async def test_not_repeated(tmp_path: Path, name: str) -> None:
    """One sentence, status 1, and no secret in it."""
    (tmp_path / name).write_text(FILES[name], "utf-8")
    (tmp_path / name).chmod(0o600)
    for said in await complaints(tmp_path):
        for secret in (SECRET, BROKEN):
            assert not [one for one in spellings(secret) if one in said], said


@bounded(60)
async def test_swapped(tmp_path: Path) -> None:
    """Client id and secret in each other's place are well-formed both; the id is shown in part."""
    credentials = Credentials(client_id="app-77", client_secret=SECRET, access_token="t" * 40)
    async with a_venue(credentials) as venue:
        (tmp_path / "ca.pem").write_bytes(venue.ca_pem)
        venue.mischief.error(
            "ProtoOAApplicationAuthReq", "CH_CLIENT_AUTH_FAILURE", f"Who is {SECRET}?", times=0
        )
        where = venue_at(venue.port, tmp_path / "ca.pem")
        (tmp_path / ".env").write_text(
            f"CTRADER_CLIENT_ID={SECRET}\nCTRADER_CLIENT_SECRET=app-77\nCTRADER_ACCOUNT_ID=1\n"
            f"CTRADER_ACCESS_TOKEN=token-4711\nCTRADER_OPENAPI_HOST={where['host']}\n"
            f"CTRADER_OPENAPI_PORT={where['port']}\nCTRADER_CA_FILE={where['ca-file']}\n"
        )
        (tmp_path / ".env").chmod(0o600)
        said = ""
        for name, status in (("check-config", 0), ("doctor", 1)):
            async with started(tmp_path, command=COMMANDS[name], environment=NOBODY) as process:
                await process.end(30)
            said += process.out + process.err
            assert process.status == status, said
        async with started(tmp_path, command=COMMANDS["twistd"]) as process:
            await process.says("Who is")
            process.signal("TERM")
            await process.end(10)
            said += process.out + process.err
    assert "app-77" not in said
    assert not [one for one in spellings(SECRET) if one in said], said
    assert "Who is" in said
