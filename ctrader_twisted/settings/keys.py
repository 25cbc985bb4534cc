"""The table of all settings: one row a key, from which everything else follows.

The readers (`sources`) take names and kinds from it, `settings` the values, and the tests
hold the example files against it. A new setting is a row here and a field in `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ctrader_twisted.settings.kinds import (
    ADDRESSES,
    ENDPOINT,
    ENVIRONMENT,
    FILE,
    FLAG,
    HOST,
    HOSTS,
    IDENTIFIER,
    ORIGINS,
    PATH,
    PORT,
    SECRET,
    Kind,
    number,
    whole,
)


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. An empty ``default`` means: none, or found out from the others."""

    section: str
    name: str
    environment_name: str
    kind: Kind
    default: str
    why: str
    secret: bool = False

    @property
    def title(self) -> str:
        """As it is called in a sentence: ``[web] ping_s``."""
        return f"[{self.section}] {self.name}"

    @property
    def option(self) -> str:
        """Its name on the command line, without dashes in front."""
        plain = self.name.replace("_", "-")
        return f"{self.section}-{plain}" if self.name in _SHARED_NAMES else plain

    @property
    def secret_place(self) -> str:
        """Advice: where this key may be given, if it is a secret one."""
        name = self.environment_name
        return (
            f"put {name} into .env or the environment, or let {name}_FILE name a file that only "
            "its owner can read"
        )


@dataclass(frozen=True, slots=True)
class Given:
    """A text that some source gives for a key; ``in_file``: the text names a file that holds it."""

    text: str = field(repr=False)
    where: str
    in_file: bool = False


Layer = dict[Key, Given]


# In two sections, so the command line needs the section as well.
_SHARED_NAMES = frozenset({"heartbeat_s"})


# -- the table ------------------------------------------------------------------------------------


def _key(
    section: str, name: str, kind: Kind, default: str, why: str, environment_name: str = ""
) -> Key:
    environment_name = environment_name or f"CTRADER_STREAM_{section}_{name}".upper()
    return Key(section, name, environment_name, kind, default, why, secret=kind is SECRET)


# fmt: off
KEYS: tuple[Key, ...] = (
    _key("venue", "environment", ENVIRONMENT, "simulator",
         "Which venue: our own simulator, or the broker's demo or live one.", "CTRADER_ENV"),
    _key("venue", "host", HOST, "",
         "Its host; by itself demo.ctraderapi.com, live.ctraderapi.com, or a simulator in-process.",
         "CTRADER_OPENAPI_HOST"),
    _key("venue", "port", PORT, "",
         "Its port; by itself 5035, and any free one for the simulator in-process.",
         "CTRADER_OPENAPI_PORT"),
    _key("venue", "ca_file", FILE, "",
         "A PEM file of authorities to trust instead of the system's, for a venue with its own.",
         "CTRADER_CA_FILE"),
    _key("venue", "client_id", IDENTIFIER, "",
         "The application's client id, from openapi.ctrader.com.", "CTRADER_CLIENT_ID"),
    _key("venue", "client_secret", SECRET, "",
         "The application's client secret.", "CTRADER_CLIENT_SECRET"),
    _key("venue", "access_token", SECRET, "",
         "The access token that the trader has granted to the application.",
         "CTRADER_ACCESS_TOKEN"),
    _key("venue", "account_id", whole(1, 2**63 - 1), "",
         "The trading account id (ctidTraderAccountId, not the trader login).",
         "CTRADER_ACCOUNT_ID"),
    _key("venue", "connect_timeout_s", number(600), "30",
         "Seconds for connecting and logging in together, before we start over."),
    _key("venue", "heartbeat_s", number(25), "10",
         "Seconds between our heartbeats; the venue hangs up after 30 silent ones."),
    _key("venue", "silence_s", number(3600), "60",
         "Seconds without a byte from the venue until we take the connection for dead."),
    _key("venue", "request_timeout_s", number(600), "10",
         "Seconds that the venue has for an answer."),
    _key("venue", "keepalive_s", whole(1, 3600), "10",
         "Idle seconds until TCP probes the other side; unanswered for 15 more, it is gone."),
    _key("venue", "requests_per_s", number(50), "40",
         "Requests per second; the venue blocks above 50 per connection."),
    _key("venue", "history_per_s", number(5), "4",
         "Historical requests per second; the venue blocks above 5 per connection."),
    _key("venue", "backoff_initial_s", number(600), "1",
         "Seconds to wait before the first new attempt to connect; doubles from then on."),
    _key("venue", "backoff_max_s", number(600), "60",
         "The longest wait between two attempts, in seconds; there is no last attempt."),
    _key("venue", "stable_after_s", number(3600, zero=True), "60",
         "Seconds that a session must stay ready before the waits start small again."),
    _key("venue", "subscribe_batch", whole(1, 1000), "100",
         "Symbols in one subscribe request to the venue."),
    _key("venue", "unsubscribe_grace_s", number(3600, zero=True), "5",
         "Seconds a symbol stays subscribed after its last client went, in case one comes back."),
    _key("venue", "stale_after_s", number(3600), "30",
         "Seconds without a tick while a symbol's market is open, until its prices are stale."),
    _key("venue", "stale_check_s", number(600), "10",
         "Seconds between two looks for stale prices."),
    _key("venue", "frame_limit_bytes", whole(65536, 2**28), "16777216",
         "The largest frame that we accept; a big symbol list is several MiB."),
    _key("venue", "frame_timeout_s", number(3600), "120",
         "Seconds in which a frame must have arrived; while it arrives, no request times out."),
    _key("web", "listen", ENDPOINT, "",
         "Where we listen; by itself on ws_port of 127.0.0.1 only. In a container: tcp:port=8080."),
    _key("web", "ws_port", PORT, "8080",
         "The port on 127.0.0.1 when listen is not given; 0 takes any free one.", "WS_PORT"),
    _key("web", "heartbeat_s", number(3600), "10",
         "Seconds after which a client that was sent nothing else is sent a heartbeat."),
    _key("web", "ping_s", number(3600), "20",
         "Seconds between WebSocket pings, which find clients that vanished without a word."),
    _key("web", "ping_timeout_s", number(3600), "20",
         "Seconds that a client has to answer a ping before it is dropped."),
    _key("web", "handshake_timeout_s", number(600), "10",
         "Seconds for the opening handshake of a WebSocket; the closing one has two."),
    _key("web", "outbox_bytes", whole(1024, 2**30), "1048576",
         "Bytes that may wait for one client before it is closed as too slow (4413)."),
    _key("web", "outbox_age_s", number(3600), "5",
         "Seconds that a client may read nothing while something waits for it (4413)."),
    _key("web", "window_ms", number(1000, zero=True), "0",
         "Milliseconds in which ticks are gathered into one write; 0 delays nothing."),
    _key("web", "frame_bytes", whole(1024, 2**24), "65536",
         "The largest message that a client may send (1009)."),
    _key("web", "symbols_per_client", whole(1, 100_000), "500",
         "Symbols that one client may subscribe to."),
    _key("web", "messages_per_s", number(100_000), "50",
         "Messages per second that one client may send; frames, ten times as many (1008)."),
    _key("web", "keys_file", PATH, "",
         "The file of API keys (ctrader-stream keys add); beyond loopback nothing works without."),
    _key("web", "require_key", FLAG, "false",
         "Ask for a key on loopback too, as behind a proxy that serves strangers."),
    _key("web", "auth_timeout_s", number(600), "5",
         "Seconds that a WebSocket client has to show its key in connect (4408)."),
    _key("web", "hosts", HOSTS, "",
         "Names by which we are called in Host, besides localhost and plain IP addresses."),
    _key("web", "origins", ORIGINS, "",
         "Origins of pages that may call us, besides our own page."),
    _key("web", "trusted_proxies", ADDRESSES, "",
         "Proxies whose X-Forwarded-For we believe; unix stands for whoever uses our socket file."),
    _key("web", "arrival_timeout_s", number(600), "15",
         "Seconds in which an HTTP request must have arrived, TLS and headers and body (408)."),
    _key("web", "body_bytes", whole(1024, 2**24), "65536",
         "The largest body of an HTTP request (413)."),
    _key("web", "calls_per_s", number(100_000), "50",
         "HTTP requests and WebSocket handshakes per second of one key or address (429, 4429)."),
    _key("web", "connections_per_address", whole(1, 1_000_000), "500",
         "Keyless connections of one address or IPv6 /64; this machine and proxies are exempt."),
    _key("web", "connections_without_key", whole(1, 1_000_000), "",
         "Keyless connections of other machines and of proxies; by default half of the capacity."),
    _key("web", "connections_per_key", whole(1, 1_000_000), "1000",
         "WebSockets with the same key (4429)."),
    _key("web", "messages_per_s_per_key", number(1_000_000), "500",
         "Messages per second from all clients with the same key."),
    _key("web", "subscriptions_per_key", whole(1, 100_000_000), "50000",
         "Subscriptions of all clients with the same key together (KEY_LIMIT)."),
    _key("web", "clients", whole(1, 1_000_000), "10000",
         "Clients at one time; more are sent away (1013). Each needs a file descriptor."),
    _key("web", "compression", FLAG, "false",
         "Accept permessage-deflate; long messages are then compressed, ticks stay shared bytes."),
    _key("web", "stop_timeout_s", number(300), "5",
         "Seconds for the whole goodbye to clients and venue when we are told to stop."),
    _key("simulator", "seed", whole(0, 2**63 - 1), "1",
         "The same seed gives the same prices."),
    _key("simulator", "rate", number(100_000, zero=True), "50",
         "Price changes per second, of all listed symbols together, subscribed or not."),
    _key("simulator", "symbols", whole(0, 10_000), "0",
         "Synthetic symbols to add to the usual thirty, for load."),
)
# fmt: on


def describe() -> tuple[Key, ...]:
    """Every setting there is: the rows for documents, for examples and for their tests."""
    return KEYS
