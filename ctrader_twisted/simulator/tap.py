"""``twistd ctrader-simulator``: the venue as a process of its own."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.log_writer import finish_all
from ctrader_twisted.logs import LoggingService, observer_for
from ctrader_twisted.simulator.behaviour import ENVIRONMENT_NAMES, Credentials
from ctrader_twisted.simulator.certificates import Identity, Kind, load_identity, write_ca
from ctrader_twisted.simulator.control import ControlService
from ctrader_twisted.simulator.service import Simulator

log = Logger()

_NAMES = ", ".join(ENVIRONMENT_NAMES)


def _number(
    option: str, kind: Callable[[str], Any], least: float, most: float, what: str
) -> Callable[[str], Any]:
    """A coercion for ``usage.Options`` that says what it wants, and of which option."""

    def coerce(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise usage.UsageError(f"--{option}: expected {what}, not {text!r}")
        return number

    coerce.coerceDoc = what[:1].upper() + what[1:] + "."  # type: ignore[attr-defined]
    return coerce


def _host_names(text: str) -> list[str]:
    """Names and addresses between commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_.*:-]{1,253}", name):
            raise usage.UsageError(
                "--host-names takes plain names and addresses with commas between them, "
                f"not {name!r}"
            )
    return names


def _port(option: str) -> Callable[[str], Any]:
    return _number(option, int, 0, 65_535, "a port number, 0 to 65535 (0: any that is free)")


class Options(usage.Options):
    """The command line of the simulated venue."""

    synopsis = "Usage: twistd [options] ctrader-simulator [options]"
    longdesc = (
        "A simulated cTrader venue: protobuf over TLS, made-up prices, faults on demand. "
        f"The credentials that it accepts come from the environment ({_NAMES}) "
        "and are printed at start."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["port", "p", 5035, "Port for clients.", _port("port")],
        ["interface", "i", "127.0.0.1", "Address to listen on."],
        ["ca-out", None, None, "Write the authority's certificate (PEM) to this file."],
        [
            "host-names",
            None,
            "",
            "More host names for the certificate, with commas between.",
            _host_names,
        ],
        ["certificate", None, None, "Use this certificate chain (PEM) instead of a new one."],
        ["key", None, None, "The private key (PEM) of --certificate."],
        ["seed", "s", 1, "Seed of the prices.", _number("seed", int, 0, 2**63, "a whole number")],
        [
            "rate",
            "r",
            50.0,
            "Ticks a second over all listed symbols, subscribed or not.",
            _number("rate", float, 0, 1e6, "a number from 0 to 1000000"),
        ],
        [
            "burst",
            None,
            1,
            "How many ticks share a moment.",
            _number("burst", int, 1, 10_000, "a number from 1 to 10000"),
        ],
        [
            "symbols",
            None,
            0,
            "How many synthetic symbols to add (SYM000...).",
            _number("symbols", int, 0, 20_000, "a number from 0 to 20000"),
        ],
        ["control-port", None, None, "Open a control port on 127.0.0.1", _port("control-port")],
    ]

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"ctrader-simulator {version('ctrader-twisted')}")
        sys.exit(0)

    def parseArgs(self, *extra: str) -> None:
        """There are none."""
        if extra:
            raise usage.UsageError(f"Unexpected argument: {extra[0]}")

    def postOptions(self) -> None:
        """Read what the options and the environment point to."""
        if bool(self["certificate"]) != bool(self["key"]):
            raise usage.UsageError("--certificate and --key go together.")
        self.certificate: Kind | Identity = "good"
        try:
            self.credentials = Credentials.from_environment(os.environ)
            if self["certificate"]:
                self.certificate = load_identity(self["certificate"], self["key"])
        except ConfigurationError as error:
            raise usage.UsageError(str(error)) from error


class OneSentence(LoggingService):
    """Ends the process with one sentence when a port cannot be had."""

    _has_ports = False

    def take_ports(self) -> None:
        """Listen, or say why not: before twistd goes to the background, where nobody hears it."""
        if self._has_ports:
            return
        self._has_ports = True
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            raise SystemExit(
                f"ctrader-simulator: cannot listen on {error.interface}:{error.port}: "
                f"{error.socketError}. Choose another port with --port or --control-port."
            ) from error

    def privilegedStartService(self) -> None:
        """Listen, unless that is done."""
        self.take_ports()


def makeService(options: Options, reactor: Any = None) -> IService:
    """The venue, and its control port if asked for. The reactor is the running one by default."""
    if reactor is None:
        from twisted.internet import reactor
    simulator = Simulator(
        reactor,
        seed=options["seed"],
        rate=options["rate"],
        burst=options["burst"],
        synthetic=options["symbols"],
        credentials=options.credentials,
        host_names=options["host-names"] or (),
        certificate=options.certificate,
    )
    if options["ca-out"]:
        try:
            write_ca(simulator.ca_pem, options["ca-out"])
        except ConfigurationError as error:
            raise SystemExit(f"ctrader-simulator: {error}") from error
    _announce(options.credentials)
    venue = OneSentence()
    venue.addService(simulator.service(reactor, options["port"], options["interface"]))
    if options["control-port"] is not None:
        venue.addService(ControlService(simulator, reactor, options["control-port"]))
    venue.take_ports()
    try:
        venue.log_observer = observer_for(options.parent or {})
    except OSError as error:
        raise SystemExit(
            f"ctrader-simulator: the log file {error.filename} cannot be written "
            f"({error.strerror}): choose another with --logfile."
        ) from error
    reactor.addSystemEventTrigger("after", "shutdown", finish_all)
    return venue


def _announce(credentials: Credentials) -> None:
    """They are worth nothing elsewhere, and somebody has to know them."""
    log.info(
        "This venue accepts client id {client_id}, client secret {client_secret}, "
        "access token {access_token}, refresh token {refresh_token}, accounts {account_ids}.",
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        access_token=credentials.access_token,
        refresh_token=credentials.refresh_token,
        account_ids=credentials.account_ids,
    )
