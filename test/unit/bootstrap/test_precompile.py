"""precompile.py: bytecode made by a second process while the first imports."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Any, Callable, List, Optional, Set

import pytest
from pyaction_bootstrap import precompile
from pyaction_bootstrap.precompile import Helper

LARGE = "x = [\n" + "    12345,\n" * 20_000 + "]\n"


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def start(root: Path) -> Optional[Helper]:
    """A helper, None if it has not started a process."""
    helper = Helper(str(root))
    return helper if helper._alive is not None else None


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Set[str]]:
    """Returns a function that starts a helper, waits for its end, and returns the names of what it has compiled."""

    def run() -> Set[str]:
        read, write = os.pipe()  # the helper has the writing end, too: its end is the end of this pipe
        helper = start(tmp_path)
        assert helper is not None
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)
        helper.stop()
        return {path.name.split(".")[0] for path in tmp_path.rglob("__pycache__/*.pyc")}

    return run


def open_fds() -> List[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_bytecode_is_made(tmp_path: Path, compiled: Callable[..., Set[str]]) -> None:
    write(tmp_path, **{"__main__.py": "import a, b", "a.py": LARGE, "pkg/b.py": LARGE, "pkg/__init__.py": ""})
    assert {"a", "b"} <= compiled()
    tag = sys.implementation.cache_tag
    assert (tmp_path / f"__pycache__/a.{tag}.pyc").exists() and (tmp_path / f"pkg/__pycache__/b.{tag}.pyc").exists()


@pytest.mark.parametrize("files", [
    {}, {"__main__.py": "pass", "a.py": "x = 1"}, {"__main__.py": LARGE}, {"a.txt": LARGE, "b.txt": LARGE},
    {"virtualenv/a.py": LARGE, "virtualenv/b.py": LARGE}, {"x/__pycache__/a.py": LARGE, "node_modules/b.py": LARGE},
], ids=["nothing", "little", "one file", "no Python", "packages", "other folders"])
def test_not_worth_it(tmp_path: Path, files: Any) -> None:
    write(tmp_path, **files)
    assert start(tmp_path) is None
    Helper(str(tmp_path)).stop()


def test_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.py": LARGE, "b.py": LARGE})
    fds = open_fds()

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        Helper(str(tmp_path)).stop()
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: {0})
        assert start(tmp_path) is None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        assert start(tmp_path) is None
    assert open_fds() == fds and not (tmp_path / "__pycache__").exists()


def test_no_child_of_ours(tmp_path: Path) -> None:
    """Code that waits for its children must not meet it."""
    write(tmp_path, **{f"m{number}.py": LARGE for number in range(10)})
    helper = start(tmp_path)
    assert helper is not None
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    helper.stop()


def test_stopped_before_it_is_done(tmp_path: Path) -> None:
    write(tmp_path, **{f"m{number:03}.py": LARGE for number in range(100)})
    fds = open_fds()
    read, writing = os.pipe()
    helper = start(tmp_path)
    assert helper is not None
    os.close(writing)
    helper.stop()
    helper.stop()
    assert os.read(read, 1) == b""  # it has ended
    os.close(read)
    assert len(list(tmp_path.rglob("*.pyc"))) < 100
    assert open_fds() == fds


def test_a_function_that_closes_what_it_does_not_know(tmp_path: Path) -> None:
    """Its descriptor may be closed, or be another file's by now, which must stay open."""
    write(tmp_path, **{"a.py": LARGE, "b.py": LARGE})
    helper = start(tmp_path)
    assert helper is not None and helper._alive is not None
    os.close(helper._alive)
    helper.stop()
    helper = start(tmp_path)
    assert helper is not None and helper._alive is not None
    with open(tmp_path / "other", "w", encoding="utf-8") as other:
        os.dup2(other.fileno(), helper._alive)
        fd = helper._alive
        helper.stop()
        os.close(fd)  # raises if it was closed


def test_files_that_do_not_compile(
    tmp_path: Path, compiled: Callable[..., Set[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    """It says nothing of them, not even what the compiler warns of, and goes on."""
    write(tmp_path, **{"a.py": LARGE, "bad.py": "def (", "null.py": "x\0", "warns.py": "x = 1 is 1\n" + LARGE,
                       "c.py": LARGE, "folder.py/x": ""})
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'")
    (tmp_path / "link.py").symlink_to("/nonexistent")
    made = compiled()
    assert {"a", "c"} <= made and not made & {"bad", "null", "latin", "link", "warns"}
    assert capfd.readouterr() == ("", "")


def test_nothing_of_the_process_is_shared(
    tmp_path: Path, compiled: Callable[..., Set[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    """No exit handler runs twice."""
    write(tmp_path, **{"a.py": LARGE, "b.py": LARGE})

    def handler() -> None:
        os.write(1, b"exit handler\n")

    atexit.register(handler)
    try:
        compiled()
    finally:
        atexit.unregister(handler)
    assert capfd.readouterr() == ("", "")


def test_order() -> None:
    files = ["/r/__main__.py", "/r/a.py", "/r/b.py", "/r/pkg/__init__.py", "/r/pkg/unnamed.py"]
    # Without a readable __main__.py all are unnamed; their order is then of no matter, but none is lost.
    assert sorted(precompile._last_needed_first("/r", files)) == sorted(files)


def test_order_by_the_main_file(tmp_path: Path) -> None:
    write(tmp_path, **{"__main__.py": "import first\nimport second\nfrom folder import thing\n"})
    names = ["first.py", "second.py", "folder/__init__.py", "never.py"]
    files = [str(tmp_path / name) for name in names]
    assert precompile._last_needed_first(str(tmp_path), files) == [str(tmp_path / name) for name in reversed(names)]
