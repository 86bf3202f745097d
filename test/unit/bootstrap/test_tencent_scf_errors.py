"""tencent_scf_errors.py: tracebacks as they stand in documents."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from pyaction_bootstrap import tencent_scf_errors
from pyaction_bootstrap.tencent_scf_errors import format_exception

TB = "Traceback (most recent call last):\n"
CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


@pytest.fixture
def caught(tmp_path: Path) -> Callable[..., BaseException]:
    """Returns a function that calls f() of a source, through a frame of ours, and returns what it raises."""

    def do(source: str, **names: Any) -> BaseException:
        file = tmp_path / "index.py"
        file.write_text(source)
        exec(compile(source, str(file), "exec"), names)
        caller: Dict[str, Any] = {"f": names["f"]}
        exec(compile("def call():\n try:\n  f()\n except BaseException as error:\n  return error",
                     "<pyaction>/tencent_scf.py", "exec"), caller)
        error: BaseException = caller["call"]()
        return error

    return do


def frame(folder: Path, line: int, function: str, source: str) -> str:
    return f'  File "{folder}/index.py", line {line}, in {function}\n    {source}\n'


def test_frames_of_ours_are_left_out_of_the_whole_chain(caught: Callable[..., Any], tmp_path: Path) -> None:
    ours: Dict[str, Any] = {}
    exec(compile("def through(f):\n return f()", "<pyaction>/x.py", "exec"), ours)
    error = caught("def g(): 1/0\ndef f():\n try:\n  through(g)\n except ValueError: pass\n"
                   " except ArithmeticError:\n  through(int)\n  through(h)\ndef h(): raise KeyError('k')", **ours)
    assert format_exception(error) == (
        TB + frame(tmp_path, 4, "f", "through(g)") + frame(tmp_path, 1, "g", "def g(): 1/0")
        + "ZeroDivisionError: division by zero\n" + CONTEXT
        + TB + frame(tmp_path, 8, "f", "through(h)") + frame(tmp_path, 9, "h", "def h(): raise KeyError('k')")
        + "KeyError: 'k'")


def test_headings(caught: Callable[..., Any], tmp_path: Path) -> None:
    """One stands wherever an exception was raised, in frames of ours only too; a cause that never was has none."""
    assert format_exception(caught("f = 5")) == TB + "TypeError: 'int' object is not callable"
    assert format_exception(caught("def f():\n raise ValueError('a') from KeyError('b')")) == (
        "KeyError: 'b'\n" + CAUSE + TB + frame(tmp_path, 2, "f", "raise ValueError('a') from KeyError('b')")
        + "ValueError: a")


def test_suppressed_context(caught: Callable[..., Any], tmp_path: Path) -> None:
    error = caught("def f():\n try: 1/0\n except ArithmeticError:\n  raise ValueError('a') from None")
    assert format_exception(error) == TB + frame(tmp_path, 4, "f", "raise ValueError('a') from None") + "ValueError: a"


@pytest.mark.parametrize(("text", "end"), [
    ("", "ValueError"), ("a\n", "ValueError: a\n"), ("a\n\n", "ValueError: a\n\n"), (" ", "ValueError:  "),
    ("\ud800", "ValueError: \ud800"), ("中", "ValueError: 中"),
])
def test_texts(caught: Callable[..., Any], text: str, end: str) -> None:
    """One newline at the end is the traceback's own."""
    text = format_exception(caught(f"def f(): raise ValueError({text!r})"))
    assert text.endswith("\n" + end)


def test_no_marks(caught: Callable[..., Any]) -> None:
    """Python 3.11 and later would mark event["a"]["b"], and all of a call of several lines."""
    for source in ('def f(): return {}["a"] + {}["b"]', "def f():\n return max(\n  1,\n  {}['x'],\n )",
                   "def f():\n return (1 +\n  1 / 0)", "def f(): raise ValueError('x') from KeyError"):
        assert "^" not in format_exception(caught(source)) and "~" not in format_exception(caught(source))


def test_syntax_errors_keep_theirs(caught: Callable[..., Any]) -> None:
    text = format_exception(caught("def f(): compile('a b', 'file', 'exec')"))
    assert '  File "file", line 1\n    a b\n' in text and "^" in text and "\nSyntaxError: " in text


def test_source_that_is_not_there(caught: Callable[..., Any]) -> None:
    text = format_exception(caught("def f(): exec('1/0')")).split("\n")
    assert text[3:] == ['  File "<string>", line 1, in <module>', "ZeroDivisionError: division by zero"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are of 3.11")
def test_groups(caught: Callable[..., Any]) -> None:
    text = format_exception(caught(
        "def g(): 1/0\ndef f():\n try: g()\n except ArithmeticError as e:\n"
        "  raise ExceptionGroup('g', [e, KeyError('k')])"))
    assert text.startswith("  + Exception Group Traceback (most recent call last):\n") or CONTEXT in text
    assert "    | ZeroDivisionError: division by zero\n" in text and "    | KeyError: 'k'" in text and "^" not in text
    assert "<pyaction>" not in text


def test_notes(caught: Callable[..., Any]) -> None:
    if sys.version_info >= (3, 11):
        text = format_exception(caught("def f():\n e = ValueError('a')\n e.add_note('more')\n raise e"))
        assert text.endswith("\nValueError: a\nmore")


@pytest.mark.parametrize("source", [
    "class E(Exception):\n def __str__(self): raise KeyError('no')\ndef f(): raise E",
    "class E(Exception):\n __module__ = 5\ndef f(): raise E",
    "class E(Exception):\n def __getattribute__(s, n): raise KeyError(n)\ndef f(): raise E",
])
def test_exceptions_that_cannot_be_described(caught: Callable[..., Any], source: str) -> None:
    assert format_exception(caught(source)).startswith(TB)


def test_long_chain(caught: Callable[..., Any]) -> None:
    error = caught("def f():\n error = None\n for i in range(200):\n  try:\n   raise ValueError(i) from error\n"
                   "  except ValueError as e: error = e\n raise error")
    assert format_exception(error).count(CAUSE) == 199


def test_documents_are_json() -> None:
    odd = 'a"\\\n\ud800é'
    document = json.loads(tencent_scf_errors.user_exception(ValueError(odd), odd, 1))
    assert document["requestId"] == 'a"\\\n\\ud800é' and document["stackTrace"].endswith('ValueError: a"\\\n\\ud800é')
    assert json.loads(tencent_scf_errors.load_failure(odd, -1))["errorMessage"] == 'a"\\\n\\ud800é'
    assert json.loads(tencent_scf_errors.invalid_event(odd, odd))["requestId"] == 'a"\\\n\\ud800é'
