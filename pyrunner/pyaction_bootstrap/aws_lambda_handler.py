"""The handler that a Lambda function finds at the root logger. Imported when logging is."""

from __future__ import annotations

import sys
import time

import _pyaction

from pyaction_bootstrap import aws_lambda_logging, stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Dict
else:
    logging = stdlib.load("logging")

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_TEXT_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"

# The attributes of a record that say nothing of their own in JSON; any other comes from extra=.
_NO_EXTRA = frozenset((
    "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
    "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName",
    "process", "aws_request_id", "tenant_id",
))


class LambdaLoggerHandler(logging.Handler):
    """Writes each record to sys.stdout, whatever that is at the time. What formatting raises goes to the caller, as
    with AWS's."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(self.format(record))


class LambdaLoggerFilter(logging.Filter):
    """Gives each record the invocation's ids."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = aws_lambda_logging.request_id
        record.tenant_id = aws_lambda_logging.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """A record as JSON on one line."""

    def format(self, record: logging.LogRecord) -> str:
        # Only now, as with AWS's: a level between two is the one below, for later handlers too.
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        members: Dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            **_members_of_error(record),
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if record.exc_info else None,
        }
        tenant_id = getattr(record, "tenant_id", None)
        if tenant_id is not None:
            members["tenantId"] = tenant_id
        for name, value in record.__dict__.items():
            if name not in _NO_EXTRA:
                members.setdefault(name, value)
        return _encode({name: value for name, value in members.items() if value is not None}) + "\n"


def _members_of_error(record: logging.LogRecord) -> Dict[str, Any]:
    kind, error, frames = record.exc_info or (None, None, None)
    if kind is None:
        return {"stackTrace": None, "errorType": None, "errorMessage": None}
    return {
        "stackTrace": stdlib.load("traceback").format_tb(frames),
        "errorType": kind.__name__,
        "errorMessage": str(error),
    }


def _encode(members: Dict[str, Any]) -> str:
    """By the standard library's json in the end, which takes longer to import than to work; NaN and lone surrogates
    are left to it, and its errors are the caller's."""
    try:
        return _pyaction.encode(members).decode()  # type: ignore[no-any-return]
    except Exception:
        return stdlib.load("json").dumps(members, ensure_ascii=False)  # type: ignore[no-any-return]


def set_up(is_json: bool, level: str) -> None:
    """Gives the root logger its handler and, if the name of a level is given, its level. Times are UTC for every
    formatter."""
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    if is_json:
        handler.setFormatter(JsonFormatter(datefmt=aws_lambda_logging.DATE_FORMAT))
    else:
        handler.setFormatter(logging.Formatter(_TEXT_FORMAT, _TEXT_DATE_FORMAT))
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    if level in logging._nameToLevel:
        root.setLevel(level)
    root.addHandler(handler)
