"""Fixtures of the black-box tests: a server that must leave nothing behind, and an action in it."""

import itertools
import os
import pathlib
import tempfile
from typing import Any, Callable, Iterator

import pytest

from . import harness
from .harness import Gate, Server, Settings


def pytest_configure() -> None:
    """Refuse to run without the executable, and see to it that leaked processes are found."""
    if not harness.EXECUTABLE.exists():
        raise pytest.UsageError(f"no executable {harness.EXECUTABLE}: run make, or set PYACTION_BIN")
    harness.adopt_orphans()
    # hypothesis keeps a cache, by default in the current directory.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.gettempdir() + "/hypothesis")


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server; its keywords are those of harness.Settings.

    When the test is over each server gets SIGTERM and must stop in time with
    the expected status and leave no process, zombie, open file or file behind.
    """
    started = []
    numbers = itertools.count()

    def start(**settings: Any) -> Server:
        directory = tmp_path / f"server{next(numbers)}"
        directory.mkdir()
        started.append(Server(directory, Settings(**settings)))
        return started[-1]

    yield start
    problems = []
    for one in started:
        try:
            one.finish()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, problems


@pytest.fixture
def action(server: Callable[..., Server]) -> Callable[..., Server]:
    """Return a function that starts a server and initialises it, which must succeed."""

    def start(code: Any, *, settings: Any = None, **keys: Any) -> Server:
        one = server(**(settings or {}))
        answer = one.init(code, **keys)
        assert (answer.status, answer.json) == (200, {"ok": True}), (answer, one.err.content())
        return one

    return start


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Gate:
    """A gate at which a function waits in the middle of its run."""
    return Gate(tmp_path / "gate")
