"""A leaked process is found by the one that runs the tests."""

import pathlib
from typing import Iterator

import pytest

from blackbox import harness
from blackbox.conftest import freed_at_once  # noqa: F401 (a fixture)


def pytest_configure() -> None:
    """Refuse to run without the executable, and adopt orphans."""
    if not harness.EXECUTABLE.exists():
        raise pytest.UsageError(f"no executable {harness.EXECUTABLE}: run make, or set PYACTION_BIN")
    harness.adopt_orphans()


@pytest.fixture
def tmp_path() -> Iterator[pathlib.Path]:
    """In place of pytest's own: one that the function's user can reach, too."""
    with harness.shared_directory() as path:
        yield path
