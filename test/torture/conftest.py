"""A leaked process is found by the one that runs the tests."""

import pytest

from blackbox import harness


def pytest_configure() -> None:
    """Refuse to run without the executable, and adopt orphans."""
    if not harness.EXECUTABLE.exists():
        raise pytest.UsageError(f"no executable {harness.EXECUTABLE}: run make, or set PYACTION_BIN")
    harness.adopt_orphans()
