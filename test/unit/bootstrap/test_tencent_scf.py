"""tencent_scf.py: the vectors T1 to T47 of the project's facts on SCF (lambda-scf.md, B10) that a runner decides, and
what they leave open. Vectors of limits, process ends, log lines around a call and HTTP are the door's."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from tencent_scf_conversation import ID, Conversation, compact, e430, e443, expand, talk

READY = ("initialized", '{"ok":true}')
TB = "Traceback (most recent call last):\n"

Talk = Callable[..., Conversation]


def vector_id(value: Any) -> str:
    """The number of a vector, T22; with a question mark where the facts have no vector of that number, or say less.
    Nothing for the other columns."""
    return value if isinstance(value, str) and re.fullmatch(r"T\d+\??", value) else ""


@pytest.fixture
def run(tmp_path: Path) -> Talk:
    """Returns a function that calls the handler of a vector's source, once for each event or more of a message's
    members; without any, once with {}."""

    def do(source: str, *messages: Dict[str, Any], **options: Any) -> Conversation:
        sent = [{"value": {}, "activation_id": ID, **message} for message in messages or ({},)]
        return talk(tmp_path, {"index.py": expand(source), **options.pop("files", {})}, *sent, **options)

    return do


# --- results


@pytest.mark.parametrize(("vector", "source", "event", "expected"), [
    ("T1", 'H return "hello world"', {}, '"hello world"'),
    ("T2", 'H return {"a":"中","n":None,"b":True,"f":1.0}', {}, '{"a": "中", "n": null, "b": true, "f": 1.0}'),
    ("T3?", "H pass", {}, "null"),
    ("T4", 'import json\nH return json.dumps({"a":1})', {}, r'"{\"a\": 1}"'),
    ("T5", "H return (1, 2)", {}, "[1, 2]"),
    ("T6?", 'from collections import namedtuple\nP = namedtuple("P", "x y")\nH return P(1, 2)', {}, "[1, 2]"),
    ("T7", 'from decimal import Decimal as D\nH return D("1.10")', {}, '"1.10"'),
    ("T8", 'H return float("nan")', {}, "NaN"),
    ("T10", "H return type(event).__name__ + type(context).__name__", {}, '"dictdict"'),
    ("T11", "H return event", [1, "x", True, None], '[1, "x", true, null]'),
    ("T12?", "H return event", "text", '"text"'),
    ("T12?", "H return event", None, "null"),
], ids=vector_id)
def test_results(run: Talk, vector: str, source: str, event: Any, expected: str) -> None:
    assert run(source, {"value": event}).replies == [READY, ("success", expected)]


def test_t13_globals_live_on(run: Talk) -> None:
    got = run("n = 0\ndef main_handler(event, context):\n    global n\n    n += 1\n    return n", {}, {})
    assert got.replies == [READY, ("success", "1"), ("success", "2")]


#: What json.dumps(result, ensure_ascii=False) makes of each.
JSON_RESULTS = """
import collections, enum, types
class Level(enum.IntEnum): LOW = 1
class Word(str, enum.Enum): A = "a"
class Text(str): pass
class Number(float):
    def __repr__(self): return "own"
class Half(dict):
    def __len__(self): return 1
deep = []
for _ in range(300): deep = [deep]
RESULTS = [
    None, True, 42, 2**70, -0.0, 1e16, 1e-7, 0.1, "", "é\\u2028\\x00\\x7f\\n\\"\\\\/<>&", [], {}, (), [[], {}, ()],
    {1: "a", None: 1, True: 2, 1.5: 3}, {"1": 1, 1: 2}, Level.LOW, [Word.A], {Level.LOW: Level.LOW, Word.A: 1},
    Text("t"), {Text("k"): Text("v")}, Number(1.5), collections.OrderedDict(b=1, a=2), collections.Counter("aab"),
    collections.defaultdict(list, a=[1]), float("inf"), float("-inf"), [1, float("nan"), "中"], {float("nan"): 1},
    {"é": float("inf")}, deep, Half(a=1), {"\\ud83d\\ude00".encode("utf-16", "surrogatepass").decode("utf-16"): 1},
]
"""


def test_results_are_those_of_the_standard_library(run: Talk, python: Callable[..., Any]) -> None:
    source = "import json\n" + JSON_RESULTS
    expected = python(source + "for result in RESULTS: print(json.dumps(result, ensure_ascii=False))").stdout
    count = expected.count("\n")
    got = run(JSON_RESULTS + "H return RESULTS[event]", *({"value": index} for index in range(count)))
    assert got.replies[1:] == [("success", line) for line in expected.split("\n")[:-1]]
    assert count > 30 and got.err == ""


def test_a_json_module_of_the_function_is_not_ours(run: Talk) -> None:
    got = run('H return float("nan")', files={"json.py": "raise ValueError", "decoder.py": "raise ValueError"})
    assert got.replies[1] == ("success", "NaN")


# --- context


DETAILS = {"memory_limit_in_mb": 512, "time_limit_in_ms": 900000, "function_name": "fn", "function_version": "7",
           "namespace": "prod", "tencentcloud_region": "ap-tokyo", "tencentcloud_appid": "12", "tencentcloud_uin": "34"}


@pytest.mark.parametrize(("vector", "source", "expected"), [
    ("T14", "H return sorted(context)", [
        "environ", "environment", "function_name", "function_version", "memory_limit_in_mb", "namespace", "request_id",
        "tencentcloud_appid", "tencentcloud_region", "tencentcloud_uin", "time_limit_in_ms"]),
    ("T15?", 'import json\nH return json.loads(context["environment"])', {"SCF_NAMESPACE": "default"}),
    ("T16", 'H return dict(p.split("=",1) for p in context["environ"].split(";") if p)["SCF_NAMESPACE"]', "default"),
    ("T17", 'H return [type(context[k]).__name__ for k in ("memory_limit_in_mb","time_limit_in_ms",'
            '"tencentcloud_appid")]', ["int", "int", "str"]),
    ("T18?", 'H return context["request_id"]', ID),
    ("T19", 'H return context["memory_limit_in_mb"]', 128),
    ("T19?", 'H return context["time_limit_in_ms"]', 3000),
    ("T19?", 'H return [context["function_version"], context["tencentcloud_uin"].isdigit(), '
             'context["tencentcloud_appid"].isdigit()]', ["$LATEST", True, True]),
], ids=vector_id)
def test_context(run: Talk, vector: str, source: str, expected: Any) -> None:
    (status, payload), = run(source).replies[1:]
    assert (status, json.loads(payload)) == ("success", expected)


def test_t20_no_attributes(run: Talk) -> None:
    trace = (TB + '  File "/var/user/index.py", line 2, in main_handler\n    return context.aws_request_id\n'
             "AttributeError: 'dict' object has no attribute 'aws_request_id'")
    assert run("H return context.aws_request_id").replies[1] == ("function_error", e430(trace))


def context_of(got: Conversation, index: int = 1) -> Dict[str, Any]:
    status, payload = got.replies[index]
    assert status == "success"
    context: Dict[str, Any] = json.loads(payload)
    assert len(context) == 11
    return context


def test_context_of_the_door(run: Talk) -> None:
    got = run("H return context", {"pyaction": {"scf": DETAILS}}, {}, init={"env": {"A": "é"}})
    assert context_of(got) == {**DETAILS, "request_id": ID, "environment": '{"SCF_NAMESPACE":"prod","A":"é"}',
                               "environ": "SCF_NAMESPACE=prod;A=é"}
    later = context_of(got, 2)
    assert later["namespace"] == "default" and later["environ"] == "SCF_NAMESPACE=default;A=é"


def test_context_of_variables_and_limits(run: Talk) -> None:
    variables = {"SCF_FUNCTIONNAME": "fn", "SCF_FUNCTIONVERSION": "3", "SCF_NAMESPACE": "test",
                 "TENCENTCLOUD_REGION": "ap-beijing", "TENCENTCLOUD_APPID": "1", "TENCENTCLOUD_UIN": "2"}
    got = run("H return context", env=variables, init={"timeout_ms": 60000, "memory_mb": 256})
    assert context_of(got) == {
        "memory_limit_in_mb": 256, "time_limit_in_ms": 60000, "request_id": ID, "environ": "SCF_NAMESPACE=test",
        "environment": '{"SCF_NAMESPACE":"test"}', "function_version": "3", "function_name": "fn", "namespace": "test",
        "tencentcloud_region": "ap-beijing", "tencentcloud_appid": "1", "tencentcloud_uin": "2"}


def test_no_limits(run: Talk) -> None:
    got = run("H return context", init={"timeout_ms": 0, "memory_mb": 0})
    assert context_of(got)["memory_limit_in_mb"] == 128 and context_of(got)["time_limit_in_ms"] == 3000


def test_user_variables(run: Talk) -> None:
    got = run('import os\nos.environ["LATER"] = os.environ["N"] = "x"\nH return context', init={
        "env": {"TZ": "Asia/Shanghai", "SCF_NAMESPACE": "own", "N": 5, "J": {"a": [1]}, "Q": '"\\'}})
    context = context_of(got)
    assert json.loads(context["environment"]) == {
        "SCF_NAMESPACE": "own", "TZ": "Asia/Shanghai", "N": "5", "J": '{"a": [1]}', "Q": '"\\'}
    assert context["environ"] == 'SCF_NAMESPACE=own;TZ=Asia/Shanghai;N=5;J={"a": [1]};Q="\\'
    assert context["namespace"] == "own"


def test_the_door_s_namespace_before_a_variable(run: Talk) -> None:
    got = run("H return context", {"pyaction": {"scf": DETAILS}}, init={"env": {"SCF_NAMESPACE": "own"}})
    assert context_of(got)["environment"] == '{"SCF_NAMESPACE":"prod"}'


def test_a_fresh_request_id(run: Talk) -> None:
    got = run('H return context["request_id"]', {"activation_id": ""}, {"activation_id": ""})
    first, second = (json.loads(payload) for _, payload in got.replies[1:])
    form = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(form, first) and re.fullmatch(form, second) and first != second


def test_a_context_is_the_function_s_own(run: Talk) -> None:
    got = run("H seen = dict(context); context.clear(); return seen", {}, {})
    assert context_of(got, 1) == context_of(got, 2)


@pytest.mark.parametrize("forged", [
    5, None, [], "x", {"scf": 5},
    {"scf": {"memory_limit_in_mb": "a", "environ": "x", "request_id": "x", "namespace": 5, "secret_id": 5,
             "secret_key": "\0", "session_token": "\ud800"}},
])
def test_members_that_no_door_sends(run: Talk, forged: Any) -> None:
    got = run("H return context", {"pyaction": forged}, {})
    assert context_of(got) == context_of(got, 2) and got.err == ""


# --- errors


def frame(line: int, function: str, source: str, file: str = "index.py") -> str:
    return f'  File "/var/user/{file}", line {line}, in {function}\n    {source}\n'


@pytest.mark.parametrize(("vector", "source", "trace"), [
    ("T21?", 'H raise Exception("err msg")', TB + frame(2, "main_handler", 'raise Exception("err msg")')
     + "Exception: err msg"),
    ("T22", 'H return event["key1"]', TB + frame(2, "main_handler", 'return event["key1"]') + "KeyError: 'key1'"),
    ("T23", "def f():\n    return 1/0\n\nH return f()",
     TB + frame(5, "main_handler", "return f()") + frame(2, "f", "return 1/0") + "ZeroDivisionError: division by zero"),
    ("T24?", "class MyErr(Exception): pass\nH raise MyErr", TB + frame(3, "main_handler", "raise MyErr")
     + "index.MyErr"),
    ("T25", "def main_handler(event): return 1",
     TB + "TypeError: main_handler() takes 1 positional argument but 2 were given"),
    ("T26", "main_handler = 1", TB + "TypeError: 'int' object is not callable"),
    ("T32", 'def main_handler(event, context):\n    try:\n        1/0\n    except ZeroDivisionError as e:\n'
            '        raise RuntimeError("x") from e',
     TB + frame(3, "main_handler", "1/0") + "ZeroDivisionError: division by zero\n\n"
     "The above exception was the direct cause of the following exception:\n\n" + TB
     + frame(5, "main_handler", 'raise RuntimeError("x") from e') + "RuntimeError: x"),
    ("T33?", 'def main_handler(event, context):\n    try:\n        1/0\n    except ZeroDivisionError:\n'
             '        raise RuntimeError("x")',
     TB + frame(3, "main_handler", "1/0") + "ZeroDivisionError: division by zero\n\n"
     "During handling of the above exception, another exception occurred:\n\n" + TB
     + frame(5, "main_handler", 'raise RuntimeError("x")') + "RuntimeError: x"),
    ("T41", 'H raise OSError(30, "Read-only file system", "/var/user/x")', TB + frame(
        2, "main_handler", 'raise OSError(30, "Read-only file system", "/var/user/x")')
     + "OSError: [Errno 30] Read-only file system: '/var/user/x'"),
    ("", 'def main_handler(event, context):\n    return max(\n        event["a"],\n        1)',
     TB + frame(3, "main_handler", 'event["a"],') + "KeyError: 'a'"),
    ("", r'H raise Exception("é\n \"中\"")', TB + frame(
        2, "main_handler", r'raise Exception("é\n \"中\"")') + 'Exception: é\n "中"'),
    ("", "class E(Exception):\n    def __str__(self): 1/0\nH raise E", None),
], ids=vector_id)
def test_errors(run: Talk, vector: str, source: str, trace: Any) -> None:
    got = run(source, {}, {})
    status, payload = got.replies[1]
    assert status == "function_error" and payload == got.replies[2][1]  # and it lives on
    if trace is not None:
        assert payload == e430(trace)
        last = trace.split("\n")[-1]
        assert got.err.count(last + "\n") == 2 and got.err.startswith(TB) and "<pyaction>" not in got.err
    assert json.loads(payload)["stackTrace"].startswith(TB) and got.out == ""


@pytest.mark.parametrize(("vector", "source", "last"), [
    ("T27?", "H return {1}", "TypeError: Object of type set is not JSON serializable"),
    ("T28", "import datetime\nH return datetime.datetime(2020,1,1)",
     "TypeError: Object of type datetime is not JSON serializable"),
    ("T29", 'H return b"a"', "TypeError: Object of type bytes is not JSON serializable"),
    ("T30?", 'from decimal import Decimal as D\nH return [D("1.10")]',
     "TypeError: Object of type Decimal is not JSON serializable"),
    ("T30?", 'from decimal import Decimal\nclass D(Decimal): pass\nH return D("1.10")',
     "TypeError: Object of type D is not JSON serializable"),
    ("", "import decimal\nH return decimal.getcontext()", "TypeError: Object of type Context is not JSON serializable"),
    ("T31", 'H d={}; d["d"]=d; return d', "ValueError: Circular reference detected"),
    ("", "H return {(1, 2): 3}", "TypeError: keys must be str, int, float, bool or None, not tuple"),
    ("", "H return context.keys()", "TypeError: Object of type dict_keys is not JSON serializable"),
    ("", "async def main_handler(event, context): pass",
     "TypeError: Object of type coroutine is not JSON serializable"),
    ("", r'H return "\ud800"', "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 1: "
     "surrogates not allowed"),
], ids=vector_id)
def test_results_that_are_no_json(run: Talk, vector: str, source: str, last: str) -> None:
    got = run(source, {}, {})
    status, payload = got.replies[1]
    document = json.loads(payload)
    lines = document.pop("stackTrace").split("\n")
    assert lines[-1] == last and lines[0] + "\n" == TB and last in got.err
    assert payload.startswith('{"errorCode":1,"errorMessage":"user code exception caught","requestId":"')
    assert status == "function_error" and document == {
        "errorCode": 1, "errorMessage": "user code exception caught", "requestId": ID, "statusCode": 430}
    frames = [line for line in lines if line.startswith("  File ")]
    assert all("/json/" in line for line in frames) and not any("^^" in line for line in lines)
    assert "During handling" not in payload and len(got.replies) == 3


def test_recursion(run: Talk) -> None:
    got = run("H return main_handler(event, context)", {}, {})
    document = json.loads(got.replies[1][1])
    assert "RecursionError: maximum recursion depth exceeded" in document["stackTrace"].split("\n")[-1]
    assert "  [Previous line repeated " in document["stackTrace"] and got.replies[2] == got.replies[1]


@pytest.mark.parametrize(("vector", "files", "handler", "message"), [
    ("T34", {"index.py": "import requests\nH return 1"}, "index.main_handler",
     TB + frame(1, "<module>", "import requests") + "ModuleNotFoundError: No module named 'requests'"),
    ("T34", {"index.py": "import helper", "helper.py": "x = 1\nraise ValueError('at import')"}, "index.main_handler",
     TB + frame(1, "<module>", "import helper") + frame(2, "<module>", "raise ValueError('at import')", "helper.py")
     + "ValueError: at import"),
    ("T36?", {"index.py": "H return 1"}, "index.nope", TB + "AttributeError: module 'index' has no attribute 'nope'"),
    ("", {"index.py": "H return 1"}, "index.", TB + "AttributeError: module 'index' has no attribute ''"),
    ("", {}, "other.main_handler", TB + "ModuleNotFoundError: No module named 'other'"),
    ("", {"index.py": ""}, "index.a.b",
     TB + "ModuleNotFoundError: No module named 'index.a'; 'index' is not a package"),
    ("", {"index.py": ""}, ".main_handler", TB + "ValueError: Empty module name"),
    ("", {"index.py": "raise KeyboardInterrupt"}, "index.main_handler",
     TB + frame(1, "<module>", "raise KeyboardInterrupt") + "KeyboardInterrupt"),
], ids=vector_id)
def test_load_failures(tmp_path: Path, vector: str, files: Dict[str, str], handler: str, message: str) -> None:
    (tmp_path / "code").mkdir()
    files = {name: expand(source) for name, source in files.items()}
    got = talk(tmp_path, files, init={"handler": handler})
    assert got.replies == [("init_failed", e443(message))]
    assert got.out == "" and got.err.endswith(message.split("\n")[-1] + "\n")


def test_t35_syntax_error(run: Talk) -> None:
    (status, payload), = run("def main_handler(event, context)\n    return 1", {}).replies[:1]
    document = json.loads(payload)
    lines = document["errorMessage"].split("\n")
    assert status == "init_failed" and document["statusCode"] == 443 and "stackTrace" not in document
    assert lines[0] + "\n" == TB and lines[1] == '  File "/var/user/index.py", line 1'
    assert lines[2] == "    def main_handler(event, context)" and lines[-1].startswith("SyntaxError: ")
    assert len(lines) == 5  # with the mark


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Fails in frames of the import system, which are the platform's."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "index.py").symlink_to("/proc/self/mem")
    got = talk(tmp_path, {})
    assert got.replies == [("init_failed", e443(TB + "OSError: [Errno 5] Input/output error"))]


def test_load_failures_of_ours(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = ("The action failed to generate or locate a binary. See logs for details. "
            "(Zip file does not include '__main__.py'.)")
    got = talk(tmp_path, {}, init={"handler": "main_handler"})
    assert got.replies == [("init_failed", e443(text))] and got.err == text + "\n"
    got = talk(tmp_path, {"index.py": "", "virtualenv/x": ""})
    assert got.replies[0][0] == "init_failed" and "Invalid virtualenv" in got.err and "Traceback" not in got.err


# --- errorCode


def test_the_other_error_code(run: Talk) -> None:
    source = 'H return event["key1"]'
    trace = TB + frame(2, "main_handler", 'return event["key1"]') + "KeyError: 'key1'"
    for options in ({"env": {"PYACTION_SCF_ERROR_CODE": "-1"}}, {"init": {"env": {"PYACTION_SCF_ERROR_CODE": -1}}}):
        assert run(source, **options).replies[1] == ("function_error", e430(trace, error_code=-1))
    for text in ("1", ""):
        assert run(source, env={"PYACTION_SCF_ERROR_CODE": text}).replies[1] == ("function_error", e430(trace))
    got = run("1/0", env={"PYACTION_SCF_ERROR_CODE": "-1"})
    message = TB + frame(1, "<module>", "1/0") + "ZeroDivisionError: division by zero"
    assert got.replies[0] == ("init_failed", e443(message, error_code=-1))


def test_a_wrong_error_code(run: Talk) -> None:
    text = "Cannot start the function. PYACTION_SCF_ERROR_CODE must be 1 or -1, it is 'x'."
    got = run("H return 1", env={"PYACTION_SCF_ERROR_CODE": "x"})
    assert got.replies[0] == ("init_failed", e443(text)) and got.err.splitlines()[0] == text


# --- ends of the process


@pytest.mark.parametrize(("statement", "status", "err"), [
    ("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('text')", 1, "text\n"), ("os._exit(4)", 4, ""),
    ("raise KeyboardInterrupt", 1, "KeyboardInterrupt\n"), ("raise GeneratorExit('g')", 1, "GeneratorExit: g\n"),
])
def test_ends(run: Talk, statement: str, status: int, err: str) -> None:
    got = run(f"import os, sys\nH {statement}", {}, {})
    assert got.replies == [READY] and got.status == status and got.err.endswith(err)


# --- events


def encoded(body: bytes) -> Dict[str, Any]:
    return {"pyaction": {"body": base64.b64encode(body).decode()}}


def test_bodies(tmp_path: Path) -> None:
    """Of doors that leave it to the convention what a body is. T40."""
    bodies = [b"not json", b"", b'{"a": NaN}', b"\xff", b'{"a": "\xc3\xa9"}', b" [1]\n"]
    messages = [{"activation_id": ID, **encoded(body)} for body in bodies]
    messages += [{"activation_id": ID}, {"activation_id": ID, "value": 1, **encoded(b"x")},
                 {"activation_id": ID, "pyaction": {"body": 5}}, {"activation_id": ID, "pyaction": {"body": "é"}}]
    got = talk(tmp_path, {"index.py": expand("H print('called'); return event")}, *messages)
    refused, answered = got.replies[1:5] + got.replies[-1:], got.replies[5:-1]
    for status, payload in refused:
        document = json.loads(payload)
        message = document.pop("errorMessage")
        assert message.startswith("InvalidParameterValue: the event is not JSON: ") and len(message) > 50
        assert status == "bad_request" and document == {"errorCode": -1, "requestId": ID, "statusCode": 400}
    assert answered == [("success", payload) for payload in ('{"a": "é"}', "[1]", "{}", "1", "{}")]
    assert got.out == "called\n" * 5 and got.err == ""
    assert refused[0][1] == compact(json.loads(refused[0][1]))


# --- logs


@pytest.mark.parametrize(("vector", "source", "log"), [
    ("T43", 'import logging\nH logging.getLogger().debug("dbg")', "dbg\n"),
    ("T44", 'import logging\nlogging.getLogger().setLevel(logging.INFO)\n'
            'H logging.getLogger().info("got event{}".format(event)); logging.getLogger().debug("hidden")',
     "got event{}\n"),
    ("", 'import logging\nlogging.basicConfig(level=logging.ERROR, format="x")\nH logging.warning("é %d", 5)', "é 5\n"),
    ("", 'import logging.handlers\nlog = logging.getLogger("a.b")\nH log.debug("child")', "child\n"),
    ("", 'import io, sys\nout, sys.stdout = sys.stdout, io.StringIO()\nimport logging\nH logging.info("kept")',
     "kept\n"),
    ("", 'from logging import *\nroot_handlers = getLogger().handlers\nH print(len(root_handlers), '
         'root_handlers[0].formatter, getLogger().level, type(root_handlers[0]).__name__)',
     "1 None 10 StreamHandler\n"),
], ids=vector_id)
def test_logs(run: Talk, vector: str, source: str, log: str) -> None:
    got = run(source)
    assert got.replies[1:] == [("success", "null")] and (got.out, got.err) == (log, "")


def test_traceback_in_the_log(run: Talk) -> None:
    got = run('import logging\nH logging.exception("bad") if event else 1/0', {"value": 1}, {})
    assert got.out == "bad\nNoneType: None\n"
    assert got.err.startswith(TB + frame(3, "main_handler", 'logging.exception("bad") if event else 1/0'))
    assert got.err.endswith("ZeroDivisionError: division by zero\n")


def test_nothing_is_imported_that_is_not_needed(run: Talk) -> None:
    """A cold start pays for each."""
    names = ["logging", "json", "traceback", "uuid", "re", "decimal", "binascii", "enum"]
    got = run(f"import sys\nH return [name for name in {names} if name in sys.modules]")
    bare = subprocess.run(
        [sys.executable, "-c", f"import sys; print([name for name in {names} if name in sys.modules])"],
        capture_output=True, text=True, check=True).stdout
    assert json.loads(got.replies[1][1]) == json.loads(bare.replace("'", '"'))


# --- handlers


@pytest.mark.parametrize(("handler", "files", "source", "expected"), [
    ("index.main_handler", {"index.py": "def main_handler(e, c): return __name__"}, False, "index"),
    ("my-bot.run", {"my-bot.py": "def run(e, c): return __name__"}, False, "my-bot"),
    ("pkg/mod.fn", {"pkg/mod.py": "def fn(e, c): return __name__"}, False, "pkg.mod"),
    ("pkg.mod.fn", {"pkg/mod.py": "def fn(e, c): return __name__"}, False, "pkg.mod"),
    ("main_handler", {"__main__.py": "def main_handler(e, c): return __name__"}, False, "main__"),
    ("main_handler", {"__main__.py": "def main_handler(e, c): return __name__"}, True, "main__"),
    ("__main__.fn", {"__main__.py": "def fn(e, c): return __name__"}, True, "main__"),
    ("index.main_handler", {"__main__.py": "def main_handler(e, c): return __name__ + __file__"}, True,
     "index/var/user/index.py"),
    ("src/index.fn", {"__main__.py": "def fn(e, c): return __name__"}, True, "src.index"),
    ("index.Handler", {"index.py": "class Handler(dict):\n def __init__(s, e, c): s.update(a=e)"}, False, {"a": {}}),
    ("index.f", {"index.py": "class C:\n def m(self, e, c, x=1): return x\nf = C().m"}, False, 1),
    ("index.f", {"index.py": "def f(*a, **k): return [len(a), k]"}, False, [2, {}]),
])
def test_handlers(tmp_path: Path, handler: str, files: Dict[str, str], source: bool, expected: Any) -> None:
    got = talk(tmp_path, files, {"value": {}}, init={"handler": handler, "source": source})
    assert [(status, json.loads(payload)) for status, payload in got.replies[1:]] == [("success", expected)], got


def test_the_same_source_again(tmp_path: Path) -> None:
    """After a crash the next process gets the same message, and the file has been renamed."""
    files: List[Dict[str, str]] = [{"__main__.py": expand("H return 1")}, {}]
    for written in files:
        got = talk(tmp_path, written, {"value": {}}, init={"source": True})
        assert got.replies == [READY, ("success", "1")]


# --- environment


def test_variables(run: Talk) -> None:
    got = run("import os\nseen = dict(os.environ)\nH return [seen, os.getcwd()]", init={"env": {"A": "b"}})
    variables, directory = json.loads(got.replies[1][1])
    assert directory == "/var/user"
    assert {name: variables[name] for name in variables if name.startswith(("SCF_", "TENCENT", "USER_"))} == {
        "TENCENTCLOUD_RUNENV": "SCF", "TENCENTCLOUD_REGION": "ap-guangzhou", "TENCENTCLOUD_APPID": "1250000000",
        "TENCENTCLOUD_UIN": "100000000001", "SCF_FUNCTIONNAME": "function", "SCF_FUNCTIONVERSION": "$LATEST",
        "SCF_NAMESPACE": "default", "SCF_RUNTIME": f"Python3.{sys.version_info[1]}", "USER_CODE_ROOT": "/var/user/"}
    assert variables["A"] == "b" and "TRIGGER_SRC" not in variables


def test_variables_that_are_set_stay(run: Talk) -> None:
    names = ["TENCENTCLOUD_RUNENV", "TENCENTCLOUD_REGION", "SCF_FUNCTIONNAME", "USER_CODE_ROOT", "SCF_RUNTIME"]
    got = run(f"import os\nH return [os.environ[name] for name in {names}]", env={name: name[::-1] for name in names})
    assert json.loads(got.replies[1][1]) == [name[::-1] for name in names]
    got = run("import os\nH return os.environ['PYTHONPATH']", init={"env": {"PYTHONPATH": "/own"}})
    assert got.replies[1] == ("success", '"/own"')


def test_python_path(run: Talk) -> None:
    """The code first, the layers next, as programs that the function starts see it, too."""
    got = run("import os, subprocess, sys\nH return [sys.path[:2], os.environ['PYTHONPATH'], subprocess.check_output("
              "[sys.executable, '-c', 'import beside; print(beside.x)'], text=True)]",
              files={"beside.py": "x = 5"})
    path, variable, printed = json.loads(got.replies[1][1])
    assert path == ["/var/user", "/opt"] and printed == "5\n" and variable == "/var/user:/opt"


def test_layers_behind_a_virtualenv(run: Talk) -> None:
    site = f"virtualenv/lib/python3.{sys.version_info[1]}/site-packages"
    got = run("import sys, packaged\nH return sys.path[:3]", files={f"{site}/packaged.py": ""})
    assert json.loads(got.replies[1][1]) == ["/var/user", f"/var/user/{site}", "/opt"]


def layers_at(folder: Path) -> str:
    """Source that puts another folder in the place of /opt."""
    return f"from pyaction_bootstrap import on_demand; on_demand.load('tencent_scf')._LAYERS = {str(folder)!r}"


def test_modules_of_layers(run: Talk, tmp_path: Path) -> None:
    """Theirs hide the standard library's from the function, not from us."""
    layers = tmp_path / "layers"
    layers.mkdir()
    (layers / "layered.py").write_text("x = 5")
    (layers / "json.py").write_text("x = 6")
    got = run("import json, layered\nH return [layered.x, json.x, float('inf')]", first_of_all=layers_at(layers))
    assert got.replies[1] == ("success", "[5, 6, Infinity]")


def test_no_layers(run: Talk, tmp_path: Path) -> None:
    source = "import sys\nH return [sys.path[1].endswith('layers'), context['function_name']]"
    got = run(source, first_of_all=layers_at(tmp_path / "layers"))
    assert got.replies[1] == ("success", '[false, "function"]')


def test_python_itself_among_the_layers(run: Talk) -> None:
    """Its modules are not taken for the function's then."""
    installed = Path(os.__file__).parent.parent
    got = run("import sys\nH return [sys.modules['pyaction_bootstrap.stdlib'].function_folders, sys.path[1]]",
              first_of_all=layers_at(installed))
    assert json.loads(got.replies[1][1]) == [["/var/user"], str(installed)]


def test_variables_of_activations(run: Talk) -> None:
    names = ["TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN", "TRIGGER_SRC"]
    scf = {"secret_id": "a", "secret_key": "b", "session_token": "c", "trigger_src": "timer"}
    got = run(f"import os\nH return [os.environ.get(name) for name in {names}]", {"pyaction": {"scf": scf}},
              {"pyaction": {"scf": {"secret_id": "d"}}}, {}, {"pyaction": {"scf": scf}},
              {"pyaction": {"scf": {"secret_id": "\0", "trigger_src": "\ud800"}}},
              init={"env": {"TENCENTCLOUD_SECRETID": "own"}})
    assert [json.loads(payload) for _, payload in got.replies[1:]] == [
        ["a", "b", "c", "timer"], ["d", None, None, None], ["own", None, None, None], ["a", "b", "c", "timer"],
        ["own", None, None, None]]


@pytest.mark.parametrize(("system", "zone", "expected"), [
    ("UTC0", None, ["UTC", None]), ("CST-8", None, ["UTC", "UTC"]), ("GMT0BST", None, ["UTC", "UTC"]),
    ("UTC0", "CST-8", ["CST", "CST-8"])])
def test_clock(run: Talk, system: str, zone: Any, expected: Any) -> None:
    """UTC unless TZ is set. system: what stands for /etc/localtime."""
    first_of_all = f"import time; os.environ['TZ'] = {system!r}; time.tzset(); del os.environ['TZ']"
    got = run("import os, time\nH return [time.tzname[0], os.environ.get('TZ')]", first_of_all=first_of_all,
              init={"env": {"TZ": zone} if zone else {}})
    assert json.loads(got.replies[1][1]) == expected


# --- the examples of Tencent's page, as printed


def test_example_of_the_function_format(run: Talk) -> None:
    got = run("""import json

def main_handler(event, context):
    print("Received event: " + json.dumps(event, indent = 2)) 
    print("Received context: " + str(context))
    return("Hello World")
""", {"value": {"key1": "v"}})  # noqa: W291
    assert got.replies[1] == ("success", '"Hello World"')
    lines = got.out.split("\n")
    assert lines[:3] == ["Received event: {", '  "key1": "v"', "}"]
    assert lines[3].startswith("Received context: {'memory_limit_in_mb': 128, 'time_limit_in_ms': 3000, 'request_id': ")


def test_example_of_logs(run: Talk) -> None:
    got = run("""import logging
logger = logging.getLogger()
logger.setLevel(logging.INFO)
def main_handler(event, context):
    logger.info('got event{}'.format(event))
    print("got event{}".format(event))
    return 'Hello World!'  
""", {"value": {"a": 1}})  # noqa: W291
    assert got.replies[1] == ("success", '"Hello World!"') and got.out == "got event{'a': 1}\n" * 2 and got.err == ""
