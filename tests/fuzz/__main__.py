"""`python -m tests.fuzz codec|requests [libFuzzer options]`: guided by coverage (atheris).

New inputs that reach new code are kept in tests/corpus/; `make fuzz` runs both for a minute each.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["ctrader_twisted"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main() -> None:
    """Run one target until its options say that it is enough."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options, str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
