"""Where a request really comes from: addresses, proxies, hosts and origins. Pure.

The address of a socket is that of the proxy in front of us, if there is one. What a proxy says
about its client counts only when the proxy's own address is configured, and only for rate limits
and quotas: a forwarded address never makes a request local (`Proxies.source`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
_PORTS = {"http": 80, "https": 443}
# Strict on purpose: what a lenient reader makes of a header is what an attacker plays with.
_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]{2,45})\]"
    r"|(?=[^:]{1,254}(?::|$))(?P<name>[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

FORWARDED_FOR = b"x-forwarded-for"
# Headers that proxies add. One of them shows that a request was not sent by a program of this
# machine, even where the operator forgot to configure the proxy. Only X-Forwarded-For is read: a
# proxy passes on the other ones as the client wrote them.
FORWARDING_HEADERS = (
    FORWARDED_FOR,
    b"forwarded",
    b"via",
    b"cdn-loop",
    b"cdn-src-ip",
    b"ali-cdn-real-ip",
    b"client-ip",
    b"do-connecting-ip",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"proxy-client-ip",
    b"true-client-ip",
    b"wl-proxy-client-ip",
    b"x-appengine-user-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-nginx-proxy",
    b"x-proxyuser-ip",
    b"x-real-ip",
    b"x-remote-addr",
)
# Families of such headers: X-Forwarded-User of an authenticating proxy, CF-Ray of Cloudflare.
FORWARDING_PREFIXES = (
    b"x-forwarded",
    b"x-original-",
    b"x-envoy-",
    b"x-azure-",
    b"x-arr-",
    b"cf-",
    b"cloudfront-",
    b"tailscale-",
)
_FORWARDING_NAMES = frozenset(FORWARDING_HEADERS)
# One element of X-Forwarded-For: an address, or an address and a port (a number, or an obfuscated
# one as in RFC 7239). An IPv6 address with a port is in brackets.
_HOP = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<v4>[0-9.]{7,15}))"
    r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]{1,64}))?"
)
_LONGEST_ADDRESS = 64

# The shortest prefixes of a public network of proxies, such as a content delivery network has. A
# larger public network holds clients, too.
PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
SHORTEST_PREFIX = {4: 12, 6: 24}


def is_loopback(address: str) -> bool:
    """True for this machine itself, whatever the spelling; a socket file is here as well."""
    if address == UNIX:
        return True
    known = _ip(address)
    return known is not None and known.is_loopback


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """Return the name under which an address is counted: itself, or for IPv6 its /64 network.

    Every customer of a provider gets a /64 at least, so its addresses cost an attacker nothing. An
    IPv4 address is counted as itself, also when it is written as IPv6.
    """
    known = _ip(address)
    if not isinstance(known, ipaddress.IPv6Address):
        return str(known or address)
    return str(ipaddress.IPv6Network((int(known), 64), strict=False))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from.

    ``address``: the client, for rate limits and quotas. ``is_local``: a program of this machine
    sent it, without a proxy between. ``is_named``: False if a trusted proxy named no usable
    client address, so that ``address`` is the proxy's own. ``is_forwarded``: a proxy on this
    machine that is no trusted one passed it on.
    """

    address: str
    is_local: bool
    is_named: bool = True
    is_forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Proxies:
    """The trusted proxies: their networks, and whether they use our unix socket."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, address: str) -> bool:
        """Return True for the address of a trusted proxy."""
        if address == UNIX:
            return self.unix
        known = _ip(address)
        return known is not None and self._holds(known)

    def source(
        self, peer: str, header: Callable[[bytes], str | None], names: Collection[bytes]
    ) -> Source:
        """Decide who sent a request and whether it is local.

        ``peer`` is the other end of the socket, ``header`` reads a header by its name in lower
        case, ``names`` are the names of all headers, in lower case, too. A request is local only
        if its peer is on this machine, is no trusted proxy, and sent no header of a proxy, not even
        an empty one: a proxy brings requests of strangers, even one on this machine that is missing
        in ``trusted_proxies``. No header makes a request local.
        """
        if self.trusts(peer):
            address = self._client(header(FORWARDED_FOR) or "")
            return Source(address or peer, is_local=False, is_named=bool(address))
        if not is_loopback(peer):
            return Source(peer, is_local=False)
        is_forwarded = any(map(is_forwarding, names))
        return Source(peer, is_local=not is_forwarded, is_forwarded=is_forwarded)

    def _client(self, forwarded_for: str) -> str:
        """Return the client's address in X-Forwarded-For; an empty string if it is unusable.

        Each proxy appends the address of its own peer, so the list is read from the right, and the
        first address that is no trusted proxy is the client; the elements left of it were written
        by strangers. If all are trusted proxies, the leftmost is the client. An empty, unknown or
        obfuscated element ends the search without a result, since the elements left of it may be
        the client's own.
        """
        address = ""
        for element in reversed(forwarded_for.split(",")):
            known = forwarded_address(element)
            if known is None:
                return ""
            address = str(known)
            if not self._holds(known):
                return address
        return address

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def is_forwarding(name: bytes) -> bool:
    """Return True for the name of a header that proxies add; it is in lower case."""
    return name in _FORWARDING_NAMES or name.startswith(FORWARDING_PREFIXES)


def forwarded_address(element: str) -> Address | None:
    """Return the IP address in one element of X-Forwarded-For, without port, brackets and quotes;
    None for everything else, such as ``unknown`` or ``_hidden``.
    """
    word = element.strip(" \t")
    if len(word) > 1 and word[0] == word[-1] == '"':
        word = word[1:-1]
    match = _HOP.fullmatch(word)
    if match is not None:
        word = match["v6"] or match["v4"]
        if match["v6"] and ":" not in word:
            return None
    return _ip(word)


def is_wide(network: Network) -> bool:
    """Return True for a network that is too large to be one of proxies only."""
    is_private = any(
        network.version == private.version
        and network.prefixlen >= private.prefixlen
        and network.network_address in private
        for private in PRIVATE
    )
    return not is_private and network.prefixlen < SHORTEST_PREFIX[network.version]


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


def _ip(text: str) -> Address | None:
    # A long text is no address, and must not fill the cache.
    return _cached_ip(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _cached_ip(text: str) -> Address | None:
    try:
        known = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(known, ipaddress.IPv6Address):
        # On a socket of both families an IPv4 client looks like ::ffff:192.0.2.1. A zone, as in
        # fe80::1%eth0, is no part of the address.
        return known.ipv4_mapped or ipaddress.IPv6Address(int(known))
    return known
