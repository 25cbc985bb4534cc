"""Our own entrance, as the configuration has it: what is refused before anybody can knock.

A door that strangers can reach needs a key file with a key in it; a certificate must be in force
and fit its key. Each refusal is one sentence, at start.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import SSL4ServerEndpoint, _SystemdParser, serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.internet.ssl import CertificateOptions, DiffieHellmanParameters
from twisted.logger import Logger
from twisted.python.filepath import FilePath
from twisted.python.systemd import ListenFDs
from twisted.web.server import Site

from ctrader_twisted.config_files import FileRefused, read_file
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.settings import WebSettings
from ctrader_twisted.tls.policy import CIPHERS
from ctrader_twisted.upkeep import Capacity, descriptor_limit, room_now
from ctrader_twisted.web import visitors
from ctrader_twisted.web.doors import DoorPolicy, Doors
from ctrader_twisted.web.keys import KeyRing
from ctrader_twisted.web.rest import Rest
from ctrader_twisted.web.site import make_site
from ctrader_twisted.web.visitors import Proxies

log = Logger()

Loaded = TypeVar("Loaded")

# Twisted has read, and then removed, what the environment says of inherited sockets.
TWISTEDS = _SystemdParser._sddaemon
SOON = timedelta(days=14)

# Of the methods of pyOpenSSL those by which a server can speak TLS 1.2 or later.
METHODS = ("TLS_METHOD", "TLS_SERVER_METHOD", "SSLv23_METHOD", "TLSv1_2_METHOD")


def make_doors(
    web: WebSettings,
    *,
    clock: IReactorTime,
    metrics: Metrics,
    inherited: ListenFDs | None = None,
) -> Doors:
    """The doors of the configuration; ConfigurationError when they would stand open.

    ``inherited`` are the sockets that systemd handed over, by default those of this process.
    """
    arguments = endpoint_arguments(web.listen)
    check_certificate(arguments, datetime.now(UTC))
    is_local = is_local_endpoint(arguments, inherited or TWISTEDS)
    keys = KeyRing(web.keys_file) if web.keys_file is not None else None
    why = reason_for_keys(web, is_local=is_local)
    if why and (keys is None or keys.is_empty()):
        raise ConfigurationError(
            f"{why}, but there is no API key: make one with `ctrader-stream keys add NAME "
            "--scope read --file FILE`, and set keys_file to that FILE."
        )
    for reason in too_wide(web):
        log.warn("trusted_proxies is too wide: {reason}", reason=reason)
    return Doors(clock=clock, policy=policy(web, is_local=is_local), keys=keys, metrics=metrics)


def make_front(web: WebSettings, doors: Doors, tick_stream: Any, rest: Rest, reactor: Any) -> Site:
    """All that is served on our port, behind its doors."""
    return make_site(
        tick_stream=tick_stream,
        rest=rest.resource(),
        doors=doors,
        body_limit=web.body_bytes,
        arrival_timeout_s=web.arrival_timeout_s,
        reactor=reactor,
    )


def reason_for_keys(web: WebSettings, *, is_local: bool) -> str:
    """Why a key is needed, for the beginning of a sentence; empty when none is."""
    if not is_local:
        return f"listen is {web.listen!r}, which other machines can reach"
    if web.trusted_proxies:
        return "trusted_proxies are set, so strangers come through them"
    return "require_key is set" if web.require_key else ""


def too_wide(web: WebSettings) -> list[str]:
    """Return a reason for each trusted network that is too wide to be one of proxies only."""
    return [
        f"{network} has clients in it, and each of them can write any address into "
        "X-Forwarded-For, and so evade the limits for each address; write the addresses of the "
        "proxies only"
        for network in _networks(web)
        if visitors.is_wide(network)
    ]


def _networks(web: WebSettings) -> tuple[visitors.Network, ...]:
    words = [word for word in web.trusted_proxies if word != visitors.UNIX]
    return tuple(ipaddress.ip_network(word) for word in words)


def policy(web: WebSettings, *, is_local: bool) -> DoorPolicy:
    """What the doors are told of the settings."""
    capacity = Capacity.of(descriptor_limit())
    return DoorPolicy(
        is_local=is_local,
        require_key=web.require_key,
        hosts=web.hosts,
        origins=web.origins,
        proxies=Proxies(
            networks=_networks(web),
            unix=visitors.UNIX in web.trusted_proxies,
        ),
        calls_per_s=web.calls_per_s,
        connections_per_address=web.connections_per_address,
        connections_without_key=(
            capacity.without_key(web.clients)
            if web.connections_without_key is None
            else web.connections_without_key
        ),
        connections=capacity.connections,
        room=room_now,
        connections_per_key=web.connections_per_key,
        messages_per_s_per_key=web.messages_per_s_per_key,
        subscriptions_per_key=web.subscriptions_per_key,
        auth_timeout_s=web.auth_timeout_s,
    )


# -- where we listen ---------------------------------------------------------------------------


def endpoint_arguments(listen: str) -> dict[str, str]:
    """A server endpoint string by name: ``kind``, and whatever it has (``port``, ``certKey``)."""
    kind, *rest = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", listen)]
    found = {"kind": kind.lower()}
    for part in rest:
        name, equals, value = part.partition("=")
        found.setdefault(name if equals else "", value if equals else part)
    return found


def is_local_endpoint(arguments: Mapping[str, str], inherited: ListenFDs) -> bool:
    """True when nobody but this machine can reach what listens there."""
    kind = arguments["kind"]
    if kind == "unix":
        return True
    if kind == "systemd":
        return visitors.is_loopback(_inherited_address(arguments, inherited))
    interface = arguments.get("interface", "")
    return interface == "localhost" or visitors.is_loopback(interface)


def _inherited_address(arguments: Mapping[str, str], inherited: ListenFDs) -> str:
    index = arguments.get("index", "")
    descriptors = inherited.inheritedDescriptors()
    descriptor = inherited.inheritedNamedDescriptors().get(arguments.get("name", ""))
    if descriptor is None and index.isdecimal() and int(index) < len(descriptors):
        descriptor = descriptors[int(index)]
    if descriptor is None:
        raise ConfigurationError(
            "listen is a systemd endpoint, but systemd handed over no such socket: start the "
            "service by its socket unit, or listen on tcp."
        )
    try:
        listener = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise ConfigurationError(
            f"the socket that systemd handed over cannot be used ({error.strerror})."
        ) from None
    with listener:
        if listener.family == socket.AF_UNIX:
            return visitors.UNIX
        return str(listener.getsockname()[0])


# -- TLS ---------------------------------------------------------------------------------------


def check_certificate(arguments: Mapping[str, str], now: datetime) -> None:
    """Refuse one that is not in force, or not the key's; warn two weeks before its end."""
    if arguments["kind"] != "ssl":
        return
    key_file = arguments.get("privateKey", "server.pem")
    certificate_file = arguments.get("certKey", key_file)
    key = _load(key_file, "private key", lambda pem: load_pem_private_key(pem, None))
    certificate = _load(certificate_file, "certificate", x509.load_pem_x509_certificate)
    if "extraCertChain" in arguments:
        _load(arguments["extraCertChain"], "chain", x509.load_pem_x509_certificates)
    if "dhParameters" in arguments and Path(arguments["dhParameters"]).exists():
        _load(arguments["dhParameters"], "file of DH parameters", bytes)
    ends = certificate.not_valid_after_utc
    if now > ends:
        raise ConfigurationError(
            f"the certificate {certificate_file} expired on {ends:%Y-%m-%d}: renew it."
        )
    if now < certificate.not_valid_before_utc:
        raise ConfigurationError(
            f"the certificate {certificate_file} is valid only from "
            f"{certificate.not_valid_before_utc:%Y-%m-%d} on: is the clock right?"
        )
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise ConfigurationError(
            f"the certificate {certificate_file} does not belong to the private key {key_file}: "
            "correct privateKey or certKey in `listen`."
        )
    _try_context(arguments, key_file, certificate_file)
    if ends - now < SOON:
        log.warn(
            "the certificate {file} expires on {day}",
            file=certificate_file,
            day=f"{ends:%Y-%m-%d}",
        )


def _try_context(arguments: Mapping[str, str], key_file: str, certificate_file: str) -> None:
    """Set TLS up once, on trial: a mistake would show only at the first connection."""
    method = arguments.get("sslmethod", METHODS[0])
    if method not in METHODS:
        raise ConfigurationError(
            f"there is no sslmethod {method} for a server of TLS 1.2 or later: take it out of "
            "`listen`."
        )
    try:
        tls_options(arguments)
    except (SSL.Error, crypto.Error) as error:
        # What OpenSSL says is a list of (library, function, reason).
        reasons = [part[-1] for part in error.args[0] if part[-1]]
        reason = ", ".join(reasons) or "for no reason that it tells"
        files = ", ".join(filter(None, (certificate_file, key_file, arguments.get("dhParameters"))))
        raise ConfigurationError(
            f"TLS cannot be set up with {files} ({reason}): make stronger or other ones."
        ) from None


def tls_options(arguments: Mapping[str, str]) -> CertificateOptions:
    """TLS of our listener: 1.2 or later, with forward-secret AEAD cipher suites only.

    Twisted's own `ssl` endpoint also takes CBC suites and RSA key exchange.
    """
    key_file = arguments.get("privateKey", "server.pem")
    # Each from its own file: the other one may hold another key as well.
    certificate = read_file(Path(arguments.get("certKey", key_file)))
    # The pass phrase is one for no file: without it OpenSSL would ask at the terminal.
    key = crypto.load_privatekey(crypto.FILETYPE_PEM, read_file(Path(key_file)), b"")
    chain_file, dh_file = arguments.get("extraCertChain"), arguments.get("dhParameters")
    chain = x509.load_pem_x509_certificates(read_file(Path(chain_file))) if chain_file else []
    method = arguments.get("sslmethod")
    options = CertificateOptions(
        privateKey=key,
        certificate=crypto.load_certificate(crypto.FILETYPE_PEM, certificate),
        method=getattr(SSL, method) if method else None,
        extraCertChain=[crypto.X509.from_cryptography(one) for one in chain],
        dhParameters=DiffieHellmanParameters(FilePath(dh_file)) if dh_file else None,
    )
    context = options.getContext()
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    return options


def server_endpoint(reactor: Any, listen: str) -> IStreamServerEndpoint:
    """Build the endpoint of a server endpoint string, with TLS as in `tls_options`."""
    arguments = endpoint_arguments(listen)
    if arguments["kind"] != "ssl":
        endpoint: IStreamServerEndpoint = serverFromString(reactor, listen)
        return endpoint
    return SSL4ServerEndpoint(
        reactor,
        int(arguments.get("port", arguments.get("", ""))),
        tls_options(arguments),
        int(arguments.get("backlog", "50")),
        arguments.get("interface", ""),
    )


def _load(name: str, what: str, read: Callable[[bytes], Loaded]) -> Loaded:
    try:
        return read(read_file(Path(name)))
    except FileRefused as refused:
        raise ConfigurationError(f"the {what} {name} {refused}.") from None
    except OSError as error:
        reason = error.strerror or "unreadable"
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # TypeError: it wants a pass phrase, which nobody could type.
        reason = f"there is no usable {what} in it"
    raise ConfigurationError(f"the {what} {name} cannot be used ({reason}): correct `listen`.")


def _public(key: Any) -> bytes:
    octets: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets
