"""bytecode.py: the bytecode of all modules in one file, as proxy/compile.py writes it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from pyaction_bootstrap import bytecode, loader

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A folder with modules and their bytecode, made of other sources than are there."""
    spec = importlib.util.spec_from_file_location("pycompile", ROOT / "proxy" / "compile.py")
    assert spec is not None and spec.loader is not None
    program: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    (tmp_path / "unit_compiled").mkdir()
    names = ["unit_compiled_main.py", "unit_compiled/__init__.py", "unit_compiled/größe.py"]
    with program.Bytecode(str(tmp_path)) as file:
        for name in names:
            (tmp_path / name).write_text("IS = 'bytecode'\n")
            assert file.add(str(tmp_path / name)) is None
    for name in names:
        (tmp_path / name).write_text("IS = 'source'\n")
    return tmp_path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What use() and imports leave behind goes."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(loader, "find_bytecode", None)
    yield
    for name in [name for name in sys.modules if name.startswith("unit_compiled")]:
        del sys.modules[name]


def test_find(compiled: Path) -> None:
    found = bytecode.Bytecode(str(compiled))
    path = str(compiled / "unit_compiled" / "größe.py")
    code = found.find(path)
    assert code is not None and code.co_filename == path and "bytecode" in code.co_consts
    for other in ("unit_compiled/other.py", "unit_compiled", "", "../unit_compiled_main.py"):
        assert found.find(str(compiled / other)) is None, other
    assert found.find(f"{compiled}-2/unit_compiled_main.py") is None
    assert found.find("unit_compiled_main.py") is None


def test_find_after_the_file_has_gone(compiled: Path) -> None:
    found = bytecode.Bytecode(str(compiled))
    (compiled / bytecode.FILE).unlink()
    assert found.find(str(compiled / "unit_compiled_main.py")) is None


def test_imports(compiled: Path) -> None:
    """From below the folder, and from nowhere else."""
    elsewhere = compiled.with_name(compiled.name + "-2")
    elsewhere.mkdir()
    (elsewhere / "unit_compiled_else.py").write_text("IS = 'source'\n")
    bytecode.use(str(compiled))
    sys.path[:0] = [str(compiled), str(elsewhere)]
    for name, origin in (
        ("unit_compiled_main", "bytecode"), ("unit_compiled", "bytecode"), ("unit_compiled.größe", "bytecode"),
        ("unit_compiled_else", "source"),
    ):
        assert importlib.import_module(name).IS == origin, name


@pytest.mark.parametrize("is_there", [True, False])
def test_no_use(compiled: Path, is_there: bool) -> None:
    """Without a file, or with another's, imports stay as they are."""
    if is_there:
        (compiled / bytecode.FILE).write_bytes(b"another's bytecode")
    else:
        (compiled / bytecode.FILE).unlink()
    hooks = list(sys.path_hooks)
    bytecode.use(str(compiled))
    assert sys.path_hooks == hooks and loader.find_bytecode is None
