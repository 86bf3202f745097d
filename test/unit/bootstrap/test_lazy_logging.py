"""lazy_logging.py: a set-up that nobody can tell from one before the function's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BOOT

# The function's folder, and a set-up that tells of itself.
START = BOOT + """
import json, os
root = os.getcwd() + "/code"
sys.path.insert(0, root)
from pyaction_bootstrap import on_demand, stdlib
lazy_logging = on_demand.load("lazy_logging")
stdlib.function_folders.append(root)
calls = []
def set_up(logging):
    calls.append(logging)
    logging.getLogger().setLevel(17)
"""
END = "\nprint(json.dumps([len(calls), sys.modules.get('logging') is calls[0] if calls else None, seen]))"


@pytest.fixture
def run(python: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that runs source between set-up and end. It leaves what it has found in `seen`; the result
    is how often the set-up was called, whether with the module that is imported now, and `seen`."""

    def do(source: str, **files: str) -> Any:
        (tmp_path / "code").mkdir()
        for name, text in files.items():
            (tmp_path / "code" / f"{name}.py").write_text(text)
        done = python(START + source + END)
        assert done.stderr == "" and done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return do


CONFIGURE = "lazy_logging.configure(set_up)\nfinders = len(sys.meta_path)\n"


def test_only_when_it_is_imported(run: Callable[..., Any]) -> None:
    assert run(CONFIGURE + "import colorsys; seen = 'logging' in sys.modules") == [0, None, False]


@pytest.mark.parametrize("statement", [
    "import logging", "from logging import getLogger; import logging", "import logging.handlers, logging",
    "import importlib; logging = importlib.import_module('logging')", "import asyncio, logging", "import user, logging",
    "import concurrent.futures, logging", "logging = stdlib.load('logging')",
])
def test_before_the_importer_goes_on(run: Callable[..., Any], statement: str) -> None:
    user = "import logging\nassert logging.getLogger().level == 17"
    assert run(f"{CONFIGURE}{statement}\nimport logging as again\nseen = logging.getLogger().level, logging is again, "
               "len(sys.meta_path) - finders", user=user) == [1, True, [17, True, -1]]


def test_at_once_when_it_is_there(run: Callable[..., Any]) -> None:
    assert run(f"import logging\n{CONFIGURE}seen = logging.getLogger().level") == [1, True, 17]


def test_the_module_is_as_ever(run: Callable[..., Any], python: Callable[..., Any]) -> None:
    seen = ("import importlib, logging, logging.handlers\n"
            "seen = [repr(logging.__spec__), repr(logging.__loader__)[:50], logging.__name__, "
            "logging.__file__, logging.handlers.logging is logging, "
            "importlib.reload(logging) is logging]\n")
    expected = json.loads(python("import json, sys; calls = []\n" + seen + END).stdout)[2]
    got = run(CONFIGURE + seen)
    assert [text.split(" object at ")[0] if isinstance(text, str) else text for text in got[2]] == [
        text.split(" object at ")[0] if isinstance(text, str) else text for text in expected]


def test_files_of_the_function_with_such_names(run: Callable[..., Any]) -> None:
    """The platforms have imported logging, and what that imports, before the function's code."""
    broken = "raise ImportError(__name__)"
    assert run(f"{CONFIGURE}import logging\nseen = hasattr(logging, 'getLogger')",
               logging=broken, string=broken, traceback=broken, weakref=broken, threading=broken) == [1, True, True]


def test_of_several_threads(run: Callable[..., Any]) -> None:
    assert run(CONFIGURE + """
import _thread, threading, time
left, levels = 8, []
def load():
    global left
    import logging
    levels.append(logging.getLogger().level)
    left -= 1
for _ in range(8): _thread.start_new_thread(load, ())
end = time.monotonic() + 20
while left and time.monotonic() < end: time.sleep(0.01)
seen = levels""") == [1, True, [17] * 8]


def test_an_import_that_fails_first(run: Callable[..., Any]) -> None:
    """A finder of the function's refuses a module that logging needs, once: the second import has the set-up."""
    assert run(CONFIGURE + """
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name == "traceback":
            raise ImportError("not now")
for name in ("logging", "traceback", "string"):
    sys.modules.pop(name, None)
refusing = Refusing()
sys.meta_path.insert(0, refusing)
try:
    import logging
    seen = "imported"
except ImportError as error:
    sys.meta_path.remove(refusing)
    import logging
    seen = [str(error), logging.getLogger().level]
""") == [1, True, ["not now", 17]]
