"""The log of a Lambda function: the set-up of logging, and the records of errors."""

from __future__ import annotations

import os
import sys
import time

from pyaction_bootstrap import aws_lambda_json, lazy_logging, on_demand, stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

DATE_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

# What stands for an end of line and for indentation in an error's record: both keep it one event of the log. On a
# terminal a person reads it.
_line_end = "\r"
_indent = "\N{NO-BREAK SPACE}"

# The invocation's, for the records' filter: empty, None before the first.
request_id = ""
tenant_id: Optional[str] = None

# Whether records are JSON; None before prepare().
_is_json: Optional[bool] = None


def prepare(is_terminal: bool = False) -> None:
    """Arranges for the root logger's handler, by the variables AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL as they
    are now. is_terminal: whether the log is shown on one."""
    global _is_json, _line_end, _indent
    if is_terminal:
        _line_end, _indent = "\n", " "
    _is_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    text = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "")
    level = "DEBUG" if text == "TRACE" else text.upper()

    def set_up(logging: Any) -> None:
        on_demand.load("aws_lambda_handler").set_up(_is_json, level)

    lazy_logging.configure(set_up)


def warn_of_failed_init() -> None:
    """The record that comes before the error's when a function cannot be loaded, or cannot even be prepared for."""
    if _is_json is None:
        prepare()
    try:
        stdlib.load("logging").warning("LAMBDA_WARNING: Unhandled exception. The function could not be loaded.")
    except Exception:  # of a handler that the function has installed
        pass


def write_error(document: Dict[str, Any], ensure_ascii: bool) -> None:
    """Writes the record of an error document."""
    if _is_json:
        start = {"timestamp": time.strftime(DATE_FORMAT, time.gmtime()), "log_level": "ERROR"}
        text = aws_lambda_json.encode_document({**start, **document}, ensure_ascii).decode()
    else:
        text = _line_end.join(_lines_of(document))
    try:
        sys.stdout.write(text + "\n")
    except Exception:  # the function may have closed or replaced it
        pass


def _lines_of(document: Dict[str, Any]) -> List[str]:
    message = document["errorMessage"]
    lines = [f"[ERROR] {document['errorType']}" + (f": {message}" if message else "")]
    lines.append("Traceback (most recent call last):")
    for entry in document["stackTrace"]:
        for line in entry.splitlines():
            text = line.lstrip(" ")
            lines.append(_indent * (len(line) - len(text)) + text)
    return lines
