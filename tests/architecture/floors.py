"""Who may import whom.

A floor imports only from floors below it, and only what its line says.
A name with a dot allows just that: `logs.Secret` is the one type, `market.model` the one module.
`*` is everything but `pb`. Every module and package directly below `ctrader_twisted/` has a line;
a new one needs one.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.architecture.tree import PACKAGE, Import, Module

FLOORS: list[tuple[int | str, str, str]] = [
    # floor, module or package, what it may import of ours
    (6, "tap", "*"),
    (6, "cli", "*"),
    (6, "tail", "*"),
    (6, "daemon", "*"),
    (6, "entrance", "*"),
    (6, "chores", "*"),
    (6, "check_config", "*"),
    (6, "asking", "*"),
    (6, "insight", "*"),
    (6, "diagnosis", "*"),
    (6, "doctor", "*"),
    (
        5,
        "web",
        "accounts tokens contract market.model market.units errors refusals metrics logs budget "
        "errands config_files",
    ),
    (4, "accounts", "upstream trading market tokens metrics errors refusals errands"),
    (
        3,
        "upstream",
        "wire pb trading market tls errors refusals metrics budget logs.redact errands "
        "config_files",
    ),
    (2, "trading", "market errors logs.Secret"),
    (2, "tokens", "market errors logs.Secret"),
    (2, "wire", "market errors logs.Secret pb"),
    (2, "contract", "market errors logs.Secret"),
    (1, "accepts", "budget"),
    (1, "market", "errors"),
    (1, "tls", "errors config_files"),
    (1, "settings", "errors logs.Secret config_files"),
    (0, "config_files", "errors"),
    (0, "refusals", "errors"),
    (0, "errors", ""),
    (0, "metrics", ""),
    (0, "logs", "errands redaction log_writer log_targets"),
    (0, "redaction", ""),
    (0, "errands", ""),
    (0, "pb", ""),
    (0, "budget", ""),
    (0, "herald", ""),
    (0, "terminal", ""),
    (0, "upkeep", "log_writer"),
    (0, "log_writer", "log_targets"),
    (0, "log_targets", ""),
    (
        "aside",
        "simulator",
        "wire pb errors config_files log_writer.finish_all logs.LoggingService logs.observer_for",
    ),
    ("aside", "client", "contract errors"),
]

ALLOWED = {unit: allowed.split() for _, unit, allowed in FLOORS}

#: Law 1: protobuf stops at `translate`.
NAMES_PB = {"wire", "upstream", "simulator"}

#: The domain imports no transport.
NO_TWISTED = {"market", "trading"}

#: The only modules that import the reactor, and they do so inside functions.
IMPORTS_REACTOR = {f"{PACKAGE}.tap", f"{PACKAGE}.cli", f"{PACKAGE}.simulator.tap"}

#: Each can be deleted, and everything else still imports.
REMOVABLE = ("simulator", "client", "cli", "web.tick_stream", "web.account_stream")


def violations(module: Module) -> Iterator[str]:
    """A sentence for each import of this module that the house does not allow."""
    if module.unit and module.unit not in ALLOWED:
        yield (
            f"{module.path}: {module.unit!r} has no floor. Add a line for it to FLOORS in "
            "tests/architecture/floors.py, saying what it may import."
        )
        return
    for one in module.imports:
        place = module.at(one.line)
        for broken in _rules(module, one):
            yield f"{place}: {broken}"


def _rules(module: Module, one: Import) -> Iterator[str]:
    ours = one.target.removeprefix(f"{PACKAGE}.") if _is_ours(one.target) else None
    if ours is not None:
        yield from _between_floors(module, one, ours)
    if one.target == "twisted.internet.reactor":
        yield from _reactor(module, one)
    if module.unit in NO_TWISTED and one.target.split(".")[0] == "twisted":
        yield f"{module.unit}/ is pure and imports nothing of Twisted, but here is {one.target}"


def _is_ours(target: str) -> bool:
    return target.startswith(f"{PACKAGE}.")


def _between_floors(module: Module, one: Import, ours: str) -> Iterator[str]:
    unit, *_ = ours.split(".")
    if unit == module.unit or unit.startswith("__"):
        return
    allowed = ALLOWED.get(module.unit, [])
    if unit == "pb" and module.unit not in NAMES_PB:
        names = ", ".join(sorted(NAMES_PB))
        yield f"only {names} name pb (law 1), but {module.unit} imports {ours}"
    elif not any(_covers(entry, ours) for entry in allowed):
        yield (
            f"{module.unit or 'the root of the package'} may import of ours only "
            f"[{' '.join(allowed)}], but imports {ours}"
        )


def _covers(entry: str, ours: str) -> bool:
    return entry == "*" or f"{ours}.".startswith(f"{entry}.")


def _reactor(module: Module, one: Import) -> Iterator[str]:
    if module.name not in IMPORTS_REACTOR:
        yield (
            "the reactor is imported only in tap.py, cli.py and simulator/tap.py; "
            "everybody else is handed a clock or a reactor by the constructor"
        )
    elif not one.in_function:
        yield "the reactor is imported inside functions only, so that twistd can still choose it"


def hard_ties(module: Module) -> Iterator[str]:
    """A sentence for each import that would break when a removable part is deleted."""
    for one in module.imports:
        for part in REMOVABLE:
            target = f"{PACKAGE}.{part}"
            if not f"{one.target}.".startswith(f"{target}."):
                continue
            if f"{module.name}.".startswith(f"{target}."):
                continue
            if module.unit in {"tap", "cli"} and (one.in_function or one.typing_only):
                continue
            yield (
                f"{module.at(one.line)}: {part} must be removable, so only tap and cli import it, "
                "and only inside functions"
            )
