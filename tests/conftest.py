"""Rules for every test, enforced when pytest collects them."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import TestCase as AsynchronousTestCase

pytest_plugins = ["pytester"]  # The guards of this suite are themselves tested.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse asynchronous trial cases.

    They run the reactor themselves, and fail with a dirty reactor whenever a pytest-twisted test
    came before them in the same process.
    """
    refused = sorted(
        {
            f"{item.nodeid.split('::')[0]}: {cls.__name__}"
            for item in items
            if (cls := getattr(item, "cls", None)) and issubclass(cls, AsynchronousTestCase)
        }
    )
    if refused:
        raise pytest.UsageError(
            "These test cases are asynchronous (twisted.trial.unittest.TestCase). Use "
            "SynchronousTestCase with a Clock in tests/unit, or an async function with @bounded "
            "in tests/integration: " + "; ".join(refused)
        )
