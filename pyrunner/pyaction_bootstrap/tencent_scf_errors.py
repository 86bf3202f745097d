"""Tencent SCF's error documents: compact JSON, as they stand in its logs and answers."""

from __future__ import annotations

from pyaction_bootstrap import stdlib, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

# File names of the frames that no function has made: ours anywhere, the import system's above the first of a function.
_OWN_FILES = "<pyaction>/"
_IMPORT_SYSTEM_FILES = "<frozen importlib"


def user_exception(error: BaseException, request_id: str, error_code: int) -> bytes:
    """Status 430: a function has raised error, or has returned what JSON cannot hold."""
    return (f'{{"errorCode":{error_code},"errorMessage":"user code exception caught",'
            f'"requestId":{json_text(request_id)},"stackTrace":{json_text(format_exception(error))},'
            '"statusCode":430}').encode("utf-8")


def load_failure(message: str, error_code: int) -> bytes:
    """Status 443: a function could not be loaded. message: the traceback. There is no request yet, and no stackTrace
    in this kind of document."""
    return (f'{{"errorCode":{error_code},"errorMessage":{json_text(message)},"requestId":"",'
            '"statusCode":443}').encode("utf-8")


def invalid_event(reason: str, request_id: str) -> bytes:
    """Status 400: the event is not JSON, and the function was not called. The number and the word are those of the
    table of status codes; that it has the form of the other failures of the platform's kind is our choice."""
    message = f"InvalidParameterValue: the event is not JSON: {reason}"
    return (f'{{"errorCode":-1,"errorMessage":{json_text(message)},"requestId":{json_text(request_id)},'
            '"statusCode":400}').encode("utf-8")


def json_text(text: str) -> str:
    """A string as JSON; what UTF-8 cannot hold is escaped."""
    return wire.encode(text.encode("utf-8", "backslashreplace").decode("utf-8")).decode("utf-8")


def format_exception(error: BaseException) -> str:
    """The traceback as Python 3.10 writes it, without a newline at its end: of the whole chain of exceptions, without
    the frames of the platform, and without the lines that mark a part of the line above (3.11 and later).

    The platform's own runtime deletes the second and third line of the text instead, which takes the wrong ones of a
    chain.
    """
    traceback = stdlib.load("traceback")
    try:
        described = traceback.TracebackException(type(error), error, error.__traceback__)
        _clean_stacks(described, traceback)
        text = "".join(described.format())
    except Exception:  # of methods of the exception's own
        text = f"Traceback (most recent call last):\n{type(error).__name__}\n"
    return text[:-1]


def _clean_stacks(described: Any, traceback: Any) -> None:
    """Replaces the stacks of a TracebackException and of all that belong to it."""

    class Emptied(traceback.StackSummary):  # type: ignore[misc]
        """A stack whose frames were all ours: format() leaves the heading out where a stack is false."""

        def __bool__(self) -> bool:
            return True

    pending = [described]
    while pending:
        described = pending.pop()
        # Frames of these four items have no columns, and so no marks.
        frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in _frames_of_function(described)]
        if described.stack:
            described.stack = traceback.StackSummary.from_list(frames) if frames else Emptied()
        others = (described.__cause__, described.__context__, *(getattr(described, "exceptions", None) or ()))
        pending += [other for other in others if other is not None]


def _frames_of_function(described: Any) -> List[Any]:
    frames = [frame for frame in described.stack if not frame.filename.startswith(_OWN_FILES)]
    first = 0
    while first < len(frames) and frames[first].filename.startswith(_IMPORT_SYSTEM_FILES):
        first += 1
    return frames[first:]
