"""report.py: what the author of a function is told on stderr."""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest
from pyaction_bootstrap import report


def caught(function: Callable[..., Any], *arguments: Any) -> BaseException:
    """What it raises, with the traceback that the runner would have: from this frame on."""
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def from_source(source: str, file: str, name: str = "f", **names: Any) -> Callable[..., Any]:
    """A function whose frames belong to that file."""
    exec(compile(source, file, "exec"), names)
    return names[name]


def own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls it through a frame of the bootstrap's."""
    return from_source("def f(): function()", "<pyaction>/openwhisk.py", function=function)


def raised_below_own_frames(function: Callable[..., Any]) -> BaseException:
    """As the runner catches it: its own frame is the first."""
    return from_source("def f():\n try:\n  function()\n except BaseException as error:\n  return error",
                       "<pyaction>/handle.py", function=own(function))()


def test_traceback_begins_with_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    user = from_source("def g(): 1 / 0\ndef f(): g()", "/action/__main__.py")
    report.print_exception(raised_below_own_frames(user))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Traceback (most recent call last):", '  File "/action/__main__.py", line 2, in f',
                     '  File "/action/__main__.py", line 1, in g', "ZeroDivisionError: division by zero"]


def test_frames_of_ours_behind_the_user_s_stay(capsys: pytest.CaptureFixture[str]) -> None:
    callback = own(from_source("def f(): 1 / 0", "/action/other.py"))
    user = from_source("def f(): callback()", "/action/__main__.py", callback=callback)
    report.print_exception(raised_below_own_frames(user))
    files = [line for line in capsys.readouterr().err.splitlines() if "File" in line]
    assert [line.split('"')[1] for line in files] == [
        "/action/__main__.py", "<pyaction>/openwhisk.py", "/action/other.py"]


def test_no_frame_of_the_user_s(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_exception(raised_below_own_frames(own(from_source("def f(): f(1)", "<pyaction>/x.py"))))
    assert "Traceback (most recent call last):" in capsys.readouterr().err
    error = SyntaxError("invalid syntax", ("/action/__main__.py", 3, 5, "def x y\n"))
    report.print_exception(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and '  File "/action/__main__.py", line 3' in lines
    assert lines[-1] == "SyntaxError: invalid syntax" and "def x y" in "".join(lines)


def test_causes(capsys: pytest.CaptureFixture[str]) -> None:
    user = from_source("def f():\n try:\n  1 / 0\n"
                       " except ZeroDivisionError as error:\n  raise KeyError('k') from error", "/action/__main__.py")
    report.print_exception(raised_below_own_frames(user))
    text = capsys.readouterr().err
    assert "division by zero" in text and "The above exception was the direct cause" in text
    assert text.splitlines()[-1] == "KeyError: 'k'" and "pyaction" not in text


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class MuteForGood(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class WrongType(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


@pytest.mark.parametrize("kind", [Mute, MuteForGood, WrongType])
def test_exceptions_without_a_text(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    def raises() -> None:
        raise kind

    error = caught(raises)
    assert report.describe(error) == kind.__name__
    if kind is not MuteForGood:  # it gets what it asked for
        report.print_exception(error)
        assert kind.__name__ in capsys.readouterr().err


@pytest.mark.parametrize(("error", "text"), [
    (ValueError("text"), "text"), (ValueError(), "ValueError"), (ValueError(""), "ValueError"), (KeyError("k"), "'k'"),
    (ValueError("a", 1), "('a', 1)"), (KeyboardInterrupt(), "KeyboardInterrupt"),
    (OSError(2, "No such file"), "[Errno 2] No such file"),
    (ValueError("lone \ud800"), "lone \ud800"), (ValueError("two\nlines"), "two\nlines"),
])
def test_describe(error: BaseException, text: str) -> None:
    assert report.describe(error) == text


def test_line(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_line("a line")
    report.print_line("")
    assert capsys.readouterr() == ("", "a line\n\n")


class Broken:
    def write(self, text: str) -> None:
        raise OSError("broken")

    flush = write  # type: ignore[assignment]


@pytest.mark.parametrize("stderr", [None, Broken(), object()], ids=["none", "broken", "nonsense"])
def test_stderr_that_takes_nothing(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    report.print_line("lost")
    report.print_exception(caught(lambda: 1 / 0))


def test_closed_stderr(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    file = open(tmp_path / "file", "w", encoding="utf-8")
    file.close()
    monkeypatch.setattr(sys, "stderr", file)
    report.print_line("lost")
    report.print_exception(caught(lambda: 1 / 0))


def test_exception_hook_of_the_function_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *_: print("hooked"))
    report.print_exception(caught(lambda: 1 / 0))
    captured = capsys.readouterr()
    assert captured.out == "" and "ZeroDivisionError" in captured.err
