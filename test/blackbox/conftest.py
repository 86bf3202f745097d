"""Fixtures of the black-box tests: a server that must leave nothing behind, and an action in it."""

import itertools
import os
import pathlib
import tempfile
from typing import Any, Callable, Iterator, Mapping, Sequence

import pytest

from . import harness
from .harness import Gate, Server, Settings, tree, write_files


def pytest_configure() -> None:
    """Refuse to run without the executable, and see to it that leaked processes are found."""
    if not harness.EXECUTABLE.exists():
        raise pytest.UsageError(f"no executable {harness.EXECUTABLE}: run make, or set PYACTION_BIN")
    harness.adopt_orphans()
    # hypothesis keeps a cache, by default in the current directory.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.gettempdir() + "/hypothesis")


@pytest.fixture
def tmp_path() -> Iterator[pathlib.Path]:
    """In place of pytest's own, which only the user of the tests can enter: the function is another where that is
    root."""
    with harness.shared_directory() as path:
        yield path


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
def function(server: Callable[..., Server], tmp_path: pathlib.Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server whose code is there at the start: the folder of these files.

    handler: of the command line, "" for none. options: before it. Further keywords are those of harness.Settings.
    The server gets the attribute `folder`. In the end the folder must be as it was: it belongs to its author.
    """
    folders = {}

    def start(
        files: Mapping[str, Any], handler: str = "", *, options: Sequence[str] = (), **settings: Any
    ) -> Server:
        folder = write_files(tmp_path / f"function{len(folders)}", files)
        folders[folder] = tree(folder)
        words = ["--code", str(folder), *options, *([handler] if handler else [])]
        one = server(options=words, **settings)
        one.folder = folder
        return one

    yield start
    for folder, before in folders.items():
        assert tree(folder) == before, "the author's folder was changed"


@pytest.fixture
def freed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that measure memory: a sanitizer would keep what is freed for a while, to see who still uses it."""
    quarantine = ("quarantine_size_mb=0", "thread_local_quarantine_size_kb=0", "allocator_release_to_os_interval_ms=0")
    for name, value in harness.sanitizer_options(*quarantine).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Gate:
    """A gate at which a function waits in the middle of its run."""
    return Gate(tmp_path / "gate")
