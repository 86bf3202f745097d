"""loader.py: from a directory and a handler string to the function."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from pyaction_bootstrap import loader


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Returns a function that writes files, {path: source}, and loads a handler as handle.py does."""
    root = tmp_path / "code"
    root.mkdir()
    for name in list(sys.modules):
        if name.split(".")[0] in ("main__", "unit_index", "unit_pkg", "unit_source"):
            del sys.modules[name]

    def do(files: dict[str, Any], handler: str = "main", is_source: bool = False) -> Any:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.chdir(root)
        sys.path.insert(0, str(root))
        return loader.load(str(root), handler, is_source)

    return do


@pytest.mark.parametrize(("handler", "parts"), [
    ("main", ("", "main")), ("greet", ("", "greet")), ("index.main_handler", ("index", "main_handler")),
    ("pkg/mod.fn", ("pkg.mod", "fn")), ("pkg.mod.fn", ("pkg.mod", "fn")), ("a/b/c.d", ("a.b.c", "d")),
    ("__main__.main", ("", "main")), ("main__.main", ("", "main")), ("_x._y", ("_x", "_y")), ("größe", ("", "größe")),
])
def test_handlers(handler: str, parts: Any) -> None:
    assert loader.split_handler(handler) == parts


@pytest.mark.parametrize("handler", [
    "", ".", "main.", "a-b", "1main", "a.b-c", "a-b.c", "../etc/passwd.main", "a//b.c", "/abs.main", "a/.b.c", "a..b",
    "a b", "main()", "a:b", "mod\n.fn", "pkg/mod", "a/b/.c",
])
def test_wrong_handlers(handler: str) -> None:
    with pytest.raises(loader.LoadError) as caught:
        loader.split_handler(handler)
    assert str(caught.value) == (f"Cannot start action. The handler {handler!r} is not valid: it must be a function "
                                 "name, or module.function, the module with dots or slashes.")


def test_main_file(load: Callable[..., Any]) -> None:
    function = load({"__main__.py": "NAME = __name__\nFILE = __file__\ndef main(): return NAME, FILE, __spec__.origin"})
    name, file, origin = function()
    assert name == "main__" and file == origin and os.path.basename(file) == "__main__.py"
    assert sys.modules["main__"].main is function
    assert function.__module__ == "main__"


def test_guard_does_not_run(load: Callable[..., Any]) -> None:
    load({"__main__.py": "def main(): pass\nif __name__ == '__main__':\n    raise SystemExit(3)"})


def test_modules_beside_it(load: Callable[..., Any]) -> None:
    function = load({"__main__.py": "from unit_pkg.mod import value\nimport main__\n"
                                    "def greet(): return value, main__.greet is greet",
                     "unit_pkg/mod.py": "value = 5"}, "greet")
    assert function() == (5, True)


def test_module_handlers(load: Callable[..., Any]) -> None:
    assert load({"unit_index.py": "def fn(): return __name__"}, "unit_index.fn")() == "unit_index"
    assert load({"unit_pkg/mod.py": "def fn(): return __name__"}, "unit_pkg/mod.fn")() == "unit_pkg.mod"
    assert load({}, "unit_pkg.mod.fn")() == "unit_pkg.mod"


def test_source_under_the_name_of_its_handler(load: Callable[..., Any]) -> None:
    function = load({"__main__.py": "def fn(): return __name__, __file__"}, "unit_source/deep/mod.fn", is_source=True)
    name, file = function()
    assert name == "unit_source.deep.mod" and file.endswith("code/unit_source/deep/mod.py") and os.path.isfile(file)
    assert not os.path.exists("__main__.py")


def test_source_with_a_plain_handler(load: Callable[..., Any]) -> None:
    assert load({"__main__.py": "def other(): return 1"}, "other", is_source=True)() == 1
    assert os.path.exists("__main__.py")


def test_byte_order_mark_and_coding(load: Callable[..., Any]) -> None:
    assert load({"__main__.py": b"\xef\xbb\xbfdef main(): return 'bom'"})() == "bom"
    assert load({"__main__.py": "# coding: latin-1\ndef main(): return 'é'".encode("latin-1")})() == "é"


def test_exec_file(load: Callable[..., Any]) -> None:
    assert load({"exec": "def main(): return __file__"})().endswith("/__main__.py")
    assert not os.path.exists("exec") and os.path.exists("__main__.py")


def test_exec_file_with_a_python_first_line(load: Callable[..., Any]) -> None:
    assert load({"exec": "#!/usr/bin/env python3\ndef main(): return 1"})() == 1


def test_precompiled_by_openwhisk(load: Callable[..., Any]) -> None:
    """Its archives hold a program of their own as exec, and the code as main__.py."""
    name, file = load({"exec": "#!/bin/bash\n", "exec__.py": "raise ValueError",
                       "main__.py": "def main(): return __name__, __file__"})()
    assert name == "main__" and file.endswith("/main__.py") and os.path.exists("exec")
    assert load({"__main__.py": "def main(): return 'its own'"})() == "its own"


def test_main_file_before_exec_file(load: Callable[..., Any]) -> None:
    assert load({"exec": "raise ValueError", "__main__.py": "def main(): return 1"})() == 1


@pytest.mark.parametrize("files", [
    {}, {"main.py": "def main(): pass"}, {"deeper/__main__.py": "def main(): pass"}, {"exec": b"\x7fELF\x02\x01"},
    {"exec": "#!/bin/bash\necho"}, {"__main__.py/file": ""}, {"exec/file": ""},
], ids=["nothing", "main.py", "deeper", "ELF", "shell", "a folder", "exec is a folder"])
def test_no_main_file(load: Callable[..., Any], files: Any) -> None:
    with pytest.raises(loader.LoadError) as caught:
        load(files)
    assert str(caught.value) == ("The action failed to generate or locate a binary. See logs for details. "
                                 "(Zip file does not include '__main__.py'.)")


@pytest.mark.parametrize(("source", "handler", "text"), [
    ("x = 1", "main", "Cannot start action. There is no function 'main' in __main__.py."),
    ("", "greet", "Cannot start action. There is no function 'greet' in __main__.py."),
    ("main = 5", "main", "Cannot start action. 'main' is not callable: it is of type int."),
    ("main = None", "main", "Cannot start action. 'main' is not callable: it is of type NoneType."),
])
def test_no_function(load: Callable[..., Any], source: str, handler: str, text: str) -> None:
    with pytest.raises(loader.LoadError) as caught:
        load({"__main__.py": source}, handler)
    assert str(caught.value) == text


def test_no_function_in_a_module(load: Callable[..., Any]) -> None:
    with pytest.raises(loader.LoadError) as caught:
        load({"unit_pkg/mod.py": ""}, "unit_pkg/mod.fn")
    assert str(caught.value) == "Cannot start action. There is no function 'fn' in unit_pkg/mod.py."


def test_module_getattr(load: Callable[..., Any]) -> None:
    assert load({"__main__.py": "def __getattr__(name): return lambda: name"}, "anything")() == "anything"


@pytest.mark.parametrize(("source", "kind"), [
    ("def main(:", SyntaxError), ("1 / 0", ZeroDivisionError), ("import no_such_module", ModuleNotFoundError),
    ("raise SystemExit(3)", SystemExit), ("raise KeyboardInterrupt", KeyboardInterrupt), (b"x = '\xff'", SyntaxError),
    (b"x = 1\0", (SyntaxError, ValueError)), ("  x = 1", IndentationError),
])
def test_code_that_fails(load: Callable[..., Any], source: Any, kind: Any) -> None:
    with pytest.raises(kind):
        load({"__main__.py": source})


def test_no_module(load: Callable[..., Any]) -> None:
    with pytest.raises(ModuleNotFoundError):
        load({"__main__.py": ""}, "unit_absent.fn")
