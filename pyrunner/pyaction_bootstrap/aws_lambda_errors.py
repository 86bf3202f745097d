"""Error documents of a Lambda function, and their records in the log."""

from __future__ import annotations

from pyaction_bootstrap import aws_lambda_json, aws_lambda_logging, stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

_OWN_FILES = "<pyaction>/"


class Fault(Exception):
    """What the runtime itself has to say against a function, its event or its result."""

    def __init__(self, kind: str, text: str, trace: Optional[List[str]] = None) -> None:
        """kind: the error's type without "Runtime.". trace: the document's stack, not that of the exception."""
        super().__init__(text)
        self.type = f"Runtime.{kind}"
        self.trace = trace or []


def text_of(error: BaseException) -> str:
    """str(error). Where that fails, which ends AWS's runtime, it is what Python's tracebacks say then."""
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


def report(error: BaseException, request_id: str, ensure_ascii: bool) -> bytes:
    """Writes the log record of an error, and returns its document as JSON on one line."""
    document: Dict[str, Any] = {
        "errorMessage": text_of(error),
        "errorType": error.type if isinstance(error, Fault) else type(error).__name__,
        "requestId": request_id,
        "stackTrace": error.trace if isinstance(error, Fault) else _stack_of(error),
    }
    aws_lambda_logging.write_error(document, ensure_ascii)
    return aws_lambda_json.encode_document(document, ensure_ascii)


def _stack_of(error: BaseException) -> List[str]:
    """The frames from the function's first one on, each as traceback.format_list has it: source lines without
    marks below them. Of an exception that only our own code was in, as with a handler of other parameters, the
    last frame, in the place of the one of its own that AWS's runtime shows."""
    try:
        traceback = stdlib.load("traceback")
        frames = traceback.extract_tb(error.__traceback__)
        own = 0
        while own < len(frames) - 1 and frames[own].filename.startswith(_OWN_FILES):
            own += 1
        plain = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames[own:]]
        return traceback.format_list(plain)  # type: ignore[no-any-return]
    except Exception:  # out of memory; or from a loader of the function's that is asked for its source
        return []
