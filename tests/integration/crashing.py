"""twistd, with a fault planted in it: python -m tests.integration.crashing SECRETS -n ...

Once the daemon is in the middle of its life, exceptions whose words hold the secrets (those in the
file SECRETS, one a line) are raised where nobody catches them: in a timer, in a Deferred, in a
thread. Then everything of ours that lives is printed, by ``repr`` and by ``str``.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.scripts.twistd import run

OURS = "ctrader_twisted."
#: Protobuf prints what it holds, which is why no message of it is ever printed by us.
NOT_OURS = (f"{OURS}pb.", f"{OURS}simulator.")


def crash(secrets: list[str]) -> None:
    """Raise in every way that ends in the log."""
    text = " and ".join(secrets)

    def broken(how: str) -> None:
        raise RuntimeError(f"planted fault in {how}: {text}")

    reactor.callLater(0, broken, "a timer")
    reactor.callInThread(broken, "a thread")
    forgotten: Deferred[Any] = Deferred()
    forgotten.addCallback(broken)
    forgotten.callback("a Deferred")
    lost: Deferred[Any] = Deferred()
    lost.errback(Failure(ConnectionLost(text)))
    del forgotten, lost
    gc.collect()
    reactor.callLater(0.2, show)


def show() -> None:
    """Everything of ours that lives."""
    # At its start the daemon has put all that it has where the collector does not look.
    gc.unfreeze()
    kinds = set()
    # Not sys.stdout, which twistd leads into the log, where everything is masked.
    assert sys.__stdout__ is not None
    say = sys.__stdout__.write
    for one in gc.get_objects():
        kind = type(one)
        module = getattr(kind, "__module__", "") or ""
        if isinstance(module, str) and f"{module}.".startswith(OURS):
            if f"{module}.".startswith(NOT_OURS):
                continue
            kinds.add(kind.__qualname__)
            say(f"living: {one!r} {one} {[one]} {one:}\n")
    say(f"living: {len(kinds)} kinds: {' '.join(sorted(kinds))}.\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    planted = Path(sys.argv.pop(1)).read_text("utf-8").splitlines()
    # Long enough for a session to stand.
    reactor.callLater(2.0, crash, planted)
    run()
