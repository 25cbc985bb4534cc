"""Trading accounts at work: who wants what, and the feed that brings it."""

from ctrader_twisted.accounts.account import Account, AccountListener, Accounts
from ctrader_twisted.accounts.names import Wanted
from ctrader_twisted.accounts.watch import Watch, WatchPolicy
from ctrader_twisted.market.demand import Consumer, Group

__all__ = [
    "Account",
    "AccountListener",
    "Accounts",
    "Consumer",
    "Group",
    "Wanted",
    "Watch",
    "WatchPolicy",
]
