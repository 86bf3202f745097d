"""Telling the author of a function what went wrong."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Optional

# Frames of these modules and of the import system stand between the runner and the user's code.
_OWN_FILE_PREFIXES = ("<pyaction>/", "<frozen importlib")


def print_line(text: str) -> None:
    """A line on the function's stderr, which the function may have closed or replaced."""
    try:
        sys.stderr.write(text + "\n")
    except Exception:
        pass


def _skip_own_frames(traceback: Optional[TracebackType]) -> Optional[TracebackType]:
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OWN_FILE_PREFIXES):
        traceback = traceback.tb_next
    return traceback


def print_exception(error: BaseException) -> None:
    """The traceback on stderr as python3 prints it, from the user's first frame on, causes included."""
    error.__traceback__ = _skip_own_frames(error.__traceback__)
    chained = error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__)
    if error.__traceback__ is None and not chained:
        # Python leaves the header out where there is no frame: a syntax error, a handler with other parameters.
        print_line("Traceback (most recent call last):")
    try:
        # In C up to 3.12: no import of traceback, and an exception whose __str__ raises does not stop it.
        sys.__excepthook__(type(error), error, error.__traceback__)
    except Exception:
        print_line(f"Traceback (most recent call last):\n{type(error).__name__}")


def describe(error: BaseException) -> str:
    """str(error), or the name of its class where there is no such text."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return text or type(error).__name__
