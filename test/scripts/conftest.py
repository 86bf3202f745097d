"""Fixtures for the tests of what a person uses around the server."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest

from .harness import ActionServer


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's own, which only the user of the tests can enter: the function is another where that is
    root."""
    with tempfile.TemporaryDirectory(prefix="pyaction-test-") as name:
        path = Path(name).resolve()
        if os.geteuid() == 0:
            path.chmod(0o1777)
        yield path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ActionServer]:
    """A fresh container; the test fails if it does not end well on SIGTERM."""
    running = ActionServer(tmp_path)
    yield running
    assert running.stop() == 0, running.console
    assert running.leftovers() == []
    assert "Sanitizer" not in running.console


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder from names and contents.

    A name that ends in `*` is made executable; a content that is a list of one
    text becomes a symlink to it.
    """

    def make(files: Dict[str, object], name: str = "fn") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, content in files.items():
            path = folder / file_name.rstrip("*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, list):
                path.symlink_to(content[0])
            else:
                path.write_text(str(content))
                path.chmod(0o755 if file_name.endswith("*") else 0o644)
        return folder

    return make
