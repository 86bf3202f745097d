"""Makes the bootstrap modules importable here, with the runner's built-in module _pyaction, and puts back what a
test has changed of the interpreter."""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import pyaction_module  # noqa: E402

FOLDER = Path(tempfile.mkdtemp(prefix="pyaction-unit-"))

#: Source that loads the bootstrap as interpreter.c does: compiled under names that mark frames as ours, in embed.py's
#: order, not from a path, in an interpreter that does not look into its working directory.
BOOT = f"""\
import marshal, sys
sys.path.remove("")
with open({str(FOLDER / "bootstrap")!r}, "rb") as file:
    modules, on_demand = marshal.load(file)
for name, code in modules:
    sys.modules[name] = type(sys)(name)
    exec(marshal.loads(code), sys.modules[name].__dict__)
sys.modules["pyaction_bootstrap.on_demand"].codes.update(on_demand)
"""


def _compile_bootstrap() -> None:
    spec = importlib.util.spec_from_file_location("embed", str(pyaction_module.RUNNER / "embed.py"))
    assert spec is not None and spec.loader is not None
    embed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(embed)
    folder = pyaction_module.RUNNER / "pyaction_bootstrap"
    modules = [embed.compile_module(folder, stem) for stem in embed.MODULES]
    on_demand = [embed.compile_module(folder, stem) for stem in embed.modules_on_demand(folder)]
    (FOLDER / "bootstrap").write_bytes(marshal.dumps((modules, on_demand)))


if "PYACTION_TEST_CODEC" not in os.environ:  # where test_json_codec.py brings its own
    pyaction_module.build(FOLDER)
    _compile_bootstrap()
    sys.path[:0] = [str(pyaction_module.RUNNER), str(FOLDER)]


def pytest_unconfigure() -> None:
    """Removes the built module."""
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores sys.path, sys.modules, the environment variables and the working directory."""
    path, modules, variables, directory = list(sys.path), dict(sys.modules), dict(os.environ), os.getcwd()
    yield
    os.chdir(directory)
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        if "." not in name and not name.startswith(("_", "hypothesis", "pyaction")) and _is_temporary(name):
            del sys.modules[name]
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _is_temporary(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None) or ""
    return file.startswith(tempfile.gettempdir())


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that runs Python source in an interpreter of its own, in a fresh directory, with the
    bootstrap loaded if the source begins with BOOT.

    Its keywords are env, added to a bare environment, and errors, of decoding what it writes. The result has stdout
    and stderr as text with its line ends as they were.
    """

    def run(source: str, env: Any = None, errors: str = "strict") -> subprocess.CompletedProcess[str]:
        variables = {"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"], "PYTHONUTF8": "1", **(env or {})}
        done = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=variables, cwd=tmp_path, timeout=60, check=False)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode("utf-8", errors), done.stderr.decode("utf-8", errors))

    return run
