"""proxy/precompile.py: bytecode made by a second process while the first imports."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Dict, List, Set

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "proxy" / "precompile.py"
COMMAND = [sys.executable, *PROGRAM.read_text("utf-8").splitlines()[0].split()[1:], str(PROGRAM)]
LARGE = "x = [\n" + "    12345,\n" * 20_000 + "]\n"


def load_program() -> Any:
    spec = importlib.util.spec_from_file_location("pyprecompile", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


program = load_program()


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class Process:
    """The program at work; what it says, which is nothing, is checked at its end."""

    def __init__(self, root: Path, handler: str = "main", **options: Any) -> None:
        pipes: Dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen([*COMMAND, str(root), handler], **pipes, **options)
        assert self.process.stdin is not None
        self.stdin = self.process.stdin

    def begin(self) -> None:
        self.stdin.write(b"\n")
        self.stdin.flush()

    def end(self, status: int = 0) -> None:
        """Waits until it has ended by itself."""
        assert self.process.stdout is not None and self.process.stderr is not None
        said = self.process.stdout.read(), self.process.stderr.read()  # to their ends, which are its own
        assert said == (b"", b"") and self.process.wait() == status
        for stream in (self.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def compiled(root: Path) -> Set[str]:
    return {path.name.split(".")[0] for path in root.rglob("__pycache__/*.pyc")}


def run(root: Path, **options: Any) -> Set[str]:
    """Has it compile everything, and returns the names of what it has compiled."""
    process = Process(root, **options)
    process.begin()
    process.end()
    return compiled(root)


def test_bytecode_is_made(tmp_path: Path) -> None:
    write(tmp_path, **{"__main__.py": "import a, b", "a.py": LARGE, "pkg/b.py": LARGE, "pkg/__init__.py": ""})
    assert run(tmp_path) == {"a", "b", "__init__"}
    tag = sys.implementation.cache_tag
    assert (tmp_path / f"__pycache__/a.{tag}.pyc").exists() and (tmp_path / f"pkg/__pycache__/b.{tag}.pyc").exists()
    assert not list(tmp_path.rglob("*.pyc.*"))


def test_bytecode_is_what_the_import_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.py": "def f(): return __file__\n" + LARGE})
    run(tmp_path)
    loader = SourceFileLoader("a", str(tmp_path / "a.py"))
    monkeypatch.setattr(loader, "source_to_code", None)  # raises when the bytecode is not used
    code = loader.get_code("a")
    assert code.co_filename == str(tmp_path / "a.py") and code.co_consts[0].co_name == "f"


@pytest.mark.parametrize("files", [
    {}, {"__main__.py": "pass", "a.py": "x = 1"}, {"__main__.py": LARGE}, {"a.txt": LARGE}, {"virtualenv/a.py": LARGE},
    {"x/__pycache__/a.py": LARGE, "node_modules/b.py": LARGE},
], ids=["nothing", "little", "the first file", "no Python", "packages", "other folders"])
def test_not_worth_it(tmp_path: Path, files: Any) -> None:
    write(tmp_path, **files)
    assert run(tmp_path) == set()


def test_it_waits_for_the_directory(tmp_path: Path) -> None:
    process = Process(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.process.wait(0.5)
    write(tmp_path, **{"a.py": LARGE})
    process.begin()
    process.end()
    assert compiled(tmp_path) == {"a"}


def test_the_directory_is_not_completed(tmp_path: Path) -> None:
    write(tmp_path, **{"a.py": LARGE})
    process = Process(tmp_path)
    process.stdin.close()
    process.end()
    assert compiled(tmp_path) == set()


def test_stopped_before_it_is_done(tmp_path: Path) -> None:
    write(tmp_path, **{f"m{number:03}.py": LARGE for number in range(100)})
    process = Process(tmp_path)
    process.begin()
    process.stdin.close()
    process.end()
    assert len(compiled(tmp_path)) < 100


def test_files_that_do_not_compile(tmp_path: Path) -> None:
    """It says nothing of them, not even what the compiler warns of, and goes on."""
    write(tmp_path, **{"a.py": LARGE, "bad.py": "def (", "null.py": "x\0", "warns.py": "x = 1 is 1\n" + LARGE,
                       "escape.py": "x = '\\d'", "nested.py": "(" * 50_000, "c.py": LARGE, "folder.py/x": ""})
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'")
    (tmp_path / "link.py").symlink_to("/nonexistent")
    assert run(tmp_path) == {"a", "c"}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = os.fsencode(str(tmp_path)) + b"/\xff\n.py"
    with open(path, "w", encoding="ascii") as file:
        file.write(LARGE)
    assert len(run(tmp_path)) == 1


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX", "nonsense"])
def test_any_locale(tmp_path: Path, locale: str) -> None:
    write(tmp_path, **{"grüße.py": LARGE})
    assert run(tmp_path, env={"LC_ALL": locale}) == {"grüße"}


def test_files_and_variables_of_the_function_do_not_reach_it(tmp_path: Path) -> None:
    """They run in the runner, and there once."""
    spoiled = "open(__file__ + '.ran', 'w')\n"
    names = ("os", "posix", "sitecustomize", "encodings", "warnings", "typing")
    write(tmp_path, **{"a.py": LARGE, **{f"{name}.py": spoiled for name in names}})
    path = str(tmp_path)
    env = {"PYTHONPATH": path, "PYTHONHOME": path, "PYTHONINSPECT": "1", "PYTHONSTARTUP": str(tmp_path / "posix.py"),
           "PYTHONWARNINGS": "default"}
    assert run(tmp_path, env=env, cwd=path) == {"a", *names}
    assert not list(tmp_path.rglob("*.ran"))


@pytest.mark.parametrize("handler, first", [
    ("main", "__main__.py"), ("index.handler", "index.py"), ("pkg.mod.fn", "pkg/mod.py"), ("pkg/mod.fn", "pkg/mod.py"),
])
def test_the_file_the_import_starts_with_is_left_to_it(tmp_path: Path, handler: str, first: str) -> None:
    write(tmp_path, **{first: LARGE, "a.py": LARGE, "b.py": LARGE})
    assert run(tmp_path, handler=handler) == {"a", "b"}


def test_order_by_what_the_first_file_names(tmp_path: Path) -> None:
    write(tmp_path, **{"app.py": "import first\nimport second\nfrom folder import thing\n"})
    names = ["first.py", "second.py", "folder/__init__.py", "aaa.py", "never.py"]
    files = [str(tmp_path / name) for name in names]
    expected = [str(tmp_path / name) for name in reversed(names)]
    assert program.last_needed_first(str(tmp_path / "app.py"), files) == expected


def test_order_where_no_file_tells_it() -> None:
    files: List[str] = ["/r/pkg/__init__.py", "/r/a.py", "/r/pkg/unnamed.py"]
    assert program.last_needed_first("/r/__main__.py", files) == sorted(files, reverse=True)
