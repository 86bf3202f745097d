"""precompile.py: bytecode made by a second process while the first imports."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pyaction_bootstrap import precompile

LARGE = "x = [\n" + "    12345,\n" * 20_000 + "]\n"


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def wait_for(pid: int) -> None:
    """Until it has ended by itself; it stays there to be reaped by stop()."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def is_gone(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_bytecode_is_made(tmp_path: Path) -> None:
    write(tmp_path, **{"__main__.py": "import a, b", "a.py": LARGE, "pkg/b.py": LARGE, "pkg/__init__.py": ""})
    pid = precompile.start(str(tmp_path))
    assert pid is not None
    wait_for(pid)
    precompile.stop(pid)
    assert is_gone(pid)
    tag = sys.implementation.cache_tag
    assert (tmp_path / f"__pycache__/a.{tag}.pyc").exists() and (tmp_path / f"pkg/__pycache__/b.{tag}.pyc").exists()


@pytest.mark.parametrize("files", [
    {}, {"__main__.py": "pass", "a.py": "x = 1"}, {"__main__.py": LARGE}, {"a.txt": LARGE, "b.txt": LARGE},
    {"virtualenv/a.py": LARGE, "virtualenv/b.py": LARGE}, {"x/__pycache__/a.py": LARGE, "node_modules/b.py": LARGE},
], ids=["nothing", "little", "one file", "no Python", "packages", "other folders"])
def test_not_worth_it(tmp_path: Path, files: Any) -> None:
    write(tmp_path, **files)
    assert precompile.start(str(tmp_path)) is None


def test_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.py": LARGE, "b.py": LARGE})

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert precompile.start(str(tmp_path)) is None
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert precompile.start(str(tmp_path)) is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert precompile.start(str(tmp_path)) is None


def test_stopped_at_once(tmp_path: Path) -> None:
    write(tmp_path, **{f"m{number}.py": LARGE for number in range(20)})
    pid = precompile.start(str(tmp_path))
    assert pid is not None
    precompile.stop(pid)
    assert is_gone(pid)
    precompile.stop(None)


def test_files_that_do_not_compile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It says nothing of them, not even what the compiler warns of, and goes on."""
    write(tmp_path, **{"a.py": LARGE, "bad.py": "def (", "null.py": "x\0", "warns.py": "x = 1 is 1\n" + LARGE,
                       "c.py": LARGE, "folder.py/x": ""})
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'")
    (tmp_path / "link.py").symlink_to("/nonexistent")
    pid = precompile.start(str(tmp_path))
    assert pid is not None
    wait_for(pid)
    precompile.stop(pid)
    assert capfd.readouterr() == ("", "")
    made = {path.name.split(".")[0] for path in (tmp_path / "__pycache__").iterdir()}
    assert {"a", "c"} <= made and not made & {"bad", "null", "latin", "link"}


def test_nothing_of_the_process_is_shared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No exit handler, no buffered output twice."""
    import atexit

    write(tmp_path, **{"a.py": LARGE, "b.py": LARGE})
    handler = atexit.register(lambda: os.write(1, b"exit handler\n"))
    try:
        pid = precompile.start(str(tmp_path))
        assert pid is not None
        wait_for(pid)
        precompile.stop(pid)
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
