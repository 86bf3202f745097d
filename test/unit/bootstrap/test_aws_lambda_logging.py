"""aws_lambda_logging.py and aws_lambda_handler.py: what a Lambda function finds of logging, and its errors' records.

Vectors L34, L43, L70 to L74 are of the facts about AWS Lambda, chapters A6 and A12.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from aws_lambda_process import message, run

H = "def lambda_handler(event, context):\n    "
ID = "the-request"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NO_BREAK = "\N{NO-BREAK SPACE}"

LOGS = """\
import logging
logger = logging.getLogger("app")

def lambda_handler(event, context):
    logger.debug("d")
    logger.info("i")
    logger.warning("w %d", 1)
    logger.error("e")
    logger.critical("c\\nl2")
    context.log("ctx")
"""


def output(folder: Path, source: str, env: Optional[Dict[str, Optional[str]]] = None, *messages: bytes,
           **options: Any) -> str:
    """What the function writes to stdout; nothing may be on stderr."""
    got = run(folder, *messages, source=source, env=env, **options)
    assert got.err == "", got.err
    return got.out


def records(text: str) -> List[Any]:
    """Level, id and message of the lines of the text format."""
    found = re.findall(rf"\[([A-Z]+)\]\t{TIME}\t(.*)\t(.*(?:\nl2)?)\n", text)
    assert sum(len(f"[{a}]\t2026-01-01T00:00:00.000Z\t{b}\t{c}\n") for a, b, c in found) + len("ctx") == len(text)
    return found


WARNINGS = [("WARNING", ID, "w 1"), ("ERROR", ID, "e"), ("CRITICAL", ID, "c\nl2")]


@pytest.mark.parametrize(("level", "more"), [
    pytest.param(level, more, id=f"L70 {level}") for level, more in (
        (None, []), ("INFO", [("INFO", ID, "i")]), ("TRACE", [("DEBUG", ID, "d"), ("INFO", ID, "i")]), ("bogus", []),
        ("DEBUG", [("DEBUG", ID, "d"), ("INFO", ID, "i")]), ("info", [("INFO", ID, "i")]), ("trace", []),
        ("NOTSET", [("DEBUG", ID, "d"), ("INFO", ID, "i")]))
])
def test_levels(tmp_path: Path, level: Optional[str], more: List[Any]) -> None:
    out = output(tmp_path, LOGS, {"AWS_LAMBDA_LOG_LEVEL": level})
    assert out.endswith("ctx") and records(out) == more + WARNINGS


@pytest.mark.parametrize(("level", "kinds"), [
    ("WARN", ["WARNING", "ERROR", "CRITICAL"]), ("ERROR", ["ERROR", "CRITICAL"]), ("FATAL", ["CRITICAL"])])
def test_higher_levels(tmp_path: Path, level: str, kinds: List[str]) -> None:
    assert [kind for kind, _, _ in records(output(tmp_path, LOGS, {"AWS_LAMBDA_LOG_LEVEL": level}))] == kinds


@pytest.mark.parametrize("mode", ["JSON", "json"])
def test_l71_json(tmp_path: Path, mode: str) -> None:
    *lines, last = output(tmp_path, LOGS, {"AWS_LAMBDA_LOG_FORMAT": mode}).split("\n")
    assert last == "ctx"
    for line, (level, text) in zip(lines, (("WARNING", "w 1"), ("ERROR", "e"), ("CRITICAL", "c\\nl2"))):
        assert re.fullmatch(
            rf'{{"timestamp": "{SECONDS}", "level": "{level}", "message": "{re.escape(text)}", "logger": "app", '
            rf'"requestId": "{ID}"}}', line), line
    assert len(lines) == 3


def test_json_of_an_exception_and_extras(tmp_path: Path) -> None:
    source = """\
import logging
logger = logging.getLogger("app")

def lambda_handler(event, context):
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("ä %s", "x", extra={"count": 1, "none": None, "level": "mine", "stackTrace": 1})
    logger.log(35, "between")
    logger.warning("extras", extra={"tenantId": "mine", "location": 5, "nan": float("nan")})
"""
    text = output(tmp_path, source, {"AWS_LAMBDA_LOG_FORMAT": "JSON"}, message(tenant_id="t"), message())
    assert '"message": "ä x"' in text
    first, between, extras, *rest = map(json.loads, text.splitlines())
    path = f"{tmp_path}/task/lambda_function.py"
    stack = first.pop("stackTrace")
    assert len(stack) == 1 and stack[0].startswith(f'  File "{path}", line 6, in lambda_handler\n    1 / 0\n')
    assert list(first) == ["timestamp", "level", "message", "logger", "errorType", "errorMessage", "requestId",
                           "location", "tenantId", "count"]
    assert first["errorType"] == "ZeroDivisionError" and first["errorMessage"] == "division by zero"
    assert first["location"] == f"{path}:lambda_handler:8" and first["count"] == 1 and first["tenantId"] == "t"
    assert between["level"] == "WARNING" and "location" not in between  # 35, rounded
    assert extras["tenantId"] == "t" and "location" not in extras and extras["nan"] != extras["nan"]
    assert rest[2]["tenantId"] == "mine" and "tenantId" not in rest[1]


def test_what_formatting_raises_goes_to_the_function(tmp_path: Path) -> None:
    """As AWS's handler has it, other than logging's own."""
    for env, statement, kind in (({}, "logging.warning('%d', 'x')", "TypeError"),
                                 ({"AWS_LAMBDA_LOG_FORMAT": "JSON"}, "logging.warning('x', extra={'a': {1}})",
                                  "TypeError")):
        assert run(tmp_path, source="import logging\n" + H + statement, env=env).error["errorType"] == kind


def test_exception_in_text_mode(tmp_path: Path) -> None:
    """The traceback comes behind the newline of the format, without one of its own at its end."""
    source = "import logging\n" + H + "try: 1 / 0\n    except Exception: logging.exception('oh')"
    out = output(tmp_path, source)
    assert re.match(rf"\[ERROR\]\t{TIME}\t{ID}\toh\nTraceback \(most recent call last\):\n", out)
    assert out.endswith("\nZeroDivisionError: division by zero")


def test_l73_basic_config_does_nothing(tmp_path: Path) -> None:
    source = "import logging\nlogging.basicConfig(level=logging.INFO)\n" + H + 'logging.info("hid")'
    assert output(tmp_path, source) == ""


def test_levels_that_work(tmp_path: Path) -> None:
    source = "import logging\nlogging.getLogger().setLevel(logging.INFO)\n" + H + 'logging.info("seen")'
    assert re.fullmatch(rf"\[INFO\]\t{TIME}\t{ID}\tseen\n", output(tmp_path, source))
    source = f"import logging\nlogging.basicConfig(level=10, force=True, format='%(message)s')\n{H}logging.info('x')"
    assert run(tmp_path, source=source).err == "x\n"


def test_what_the_function_does_to_the_variables_comes_too_late(tmp_path: Path) -> None:
    source = "import os\nos.environ.update(AWS_LAMBDA_LOG_FORMAT='JSON', AWS_LAMBDA_LOG_LEVEL='DEBUG')\n" + LOGS
    assert records(output(tmp_path, source)) == WARNINGS


def test_before_the_first_invocation_there_is_no_id(tmp_path: Path) -> None:
    out = output(tmp_path, "import logging\nlogging.warning('import')\n" + H + "logging.warning('call')", None,
                 message(request_id="one"), message(request_id="two"))
    assert [re.sub(TIME, "", line) for line in out.splitlines()] == [
        "[WARNING]\t\t\timport", "[WARNING]\t\tone\tcall", "[WARNING]\t\ttwo\tcall"]


def test_times_are_utc(tmp_path: Path) -> None:
    """For every formatter, in whatever time zone the function lives."""
    source = """\
import logging, time
other = logging.Formatter("%(asctime)s", "%H:%M")

def lambda_handler(event, context):
    logging.warning("x")
    record = logging.makeLogRecord({"created": 3600.0})
    return [other.format(record), time.strftime("%H:%M", time.localtime(3600))]
"""
    got = run(tmp_path, source=source, env={"TZ": "Asia/Tokyo"})
    assert got.result == '["01:00", "10:00"]'


def test_print_is_untouched(tmp_path: Path) -> None:
    source = H + "print('a', 'b'); context.log('c'); context.log(5); print(context.log)"
    for env in (None, {"AWS_LAMBDA_LOG_FORMAT": "JSON"}):
        assert output(tmp_path, source, env).startswith("a b\nc5<bound method LambdaContext.log of LambdaContext([aws_")


# --- records of errors


def trace(folder: Path, line: int, source: str) -> str:
    path = f"{folder}/task/lambda_function.py"
    return f'{NO_BREAK * 2}File "{path}", line {line}, in lambda_handler\r{NO_BREAK * 4}{source}'


def test_record_of_an_error(tmp_path: Path) -> None:
    out = output(tmp_path, H + 'raise ValueError("boom\\nsecond line")')
    assert out == ("[ERROR] ValueError: boom\nsecond line\rTraceback (most recent call last):\r"
                   + trace(tmp_path, 2, 'raise ValueError("boom\\nsecond line")') + "\n")


def test_l34_record_without_a_text(tmp_path: Path) -> None:
    out = output(tmp_path, H + "raise ValueError()")
    assert out == ("[ERROR] ValueError\rTraceback (most recent call last):\r"
                   + trace(tmp_path, 2, "raise ValueError()") + "\n")


def test_l43_record_of_a_fault(tmp_path: Path) -> None:
    assert output(tmp_path, H + "return {1}") == (
        "[ERROR] Runtime.MarshalError: Unable to marshal response: Object of type set is not JSON serializable\r"
        "Traceback (most recent call last):\n")


def test_l74_record_in_json(tmp_path: Path) -> None:
    out = output(tmp_path, H + "raise ValueError('boom')", {"AWS_LAMBDA_LOG_FORMAT": "JSON"})
    record = json.loads(out)
    assert out.endswith("}\n") and list(record) == [
        "timestamp", "log_level", "errorMessage", "errorType", "requestId", "stackTrace"]
    assert re.fullmatch(SECONDS, record.pop("timestamp"))
    path = f"{tmp_path}/task/lambda_function.py"
    assert record == {
        "log_level": "ERROR", "errorMessage": "boom", "errorType": "ValueError", "requestId": ID,
        "stackTrace": [f'  File "{path}", line 2, in lambda_handler\n    raise ValueError(\'boom\')\n']}


def test_record_goes_to_the_stream_that_the_function_has(tmp_path: Path) -> None:
    source = "import io, sys\nsys.stdout = io.StringIO()\n" + H + """if event: raise ValueError("x")
    return sys.stdout.getvalue()"""
    got = run(tmp_path, message("1"), message(), source=source)
    assert got.out == "" and json.loads(got.replies[2][1]).startswith("[ERROR] ValueError: x\r")


def test_record_that_cannot_be_written(tmp_path: Path) -> None:
    source = H + "import sys; sys.stdout = None; raise ValueError('x')"
    assert run(tmp_path, source=source).error["errorMessage"] == "x"


def test_record_of_a_failed_init(tmp_path: Path) -> None:
    """A warning, by way of logging, and the error's record."""
    got = run(tmp_path, source="x = 1", handler="lambda_function.nope", invoke=False)
    warning, error, rest = got.out.split("\n")
    assert re.fullmatch(rf"\[WARNING\]\t{TIME}\t\tLAMBDA_WARNING: Unhandled exception\. .+", warning)
    assert error == ("[ERROR] Runtime.HandlerNotFound: Handler 'nope' missing on module 'lambda_function'\r"
                     "Traceback (most recent call last):") and rest == "" and got.err == ""
    assert json.loads(got.replies[0][1])["errorType"] == "Runtime.HandlerNotFound"


def test_record_of_a_failed_init_in_json(tmp_path: Path) -> None:
    got = run(tmp_path, source="raise ValueError('x')", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}, invoke=False)
    warning, error = map(json.loads, got.out.splitlines())
    assert (warning["level"], warning["logger"], warning["requestId"]) == ("WARNING", "root", "")
    assert (error["log_level"], error["errorMessage"], error["requestId"]) == ("ERROR", "x", "")


def test_failure_before_the_set_up(tmp_path: Path) -> None:
    """Of what comes before the convention's own part; the log is the same."""
    for env in ({}, {"AWS_LAMBDA_LOG_FORMAT": "JSON"}):
        got = run(tmp_path, files={"virtualenv/x": ""}, env=env, invoke=False)
        assert got.error["errorType"] == "InvalidVirtualenv" and got.err == ""
        warning, error, _ = got.out.split("\n")
        assert warning.startswith('{"timestamp"' if env else "[WARNING]\t") and "LAMBDA_WARNING" in warning
        assert error.startswith('{"timestamp"' if env else "[ERROR] InvalidVirtualenv: ")


def test_failed_init_with_a_handler_of_the_functions(tmp_path: Path) -> None:
    source = """\
import logging
class Bad(logging.Handler):
    def emit(self, record): raise KeyError
logging.getLogger().addHandler(Bad())
raise ValueError("x")
"""
    got = run(tmp_path, source=source, invoke=False)
    assert got.replies[0][0] == "init_failed" and "[ERROR] ValueError: x\r" in got.out


# --- logging is imported when somebody wants it


SEEN = """
import sys
def lambda_handler(event, context):
    import logging, logging.handlers
    (handler,) = logging.getLogger().handlers
    return [
        type(handler).__name__, type(handler.filters[0]).__name__, handler.level, logging.getLogger().level,
        logging.__spec__.name, type(logging.__spec__.loader).__name__, type(logging.__loader__).__name__,
        logging.__spec__.loader is logging.__loader__, logging.__file__, logging.__package__,
        sys.modules["logging"] is logging, [type(finder).__name__ for finder in sys.meta_path].count("_Importer"),
        isinstance(handler, logging.Handler), handler in [ref() for ref in logging._handlerList],
    ]
"""


def seen(folder: Path, **options: Any) -> Any:
    return json.loads(run(folder, source=SEEN, **options).result)


def test_lazy_set_up_looks_like_an_early_one(tmp_path: Path) -> None:
    late, early = seen(tmp_path), seen(tmp_path, before="import logging\n")
    assert late == early
    assert late[:4] == ["LambdaLoggerHandler", "LambdaLoggerFilter", 0, 30]
    assert late[4:8] == ["logging", "SourceFileLoader", "SourceFileLoader", True] and late[-4:] == [True, 0, True, True]


def test_logging_is_not_imported_by_us(tmp_path: Path) -> None:
    """Nor re, traceback or simplejson."""
    heavy = {"logging", "re", "traceback", "simplejson", "json"}
    source = f"import sys\n{H}return sorted({heavy} & set(sys.modules))"
    assert run(tmp_path, message(), message(), source=source).replies[2] == ("success", b"[]")


def test_files_of_the_function_do_not_hide_the_standard_librarys(tmp_path: Path) -> None:
    files = {f"{name}.py": f"raise Exception('{name}')" for name in ("logging", "string", "traceback", "token", "json")}
    source = "import logging\n" + H + "logging.warning('seen'); raise ValueError('x')"
    got = run(tmp_path, source=source, files=files)
    assert got.error["errorMessage"] == "x" and got.out.splitlines()[0].endswith("\tseen")


@pytest.mark.parametrize("how", [
    "import logging", "import logging.config", "from logging import getLogger", "import asyncio",
    "import importlib; importlib.import_module('logging')", "import concurrent.futures",
    "import threading; t = threading.Thread(target=__import__, args=('logging',)); t.start(); t.join()",
])
def test_however_it_is_imported(tmp_path: Path, how: str) -> None:
    source = f"{how}\n{H}import logging; logging.warning('x'); return len(logging.getLogger().handlers)"
    got = run(tmp_path, source=source)
    assert got.result == "1" and re.fullmatch(rf"\[WARNING\]\t{TIME}\t{ID}\tx\n", got.out)


def test_threads_that_import_it_together(tmp_path: Path) -> None:
    source = """\
import threading
found = []

def work():
    import logging
    found.append(len(logging.getLogger().handlers))

def lambda_handler(event, context):
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return found
"""
    assert json.loads(run(tmp_path, source=source).result) == [1] * 8


def test_error_record_on_a_terminal(tmp_path: Path) -> None:
    """Lines for a person to read, where no collector takes the record for one event."""
    text = output(tmp_path, H + "raise ValueError('boom')", terminal=True)
    assert text == (
        "[ERROR] ValueError: boom\nTraceback (most recent call last):\n"
        f'  File "{tmp_path}/task/lambda_function.py", line 2, in lambda_handler\n    raise ValueError(\'boom\')\n')
