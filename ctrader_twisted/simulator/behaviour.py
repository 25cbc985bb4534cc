"""What this venue does where the real one leaves room for doubt, and whom it lets in.

Every field is a setting; the default is what the real venue most probably does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ctrader_twisted.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The rules of the house; durations in seconds, codes as the names that go over the wire.

    A code of "" means: no refusal, the request is granted; what is unknown is passed over. Only
    ``unauthorised_account_code`` has to be one.
    """

    # -- frames and liveness
    frame_cap_bytes: int = 1 << 20
    bad_frames_until_close: int = 3
    inner_payload_type: bool = False
    silence_cut_s: float = 30.0
    unauthenticated_cut_s: float = 30.0
    heartbeat_s: float = 30.0
    backlog_cap_bytes: int = 8 << 20

    # -- being somebody
    second_application_auth_code: str = "CH_CLIENT_ALREADY_AUTHENTICATED"
    unauthorised_account_code: str = "INVALID_REQUEST"
    expired_token_code: str = "OA_AUTH_TOKEN_EXPIRED"  # noqa: S105 - a code, not a token
    token_life_s: int = 2_628_000
    refresh_ends_sessions: bool = True
    newer_connection_kicks_older: bool = False
    connections_per_application: int = 25

    # -- how much may be asked
    ordinary_per_s: float = 50.0
    historical_per_s: float = 5.0
    over_budget_code: str = "BLOCKED_PAYLOAD_TYPE"
    retry_after_s: int = 1

    # -- spots
    mixed_subscription_refused: bool = True
    not_subscribed_code: str = "NOT_SUBSCRIBED_TO_SPOTS"
    unknown_symbol_code: str = "SYMBOL_NOT_FOUND"
    empty_list_code: str = "INVALID_REQUEST"
    first_spot_delay_s: float = 0.0
    first_spot_has_session_close: bool = True

    # -- the rest
    version: str = "93"


#: The environment names of ``Credentials.from_environment``, with the field that each one sets.
ENVIRONMENT_NAMES = {
    "SIMULATOR_CLIENT_ID": "client_id",
    "SIMULATOR_CLIENT_SECRET": "client_secret",
    "SIMULATOR_ACCESS_TOKEN": "access_token",
    "SIMULATOR_ACCOUNT_ID": "account_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whom the venue lets in. Made up, printed at start, and worth nothing elsewhere.

    ``account_id`` and ``further_account_ids`` are demo accounts of this venue;
    ``other_world_account_ids`` are listed as live, and cannot be authorised here.
    """

    client_id: str = "simulator-client"
    client_secret: str = "simulator-secret"  # noqa: S105
    access_token: str = "simulator-token"  # noqa: S105
    refresh_token: str = "simulator-refresh"  # noqa: S105
    account_id: int = 1000001
    further_account_ids: tuple[int, ...] = (1000002,)
    other_world_account_ids: tuple[int, ...] = (2000001,)
    may_trade: bool = True

    @property
    def account_ids(self) -> tuple[int, ...]:
        """The accounts of this world, the principal one first."""
        return (
            self.account_id,
            *(other for other in self.further_account_ids if other != self.account_id),
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Credentials:
        """The defaults, with what ``SIMULATOR_...`` names of the environment say instead.

        Raises ConfigurationError when the account id is not a positive number.
        """
        given = {
            field: environment[name]
            for name, field in ENVIRONMENT_NAMES.items()
            if environment.get(name)
        }
        account = given.pop("account_id", str(cls().account_id))
        if not re.fullmatch(r"[0-9]{1,19}", account) or not 0 < int(account) < 2**63:
            raise ConfigurationError(
                f"SIMULATOR_ACCOUNT_ID must be a positive number, not {account[:20]!r}."
            )
        return cls(account_id=int(account), **given)  # type: ignore[arg-type]
