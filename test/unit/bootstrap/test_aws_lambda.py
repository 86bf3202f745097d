"""aws_lambda.py and the modules it uses: AWS Lambda's convention, by the vectors L1 to L74 of the facts about it.

A vector's number is its id here. Where nothing else is said the code is lambda_function.py, the handler
lambda_function.lambda_handler, the event {} and AWS_EXECUTION_ENV AWS_Lambda_python3.12.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from aws_lambda_process import WITHOUT_SIMPLEJSON, message, run
from pyaction_bootstrap import aws_lambda, stdlib

H = "def lambda_handler(event, context):\n    "
ID = "the-request"


def frame(folder: Path, line: int, function: str, source: str, name: str = "lambda_function.py") -> str:
    """What the facts call F(line, function, source)."""
    return f'  File "{folder}/task/{name}", line {line}, in {function}\n    {source}\n'


def vectors(table: List[Tuple[Any, ...]]) -> Any:
    """Parameters of a test: a row each, named by its number."""
    return [pytest.param(*row[1:], id=row[0]) for row in table]


# --- results

RESULTS = [
    ("L1", H + 'return {"ok": True, "n": None}', "{}", '{"ok": true, "n": null}'),
    ("L2", H + "pass", "{}", "null"),
    ("L4", "import json\n" + H + 'return json.dumps({"a": 1})', "{}", r'"{\"a\": 1}"'),
    ("L5", H + "return event", ' \n{"b":[1,{"c":null}],"t":true}\n', '{"b": [1, {"c": null}], "t": true}'),
    ("L7", H + 'return {1:"a", None:1, True:2, 1.5:3}', "{}", '{"1": 2, "null": 1, "1.5": 3}'),
    ("L8", H + 'return {"t": "£1 中"}', "{}", '{"t": "£1 中"}'),
    ("L10", "from decimal import Decimal as D\n" + H + 'return [D("1.10"), D("1E+2"), D("-NaN"), D("Infinity")]', "{}",
     "[1.10, 1E+2, NaN, Infinity]"),
    ("L11", H + 'return float("nan")', "{}", "NaN"),
    ("L13", H + 'return {"a": b"abc", b"k": 1}', "{}", '{"a": "abc", "k": 1}'),
    ("L14", 'import collections; P = collections.namedtuple("P", "x y")\n' + H + "return P(1, 2)", "{}",
     '{"x": 1, "y": 2}'),
    ("L17", 'class K:\n    def __call__(self, e, c): return "called"\nlambda_handler = K()', "{}", '"called"'),
    ("L19", "def lambda_handler(e, c, x=1): return x", "{}", "1"),
    ("L22", H + "return event", '{"a":1,"a":2}', '{"a": 2}'),
    ("L23", H + "return 2**70", "{}", "1180591620717411303424"),
    # Beyond the vectors, from the facts' tables A3 and A4.
    ("text", H + 'return "héllo"', "{}", '"héllo"'),
    ("float", H + "return [1.0, 1e16, -0.0]", "{}", "[1.0, 1e+16, -0.0]"),
    ("infinity", H + 'return [float("inf"), float("-inf")]', "{}", "[Infinity, -Infinity]"),
    ("tuple", H + "return (1, (2,))", "{}", "[1, [2]]"),
    ("nested namedtuple", 'import collections; P = collections.namedtuple("P", "x y")\n' + H
     + 'return {"a": [P(1, {"p": P(2, 3)})]}', "{}", '{"a": [{"x": 1, "y": {"p": {"x": 2, "y": 3}}}]}'),
    ("_asdict", 'class A:\n    def _asdict(self): return {"a": 1}\n' + H + "return [A()]", "{}", '[{"a": 1}]'),
    ("enums", "import enum, http\nclass T(str, enum.Enum):\n    A = 'a'\n" + H
     + 'return {"statusCode": http.HTTPStatus.OK, "t": T.A}', "{}", '{"statusCode": 200, "t": "a"}'),
    ("subclasses", "from collections import *\n" + H + "return [OrderedDict(b=1, a=2), Counter('aab')]", "{}",
     '[{"b": 1, "a": 2}, {"a": 2, "b": 1}]'),
    ("any JSON", H + "return [type(event).__name__, event]", "[]", '["list", []]'),
    ("null", H + "return [type(event).__name__, event]", "null", '["NoneType", null]'),
    ("string", H + "return [type(event).__name__, event]", '"x"', '["str", "x"]'),
    ("byte order mark", H + "return event", "\ufeff{\"a\": 1}", '{"a": 1}'),
    ("numbers", H + "return event", "[9007199254740993, 1.50, 1e2]", "[9007199254740993, 1.5, 100.0]"),
    ("newline", "import decimal\nclass D(decimal.Decimal):\n    def __str__(self): return '1\\n'\n" + H
     + "return [D(1)]", "{}", "[1 ]"),
]


@pytest.mark.parametrize("simplejson", ["installed", "not"])
@pytest.mark.parametrize(("source", "body", "expected"), vectors(RESULTS))
def test_result(tmp_path: Path, source: str, body: str, expected: str, simplejson: str) -> None:
    if simplejson == "installed":
        pytest.importorskip("simplejson", minversion="3.18")
    before = WITHOUT_SIMPLEJSON if simplejson == "not" else ""
    got = run(tmp_path, message(body), source=source, before=before)
    assert got.result == expected and (got.out, got.err, got.status) == ("", "", 0)


@pytest.mark.parametrize("text", ["raise ValueError", "x = 1", "raise ImportError"])
def test_simplejson_of_the_function_that_is_none(tmp_path: Path, text: str) -> None:
    got = run(tmp_path, source="from decimal import Decimal\n" + H + "return Decimal('1.50')",
              files={"simplejson.py": text})
    assert (got.result, got.err) == ("1.50", "")


def test_l16_globals_survive(tmp_path: Path) -> None:
    got = run(tmp_path, message(), message(), message(), source="n = 0\n" + H + "global n; n += 1; return n")
    assert got.replies[1:] == [("success", b"1"), ("success", b"2"), ("success", b"3")]


def test_l20_content_type(tmp_path: Path) -> None:
    """Any other than application/json, spelled so, makes the event bytes."""
    source = H + "return repr((type(event).__name__, event))"
    for content_type in ("text/plain", "application/json; charset=utf-8"):
        got = run(tmp_path, message("hello", content_type=content_type), source=source)
        assert got.result == "\"('bytes', b'hello')\""


def test_bytes(tmp_path: Path) -> None:
    got = run(tmp_path, source=H + 'return b"\\x00\\xff\\n"')
    assert got.replies[1:] == [("success_bytes", b"AP8K")]


@pytest.mark.parametrize(("environment", "expected"), [
    ("AWS_Lambda_python3.11", r'{"t": "\u00a31 \u4e2d \ud83d\ude00 \u007f"}'),
    ("AWS_Lambda_Image", r'{"t": "\u00a31 \u4e2d \ud83d\ude00 \u007f"}'),
    ("aws_lambda_python3.12", r'{"t": "\u00a31 \u4e2d \ud83d\ude00 \u007f"}'),
    ("AWS_Lambda_python3.12", '{"t": "£1 中 😀 \x7f"}'), ("AWS_Lambda_python3.13", '{"t": "£1 中 😀 \x7f"}'),
    ("AWS_Lambda_python3.14", '{"t": "£1 中 😀 \x7f"}'), ("AWS_Lambda_python3.15", '{"t": "£1 中 😀 \x7f"}'),
])
def test_escaping_by_environment(tmp_path: Path, environment: str, expected: str) -> None:
    """The variable decides, not the version of Python; and what the function does to it comes too late."""
    other = "AWS_Lambda_Image" if environment == "AWS_Lambda_python3.12" else "AWS_Lambda_python3.12"
    for before in ("", f"import os\nos.environ['AWS_EXECUTION_ENV'] = {other!r}\n"):
        got = run(tmp_path, source=before + H + 'return {"t": "£1 中 😀 \\x7f"}', env={"AWS_EXECUTION_ENV": environment})
        assert got.result == expected


def test_escaping_by_default(tmp_path: Path) -> None:
    got = run(tmp_path, source=H + 'return ["ä", "\\ud800"]', env={"AWS_EXECUTION_ENV": "AWS_Lambda_Image"})
    assert got.result == r'["\u00e4", "\ud800"]'


# --- context

CONTEXT = [
    ("L25", "return [context.client_context, context.identity.cognito_identity_id]", {}, [None, None]),
    ("L26", "c = context.client_context; return [c.custom, c.env, c.client.app_title, c.client.installation_id]",
     {"client_context": '{"custom":{"k":"v"},"env":{"e":"1"},"client":{"app_title":"T"}}'},
     [{"k": "v"}, {"e": "1"}, "T", None]),
    ("L29", "i = context.identity; return [i.cognito_identity_id, i.cognito_identity_pool_id]",
     {"cognito_identity": '{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}'}, ["a", "b"]),
    ("arn", "return context.invoked_function_arn", {"invoked_function_arn": "arn:x"}, "arn:x"),
    ("default arn", "return context.invoked_function_arn", {},
     "arn:aws:lambda:us-east-1:012345678912:function:test_function"),
    ("request", "return context.aws_request_id", {}, ID),
    ("tenant", "return context.tenant_id", {"tenant_id": "t"}, "t"),
    ("no tenant", "return context.tenant_id", {}, None),
    ("memory is text", "return context.memory_limit_in_mb", {}, "128"),
    ("trace", "import os; return os.environ.get('_X_AMZN_TRACE_ID')", {"trace_id": "Root=1-2"}, "Root=1-2"),
    ("no trace", "import os; return os.environ.get('_X_AMZN_TRACE_ID')", {}, None),
]


@pytest.mark.parametrize(("body", "extra", "expected"), vectors(CONTEXT))
def test_context(tmp_path: Path, body: str, extra: Dict[str, str], expected: Any) -> None:
    assert json.loads(run(tmp_path, message(**extra), source=H + body).result) == expected


def test_l31_remaining_time(tmp_path: Path) -> None:
    """From the message's deadline, text or number; else from the limit of the init message; else 3 s."""
    def remaining(deadline: Any, **init: Any) -> Any:
        source = H + "return context.get_remaining_time_in_millis()"
        left = json.loads(run(tmp_path, message(deadline=deadline), source=source, **init).result)
        assert type(left) is int
        return left

    now = int(time.time() * 1000)
    assert 0 < remaining(now + 3000) <= 3000 and 0 < remaining(str(now + 9000)) <= 9000
    assert remaining(now - 1000) == 0 and remaining(1) == 0
    assert 2900 < remaining(None) <= 3000 and 2900 < remaining("nonsense") <= 3000
    assert 59_900 < remaining(None, timeout_ms=60_000) <= 60_000


def test_trace_is_removed_again(tmp_path: Path) -> None:
    source = "import os\n" + H + "return os.environ.get('_X_AMZN_TRACE_ID')"
    got = run(tmp_path, message(trace_id="one"), message(), message(trace_id="two"), source=source,
              env={"_X_AMZN_TRACE_ID": "from the start"})
    assert [payload for _, payload in got.replies[1:]] == [b'"one"', b"null", b'"two"']


def test_request_without_an_id(tmp_path: Path) -> None:
    got = run(tmp_path, message(request_id=None), message(request_id=""), source=H + "return context.aws_request_id")
    first, second = (json.loads(payload) for _, payload in got.replies[1:])
    assert first != second
    for text in (first, second):
        assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)


def test_message_of_another_door(tmp_path: Path) -> None:
    """What a client of /run may have put in the place of our own member does no harm."""
    for own in (b"", b',"pyaction":5', b',"pyaction":{}', b',"pyaction":[]', b',"pyaction":null'):
        assert run(tmp_path, b'{"value":1' + own + b"}", source=H + "return event").result == "1"
    assert run(tmp_path, b"{}", source=H + "return event").result == "{}"


# --- errors of invocations

MARSHAL = "Unable to marshal response: "
PROPERTY = "Expecting property name enclosed in double quotes"

ERRORS = [
    ("L28", H + "return 1", "{}", {"client_context": "{"}, "Runtime.LambdaContextUnmarshalError",
     f"Unable to parse Client Context JSON: {PROPERTY}: line 1 column 2 (char 1)"),
    ("L32", H + "return context", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "Object of type LambdaContext is not JSON serializable"),
    ("L43", H + "return {1}", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "Object of type set is not JSON serializable"),
    ("L44", "import datetime\n" + H + 'return {"d": datetime.datetime(2020,1,1)}', "{}", {}, "Runtime.MarshalError",
     MARSHAL + "Object of type datetime is not JSON serializable"),
    ("L46", H + "return {(1,2): 3}", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "keys must be str, int, float, bool or None, not tuple"),
    ("L47", H + "return 1", "", {}, "Runtime.UnmarshalError",
     "Unable to unmarshal input: Expecting value: line 1 column 1 (char 0)"),
    ("L49", H + "return 1", "{} x", {}, "Runtime.UnmarshalError",
     "Unable to unmarshal input: Extra data: line 1 column 4 - line 1 column 5 (char 3 - 4)"),
    ("L50", H + "return 1", '{"a": NaN}', {}, "Runtime.UnmarshalError",
     "Unable to unmarshal input: Expecting value: line 1 column 7 (char 6)"),
    ("cognito", H + "return 1", "{}", {"cognito_identity": "x"}, "Runtime.LambdaContextUnmarshalError",
     "Unable to parse Cognito Identity JSON: Expecting value: line 1 column 1 (char 0)"),
    ("context before event", H + "return 1", "{", {"client_context": "{"}, "Runtime.LambdaContextUnmarshalError",
     f"Unable to parse Client Context JSON: {PROPERTY}: line 1 column 2 (char 1)"),
    ("event {", H + "return 1", "{", {}, "Runtime.UnmarshalError",
     f"Unable to unmarshal input: {PROPERTY} or '}}': line 1 column 2 (char 1)"),
    ("no UTF-8", H + "return 1", b'["\xff"]', {}, "Runtime.UnmarshalError",
     "Unable to unmarshal input: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte"),
    ("coroutine", "async def lambda_handler(event, context): return 1", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "Object of type coroutine is not JSON serializable"),
    ("circle", "x = []; x.append(x)\n" + H + "return x", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "Circular reference detected"),
    ("bytes", H + 'return [b"\\xff"]', "{}", {}, "Runtime.MarshalError",
     MARSHAL + "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ("lone surrogate", H + 'return "a\\ud800"', "{}", {}, "Runtime.MarshalError",
     MARSHAL + "'utf-8' codec can't encode character '\\ud800' in position 2: surrogates not allowed"),
    ("Decimal as key", "from decimal import Decimal as D\n" + H + "return {D(1): 1}", "{}", {}, "Runtime.MarshalError",
     re.compile(MARSHAL + r"keys must be str, int, float, bool or None, not (decimal\.)?Decimal")),
    ("deep", "x = []\nfor _ in range(100_000): x = [x]\n" + H + "return x", "{}", {}, "Runtime.MarshalError",
     re.compile(MARSHAL + "maximum recursion depth exceeded.*")),
    ("deep event", H + "return 1", "[" * 100_000, {}, "Runtime.UnmarshalError",
     re.compile("Unable to unmarshal input: maximum recursion depth exceeded.*")),
    ("_asdict", "class A:\n    def _asdict(self): return 5\n" + H + "return A()", "{}", {}, "Runtime.MarshalError",
     MARSHAL + "_asdict() must return a dict, not int"),
    ("method of a value", "class A:\n    def _asdict(self): raise KeyError('k')\n" + H + "return A()", "{}", {},
     "Runtime.MarshalError", MARSHAL + "'k'"),
    *((f"type {text}", f"import collections, dataclasses, enum, pathlib, types, uuid\n{H}return [{text}]", "{}", {},
       "Runtime.MarshalError", f"{MARSHAL}Object of type {name} is not JSON serializable")
      for text, name in (
          ("frozenset()", "frozenset"), ("(x for x in ())", "generator"), ("{}.keys()", "dict_keys"),
          ("bytearray(b'')", "bytearray"), ("memoryview(b'')", "memoryview"), ("uuid.UUID(int=1)", "UUID"),
          ("pathlib.Path()", "PosixPath"), ("types.MappingProxyType({})", "mappingproxy"),
          ("collections.UserDict()", "UserDict"), ("object()", "object"), ("int", "type"),
          ("enum.Enum('E', 'A').A", "E"), ("dataclasses.make_dataclass('D', 'a')(1)", "D"),
          ("collections.namedtuple('P', 'x')", "type"))),
]


@pytest.mark.parametrize("simplejson", ["installed", "not"])
@pytest.mark.parametrize(("source", "body", "extra", "kind", "text"), vectors(ERRORS))
def test_fault(tmp_path: Path, source: str, body: Any, extra: Dict[str, str], kind: str, text: Any,
               simplejson: str) -> None:
    """Errors in the runtime's own words, without a stack; the process lives on."""
    if simplejson == "installed":
        pytest.importorskip("simplejson", minversion="3.18")
    before = WITHOUT_SIMPLEJSON if simplejson == "not" else ""
    got = run(tmp_path, message(body, **extra), message("[]", content_type="x"), source=source, before=before)
    assert got.replies[1][0] == "function_error" and len(got.replies) == 3
    error = got._replace(replies=got.replies[:2]).error
    assert (error["errorType"], error["requestId"], error["stackTrace"]) == (kind, ID, [])
    assert text.fullmatch(error["errorMessage"]) if isinstance(text, re.Pattern) else error["errorMessage"] == text


EXCEPTIONS = [
    ("L34", H + "raise ValueError()", "ValueError", "", (2, "raise ValueError()")),
    ("L35", H + 'return event["x"]', "KeyError", "'x'", (2, 'return event["x"]')),
    ("L37", "class MyErr(Exception): pass\n" + H + 'raise MyErr("x", 2)', "MyErr", "('x', 2)",
     (3, 'raise MyErr("x", 2)')),
    ("L38", H + 'try: 1 / 0\n    except Exception as e: raise RuntimeError("outer") from e', "RuntimeError", "outer",
     (3, 'except Exception as e: raise RuntimeError("outer") from e')),
    ("first line only", H + "return int(\n        'x'\n    )", "ValueError",
     "invalid literal for int() with base 10: 'x'", (2, "return int(")),
    ("no UTF-8", H + 'raise ValueError("\\ud800 é")', "ValueError", "\\ud800 é",
     (2, 'raise ValueError("\\ud800 é")')),
    ("deep class", "class A:\n    class MyErr(Exception): pass\n" + H + "raise A.MyErr", "MyErr", "",
     (4, "raise A.MyErr")),
]


@pytest.mark.parametrize(("source", "kind", "text", "place"), vectors(EXCEPTIONS))
def test_exception(tmp_path: Path, source: str, kind: str, text: str, place: Tuple[int, str]) -> None:
    """The function's own: its class, its text, its frames alone, without marks below them."""
    error = run(tmp_path, source=source).error
    assert error == {"errorMessage": text, "errorType": kind, "requestId": ID,
                     "stackTrace": [frame(tmp_path, place[0], "lambda_handler", place[1])]}


def test_stack_of_several_frames(tmp_path: Path) -> None:
    """Those below the handler too, and a recursion as Python prints it."""
    source = "import json\ndef f(n): return f(n - 1) if n else json.loads('x')\n" + H + "return f(9)"
    stack = run(tmp_path, source=source).error["stackTrace"]
    assert stack[0] == frame(tmp_path, 4, "lambda_handler", "return f(9)")
    assert stack[1] == frame(tmp_path, 2, "f", "def f(n): return f(n - 1) if n else json.loads('x')")
    assert "  [Previous line repeated 7 more times]\n" in stack and "/json/" in stack[-1] and "^" not in "".join(stack)


@pytest.mark.parametrize(("source", "text"), [
    pytest.param("def lambda_handler(event): return 1", "lambda_handler() takes 1 positional argument but 2 were given",
                 id="L40"),
    pytest.param("lambda_handler = 5", "'int' object is not callable", id="L41"),
])
def test_call_that_fails(tmp_path: Path, source: str, text: str) -> None:
    """The only frame is the runtime's."""
    error = run(tmp_path, source=source).error
    (only,) = error.pop("stackTrace")
    assert error == {"errorMessage": text, "errorType": "TypeError", "requestId": ID}
    assert re.fullmatch(r'  File "<pyaction>/aws_lambda\.py", line \d+, in _invoke\n', only)


def test_context_that_is_no_object(tmp_path: Path) -> None:
    error = run(tmp_path, message(client_context="[1]"), source=H + "return 1").error
    assert (error["errorType"], error["errorMessage"]) == (
        "AttributeError", "'list' object has no attribute 'get'") and len(error["stackTrace"]) == 1


def test_exception_without_a_text(tmp_path: Path) -> None:
    """AWS's runtime ends when __str__ raises. Here that is one failed invocation."""
    source = "class E(Exception):\n    def __str__(self): raise KeyError\n" + H + "raise E"
    got = run(tmp_path, message(), message(), source=source)
    assert [json.loads(payload)["errorMessage"] for _, payload in got.replies[1:]] == ["<exception str() failed>"] * 2


@pytest.mark.parametrize(("statement", "status", "err"), [
    pytest.param("import sys; sys.exit(1)", 1, "", id="L52"), ("import sys; sys.exit()", 0, ""),
    ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"), ("raise GeneratorExit('x')", 1, "GeneratorExit: x\n"),
])
def test_ends_of_the_process(tmp_path: Path, statement: str, status: int, err: str) -> None:
    """What is no Exception is not caught; the platform reports how the process ended."""
    got = run(tmp_path, message(), message(), source=H + statement)
    assert [kind for kind, _ in got.replies] == ["initialized"] and got.status == status
    assert got.err.endswith(err) and ("Traceback" in got.err) == bool(err) and got.out == ""
    got = run(tmp_path, source=statement)
    assert got.replies == [] and got.status == status and got.err.endswith(err)


# --- handlers

ANY = {"lambda_function.py": H + "return 1"}
PACKAGE = {"pkg/__init__.py": "", "pkg/mod.py": "def h(e, c): return __name__"}
NO_CLASS = "No module named 'lambda_function.A'; 'lambda_function' is not a package"
RELATIVE = "the 'package' argument is required to perform a relative import for"

HANDLERS = [
    ("L55", ANY, "lambda_handler", "Runtime.MalformedHandlerName",
     "Bad handler 'lambda_handler': not enough values to unpack (expected 2, got 1)"),
    ("L55 empty", ANY, "", "Runtime.MalformedHandlerName",
     "Bad handler '': not enough values to unpack (expected 2, got 1)"),
    ("L55 colon", ANY, "a:b", "Runtime.MalformedHandlerName",
     "Bad handler 'a:b': not enough values to unpack (expected 2, got 1)"),
    ("L56", ANY, "lambda_function.nope", "Runtime.HandlerNotFound",
     "Handler 'nope' missing on module 'lambda_function'"),
    ("L58", {}, "dir/nomod.f", "Runtime.ImportModuleError",
     "Unable to import module 'dir/nomod': No module named 'dir'"),
    ("L61", {"lambda_function.py": "class A:\n    h = staticmethod(lambda e, c: 1)"}, "lambda_function.A.h",
     "Runtime.ImportModuleError", f"Unable to import module 'lambda_function.A': {NO_CLASS}"),
    ("L61 .py", ANY, "lambda_function.py.f", "Runtime.ImportModuleError",
     f"Unable to import module 'lambda_function.py': {NO_CLASS.replace('.A', '.py')}"),
    ("L62", ANY, "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
    ("L62 deeper", ANY, "sys.path.append", "Runtime.BuiltInModuleConflict",
     "Cannot use built-in module sys.path as a handler module"),
    ("L68", ANY, "lambda_function.", "Runtime.HandlerNotFound", "Handler '' missing on module 'lambda_function'"),
    ("dependency", {"lambda_function.py": "import nothere"}, "lambda_function.f", "Runtime.ImportModuleError",
     "Unable to import module 'lambda_function': No module named 'nothere'"),
    ("name", {"lambda_function.py": "from json import nothere"}, "lambda_function.f", "Runtime.ImportModuleError",
     re.compile(r"Unable to import module 'lambda_function': cannot import name 'nothere' from 'json' \(.*\)")),
]


def failed_init(folder: Path, **options: Any) -> Dict[str, Any]:
    """The error document of an init message."""
    got = run(folder, invoke=False, **options)
    assert got.replies[0][0] == "init_failed"
    return got.error


@pytest.mark.parametrize(("files", "handler", "kind", "text"), vectors(HANDLERS))
def test_handler_fault(tmp_path: Path, files: Dict[str, str], handler: str, kind: str, text: Any) -> None:
    error = failed_init(tmp_path, files=files, handler=handler)
    assert (error["errorType"], error["requestId"], error["stackTrace"]) == (kind, "", [])
    assert text.fullmatch(error["errorMessage"]) if isinstance(text, re.Pattern) else error["errorMessage"] == text


@pytest.mark.parametrize(("handler", "kind", "text", "relative"), [
    pytest.param("./pkg/mod.h", "TypeError", f"{RELATIVE} '..pkg.mod'", True, id="L67"),
    pytest.param("/m.f", "TypeError", f"{RELATIVE} '.m'", True, id="L67 absolute"),
    pytest.param(".x", "ValueError", "Empty module name", False, id="dot x"),
    pytest.param(".", "ValueError", "Empty module name", False, id="dot"),
])
def test_odd_handler(tmp_path: Path, handler: str, kind: str, text: str, relative: bool) -> None:
    """Python's own errors, from its import system."""
    error = failed_init(tmp_path, files=PACKAGE, handler=handler)
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == (kind, text, "")
    where = "/importlib/__init__.py" if relative else "<frozen importlib._bootstrap>"
    assert len(error["stackTrace"]) >= 1 and all(where in entry for entry in error["stackTrace"])


@pytest.mark.parametrize(("files", "handler", "expected"), vectors([
    ("L59", PACKAGE, "pkg.mod.h", "pkg.mod"),
    ("L59 slash", PACKAGE, "pkg/mod.h", "pkg.mod"),
    ("both", {"a/b/c.py": PACKAGE["pkg/mod.py"]}, "a/b.c.h", "a.b.c"),
    ("namespace", {"pkg/mod.py": PACKAGE["pkg/mod.py"]}, "pkg/mod.h", "pkg.mod"),
    ("package", {"pkg/__init__.py": PACKAGE["pkg/mod.py"]}, "pkg.h", "pkg"),
    ("slash before a builtin name", {"d/sys.py": PACKAGE["pkg/mod.py"]}, "d/sys.h", "d.sys"),
    ("single file", {"__main__.py": PACKAGE["pkg/mod.py"]}, "h", "main__"),
]))
def test_handler(tmp_path: Path, files: Dict[str, str], handler: str, expected: str) -> None:
    assert json.loads(run(tmp_path, files=files, handler=handler).result) == expected


def test_module_of_the_standard_library(tmp_path: Path) -> None:
    """Loads, and fails when it is called."""
    assert run(tmp_path, handler="json.dumps").error["errorType"] == "TypeError"


def test_l64_syntax_error(tmp_path: Path) -> None:
    error = failed_init(tmp_path, source="def lambda_handler(e, c)\n    return 1")
    path = f"{tmp_path}/task/lambda_function.py"
    reason = "expected ':'" if sys.version_info >= (3, 10) else "invalid syntax"
    assert error == {
        "errorMessage": f"Syntax error in module 'lambda_function': {reason} (lambda_function.py, line 1)",
        "errorType": "Runtime.UserCodeSyntaxError", "requestId": "",
        "stackTrace": [f'  File "{path}" Line 1\n    def lambda_handler(e, c)\n']}


def test_syntax_error_of_an_import(tmp_path: Path) -> None:
    """Of another file, which is named; its line keeps its indentation."""
    error = failed_init(tmp_path, source="import other", files={"other.py": "if 1:\n    1 +\n"})
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"] == "Syntax error in module 'lambda_function': invalid syntax (other.py, line 2)"
    assert error["stackTrace"] == [f'  File "{tmp_path}/task/other.py" Line 2\n        1 +\n']


def test_l65_exception_at_import(tmp_path: Path) -> None:
    error = failed_init(tmp_path, source='raise ValueError("at import")')
    *before, last = error.pop("stackTrace")
    assert error == {"errorMessage": "at import", "errorType": "ValueError", "requestId": ""}
    assert last == frame(tmp_path, 1, "<module>", 'raise ValueError("at import")')
    assert before and all("<frozen importlib._bootstrap" in entry for entry in before)


def test_single_source(tmp_path: Path) -> None:
    """Code that came as one file takes the name that the handler gives it, once."""
    source = {"__main__.py": PACKAGE["pkg/mod.py"]}
    for folder, handler, name in (("a", "lambda_function.h", "lambda_function"), ("b", "pkg/sub.mod.h", "pkg.sub.mod"),
                                  ("c", "h", "main__")):
        (tmp_path / folder).mkdir()
        for files in (source, {}):  # a second runner finds what the first one left
            got = run(tmp_path / folder, files=files, handler=handler, is_source=True)
            assert json.loads(got.result) == name
    for handler, kind in (("./x.h", "TypeError"), ("sys.h", "Runtime.BuiltInModuleConflict"),
                          (".h", "ValueError"), ("x y.h", "Runtime.ImportModuleError")):
        error = failed_init(tmp_path, files=source, handler=handler, is_source=True)
        assert error["errorType"] == kind and (tmp_path / "task" / "__main__.py").exists()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    error = failed_init(tmp_path, files={"__main__.py": "x = 1"}, handler="other.h", is_source=True, owned=False)
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert [path.name for path in (tmp_path / "task").iterdir()] == ["__main__.py"]


# --- surroundings

SHOW = "import os, sys\nseen = {**os.environ}, os.getcwd(), list(sys.path)\n" + H + "return seen"


def surroundings(folder: Path, **options: Any) -> Any:
    return json.loads(run(folder, source=SHOW, **options).result)


def test_variables(tmp_path: Path) -> None:
    """Those of A7, before the import; folder and import path."""
    variables, folder, path = surroundings(tmp_path)
    root = str(tmp_path / "task")
    assert (folder, path[0]) == (root, root)
    expected = {
        "_HANDLER": "lambda_function.lambda_handler", "LAMBDA_TASK_ROOT": root, "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "test_function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/test_function",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", variables["AWS_LAMBDA_LOG_STREAM_NAME"])
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"


def test_variables_of_the_container_and_the_user(tmp_path: Path) -> None:
    """They win, and others follow them."""
    variables, _, _ = surroundings(
        tmp_path, process_env={"AWS_LAMBDA_FUNCTION_NAME": "mine", "AWS_DEFAULT_REGION": "eu-west-1"},
        env={"AWS_LAMBDA_FUNCTION_VERSION": "7", "LAMBDA_TASK_ROOT": "/elsewhere"}, memory_mb=512)
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "mine" and variables["LAMBDA_TASK_ROOT"] == "/elsewhere"
    assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/mine"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert "[7]" in variables["AWS_LAMBDA_LOG_STREAM_NAME"] and variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    got = run(tmp_path, source=H + "return [context.invoked_function_arn, context.function_version, "
              "context.memory_limit_in_mb]", env={"AWS_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_VERSION": "7"},
              memory_mb=512)
    assert json.loads(got.result) == ["arn:aws:lambda:eu-west-1:012345678912:function:test_function", "7", "512"]


def test_execution_environment_of_an_image(tmp_path: Path) -> None:
    """It is the default, and thus text is escaped."""
    got = run(tmp_path, source="import os\n" + H + "return [os.environ['AWS_EXECUTION_ENV'], 'ä']",
              env={"AWS_EXECUTION_ENV": None})
    assert got.result == r'["AWS_Lambda_Image", "\u00e4"]'


def test_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the function's own folders and before the system's packages."""
    layers = tmp_path / "python"
    site = layers / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    monkeypatch.setattr(stdlib, "function_folders", ["/code", "/code/virtualenv"])
    before = ["/code", "/code/virtualenv", "/usr/lib/python3"]
    monkeypatch.setattr(sys, "path", list(before))
    aws_lambda._add_layers(str(layers))
    assert sys.path == before and stdlib.function_folders == before[:2]
    site.mkdir(parents=True)
    aws_lambda._add_layers(str(layers))
    assert sys.path == [*before[:2], str(site), str(layers), before[2]]
    assert stdlib.function_folders == [*before[:2], str(site), str(layers)]


def test_error_documents_are_escaped_like_results(tmp_path: Path) -> None:
    source = H + 'raise ValueError("é")'
    got = run(tmp_path, source=source, env={"AWS_EXECUTION_ENV": "AWS_Lambda_Image"})
    assert rb'"errorMessage": "\u00e9"' in got.replies[1][1]
    assert '"errorMessage": "é"'.encode() in run(tmp_path, source=source).replies[1][1]
