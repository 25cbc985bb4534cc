"""Where a request really comes from: addresses, proxies, hosts and origins. Pure.

The address of a socket is that of the proxy in front of us, if there is one. What a proxy says
about its client counts only when the proxy's own address is configured.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX = "unix"
_PORTS = {"http": 80, "https": 443}
# Strict on purpose: what a lenient reader makes of a header is what an attacker plays with.
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]"
    r"|(?=[^:]{1,254}(?::|$))(?P<name>[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def is_loopback(address: str) -> bool:
    """True for this machine itself, whatever the spelling; a socket file is here as well."""
    if address == UNIX:
        return True
    known = _ip(address)
    return known is not None and known.is_loopback


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies whose word counts: their addresses, and whether our own socket file is theirs."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, address: str) -> bool:
        """Is this the address of a proxy of ours?"""
        if address == UNIX:
            return self.unix
        known = _ip(address)
        return known is not None and any(known in network for network in self.networks)

    def client_behind(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address: what the nearest proxies of ours say, read from the right.

        Everything left of the first address that is no proxy of ours was written by strangers. An
        empty string: a proxy of ours did not say, or said nonsense.
        """
        if not self.trusts(peer):
            return peer
        for word in reversed((forwarded_for or "").split(",")):
            known = _ip(word.strip())
            if known is None:
                return ""
            if not any(known in network for network in self.networks):
                return str(known)
        return ""


def host_name(host: str) -> str:
    """The name in a Host header, without port, in lower case; empty when it is none."""
    return _split(host)[0]


def is_address(name: str) -> bool:
    """A name that no foreign DNS can make point at us: an IP address."""
    return _ip(name) is not None


def is_same_origin(origin: str, host: str) -> bool:
    """Does a page of ``origin`` belong to the ``host`` that it asks? (Host and port; what stands
    between TLS and us is the proxy's business.)
    """
    scheme, _, there = origin.partition("://")
    default = _PORTS.get(scheme.lower())
    if default is None:
        return False
    ours, theirs = _split(host), _split(there)
    return bool(theirs[0]) and (ours[0], ours[1] or default) == (theirs[0], theirs[1] or default)


def is_local_origin(origin: str) -> bool:
    """A page that this machine serves to itself, from whatever port."""
    scheme, _, there = origin.partition("://")
    name, _ = _split(there)
    return scheme.lower() in _PORTS and (is_local_name(name) or is_loopback(name))


def is_local_name(name: str) -> bool:
    """``localhost``, and what is below it: no DNS server is asked about these."""
    return name == "localhost" or name.endswith(".localhost")


def _split(host: str) -> tuple[str, int | None]:
    """Name and port; an empty name when it is not exactly that."""
    match = _HOST.fullmatch(host)
    if match is None:
        return "", None
    name = (match["address"] or match["name"]).lower().removesuffix(".")
    return name, int(match["port"]) if match["port"] else None


@lru_cache(maxsize=4096)
def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        known = ipaddress.ip_address(text)
    except ValueError:
        return None
    # On a socket of both families an IPv4 client looks like ::ffff:192.0.2.1.
    return getattr(known, "ipv4_mapped", None) or known
