"""The door of AWS Lambda: POST /2015-03-31/functions/NAME/invocations, as its Invoke API answers.

L… are the vectors of the facts on Lambda and SCF. What the function's convention decides (results, error documents)
is in test_conventions.py and test_lambda_vectors.py, limits are in test_limits.py.
"""

import base64
import concurrent.futures
import json
import re
import signal

import pytest

from .harness import ABSENT, LAMBDA_PATH, MARKER, Client, http_request, wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
NAME = "lambda_function.py"

#: Answers with what the event asks for.
WORKER = """
import json, logging, os, signal, sys, time
runs = 0

def lambda_handler(event, context):
    global runs
    runs += 1
    if "raise" in event:
        raise ValueError(event["raise"])
    if "print" in event:
        print(event["print"])
    if "stderr" in event:
        print(event["stderr"], file=sys.stderr)
    if "exit" in event:
        sys.exit(event["exit"])
    if "kill" in event:
        os.kill(os.getpid(), event["kill"])
    if "gate" in event:
        with open(event["gate"]) as gate:
            gate.read()
    if "sleep" in event:
        time.sleep(event["sleep"])
    return {"event": event, "runs": runs, "id": context.aws_request_id}
"""

#: Returns the whole context but what changes.
CONTEXT = """
import os
def lambda_handler(event, context):
    client = context.client_context
    return {
        "arn": context.invoked_function_arn,
        "custom": client and client.custom,
        "client_env": client and client.env,
        "title": client and client.client and client.client.app_title,
        "cognito": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "tenant": context.tenant_id,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "runs": event.get("runs"),
    }
"""


@pytest.fixture
def worker(function):
    """A server with WORKER."""
    return function({NAME: WORKER})


@pytest.fixture
def context_of(function):
    """A server whose function tells its context."""
    return function({NAME: CONTEXT})


def request_id(answer) -> str:
    """The id that the door gave the call."""
    identity = answer.headers["x-amzn-requestid"]
    assert re.fullmatch(UUID, identity)
    return identity


def refusal(answer, status: int, kind: str) -> str:
    """The text of an error of the API's own, which must not look like a function's error."""
    assert answer.status == status, answer
    assert answer.headers["x-amzn-errortype"] == kind
    assert answer.headers["content-type"] == "application/json"
    assert "x-amz-function-error" not in answer.headers
    document = answer.json
    assert list(document) == ["Type", "Message"]
    assert document["Type"] == ("User" if status < 500 else "Service")
    return document["Message"]


def error_document(answer):
    """The error document of a function that failed."""
    assert answer.status == 200, answer
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.headers["content-type"] == "application/json"
    assert "x-amzn-errortype" not in answer.headers
    return answer.json


# --- results


def test_result(worker):
    answer = worker.invoke({"a": 1})
    assert answer.status == 200
    assert answer.json == {"event": {"a": 1}, "runs": 1, "id": request_id(answer)}
    assert set(answer.headers) - {"connection"} == {  # which libmicrohttpd 0.9.72 sends
        "date", "content-type", "content-length", "x-amzn-requestid", "x-amz-executed-version",
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amz-executed-version"] == "$LATEST"


def test_result_is_passed_on_byte_for_byte(function):
    """L2, L5, L23, and numbers that a double cannot hold."""
    one = function({NAME: "def lambda_handler(event, context):\n    return event\n"})
    body = b' \n{"b":[1,{"c":null}],\r\n"t":true, "n": 9007199254740993, "f": 1e16}\n'
    assert one.invoke(body).body == b'{"b": [1, {"c": null}], "t": true, "n": 9007199254740993, "f": 1e+16}'
    for text in (b"null", b"[]", b'"text"', b"1180591620717411303424", b"true"):
        answer = one.invoke(text)
        assert (answer.status, answer.body) == (200, text)


def test_bytes_are_sent_raw(function):
    """Facts A3: bytes as the whole result have no encoding at all."""
    one = function({NAME: "def lambda_handler(event, context):\n    return bytes(range(256)) * event['n']\n"})
    for count in (0, 1, 300):
        answer = one.invoke({"n": count})
        assert (answer.status, answer.body) == (200, bytes(range(256)) * count)
        assert answer.headers["content-type"] == "application/unknown"
        assert "x-amz-function-error" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="harness"),
        pytest.param({"Content_Type": "application/x-www-form-urlencoded"}, id="curl"),
        pytest.param({"Content_Type": "text/plain; charset=utf-8"}, id="text"),
        pytest.param({"Accept": "text/html", "Accept_Encoding": "gzip"}, id="browser"),
    ],
)
def test_content_type_of_the_request_does_not_matter(worker, headers):
    """AWS gives the function application/json, whatever the caller sent (facts A4)."""
    body = b'{"a": 1}'
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    lines.append(("Content-Length", str(len(body))))
    client = worker.connect()
    client.send(http_request("POST", LAMBDA_PATH, None, lines) + body)
    assert client.read_answer().json["event"] == {"a": 1}


def test_absent_body_is_an_empty_object(worker):
    """L47, as the service has it: an event {}, with and without a length."""
    assert worker.invoke().json["event"] == {}
    assert worker.request("POST", LAMBDA_PATH).json["event"] == {}
    chunked = [("Transfer-Encoding", "chunked")]
    client = worker.connect()
    client.send(http_request("POST", LAMBDA_PATH, None, chunked) + b"0\r\n\r\n")
    assert client.read_answer().json["event"] == {}


def test_chunked_body(worker):
    client = worker.connect()
    head = http_request("POST", LAMBDA_PATH, None, [("Transfer-Encoding", "chunked")])
    client.send(head + b'4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n')
    assert client.read_answer().json["event"] == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="unfinished"),
        pytest.param(b"{} x", id="L49-extra-data"),
        pytest.param(b'{"a": NaN}', id="L50-NaN"),
        pytest.param(b'"\xff"', id="not-UTF-8"),
        pytest.param(b'{"a": "\x00"}', id="null-character"),
        pytest.param(b'"a\nb"', id="newline-in-a-string"),
        pytest.param(b"}, {", id="break-out"),
        pytest.param(b'null,"value":1', id="second-member"),
    ],
)
def test_body_that_is_no_json(worker, body):
    """The function is not called; what Lambda's runtime says of it is its error document."""
    document = error_document(worker.invoke(body))
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert document["errorType"] == "Runtime.UnmarshalError"
    assert document["errorMessage"].startswith("Unable to unmarshal input: ")
    assert document["stackTrace"] == []
    assert worker.invoke({}).json["runs"] == 1


def test_connection_is_kept(worker):
    client = worker.connect()
    for run in range(1, 6):
        client.send(http_request("POST", LAMBDA_PATH, json.dumps({"n": run}).encode()))
        assert client.read_answer().json["runs"] == run


def test_no_openwhisk_markers(worker):
    """Lambda's log has its own ends; /run's has the markers."""
    worker.invoke({"print": "said"})
    assert MARKER not in worker.out.content() + worker.err.content()
    assert worker.run({}).status == 200
    assert (worker.out.markers(), worker.err.markers()) == (1, 1)


# --- errors of the function, the end of its process


def test_function_error(worker):
    """L76, but with the header and the content type that the cloud sends."""
    answer = worker.invoke({"raise": "boom"})
    document = error_document(answer)
    where = f'  File "{worker.folder}/lambda_function.py", line 9, in lambda_handler\n'
    assert document == {
        "errorMessage": "boom",
        "errorType": "ValueError",
        "requestId": request_id(answer),
        "stackTrace": [where + '    raise ValueError(event["raise"])\n'],
    }
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    assert worker.invoke({}).json["runs"] == 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        pytest.param({"exit": 1}, "exited with error: exit status 1", id="L52"),
        pytest.param({"exit": 255}, "exited with error: exit status 255", id="status-255"),
        pytest.param({"exit": "farewell"}, "exited with error: exit status 1", id="text"),
        pytest.param({"exit": 0}, "exited without providing a reason", id="status-0"),
        pytest.param({"exit": None}, "exited without providing a reason", id="no-status"),
        pytest.param({"kill": signal.SIGKILL}, "exited with error: signal: killed", id="SIGKILL"),
        pytest.param({"kill": signal.SIGTERM}, "exited with error: signal: terminated", id="SIGTERM"),
        pytest.param({"kill": signal.SIGUSR1}, "exited with error: signal: user defined signal 1", id="SIGUSR1"),
    ],
)
def test_end_of_the_process(worker, event, reason):
    """L52: the platform's own document, type first. The next call gets a new process."""
    answer = worker.invoke(event)
    document = error_document(answer)
    assert list(document) == ["errorType", "errorMessage"]
    assert document == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id(answer)} Error: Runtime {reason}",
    }
    log = worker.out.text()
    assert f"END RequestId: {request_id(answer)}\nREPORT RequestId: {request_id(answer)}\t" in log
    assert log.endswith(f"RequestId: {request_id(answer)} Error: Runtime {reason}\nRuntime.ExitError\n")
    assert worker.invoke({"n": 1}).json["runs"] == 1


def test_text_of_sys_exit_is_in_the_log(worker):
    worker.invoke({"exit": "farewell"})
    assert "farewell\n" in worker.err.text()


def test_function_that_fails_to_load_after_a_crash(function, tmp_path):
    """Loading it again fails: the runtime's error document, at the call that needed it."""
    flag = tmp_path / "broken"
    source = "import os\nif os.path.exists(%r):\n    import nowhere\n%s" % (str(flag), WORKER)
    one = function({NAME: source})
    assert one.invoke({}).json["runs"] == 1
    flag.touch()
    error_document(one.invoke({"exit": 1}))
    for _ in range(2):
        assert error_document(one.invoke({})) == {
            "errorMessage": "Unable to import module 'lambda_function': No module named 'nowhere'",
            "errorType": "Runtime.ImportModuleError",
            "requestId": "",
            "stackTrace": [],
        }
    flag.unlink()
    assert one.invoke({}).json["runs"] == 1


# --- kinds of invocation


def test_event_invocation(worker, gate):
    """Answered before it has run, and it runs afterwards, in its turn."""
    answer = worker.invoke({"gate": gate.path, "print": "later"}, X_Amz_Invocation_Type="Event")
    assert (answer.status, answer.body) == (202, b"")
    identity = request_id(answer)
    assert "x-amz-function-error" not in answer.headers and "x-amz-executed-version" not in answer.headers
    gate.wait_entered()
    assert f"END RequestId: {identity}" not in worker.out.text()
    waiting = worker.background(worker.invoke, {"n": 2})
    assert not waiting.done()
    gate.release()
    assert waiting.result().json["runs"] == 2
    log = worker.out.text()
    assert f"START RequestId: {identity} Version: $LATEST\nlater\nEND RequestId: {identity}\n" in log


def test_event_invocation_that_ends_at_once(worker):
    """The result of one that needs no time is nobody's, either."""
    worker.invoke({})
    answers = [worker.invoke({"return": 1}, X_Amz_Invocation_Type="Event") for _ in range(100)]
    assert {(answer.status, answer.body) for answer in answers} == {(202, b"")}
    assert worker.invoke({}).json["runs"] == 102


@pytest.mark.parametrize("event", [{"raise": "boom"}, {"exit": 3}], ids=["raises", "exits"])
def test_event_invocation_that_fails(worker, event):
    """Nobody is told; the log is, and the next call works."""
    answer = worker.invoke(event, X_Amz_Invocation_Type="Event")
    assert answer.status == 202
    wait_until(lambda: f"REPORT RequestId: {request_id(answer)}" in worker.out.text(), "the invocation has ended")
    assert worker.invoke({}).status == 200


def test_event_invocation_of_a_client_that_is_gone(worker, gate):
    client = Client(worker.port)
    headers = [("X-Amz-Invocation-Type", "Event")]
    client.request("POST", LAMBDA_PATH, json.dumps({"gate": gate.path}).encode(), headers)
    gate.wait_entered()
    client.close()
    gate.release()
    assert worker.invoke({}).json["runs"] == 2


def test_event_invocation_has_no_log_tail(worker):
    answer = worker.invoke({}, X_Amz_Invocation_Type="Event", X_Amz_Log_Type="Tail")
    assert answer.status == 202
    assert "x-amz-log-result" not in answer.headers


def test_dry_run(worker):
    answer = worker.invoke({"raise": "boom"}, X_Amz_Invocation_Type="DryRun")
    assert (answer.status, answer.body) == (204, b"")
    assert worker.invoke({}).json["runs"] == 1
    assert worker.out.text().count("START") == 1


@pytest.mark.parametrize("kind", ["RequestResponse", "requestresponse", ""])
def test_request_response(worker, kind):
    assert worker.invoke({}, X_Amz_Invocation_Type=kind).json["runs"] == 1


def test_unknown_invocation_type(worker):
    text = refusal(worker.invoke({}, X_Amz_Invocation_Type="Later"), 400, "InvalidParameterValueException")
    assert "X-Amz-Invocation-Type" in text and "RequestResponse" in text
    assert worker.invoke({}).json["runs"] == 1


def test_refusals_have_a_request_id(function):
    """As every answer of the cloud's: boto3 shows it as the RequestId of an error."""
    one = function({NAME: WORKER}, options=["--max-request", "20"])
    answers = [
        one.invoke({}, X_Amz_Invocation_Type="Later"),
        one.invoke({}, X_Amz_Invocation_Type="DryRun"),
        one.invoke({}, X_Amz_Client_Context="!!"),
        one.invoke({"text": "more than it takes"}),
    ]
    assert [answer.status for answer in answers] == [400, 204, 400, 413]
    assert len({request_id(answer) for answer in answers}) == 4


# --- the tail of the log


def tail_of(answer) -> bytes:
    """What X-Amz-Log-Result holds; its base64 must be strict."""
    return base64.b64decode(answer.headers["x-amz-log-result"], validate=True)


def test_log_tail_is_the_log(function):
    """All of it, as long as it is short: what the console shows, in its order."""
    one = function({NAME: WORKER}, stderr="stdout")
    answer = one.invoke({"print": "out £", "stderr": "err"}, X_Amz_Log_Type="Tail")
    tail = tail_of(answer)
    assert tail == one.out.content()
    start, end = (f"{word} RequestId: {request_id(answer)}" for word in ("START", "END"))
    assert tail.decode().startswith(f"{start} Version: $LATEST\nout £\nerr\n{end}\n")


@pytest.mark.parametrize("size", [1, 100, 500])
def test_log_tail_has_both_streams(worker, size):
    """All that the function wrote to either, and only then the platform's last lines."""
    out, err = ("".join(f"{name} {n}\n" for n in range(size // 10 + 1)) for name in ("out", "err"))
    for _ in range(5):
        answer = worker.invoke({"print": out[:-1], "stderr": err[:-1]}, X_Amz_Log_Type="Tail")
        tail = tail_of(answer).decode()
        lines = tail.splitlines(keepends=True)
        assert lines[0].startswith("START ") and lines[-2].startswith("END ") and lines[-1].startswith("REPORT "), tail
        assert "".join(line for line in lines if line.startswith("out ")) == out
        assert "".join(line for line in lines if line.startswith("err ")) == err
        assert len(lines) == 3 + out.count("\n") + err.count("\n")
    assert b"err" not in worker.out.content() and b"out" not in worker.err.content()


def test_log_tail_of_any_bytes(function):
    """A log need not be text."""
    source = "import os\ndef lambda_handler(event, context):\n    os.write(1, bytes(range(256)))\n"
    one = function({NAME: source})
    tail = tail_of(one.invoke({}, X_Amz_Log_Type="Tail"))
    assert tail == one.out.content()
    assert bytes(range(256)) in tail


@pytest.mark.parametrize("size", [3000, 4096, 5000, 100_000, 3_000_000])
def test_log_tail_is_the_last_4096_bytes(worker, size):
    text = "".join(f"{number:07}\n" for number in range(size // 8))
    answer = worker.invoke({"print": text}, X_Amz_Log_Type="Tail")
    tail = tail_of(answer)
    log = worker.out.content()
    assert tail == log[-4096:]
    assert len(tail) == min(4096, len(log))
    assert tail.endswith(log[-200:]) and b"REPORT RequestId: " in tail


def test_log_tail_of_each_invocation_is_its_own(worker):
    for name in ("first", "second", "third"):
        tail = tail_of(worker.invoke({"print": name}, X_Amz_Log_Type="Tail"))
        said = [word for word in (b"first", b"second", b"third") if word in tail]
        assert said == [name.encode()]
        assert tail.count(b"START") == tail.count(b"REPORT") == 1


def test_no_log_tail_without_being_asked(worker):
    assert "x-amz-log-result" not in worker.invoke({"print": "x"}).headers
    assert "x-amz-log-result" not in worker.invoke({"print": "x"}, X_Amz_Log_Type="None").headers


@pytest.mark.parametrize("event", [{"raise": "boom"}, {"exit": 3, "print": "before"}, {"kill": 9, "print": "before"}])
def test_log_tail_of_a_failure(worker, event):
    answer = worker.invoke(event, X_Amz_Log_Type="Tail")
    error_document(answer)
    tail = tail_of(answer).decode()
    assert tail.startswith("START RequestId: ")
    if "raise" in event:
        assert "[ERROR] ValueError: boom\r" in tail
    else:
        assert "before\n" in tail
        assert tail.endswith("\nRuntime.ExitError\n")


# --- START, END, REPORT

REPORT = re.compile(
    r"REPORT RequestId: (?P<id>\S+)\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<used>\d+) MB\t(Init Duration: (?P<init>\d+\.\d\d) ms\t)?\n"
)


def reports(one):
    """The numbers of each REPORT line so far; None for no Init Duration."""
    lines = [line for line in one.out.text().splitlines(keepends=True) if line.startswith("REPORT")]
    matches = [REPORT.fullmatch(line) for line in lines]
    assert all(matches), lines
    names = ("duration", "billed", "size", "used", "init")
    return [{name: match[name] and float(match[name]) for name in names} for match in matches]


def test_log_lines(function):
    """In this order, around what the function itself writes to either stream."""
    one = function({NAME: WORKER}, stderr="stdout")
    identities = [request_id(one.invoke({"print": f"out {n}", "stderr": f"err {n}"})) for n in range(3)]
    expected = "".join(
        re.escape(f"START RequestId: {identity} Version: $LATEST\nout {n}\nerr {n}\nEND RequestId: {identity}\n")
        + REPORT.pattern.replace("(?P<", f"(?P<n{n}_")
        for n, identity in enumerate(identities)
    )
    match = re.fullmatch(expected, one.out.text())
    assert match, one.out.text()
    assert [match[f"n{n}_id"] for n in range(3)] == identities


def test_json_log_lines(function):
    """All of the log is JSON then: the platform's lines, the function's logging, and the record of its error."""
    source = ("import logging\ndef lambda_handler(event, context):\n"
              "    logging.warning('mine')\n    return 1 / event.get('n', 1)\n")
    one = function({NAME: source}, env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}, stderr="stdout")
    identities = [request_id(one.invoke(event)) for event in ({}, {"n": 0})]
    lines = [json.loads(line) for line in one.out.text().splitlines()]
    kinds = [line.get("type") or line.get("errorType") or line["message"] for line in lines]
    assert kinds == ["platform.start", "mine", "platform.report",
                     "platform.start", "mine", "ZeroDivisionError", "platform.report"]
    records = [line["record"] for line in lines if "record" in line]
    assert [record["requestId"] for record in records] == [identities[0]] * 2 + [identities[1]] * 2
    assert [records[n]["status"] for n in (1, 3)] == ["success", "error"]
    assert "initDurationMs" in records[1]["metrics"] and "initDurationMs" not in records[3]["metrics"]


def test_unterminated_output_is_ended_before_the_next_line(function):
    source = "import sys\ndef lambda_handler(event, context):\n    sys.stdout.write('half a line')\n"
    one = function({NAME: source})
    first, second = (request_id(one.invoke({})) for _ in range(2))
    assert f"half a line\nEND RequestId: {first}\n" in one.out.text()
    assert f"\nSTART RequestId: {second} Version: $LATEST\nhalf a line\n" in one.out.text()


def test_output_of_the_import_is_before_start(function):
    one = function({NAME: "print('imported')\n" + WORKER})
    one.invoke({})
    assert one.out.text().startswith("imported\nSTART RequestId: ")


def test_durations(worker):
    """Duration is the handler's time, Init Duration the import's and on the first line only."""
    for seconds in (0, 1, 0):
        worker.invoke({"sleep": seconds})
    lines = reports(worker)
    assert [line["init"] is not None for line in lines] == [True, False, False]
    assert 1000 <= lines[1]["duration"] < 3000
    assert lines[0]["duration"] < 1000 and lines[2]["duration"] < 1000
    for line in lines:
        assert line["duration"] <= line["billed"] < line["duration"] + 1.01


def test_init_duration_is_that_of_the_import(function):
    one = function({NAME: "import time\ntime.sleep(1)\n" + WORKER})
    one.invoke({})
    line = reports(one)[0]
    assert 1000 <= line["init"] < 5000
    assert line["duration"] < 1000


def test_init_duration_after_a_crash(worker):
    """A process that replaces another has an init of its own."""
    for event in ({}, {}, {"exit": 1}, {}, {}):
        worker.invoke(event)
    assert [line["init"] is not None for line in reports(worker)] == [True, False, False, True, False]


def test_memory(function):
    """Max Memory Used is what the process took, also when it has given it back."""
    source = "def lambda_handler(event, context):\n    x = bytearray(event['mb'] << 20)\n    return len(x)\n"
    one = function({NAME: source}, options=["--memory", "500"])
    for megabytes in (0, 200, 0):
        assert one.invoke({"mb": megabytes}).json == megabytes << 20
    used = [line["used"] for line in reports(one)]
    assert 5 <= used[0] < 100
    assert 200 <= used[1] < 300
    assert {line["size"] for line in reports(one)} == {500}


def test_ids_differ(worker):
    identities = {request_id(worker.invoke({})) for _ in range(50)}
    assert len(identities) == 50


# --- what the request tells the function


def encoded(document) -> str:
    """A client context as clients send it."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(text).decode()


def test_nothing_is_told(context_of):
    """L25."""
    assert context_of.invoke({}).json == {
        "arn": "arn:aws:lambda:us-east-1:012345678912:function:test_function",
        "custom": None,
        "client_env": None,
        "title": None,
        "cognito": [None, None],
        "tenant": None,
        "trace": None,
        "runs": None,
    }


def test_client_context(context_of):
    """L26."""
    client = {"custom": {"k": "v £ \n \" \\"}, "env": {"e": "1"}, "client": {"app_title": "T"}}
    told = context_of.invoke({}, X_Amz_Client_Context=encoded(client)).json
    assert (told["custom"], told["client_env"], told["title"]) == (client["custom"], client["env"], "T")
    assert context_of.invoke({}).json["custom"] is None


def test_client_context_that_is_no_base64(worker):
    """L77, but with a reason: nothing is run."""
    for bad in ("!!", "e30", "e30=e30=", encoded(b'{"a": "\x00"}')):
        text = refusal(worker.invoke({}, X_Amz_Client_Context=bad), 400, "InvalidRequestContentException")
        assert "Base64" in text
    assert worker.invoke({}).json["runs"] == 1


def test_client_context_that_is_no_json(worker):
    """L28; and it is looked at before the event (facts A2)."""
    for event in ({}, b"also bad"):
        answer = worker.invoke(event, X_Amz_Client_Context=encoded(b"{"))
        document = error_document(answer)
        assert document["errorType"] == "Runtime.LambdaContextUnmarshalError"
        assert document["errorMessage"] == (
            "Unable to parse Client Context JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)"
        )
    assert worker.invoke({}).json["runs"] == 1


def test_cognito_identity(context_of):
    """L29. No caller of the Invoke API sends it; a test may."""
    header = json.dumps({"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"})
    assert context_of.invoke({}, Lambda_Runtime_Cognito_Identity=header).json["cognito"] == ["a", "b"]


def test_trace_id(context_of):
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert context_of.invoke({}, X_Amzn_Trace_Id=trace).json["trace"] == trace
    assert context_of.invoke({}).json["trace"] is None


def test_tenant_id(context_of):
    assert context_of.invoke({}, X_Amz_Tenant_Id="blue").json["tenant"] == "blue"
    assert context_of.invoke({}).json["tenant"] is None


def test_headers_of_an_event_invocation_arrive(function):
    one = function({NAME: CONTEXT.replace("return {", "print({").replace("    }\n", "    })\n")})
    answer = one.invoke({}, X_Amz_Invocation_Type="Event", X_Amz_Tenant_Id="blue")
    assert answer.status == 202
    wait_until(lambda: "REPORT" in one.out.text(), "the invocation has ended")
    assert "'tenant': 'blue'" in one.out.text()


ARN = "arn:aws:lambda:eu-west-1:123456789012:function:mine"


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        pytest.param("function", "arn:aws:lambda:us-east-1:012345678912:function:test_function", id="function"),
        pytest.param("mine", "arn:aws:lambda:us-east-1:012345678912:function:mine", id="name"),
        pytest.param("mine:live", "arn:aws:lambda:us-east-1:012345678912:function:mine:live", id="alias"),
        pytest.param(ARN, ARN, id="arn"),
        pytest.param(ARN.replace(":", "%3A"), ARN, id="arn-as-boto3-writes-it"),
    ],
)
def test_name_in_the_path(context_of, name, arn):
    answer = context_of.invoke({}, LAMBDA_PATH.replace("function/", name + "/"))
    assert answer.json["arn"] == arn


@pytest.mark.parametrize(
    ("name", "text"), [("a%0Ab%22%5C", 'a\nb"\\'), ("%e4%b8%ad", "中"), ("a%ff", "a\ufffd"), ("a/b", "a/b")]
)
def test_strange_name_in_the_path(context_of, name, text):
    """Whatever it is, it reaches the function as text and breaks nothing."""
    answer = context_of.invoke({}, LAMBDA_PATH.replace("function/", name + "/"))
    assert answer.json["arn"] == f"arn:aws:lambda:us-east-1:012345678912:function:{text}"


def test_header_that_is_no_utf8(context_of):
    assert context_of.invoke({}, X_Amz_Tenant_Id="caf\xe9").json["tenant"] == "caf\ufffd"
    assert context_of.invoke({}, X_Amzn_Trace_Id="\xff").json["trace"] == "\ufffd"


def test_arn_by_variables(function):
    env = {"AWS_REGION": "ap-south-1", "AWS_LAMBDA_FUNCTION_NAME": "named"}
    one = function({NAME: CONTEXT}, env=env)
    assert one.invoke({}).json["arn"] == "arn:aws:lambda:ap-south-1:012345678912:function:named"


def test_qualifier_in_the_query(worker):
    assert worker.invoke({}, LAMBDA_PATH + "?Qualifier=live").status == 200


# --- wrong requests


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/function/invocation",
        "/2015-03-31/functions/function/invocations/",
        "/2015-03-31/functions//invocations",
        "/2015-03-31/functions/invocations",
        "/2014-11-13/functions/function/invocations",
        "/2015-03-31/functions/function/invoke-async/",
    ],
)
def test_wrong_path(worker, path):
    answer = worker.invoke({}, path)
    assert answer.status == 404
    assert path in answer.error and LAMBDA_PATH in answer.error


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_wrong_method(worker, method):
    answer = worker.request(method, LAMBDA_PATH)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "REPORT" not in worker.out.text()


def test_call_before_there_is_a_function(server):
    one = server()
    text = refusal(one.invoke({}), 404, "ResourceNotFoundException")
    assert "/init" in text
    assert one.init("def main(event):\n    return event\n").status == 200
    assert one.invoke({"a": 1}).json == {"a": 1}


# --- several at once


def test_concurrent_calls_queue(worker):
    """Twenty clients at once, each with its own answer, one after the other in one process."""
    def call(number):
        answer = worker.invoke({"n": number, "print": f"said {number}", "sleep": 0.005}, X_Amz_Log_Type="Tail")
        return number, answer

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(call, range(20)))
    for number, answer in answers:
        assert answer.status == 200
        result = answer.json
        assert (result["event"]["n"], result["id"]) == (number, request_id(answer))
        tail = tail_of(answer).decode()
        assert re.findall(r"said (\d+)", tail) == [str(number)]
        assert re.findall(r"RequestId: (\S+)", tail) == [request_id(answer)] * 3
    assert sorted(answer.json["runs"] for _, answer in answers) == list(range(1, 21))
    assert re.sub(r"RequestId.*|said.*", "", worker.out.text()).split() == ["START", "END", "REPORT"] * 20


def test_concurrent_calls_with_crashes_among_them(worker):
    events = [{"exit": 3} if number % 4 == 3 else {"n": number} for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(worker.invoke, events))
    for event, answer in zip(events, answers):
        if "exit" in event:
            assert error_document(answer)["errorMessage"].endswith("exit status 3")
        else:
            assert answer.json["event"] == event


def test_queue_that_is_full(function, gate):
    """4096 calls may wait (docs/protocol.md); what comes then is refused at every door, and is not run."""
    source = "n = 0\ndef lambda_handler(event, context):\n    global n\n    n += 1\n"
    one = function({NAME: source + f"    event.get('gate') and open({gate.path!r}).read()\n    return n\n"})
    client = one.connect()
    event = [("X-Amz-Invocation-Type", "Event")]
    client.request("POST", LAMBDA_PATH, b'{"gate": 1}', event)
    gate.wait_entered()
    for start in range(1, 4096, 105):
        client.send(http_request("POST", LAMBDA_PATH, b"{}", event) * 105)
        assert [client.read_answer().status for _ in range(105)] == [202] * 105, start
    text = refusal(one.invoke({}), 429, "TooManyRequestsException")
    assert text == refusal(one.invoke({}, X_Amz_Invocation_Type="Event"), 429, "TooManyRequestsException")
    scf = one.event_invoke({})
    assert (scf.status, scf.json["statusCode"], one.run({}).status) == (429, 429, 429)
    gate.release()
    wait_until(lambda: one.out.text().count("END RequestId") == 4096, "all have run")
    assert one.invoke({}).json == 4097


def test_caller_that_leaves_changes_nothing(worker, gate):
    """Its call ends, the next one is right."""
    client = Client(worker.port)
    client.send(http_request("POST", LAMBDA_PATH, json.dumps({"gate": gate.path}).encode()))
    gate.wait_entered()
    client.close()
    waiting = worker.background(worker.invoke, {"n": 7})
    gate.release()
    assert waiting.result().json["event"] == {"n": 7}


def test_stop_while_calls_wait(worker, gate):
    """Those that wait are told that the service is not there, which clients may try again."""
    client = worker.connect()
    client.request("POST", LAMBDA_PATH, b"{}")
    running = worker.background(worker.invoke, {"gate": gate.path})
    gate.wait_entered()
    client.send(http_request("POST", LAMBDA_PATH, b"{}"))
    worker.signal(signal.SIGTERM)
    gate.release()
    assert running.result().json["runs"] == 2
    assert refusal(client.read_answer(), 503, "ServiceException")
    assert worker.wait() == 0


# --- functions of other conventions


def test_openwhisk_function(function):
    """Its own results, in Lambda's frame."""
    one = function({"__main__.py": "def main(event, context):\n    return {'e': event, 'id': context.activation_id}\n"})
    answer = one.invoke({"a": 1}, X_Amz_Log_Type="Tail")
    assert answer.json == {"e": {"a": 1}, "id": request_id(answer)}
    assert one.invoke().json["e"] == {}
    assert b"START RequestId: " in tail_of(answer)
    text = refusal(one.invoke(b"no JSON"), 400, "InvalidRequestContentException")
    assert text == "Could not parse request body into json."


def test_code_that_came_with_init(action):
    """The door is open for it as well; the log has START only for its own calls."""
    one = action(WORKER, main="lambda_function.lambda_handler")
    assert one.invoke({}).json["runs"] == 1
    assert one.run({}).json["runs"] == 2
    assert one.out.text().count("START") == 1


def test_absent_is_not_null(worker):
    """A body of null is the event None, an absent one {} (facts A4)."""
    document = error_document(worker.invoke(b"null"))
    assert document["errorMessage"] == "argument of type 'NoneType' is not iterable"
    assert worker.invoke(ABSENT).json["event"] == {}
