"""stdlib.py: modules of the standard library beside a function's files of the same names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from conftest import BOOT
from pyaction_bootstrap import stdlib


@pytest.fixture(autouse=True)
def no_folders() -> Iterator[None]:
    yield
    stdlib.function_folders.clear()


def test_a_file_of_that_name_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("value = 'of the function'")
    sys.path.insert(0, str(tmp_path))
    stdlib.function_folders.append(str(tmp_path))
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    assert hasattr(stdlib.load("colorsys"), "rgb_to_hls") and sys.path == before


def test_sys_path_is_put_back_after_a_failure(tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))
    stdlib.function_folders.append(str(tmp_path))
    before = list(sys.path)
    with pytest.raises(ModuleNotFoundError):
        stdlib.load("unit_no_such_module")
    assert sys.path == before


def test_the_same_list_object(tmp_path: Path) -> None:
    """Others may have a reference to sys.path."""
    path = sys.path
    stdlib.load("colorsys")
    assert sys.path is path


@pytest.mark.parametrize(("files", "source"), [
    (("asyncio.py",), "async def main(): return {}"),
    (("asyncio/__init__.py",), "async def main(): return {}"),
    (("inspect.py",), "from functools import partial\nmain = partial(lambda event: {})"),
    (("atexit.py", "signal.py", "warnings.py", "enum.py", "re.py", "typing.py", "json.py"), "def main(): return {}"),
    (("types.py", "importlib.py", "functools.py", "collections.py", "io.py", "os.py"), "def main(): return {}"),
])
def test_functions_with_such_files(python: Callable[..., Any], tmp_path: Path, files: Any, source: str) -> None:
    root = tmp_path / "code"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("raise ImportError('the function\\'s own ' + __name__)")
    (root / "__main__.py").write_text(source)
    done = python(BOOT + f"""
from pyaction_bootstrap import handle
init = {{"path": {str(root)!r}, "handler": "main", "source": False, "env": {{}}, "owned": True,
        "packages": {str(root)!r}, "convention": "openwhisk"}}
print(handle.handle(init, None)[0].decode())
print(b" ".join(handle.handle({{}}, None)).decode())
handle.end_process(SystemExit(3))
""")
    assert done.stdout.splitlines() == ["initialized", "success {}"], done.stderr
    assert done.returncode == 3 and done.stderr == ""


@pytest.mark.parametrize(("name", "source"), [
    ("inspect", "from functools import partial\nimport inspect\nmain = partial(lambda event: {'own': inspect.value})"),
])
def test_functions_that_have_imported_such_files(
    python: Callable[..., Any], tmp_path: Path, name: str, source: str
) -> None:
    """Each has its own: the function's stays what the function sees."""
    root = tmp_path / "code"
    root.mkdir()
    (root / f"{name}.py").write_text("value = 1")
    (root / "__main__.py").write_text(source)
    done = python(BOOT + f"""
from pyaction_bootstrap import handle
init = {{"path": {str(root)!r}, "handler": "main", "source": False, "env": {{}}, "owned": True,
        "packages": {str(root)!r}, "convention": "openwhisk"}}
print(handle.handle(init, None)[0].decode())
print(b" ".join(handle.handle({{}}, None)).decode())
""")
    assert done.stdout.splitlines()[1:] == ['success {"own": 1}'], (done.stdout, done.stderr)
