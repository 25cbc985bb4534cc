"""Trading accounts, and the tokens that open them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ctrader_twisted.pb import model_pb2
from ctrader_twisted.simulator.behaviour import Behaviour, Credentials
from ctrader_twisted.simulator.catalogue import ASSET_IDS
from ctrader_twisted.simulator.frames import Refusal

_REGISTERED_AT_MS = 1_700_000_000_000
BROKER = "Simulated Broker"


class Account:
    """One demo account; the balance is in cents of its deposit currency (moneyDigits 2)."""

    def __init__(self, account_id: int, *, may_trade: bool) -> None:
        self.account_id = account_id
        self.trader_login = login_of(account_id)
        self.may_trade = may_trade
        self.balance_cents = 1_000_000
        self.balance_version = 1

    def set_balance(self, cents: int) -> None:
        """A new balance is a new version of it."""
        self.balance_cents = cents
        self.balance_version += 1

    def trader(self) -> model_pb2.ProtoOATrader:
        """The account as protobuf tells it."""
        return model_pb2.ProtoOATrader(
            ctidTraderAccountId=self.account_id,
            balance=self.balance_cents,
            balanceVersion=self.balance_version,
            accessRights=model_pb2.FULL_ACCESS if self.may_trade else model_pb2.NO_TRADING,
            depositAssetId=ASSET_IDS["USD"],
            swapFree=False,
            leverageInCents=10_000,
            totalMarginCalculationType=model_pb2.MAX,
            maxLeverage=10_000,
            traderLogin=self.trader_login,
            accountType=model_pb2.HEDGED,
            brokerName=BROKER,
            registrationTimestamp=_REGISTERED_AT_MS,
            moneyDigits=2,
        )


def login_of(account_id: int) -> int:
    """The number that people see; never the account id."""
    return account_id % 1_000_000 + 5_000_000


@dataclass(slots=True)
class Grant:
    """What somebody consented to: a pair of tokens for the accounts of one person."""

    access_token: str
    refresh_token: str
    expires_at_ms: int
    revoked: bool = False


class Grants:
    """The pairs of tokens that are good; a refresh makes a new pair and voids the old one."""

    def __init__(
        self, credentials: Credentials, behaviour: Behaviour, now_ms: Callable[[], int]
    ) -> None:
        self._credentials = credentials
        self._behaviour = behaviour
        self._now_ms = now_ms
        self._grants: list[Grant] = []
        self._refreshes = 0
        self._add(credentials.access_token, credentials.refresh_token)

    def check(self, access_token: str) -> None:
        """Refusal when an access token is unknown, revoked or expired."""
        for grant in self._grants:
            if grant.access_token == access_token and not grant.revoked:
                break
        else:
            raise Refusal("CH_ACCESS_TOKEN_INVALID", "Access token is invalid")
        code = self._behaviour.expired_token_code
        if code and grant.expires_at_ms <= self._now_ms():
            raise Refusal(code, "Access token has expired")

    def check_account(self, access_token: str, account_id: int) -> None:
        """Refusal unless the token opens that account, here."""
        self.check(access_token)
        if account_id in self._credentials.other_world_account_ids:
            raise Refusal(
                "CANT_ROUTE_REQUEST", "Cannot route request for the account", account_id=account_id
            )
        if account_id not in self._credentials.account_ids:
            raise Refusal(
                "CH_CTID_TRADER_ACCOUNT_NOT_FOUND",
                f"Trading account {account_id} is not found",
                account_id=account_id,
            )

    def refresh(self, refresh_token: str) -> tuple[Grant, Grant]:
        """The voided grant and the new one; Refusal when the refresh token is not good."""
        for old in self._grants:
            if old.refresh_token == refresh_token:
                break
        else:
            raise Refusal("CH_ACCESS_TOKEN_INVALID", "Refresh token is invalid")
        self._grants.remove(old)
        self._refreshes += 1
        number = self._refreshes + 1
        base = self._credentials
        return old, self._add(f"{base.access_token}-{number}", f"{base.refresh_token}-{number}")

    def revoke(self) -> None:
        """Make every access token invalid; the refresh tokens stay good."""
        for grant in self._grants:
            grant.revoked = True

    def expire(self) -> None:
        """End the life of every access token now; sessions that run go on."""
        for grant in self._grants:
            grant.expires_at_ms = self._now_ms()

    def restore(self) -> None:
        """Undo ``revoke`` and ``expire``; what a refresh voided stays void."""
        for grant in self._grants:
            grant.revoked, grant.expires_at_ms = False, self._end_ms()

    def listing(self) -> list[model_pb2.ProtoOACtidTraderAccount]:
        """The accounts that a good token shows, of both worlds."""
        worlds = (
            *((account_id, False) for account_id in self._credentials.account_ids),
            *((account_id, True) for account_id in self._credentials.other_world_account_ids),
        )
        return [
            model_pb2.ProtoOACtidTraderAccount(
                ctidTraderAccountId=account_id,
                isLive=is_live,
                traderLogin=login_of(account_id),
                brokerTitleShort=BROKER,
            )
            for account_id, is_live in worlds
        ]

    def _add(self, access_token: str, refresh_token: str) -> Grant:
        grant = Grant(access_token, refresh_token, self._end_ms())
        self._grants.append(grant)
        return grant

    def _end_ms(self) -> int:
        return self._now_ms() + self._behaviour.token_life_s * 1000
