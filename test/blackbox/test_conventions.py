"""Every convention behind every door.

The function's own results and errors have the form of its convention; failures of the platform's kind (process gone,
deadline) the form of the door. MATRIX and KNATIVE are the whole of it; docs/conventions.md shows the same to people.
"""

import json
import re
from typing import Dict, NamedTuple, Tuple

import pytest

from .harness import LAMBDA_PATH, MARKER, SCF_PATH, http_request

#: Does what the event asks for, by one name for each convention.
SOURCE = """
import sys, time

RESULTS = {
    "object": {"a": 1, "\\u00fc": None},
    "object with error": {"error": "mine"},
    "list": [1, "two", None],
    "string": "text",
    "number": 1.5,
    "None": None,
    "bytes": b"\\xff\\x00raw",
    "set inside": {"s": {1}},
    "NaN inside": {"n": float("nan")},
}


def handle(event, context):
    kind = event.get("kind", "nothing")
    if kind == "nothing":
        return {"event": event}
    if kind == "exception":
        raise ValueError("boom")
    if kind == "sys.exit(3)":
        sys.exit(3)
    if kind == "timeout":
        time.sleep(60)
    return RESULTS[kind]


main = lambda_handler = main_handler = handle
"""
HANDLERS = {"openwhisk": "app.main", "lambda": "app.lambda_handler", "scf": "app.main_handler"}
BOOM_LINE = SOURCE.splitlines().index('        raise ValueError("boom")') + 1


class Cell(NamedTuple):
    """What a caller gets. body: exactly, but <id> stands for the call's id, <file> for the function's file, and <…>
    for anything. error: whether X-Amz-Function-Error says Unhandled."""

    status: int
    body: str
    error: bool = False
    type: str = "application/json"


def ok(body: str, kind: str = "application/json") -> Cell:
    """A success."""
    return Cell(200, body, False, kind)


def failed(body: str) -> Cell:
    """How Lambda's API says that the function failed."""
    return Cell(200, body, True)


def in_error(body: str) -> str:
    """An error document of another convention, as /run has it."""
    return '{"error":' + body + "}"


def in_body(body: str) -> str:
    """A result that is no object, as /run has it."""
    return '{"body":' + body + "}"


# Error documents, as text.
NO_OBJECT = '{"error": "The action did not return a dictionary or array."}'
NO_JSON = '{"error":"The result is not JSON: it has NaN or Infinity, or is nested over 512 deep."}\n'
LAMBDA_BOOM = (
    r'{"errorMessage": "boom", "errorType": "ValueError", "requestId": "<id>", "stackTrace": '
    rf'["  File \"<file>\", line {BOOM_LINE}, in handle\n    raise ValueError(\"boom\")\n"]}}'
)
LAMBDA_SET = (
    '{"errorMessage": "Unable to marshal response: Object of type set is not JSON serializable", '
    '"errorType": "Runtime.MarshalError", "requestId": "<id>", "stackTrace": []}'
)
LAMBDA_BAD_EVENT = (
    '{"errorMessage": "Unable to unmarshal input: Expecting value: line 1 column 1 (char 0)", '
    '"errorType": "Runtime.UnmarshalError", "requestId": "<id>", "stackTrace": []}'
)
SCF_BOOM = (
    r'{"errorCode":1,"errorMessage":"user code exception caught","requestId":"<id>","stackTrace":"Traceback '
    rf'(most recent call last):\n  File \"<file>\", line {BOOM_LINE}, in handle\n    raise ValueError(\"boom\")\n'
    r'ValueError: boom","statusCode":430}'
)
SCF_SET = (
    '{"errorCode":1,"errorMessage":"user code exception caught","requestId":"<id>","stackTrace":"Traceback '
    r'(most recent call last):\n<…>TypeError: Object of type set is not JSON serializable","statusCode":430}'
)
SCF_BYTES = SCF_SET.replace("type set", "type bytes")

EXITED = '{"errorCode":1,"errorMessage":"Process exited before completing request","requestId":"<id>","statusCode":439}'
TIMED_OUT = (
    '{"errorCode":-1,"errorMessage":"Invoking task timed out after 0.5 seconds","requestId":"<id>","statusCode":433}'
)
BAD_EVENT = (
    '{"errorCode":-1,"errorMessage":"InvalidParameterValue: the event is not JSON<…>","requestId":"<id>",'
    '"statusCode":400}'
)
LAMBDA_EXITED = (
    '{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: exit status 3"}'
)
LAMBDA_TIMED_OUT = (
    '{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: <id> Error: Task timed out after 0.50 seconds"}'
)
API_BAD_EVENT = Cell(400, '{"Type":"User","Message":"Could not parse request body into json."}')
RUN_BAD_EVENT = Cell(400, '{"error": "The request body is not JSON: unexpected character at byte 0"}')

TEXT = {"utf8": '{"a": 1, "ü": null}', "ascii": r'{"a": 1, "\u00fc": null}'}
CANNOT = '{"error": "The result cannot be converted to JSON: '

#: (outcome, convention) -> what /run, the Lambda door and the SCF door answer.
MATRIX: Dict[Tuple[str, str], Tuple[Cell, Cell, Cell]] = {
    ("nothing", "openwhisk"): (ok('{"event": {}}'), ok('{"event": {}}'), ok('{"event": {}}')),
    ("nothing", "lambda"): (ok('{"event": {}}'), ok('{"event": {}}'), ok('{"event": {}}')),
    ("nothing", "scf"): (ok('{"event": {}}'), ok('{"event": {}}'), ok('{"event": {}}')),

    ("object", "openwhisk"): (ok(TEXT["utf8"]), ok(TEXT["utf8"]), ok(TEXT["utf8"])),
    ("object", "lambda"): (ok(TEXT["ascii"]), ok(TEXT["ascii"]), ok(TEXT["ascii"])),
    ("object", "scf"): (ok(TEXT["utf8"]), ok(TEXT["utf8"]), ok(TEXT["utf8"])),

    ("object with error", "openwhisk"): (
        ok('{"error": "mine"}'), failed('{"error": "mine"}'), Cell(430, '{"error": "mine"}')),
    ("object with error", "lambda"): (ok('{"error": "mine"}'), ok('{"error": "mine"}'), ok('{"error": "mine"}')),
    ("object with error", "scf"): (ok('{"error": "mine"}'), ok('{"error": "mine"}'), ok('{"error": "mine"}')),

    ("list", "openwhisk"): (ok('[1, "two", null]'), ok('[1, "two", null]'), ok('[1, "two", null]')),
    ("list", "lambda"): (ok(in_body('[1, "two", null]')), ok('[1, "two", null]'), ok('[1, "two", null]')),
    ("list", "scf"): (ok(in_body('[1, "two", null]')), ok('[1, "two", null]'), ok('[1, "two", null]')),

    ("string", "openwhisk"): (Cell(502, NO_OBJECT), failed(NO_OBJECT), Cell(430, NO_OBJECT)),
    ("string", "lambda"): (ok(in_body('"text"')), ok('"text"'), ok('"text"')),
    ("string", "scf"): (ok(in_body('"text"')), ok('"text"'), ok('"text"')),

    ("number", "openwhisk"): (Cell(502, NO_OBJECT), failed(NO_OBJECT), Cell(430, NO_OBJECT)),
    ("number", "lambda"): (ok(in_body("1.5")), ok("1.5"), ok("1.5")),
    ("number", "scf"): (ok(in_body("1.5")), ok("1.5"), ok("1.5")),

    ("None", "openwhisk"): (ok("{}"), ok("{}"), ok("{}")),
    ("None", "lambda"): (ok(in_body("null")), ok("null"), ok("null")),
    ("None", "scf"): (ok(in_body("null")), ok("null"), ok("null")),

    ("bytes", "openwhisk"): (Cell(502, NO_OBJECT), failed(NO_OBJECT), Cell(430, NO_OBJECT)),
    ("bytes", "lambda"): (
        ok('{"body":"/wByYXc=","isBase64Encoded":true}'),
        ok("\xff\x00raw", "application/unknown"),
        ok("\xff\x00raw", "application/octet-stream"),
    ),
    ("bytes", "scf"): (Cell(502, in_error(SCF_BYTES)), failed(SCF_BYTES), Cell(430, SCF_BYTES)),

    ("set inside", "openwhisk"): (
        Cell(502, CANNOT + "result['s'] is of type set\"}"),
        failed(CANNOT + "result['s'] is of type set\"}"),
        Cell(430, CANNOT + "result['s'] is of type set\"}"),
    ),
    ("set inside", "lambda"): (Cell(502, in_error(LAMBDA_SET)), failed(LAMBDA_SET), Cell(430, LAMBDA_SET)),
    ("set inside", "scf"): (Cell(502, in_error(SCF_SET)), failed(SCF_SET), Cell(430, SCF_SET)),

    ("NaN inside", "openwhisk"): (
        Cell(502, CANNOT + "result['n'] is the float nan\"}"),
        failed(CANNOT + "result['n'] is the float nan\"}"),
        Cell(430, CANNOT + "result['n'] is the float nan\"}"),
    ),
    ("NaN inside", "lambda"): (Cell(502, NO_JSON), ok('{"n": NaN}'), ok('{"n": NaN}')),
    ("NaN inside", "scf"): (Cell(502, NO_JSON), ok('{"n": NaN}'), ok('{"n": NaN}')),

    ("exception", "openwhisk"): (
        Cell(502, '{"error": "boom"}'), failed('{"error": "boom"}'), Cell(430, '{"error": "boom"}')),
    ("exception", "lambda"): (Cell(502, in_error(LAMBDA_BOOM)), failed(LAMBDA_BOOM), Cell(430, LAMBDA_BOOM)),
    ("exception", "scf"): (Cell(502, in_error(SCF_BOOM)), failed(SCF_BOOM), Cell(430, SCF_BOOM)),

    # From here on the door decides, but for one cell.
    **{
        ("sys.exit(3)", convention): (
            Cell(400, '{"error":"command exited (exit status 3)"}\n'), failed(LAMBDA_EXITED), Cell(439, EXITED))
        for convention in HANDLERS
    },
    **{
        ("timeout", convention): (
            Cell(502, '{"error":"The action exceeded its time limits of 500 milliseconds."}\n'),
            failed(LAMBDA_TIMED_OUT),
            Cell(433, TIMED_OUT),
        )
        for convention in HANDLERS
    },
    ("body that is no JSON", "openwhisk"): (RUN_BAD_EVENT, API_BAD_EVENT, Cell(400, BAD_EVENT)),
    ("body that is no JSON", "lambda"): (RUN_BAD_EVENT, failed(LAMBDA_BAD_EVENT), Cell(400, BAD_EVENT)),
    ("body that is no JSON", "scf"): (RUN_BAD_EVENT, API_BAD_EVENT, Cell(400, BAD_EVENT)),
}


#: What POST / of Knative answers where it is not what /run does: a result is a web response there.
KNATIVE_EVENT = '{"event": {"__ow_user": "", "__ow_method": "POST", "__ow_path": "", "__ow_headers": <…>}}'
KNATIVE: Dict[Tuple[str, str], Cell] = {
    **{("nothing", convention): ok(KNATIVE_EVENT) for convention in HANDLERS},
    **{
        (outcome, convention): cell
        for convention in ("lambda", "scf")
        for outcome, cell in {
            "list": ok('[1, "two", null]'),
            "string": ok("text", "text/html"),
            "number": ok("1.5"),
            "None": Cell(204, "", False, ""),
        }.items()
    },
    ("bytes", "lambda"): ok("\xff\x00raw", "application/octet-stream"),
    **{
        ("body that is no JSON", convention): Cell(
            400, '{"error":"The request body is not JSON, or nested over 512 deep."}\n')
        for convention in HANDLERS
    },
}


def assert_cell(answer, cell: Cell, identity: str, file: str = "") -> None:
    """Assert that an answer is what the cell says."""
    got = Cell(
        answer.status,
        answer.body.decode("latin-1" if cell.type != "application/json" else "utf-8"),
        answer.headers.get("x-amz-function-error") == "Unhandled",
        answer.headers.get("content-type", ""),
    )
    body = cell.body.replace("<id>", identity).replace("<file>", file)
    pattern = re.escape(body).replace(re.escape("<…>"), ".*")
    expected = cell._replace(body=got.body if re.fullmatch(pattern, got.body, re.S) else body)
    assert got == expected


def messages(outcome: str) -> Tuple[bytes, bytes]:
    """The body of /run, and the event of the other doors, that have this outcome."""
    if outcome == "body that is no JSON":
        return b"no", b"no"
    if outcome == "nothing":
        return b'{"activation_id": "given-id"}', b""
    return json.dumps({"value": {"kind": outcome}, "activation_id": "given-id"}).encode(), json.dumps(
        {"kind": outcome}).encode()


@pytest.mark.parametrize(("outcome", "convention"), MATRIX, ids=lambda value: value.replace(" ", "-"))
def test_matrix(function, outcome, convention):
    options = ["--timeout", "0.5", "--scf-port", "0"]
    one = function({"app.py": SOURCE}, HANDLERS[convention], options=options)
    run, event = messages(outcome)
    run_cell, lambda_cell, scf_cell = MATRIX[outcome, convention]
    file = f"{one.folder}/app.py"

    assert_cell(one.post("/run", run), run_cell, "given-id", file)
    answer = one.invoke(event)
    assert_cell(answer, lambda_cell, answer.headers["x-amzn-requestid"], file)
    assert_cell(one.event_invoke(event, X_Scf_Request_Id="given-id"), scf_cell, "given-id", file)
    # Whatever it was, the next call is right.
    assert one.invoke({}).json == {"event": {}}


@pytest.mark.parametrize(("outcome", "convention"), MATRIX, ids=lambda value: value.replace(" ", "-"))
def test_matrix_on_knative(function, outcome, convention):
    one = function({"app.py": SOURCE}, HANDLERS[convention], options=["--timeout", "0.5", "--scf-port", "0"],
                   env={"__OW_RUNTIME_PLATFORM": "knative"})
    cell = KNATIVE.get((outcome, convention), MATRIX[outcome, convention][0])
    body = json.dumps(
        {"activation": {"activation_id": "given-id"}, "value": {"kind": outcome} if outcome != "nothing" else {}})

    answer = one.post("/", b"no" if outcome == "body that is no JSON" else body.encode())
    assert_cell(answer, cell, "given-id", f"{one.folder}/app.py")
    assert one.post("/", {"value": {"kind": "object"}}).json == {"a": 1, "\u00fc": None}


def test_matrix_is_whole():
    """Each outcome with each convention."""
    outcomes = {outcome for outcome, _ in MATRIX}
    assert len(outcomes) >= 13
    assert set(MATRIX) == {(outcome, convention) for outcome in outcomes for convention in HANDLERS}
    assert set(KNATIVE) < set(MATRIX)


# --- code that cannot be loaded

LAMBDA_NO_MODULE = (
    '{"errorMessage": "Unable to import module \'app\': No module named \'nowhere\'", '
    '"errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}'
)
LAMBDA_NO_FUNCTION = (
    '{"errorMessage": "Handler \'lambda_handler\' missing on module \'app\'", '
    '"errorType": "Runtime.HandlerNotFound", "requestId": "", "stackTrace": []}'
)
LAMBDA_SYNTAX = (
    '{"errorMessage": "Syntax error in module \'app\': <…> (app.py, line 1)", "errorType": '
    r'"Runtime.UserCodeSyntaxError", "requestId": "", "stackTrace": ["  File \"<…>/app.py\" Line 1\n    1 = 2\n"]}'
)
SCF_LOAD = r'{"errorCode":1,"errorMessage":"Traceback (most recent call last):\n<…>%s","requestId":"","statusCode":443}'
SCF_NO_MODULE = SCF_LOAD % "ModuleNotFoundError: No module named 'nowhere'"
SCF_NO_FUNCTION = SCF_LOAD % "AttributeError: module 'app' has no attribute 'main_handler'"
SCF_SYNTAX = SCF_LOAD % "SyntaxError: <…>"
NO_MODULE = (
    '{"error": "Cannot start action. Check logs for details. (ModuleNotFoundError: No module named \'nowhere\')"}'
)

#: (what is wrong, convention) -> source, and what /init answers.
BROKEN = {
    ("missing module", "openwhisk"): ("import nowhere\n", NO_MODULE),
    ("missing module", "lambda"): ("import nowhere\n", in_error(LAMBDA_NO_MODULE)),
    ("missing module", "scf"): ("import nowhere\n", in_error(SCF_NO_MODULE)),
    ("missing function", "openwhisk"): (
        "x = 1\n", '{"error": "Cannot start action. There is no function \'main\' in app.py."}'),
    ("missing function", "lambda"): ("x = 1\n", in_error(LAMBDA_NO_FUNCTION)),
    ("missing function", "scf"): ("x = 1\n", in_error(SCF_NO_FUNCTION)),
    ("syntax error", "openwhisk"): (
        "1 = 2\n", '{"error": "Cannot start action. Check logs for details. (SyntaxError: <…> (app.py, line 1))"}'),
    ("syntax error", "lambda"): ("1 = 2\n", in_error(LAMBDA_SYNTAX)),
    ("syntax error", "scf"): ("1 = 2\n", in_error(SCF_SYNTAX)),
    **{
        ("sys.exit", convention): (
            "import sys\nsys.exit(3)\n",
            '{"error":"Cannot start action. Check logs for details. (exit status 3)"}\n',
        )
        for convention in HANDLERS
    },
}


@pytest.mark.parametrize(("wrong", "convention"), BROKEN, ids=lambda value: value.replace(" ", "-"))
def test_init_of_broken_code(server, wrong, convention):
    """/init says it in the form of the convention; there is no function then, at any door; the next /init can be
    right."""
    one = server(options=["--scf-port", "0"])
    source, body = BROKEN[wrong, convention]
    assert_cell(one.init(source, main=HANDLERS[convention]), Cell(502, body), "")
    assert (one.out.markers(), one.err.markers()) == (1, 1)
    assert (one.run({}).status, one.invoke({}).status, one.event_invoke({}).status) == (500, 404, 435)
    assert one.init(SOURCE, main=HANDLERS[convention]).status == 200
    assert one.invoke({}).json == {"event": {}}


#: What the three doors answer when the code can no longer be loaded after a crash.
GONE = {
    "openwhisk": (Cell(502, NO_MODULE), failed(NO_MODULE), Cell(443, NO_MODULE)),
    "lambda": (Cell(502, in_error(LAMBDA_NO_MODULE)), failed(LAMBDA_NO_MODULE), Cell(443, LAMBDA_NO_MODULE)),
    "scf": (Cell(502, in_error(SCF_NO_MODULE)), failed(SCF_NO_MODULE), Cell(443, SCF_NO_MODULE)),
}


@pytest.mark.parametrize("convention", GONE)
def test_code_that_cannot_be_loaded_again(function, tmp_path, convention):
    flag = tmp_path / "broken"
    source = f"import os\nif os.path.exists({str(flag)!r}):\n    import nowhere\n" + SOURCE
    one = function({"app.py": source}, HANDLERS[convention], options=["--scf-port", "0"])
    assert one.invoke({}).json == {"event": {}}
    flag.touch()
    assert one.run({"kind": "sys.exit(3)"}).status == 400
    for answer, cell in zip((one.run({}), one.invoke({}), one.event_invoke({})), GONE[convention]):
        assert_cell(answer, cell, "")
    flag.unlink()
    assert one.invoke({}).json == {"event": {}}


# --- how the convention is chosen, with /init

TELL = """
def handle(event, context):
    return {"context": type(context).__name__}
main = lambda_handler = main_handler = handle
"""
KINDS = {"openwhisk": "Context", "lambda": "LambdaContext", "scf": "dict"}


@pytest.mark.parametrize(
    ("handler", "env", "settings", "convention"),
    [
        pytest.param("main", {}, {}, "openwhisk", id="main"),
        pytest.param("app.lambda_handler", {}, {}, "lambda", id="lambda_handler"),
        pytest.param("lambda_handler", {}, {}, "lambda", id="lambda_handler-alone"),
        pytest.param("app.main_handler", {}, {}, "scf", id="main_handler"),
        pytest.param("app.main", {"PYACTION_CONVENTION": "lambda"}, {}, "lambda", id="init-env"),
        pytest.param("app.main", {"PYACTION_CONVENTION": "scf"}, {"options": ["--convention", "lambda"]}, "scf",
                     id="init-env-before-option"),
        pytest.param("app.lambda_handler", {"PYACTION_CONVENTION": "auto"}, {"options": ["--convention", "scf"]},
                     "lambda", id="init-env-auto"),
        pytest.param("app.main", {}, {"options": ["--convention", "scf"]}, "scf", id="option"),
        pytest.param("app.main", {}, {"env": {"PYACTION_CONVENTION": "lambda"}}, "lambda", id="container-env"),
        pytest.param("app.lambda_handler", {"PYACTION_CONVENTION": ""}, {}, "lambda", id="init-env-empty"),
    ],
)
def test_convention_of_init(server, handler, env, settings, convention):
    options = [*settings.get("options", []), "--log-level", "info"]
    one = server(**{**settings, "options": options})
    answer = one.init(TELL, main=handler, env=env)
    assert answer.status == 200, answer
    assert one.result({}) == {"context": KINDS[convention]}
    assert one.err.text().startswith(f"pyaction: convention {convention} for the handler '{handler}', because ")
    assert one.err.text().count("pyaction: ") == 1


def test_unknown_convention_of_init(server):
    one = server()
    answer = one.init(TELL, env={"PYACTION_CONVENTION": "azure"})
    assert answer.status == 400
    assert "PYACTION_CONVENTION is 'azure'" in answer.error and "lambda" in answer.error
    assert one.init(TELL).status == 200


def test_convention_survives_a_crash(server):
    one = server()
    source = TELL.replace("    return", "    import os\n    event and os._exit(1)\n    return")
    assert one.init(source, main="app.main", env={"PYACTION_CONVENTION": "scf"}).status == 200
    assert one.run({"end": 1}).status == 400
    assert one.result({}) == {"context": "dict"}


def test_convention_of_a_failed_init_does_not_stay(server):
    one = server()
    assert one.init("import nowhere\n", main="app.lambda_handler").status == 502
    assert one.init(TELL).status == 200
    assert one.result({}) == {"context": "Context"}


# --- what a context knows behind a door that is not its vendor's

CONTEXTS = """
import os
def main(event, context):
    return {"id": context.activation_id, "left": context.get_remaining_time_in_millis(),
            "env": os.environ.get("__OW_ACTIVATION_ID")}
def lambda_handler(event, context):
    return {"id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
            "env": os.environ.get("__OW_ACTIVATION_ID"), "memory": context.memory_limit_in_mb,
            "arn": context.invoked_function_arn}
def main_handler(event, context):
    return {"id": context["request_id"], "left": context["time_limit_in_ms"],
            "env": os.environ.get("__OW_ACTIVATION_ID"), "memory": context["memory_limit_in_mb"]}
"""


@pytest.mark.parametrize("convention", HANDLERS)
def test_context_behind_every_door(function, convention):
    """The call's id is that of the door; the time is the limit that the operator set."""
    options = ["--timeout", "20", "--memory", "256", "--scf-port", "0"]
    one = function({"app.py": CONTEXTS}, HANDLERS[convention], options=options)
    answers = [
        (one.run({}, activation_id="given-id"), "given-id"),
        (one.event_invoke({}, X_Scf_Request_Id="given-id"), "given-id"),
    ]
    answer = one.invoke({})
    answers.append((answer, answer.headers["x-amzn-requestid"]))
    for answer, identity in answers:
        told = answer.json
        assert (told["id"], told["env"]) == (identity, identity)
        assert 10_000 < told["left"] <= 20_000
        if convention != "openwhisk":
            assert told["memory"] == {"lambda": "256", "scf": 256}[convention]


def test_deadline_of_run(function):
    """The invoker's deadline counts for a Lambda function too."""
    one = function({"app.py": CONTEXTS}, "app.lambda_handler")
    assert one.run({}, deadline="4102444800000").json["left"] > 10**9
    assert one.run({}, deadline=1).json["left"] == 0
    assert 0 < one.run({}).json["left"] <= 3000, "Lambda's own default"


def test_reserved_member_of_run_is_for_the_doors(function):
    """What a client of /run puts there can do no harm: nothing of it is trusted to have a type."""
    one = function({"app.py": SOURCE}, "app.lambda_handler")
    for junk in (None, 1, "x", [], {"body": 1}, {"client_context": 5}, {"scf": 7}, {"trace_id": {}}, {"body": "%"}):
        answer = one.post("/run", {"value": {"kind": "list"}, "pyaction": junk})
        assert answer.status in (200, 502), (junk, answer)
        assert one.invoke({}).json == {"event": {}}


# --- the log

#: The line that a convention writes for ValueError("boom").
RECORDS = {"openwhisk": "ValueError: boom\n", "lambda": "[ERROR] ValueError: boom\r", "scf": "ValueError: boom\n"}


@pytest.mark.parametrize("convention", HANDLERS)
def test_log_behind_every_door(function, convention):
    """The platform's lines are the door's, the record of an error is the convention's."""
    options = ["--scf-port", "0"]
    one = function({"app.py": SOURCE}, HANDLERS[convention], options=options, stderr="stdout")
    parts = []
    for path in ("/run", LAMBDA_PATH, SCF_PATH):
        before = len(one.out.content())
        event = {"kind": "exception"}
        one.post(path, {"value": event} if path == "/run" else event)
        parts.append(one.out.content()[before:].decode())
    run, aws, tencent = parts
    assert all(RECORDS[convention] in part for part in parts)
    assert run.endswith(MARKER.decode()) and "START" not in run
    assert aws.startswith("START RequestId: ") and "\nEND RequestId: " in aws and "\nREPORT RequestId: " in aws
    assert tencent.startswith("START RequestId:") and "\nERROR RequestId:" in tencent
    assert MARKER.decode() not in aws + tencent


def test_doors_share_one_process(function):
    """Calls through all of them, one after the other on one connection each."""
    source = "n = 0\ndef lambda_handler(event, context):\n    global n\n    n += 1\n    return {'n': n}\n"
    one = function({"app.py": source}, "app.lambda_handler", options=["--scf-port", "0"])
    clients = {path: one.connect() for path in ("/run", LAMBDA_PATH, SCF_PATH)}
    count = 0
    for _ in range(5):
        for path, client in clients.items():
            count += 1
            client.send(http_request("POST", path, b"{}"))
            assert client.read_answer().json == {"n": count}


def test_pipelined_requests_to_all_doors(function):
    """Answered in their order, each in its own form."""
    one = function({"app.py": SOURCE}, "app.lambda_handler", options=["--scf-port", "0"])
    client = one.connect()
    client.send(
        http_request("POST", "/run", b'{"value": {"kind": "string"}}')
        + http_request("POST", LAMBDA_PATH, b'{"kind": "string"}')
        + http_request("POST", SCF_PATH, b'{"kind": "exception"}')
        + http_request("POST", "/nowhere", b"{}")
        + http_request("POST", LAMBDA_PATH)
    )
    answers = [client.read_answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 430, 404, 200]
    assert [answer.body for answer in answers[:2]] == [b'{"body":"text"}', b'"text"']
    assert answers[4].json == {"event": {}}
