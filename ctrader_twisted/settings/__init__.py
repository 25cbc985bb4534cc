"""Frozen settings, made from tap.conf, .env, the environment and the command line, in rising order.

`load` either returns settings that fit together, or raises ConfigurationError with one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.settings.files import check_readable, read_secret
from ctrader_twisted.settings.keys import KEYS, Given, Key, Layer, describe
from ctrader_twisted.settings.kinds import FILE
from ctrader_twisted.settings.shown import bad_value, in_part, is_shown, odd_text, shown_text
from ctrader_twisted.settings.sources import gather

__all__ = [
    "Settings",
    "SimulatorSettings",
    "VenueSettings",
    "WebSettings",
    "describe",
    "explain",
    "load",
    "load_web",
]

HOSTS = {"demo": "demo.ctraderapi.com", "live": "live.ctraderapi.com"}
BROKER_DOMAIN = "ctraderapi.com"
VENUE_PORT = 5035

# What the simulator accepts, and prints, when it is told nothing else.
SIMULATOR_CREDENTIALS = {
    "client_id": "simulator-client",
    "client_secret": Secret("simulator-secret"),
    "access_token": Secret("simulator-token"),
    "account_id": 1000001,
}


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """The venue, who we are there, and our manners.

    ``embedded``: no host was configured, so the daemon starts a simulated venue of its own;
    ``port`` 0 then means any free one.
    """

    environment: str
    host: str
    port: int
    embedded: bool
    ca_file: Path | None
    client_id: str = field(repr=False)
    client_secret: Secret
    access_token: Secret
    account_id: int
    connect_timeout_s: float = 30.0
    heartbeat_s: float = 10.0
    silence_s: float = 60.0
    request_timeout_s: float = 10.0
    keepalive_s: int = 10
    requests_per_s: float = 40.0
    history_per_s: float = 4.0
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 60.0
    stable_after_s: float = 60.0
    subscribe_batch: int = 100
    unsubscribe_grace_s: float = 5.0
    stale_after_s: float = 30.0
    stale_check_s: float = 10.0
    frame_limit_bytes: int = 16 * 1024 * 1024
    frame_timeout_s: float = 120.0

    def unspeakable(self) -> tuple[Secret, ...]:
        """What must turn up in no text: the secrets, and the client id, since it may be one that
        was put in the wrong place (a short one is none, and would mask half of every sentence).
        """
        is_long = len(self.client_id) >= 8 and not self.embedded
        swapped = (Secret(self.client_id),) if is_long else ()
        return (self.client_secret, self.access_token, *swapped)


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Our own door and its limits; ``listen`` is a Twisted server endpoint."""

    listen: str = "tcp:port=8080:interface=127.0.0.1"
    heartbeat_s: float = 10.0
    ping_s: float = 20.0
    ping_timeout_s: float = 20.0
    handshake_timeout_s: float = 10.0
    outbox_bytes: int = 1024 * 1024
    outbox_age_s: float = 5.0
    window_ms: float = 0.0
    frame_bytes: int = 64 * 1024
    symbols_per_client: int = 500
    messages_per_s: float = 50.0
    keys_file: Path | None = None
    require_key: bool = False
    auth_timeout_s: float = 5.0
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    arrival_timeout_s: float = 15.0
    body_bytes: int = 64 * 1024
    calls_per_s: float = 50.0
    connections_per_address: int = 500
    connections_without_key: int | None = None
    connections_per_key: int = 1000
    messages_per_s_per_key: float = 500.0
    subscriptions_per_key: int = 50_000
    clients: int = 10_000
    compression: bool = False
    stop_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """The embedded venue: ``rate`` in price changes per second in total."""

    seed: int = 1
    rate: float = 50.0
    symbols: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the daemon.

    ``notes``: decisions to log at start. ``warnings``: values that are allowed but probably wrong.
    ``secret_files``: the secrets that are in files of their own, by name.
    """

    venue: VenueSettings
    web: WebSettings
    simulator: SimulatorSettings
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    secret_files: Mapping[str, Given] = field(default_factory=dict)


def load(
    *,
    options: Mapping[str, str | None],
    environ: Mapping[str, str],
    tap_conf: Path | None,
    dotenv: Path | None,
) -> Settings:
    """The settings that these sources make; `environ` itself is never changed.

    `options` are command line values by name (``listen``, ``ws-port``), None for one not given.
    """
    given, notes = gather(options=options, environ=environ, tap_conf=tap_conf, dotenv=dotenv)
    sections: dict[str, dict[str, Any]] = {"venue": {}, "web": {}, "simulator": {}}
    for key in KEYS:
        sections[key.section][key.name] = _value(key, given.get(key))
    where = _Places(given)
    venue = _complete_venue(sections["venue"], where, notes)
    return Settings(
        venue=_build(VenueSettings, venue),
        web=_build(WebSettings, _complete_web(sections["web"])),
        simulator=_build(SimulatorSettings, sections["simulator"]),
        notes=tuple(notes),
        warnings=tuple(_odd_values(given, venue, where)),
        secret_files={key.name: one for key, one in given.items() if one.in_file},
    )


def load_web(
    *,
    options: Mapping[str, str | None],
    environ: Mapping[str, str],
    tap_conf: Path | None,
    dotenv: Path | None,
) -> WebSettings:
    """The daemon's own door alone, from the same sources, for whoever only wants to knock.

    The venue's keys are not looked at, so no credentials are needed, and no secret file is opened.
    """
    given, _ = gather(options=options, environ=environ, tap_conf=tap_conf, dotenv=dotenv)
    web = {key.name: _value(key, given.get(key)) for key in KEYS if key.section == "web"}
    return _build(WebSettings, _complete_web(web))


def explain(
    *,
    options: Mapping[str, str | None],
    environ: Mapping[str, str],
    tap_conf: Path | None,
    dotenv: Path | None,
) -> list[tuple[str, str, str]]:
    """Title, value and source of every setting, as `load` takes them; secrets are masked, and of
    a client id the beginning is shown.

    ConfigurationError where `load` would raise one.
    """
    settings = load(options=options, environ=environ, tap_conf=tap_conf, dotenv=dotenv)
    given, _ = gather(options=options, environ=environ, tap_conf=tap_conf, dotenv=dotenv)
    found = []
    for key in KEYS:
        where = given[key].where if key in given else "default"
        value = getattr(getattr(settings, key.section), key.name, None)
        if value is None:
            value = given[key].text.strip() if key in given and not key.secret else key.default
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        if not is_shown(key) and not key.secret and key in given:
            text = in_part(text)
        found.append((key.title, text, where))
    return found


def _complete_web(web: dict[str, Any]) -> dict[str, Any]:
    ws_port = web.pop("ws_port")
    web["listen"] = web["listen"] or f"tcp:port={ws_port}:interface=127.0.0.1"
    for name in ("hosts", "origins", "trusted_proxies"):
        web[name] = web[name] or ()
    return web


_Section = TypeVar("_Section", VenueSettings, WebSettings, SimulatorSettings)


def _build(section: type[_Section], values: dict[str, Any]) -> _Section:
    return section(**{field.name: values[field.name] for field in fields(section)})


def _value(key: Key, given: Given | None) -> Any:
    """The parsed value; None for a key without a value and without a default."""
    if given is None:
        return key.kind.parse(key.default) if key.default else None
    text = read_secret(given) if given.in_file else given.text.strip()
    try:
        value = key.kind.parse(text)
    except ValueError:
        pass
    else:
        if key.kind is FILE:
            check_readable(value, f"{value} (named by {given.where})")
        return value
    # Outside the except block, so that no chained exception carries the text along.
    default = f" for the default {key.default}" if key.default else ""
    shown = f"is {bad_value(key, text)}, but " if is_shown(key) else ""
    raise ConfigurationError(
        f"{given.where} {shown}must be {key.kind.allowed}: correct it, or leave it out{default}."
    )


class _Places:
    """How a sentence names a key: by where its value stood, or by its title."""

    def __init__(self, given: Layer) -> None:
        self._by_name = {(key.section, key.name): where.where for key, where in given.items()}

    def __contains__(self, name: str) -> bool:
        return ("venue", name) in self._by_name

    def __getitem__(self, name: str) -> str:
        return self._by_name.get(("venue", name), f"[venue] {name} (by default)")


# -- warnings: values that are allowed but probably wrong -----------------------------------------


def _odd_values(given: Layer, venue: dict[str, Any], where: _Places) -> Iterator[str]:
    for key, one in given.items():
        text = venue[key.name].reveal() if one.in_file else one.text
        oddity = odd_text(text)
        if oddity:
            place = f"{one.where} names a file whose content" if one.in_file else one.where
            yield f"{place} {oddity}"
    environment, host = venue["environment"], venue["host"]
    if environment in HOSTS and not f".{host}".endswith(f".{BROKER_DOMAIN}"):
        yield (
            f"{where['host']} is {shown_text(host)}, which is not a host of the broker's "
            f"{environment} environment ({HOSTS[environment]}): the credentials are sent there; "
            "leave the host out, unless it is your own."
        )


# -- the venue: what follows from what, and what must fit together --------------------------------


def _complete_venue(venue: dict[str, Any], where: _Places, notes: list[str]) -> dict[str, Any]:
    _settle_environment(venue, where, notes)
    environment = venue["environment"]
    venue["embedded"] = environment == "simulator" and venue["host"] is None
    _settle_credentials(venue, where, notes)
    venue["host"] = venue["host"] or HOSTS.get(environment, "127.0.0.1")
    if venue["port"] is None:
        venue["port"] = 0 if venue["embedded"] else VENUE_PORT
    elif venue["port"] == 0 and not venue["embedded"]:
        raise ConfigurationError(
            f"{where['port']} is 0, but only the simulator in-process may take any free port: "
            f"give the venue's port, usually {VENUE_PORT}."
        )
    if venue["embedded"] and venue["ca_file"]:
        notes.append(f"{where['ca_file']} is not used: the simulator in-process brings its own.")
    _longer(venue, where, "silence_s", "heartbeat_s")
    if venue["backoff_max_s"] < venue["backoff_initial_s"]:
        raise ConfigurationError(
            f"{where['backoff_max_s']} is {venue['backoff_max_s']:g}, but must be at least "
            f"{venue['backoff_initial_s']:g}, which is {where['backoff_initial_s']}: "
            "raise the one or lower the other."
        )
    return venue


def _longer(venue: dict[str, Any], where: _Places, name: str, than: str) -> None:
    if venue[name] <= venue[than]:
        raise ConfigurationError(
            f"{where[name]} is {venue[name]:g}, but must be more than {venue[than]:g}, "
            f"which is {where[than]}: raise the one or lower the other."
        )


def _settle_environment(venue: dict[str, Any], where: _Places, notes: list[str]) -> None:
    """The broker's hosts say which environment they are; they must not be called another one."""
    host = venue["host"]
    named = next((name for name, known in HOSTS.items() if known == host), None)
    if named is None or named == venue["environment"]:
        return
    if "environment" in where:
        raise ConfigurationError(
            f"{where['environment']} is {venue['environment']}, but {where['host']} is {host}, "
            f"the host of the {named} environment: correct one of the two."
        )
    venue["environment"] = named
    notes.append(f"{where['host']} is {host}, so the environment is {named}.")


def _settle_credentials(venue: dict[str, Any], where: _Places, notes: list[str]) -> None:
    if venue["environment"] == "simulator":
        if venue["embedded"] and any(name in where for name in SIMULATOR_CREDENTIALS):
            notes.append(
                "Credentials are given, but the venue is the simulator in-process: "
                "for the broker set CTRADER_ENV to demo or live."
            )
        for name, value in SIMULATOR_CREDENTIALS.items():
            venue[name] = value if venue[name] is None else venue[name]
        return
    names = {key.name: key.environment_name for key in KEYS if key.section == "venue"}
    missing = [names[name] for name in SIMULATOR_CREDENTIALS if venue[name] is None]
    if missing:
        listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise ConfigurationError(
            f"The environment {venue['environment']} needs {listed} as well, but nothing gives "
            f"{'it' if len(missing) == 1 else 'them'}: put what is missing into .env (see "
            ".env.example) or into the environment, or set CTRADER_ENV to simulator."
        )
