"""One id, followed from a client's request to the venue and back, through the log of the daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import treq
from klein import Klein
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.logs import json_line
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream import translate
from ctrader_twisted.upstream.requests import Lane
from ctrader_twisted.web.doors import DoorPolicy, Doors
from ctrader_twisted.web.problems import Refused, answer
from ctrader_twisted.web.site import make_site
from tests.bounded import bounded
from tests.integration.harness import Running, until
from tests.integration.others import a_venue, venue_at
from tests.integration.test_doors import connect
from tests.integration.ticks_client import of_type
from tests.integration.twistd import TWISTD, Process, listening, started

JSON = [str(TWISTD), "-n", "--pidfile=", "--logger", "ctrader_twisted.logs.json_stderr"]
CONSOLE = [*JSON[:-1], "ctrader_twisted.logs.console_stderr"]
DIGITS, PRICES = "ProtoOASymbolByIdReq", "ProtoOASubscribeSpotsReq"

Line = dict[str, Any]


def steps(lines: list[Line], known_as: str) -> list[tuple[str, ...]]:
    """What the lines with this id say, each in a few words."""
    found: list[tuple[str, ...]] = []
    for line in lines:
        if line.get("correlation_id") == known_as:
            told = line["message"]
            if "client asks" in told:
                found.append(("asks", line["request"]))
            elif "client was answered" in told:
                found.append(("is answered", line["request"], line["outcome"]))
            elif "sent as" in told:
                found.append(("sent", line["request"]))
            elif "client_message_id" in line:
                found.append((line["outcome"], line["request"]))
            else:
                found.append(("also", told))
    return found


def written(process: Process) -> list[Line]:
    """The log so far; a line that is not complete yet does not count."""
    whole, _, _ = process.err.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


@bounded(60)
async def test_from_a_websocket_to_the_venue_and_back(tmp_path: Path) -> None:
    """Taken, answered, sent, answered; a refusal; and what comes back by itself after an outage."""
    ca_file = tmp_path / "ca.pem"
    async with a_venue() as venue:
        ca_file.write_bytes(venue.ca_pem)
        options = [f"--{name}={value}" for name, value in venue_at(venue.port, ca_file).items()]
        options += ["--ws-port=0", "--backoff-initial-s=0.05", "--backoff-max-s=0.2"]
        command = [*JSON, "ctrader-stream"]
        async with started(tmp_path, *options, command=command) as process:
            port = await listening(process)
            await process.says("is ready")
            client = await connect(port, **{"X-Correlation-Id": "desk-7"})
            await client.ask("subscribe", "subscribeResponse", id="q1", symbols=["EURUSD"])
            await client.heard(of_type("tick"), "a tick")
            venue.mischief.error(PRICES, "INVALID_REQUEST", "not this one")
            client.say("subscribe", symbols=["GBPUSD"])
            sorry = await client.next(
                lambda said: said["type"] == "subscribeResponse" and "code" in said["results"][0]
            )
            await client.next(
                lambda said: (
                    said["type"] == "subscribeResponse"
                    and said["results"] == [{"symbol": "GBPUSD", "status": "subscribed"}]
                )
            )
            seen = len(client.messages)
            venue.mischief.drop()
            await client.heard(
                lambda said: said["type"] == "status" and said["status"] == "reconnecting",
                "the outage",
                since=seen,
            )
            seen = len(client.messages)
            await client.heard(of_type("tick"), "a tick again", since=seen)
            await client.bye()
            process.signal("TERM")
            await process.end(10)
    lines = written(process)
    assert steps(lines, "desk-7.1") == [
        ("asks", "subscribe"),
        ("is answered", "subscribe", "1 pending"),
        ("sent", DIGITS),
        ("sent", PRICES),
        ("answered", DIGITS),
        ("answered", PRICES),
    ]
    sent = [one for one in lines if "sent as" in one["message"]]
    over = {
        one["client_message_id"]: one for one in lines if "duration_ms" in one and "lane" in one
    }
    assert {one["client_message_id"] for one in sent} == over.keys()
    for one in sent:
        end = over[one["client_message_id"]]
        assert end["correlation_id"] == one["correlation_id"]
        assert (end["lane"], end["account_id"]) == (one["lane"], one["account_id"])
        assert 0 <= end["duration_ms"] < 10_000
    assert [one["request_id"] for one in lines if "client asks" in one["message"]] == ["q1", "-"]
    assert sorry["results"][0]["code"] == "INVALID_REQUEST"
    assert steps(lines, "desk-7.2") == [
        ("asks", "subscribe"),
        ("is answered", "subscribe", "1 pending"),
        ("sent", DIGITS),
        ("sent", PRICES),
        ("answered", DIGITS),
        ("refused", PRICES),
        ("also", "subscribe: symbol 2 refused: INVALID_REQUEST: not this one; again in 2 s"),
        ("also", "clients told that 'GBPUSD' is unavailable: 1 (INVALID_REQUEST)"),
        ("sent", PRICES),
        ("answered", PRICES),
        ("also", "clients told that 'GBPUSD' is available again: 1"),
    ]
    first, second = sorted({one["correlation_id"] for one in sent} - {"desk-7.1", "desk-7.2"})
    assert (first[:4], first[-2:]) == ("own:", "-1")
    assert second == f"{first[:-1]}2"
    assert ("sent", PRICES) not in steps(lines, first)
    assert ("answered", PRICES) in steps(lines, second)


@bounded(40)
async def test_for_people(tmp_path: Path) -> None:
    """The readable log shows the id in front of what it is about."""
    command = [*CONSOLE, "ctrader-stream", "--ws-port=0"]
    async with started(tmp_path, command=command) as process:
        port = await listening(process)
        await process.says("is ready")
        client = await connect(port, **{"X-Correlation-Id": "desk-7"})
        await client.ask("subscribe", "subscribeResponse", symbols=["EURUSD"])
        await client.heard(of_type("tick"), "a tick")
        await process.says(rf": \[desk-7\.1\] {PRICES} \S+: answered after \d")
        await client.bye()
        process.signal("TERM")
        await process.end(10)
    mine = [line for line in process.err.splitlines() if "desk-7" in line]
    assert all(": [desk-7.1] " in line and line.count("desk-7") == 1 for line in mine)
    assert len(mine) == 6


@implementer(ILogObserver)
class Lines:
    """The JSON log of this process."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        self.lines.append(json.loads(json_line(event)))


def asking(running: Running) -> Any:
    """REST with a route that asks the venue, on this daemon's session."""
    app: Any = Klein()
    session = running.daemon.account.session

    @app.route("/ctrader/symbol/<int:number>")
    async def symbol(request: Any, number: int) -> bytes:
        ask = translate.symbol_by_id(session.account_id, [number])
        try:
            told = await session.ask(ask, api_pb2.ProtoOASymbolByIdRes, Lane.READ)
        except VenueRefusal as error:
            return answer(request, Refused(422, str(error), code=error.code))
        return str(told.symbol[0].digits).encode()

    return make_site(
        tick_stream=None,
        rest=app.resource(),
        doors=Doors(clock=reactor, policy=DoorPolicy(is_local=True), keys=None, metrics=Metrics()),
        body_limit=1000,
        arrival_timeout_s=5,
        reactor=reactor,
    )


@bounded(40)
async def test_from_rest_to_the_venue_and_back() -> None:
    """A request over HTTP: the header's id in every line and in the answer, refusals included."""
    log = Lines()
    async with Running() as running:
        await running.until_ready()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(asking(running))
        url = f"http://127.0.0.1:{port.getHost().port}/ctrader/symbol/1"
        pool = HTTPConnectionPool(reactor, persistent=False)
        globalLogPublisher.addObserver(log)
        try:
            good = await treq.get(url, headers={"X-Correlation-Id": "order-1"}, pool=pool)
            assert (good.code, await good.text()) == (200, "5")
            running.venue.mischief.error(DIGITS, "ENTITY_NOT_FOUND")
            bad = await treq.get(url, headers={"X-Correlation-Id": "order-2"}, pool=pool)
            problem = await bad.json()
            nameless = await treq.get(url, pool=pool)
            await nameless.text()
            await until(lambda: len(log.lines) >= 12, "all lines")
        finally:
            globalLogPublisher.removeObserver(log)
            await port.stopListening()
    assert (problem["code"], problem["correlation_id"]) == ("ENTITY_NOT_FOUND", "order-2")
    (new,) = nameless.headers.getRawHeaders("x-correlation-id")
    for known_as, outcome, status in (
        ("order-1", "answered", "200"),
        ("order-2", "refused", "422"),
        (new, "answered", "200"),
    ):
        assert steps(log.lines, known_as) == [
            ("asks", "GET /ctrader/symbol/1"),
            ("sent", DIGITS),
            (outcome, DIGITS),
            ("is answered", "GET /ctrader/symbol/1", status),
        ]
