"""The door of Tencent SCF: POST /event-invoke with X-Scf-* headers, as its cloud calls a custom image.

T… are the vectors of the facts on Lambda and SCF. What the function's convention decides is in test_conventions.py,
limits are in test_limits.py.
"""

import concurrent.futures
import json
import re
import signal
import socket

import pytest

from .harness import MARKER, ROOT, SCF_PATH, Client, free_port, http_request, wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
NAME = "index.py"
EXAMPLES = ROOT / "test" / "functions"

#: Does what the event asks for, and tells its context.
WORKER = """
import os, sys, time
runs = 0

def main_handler(event, context):
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
    if "return" in event:
        return event["return"]
    return {"event": event, "runs": runs, "context": context,
            "env": {k: v for k, v in os.environ.items() if k.startswith("TENCENTCLOUD_SE") or k == "TRIGGER_SRC"}}
"""

#: Every header of the cloud's, with the key of the context that it is.
HEADERS = {
    "X_Scf_Request_Id": ("request_id", "4f7d1a9b-0000-4000-8000-c0ffee000000"),
    "X_Scf_Name": ("function_name", "mine"),
    "X_Scf_Version": ("function_version", "7"),
    "X_Scf_Namespace": ("namespace", "prod"),
    "X_Scf_Region": ("tencentcloud_region", "ap-singapore"),
    "X_Scf_Appid": ("tencentcloud_appid", "1253970226"),
    "X_Scf_Uin": ("tencentcloud_uin", "3473058547"),
    "X_Scf_Memory": ("memory_limit_in_mb", 256),
    "X_Scf_Timeout": ("time_limit_in_ms", 5000),
}


@pytest.fixture
def worker(function):
    """A server with WORKER."""
    return function({NAME: WORKER})


def request_id(answer) -> str:
    """The id that the answer names."""
    return answer.headers["x-scf-request-id"]


def failure(answer, status: int, code: int, message: str) -> None:
    """Assert that an answer is the platform's document for a failure, compact, its keys in this order."""
    document = {"errorCode": code, "errorMessage": message, "requestId": request_id(answer), "statusCode": status}
    assert (answer.status, answer.body) == (status, json.dumps(document, separators=(",", ":")).encode())
    assert answer.headers["content-type"] == "application/json"


# --- results


def test_result(worker):
    answer = worker.event_invoke({"a": 1})
    assert answer.status == 200
    result = answer.json
    assert (result["event"], result["runs"]) == ({"a": 1}, 1)
    headers = {"date", "content-type", "content-length", "x-scf-request-id"}
    assert set(answer.headers) - {"connection"} == headers  # which libmicrohttpd 0.9.72 sends
    assert answer.headers["content-type"] == "application/json"


def test_result_is_passed_on_byte_for_byte(function):
    """T11, and numbers that a double cannot hold."""
    one = function({NAME: "def main_handler(event, context):\n    return event\n"})
    body = b' \n[1,"x",true,null,\r\n9007199254740993, "\xe4\xb8\xad"]\n'
    assert one.event_invoke(body).body == b'[1, "x", true, null, 9007199254740993, "\xe4\xb8\xad"]'
    for text in (b"null", b"{}", b'"text"', b"1.0", b"true"):
        answer = one.event_invoke(text)
        assert (answer.status, answer.body) == (200, text)


def test_absent_body_is_an_empty_object(worker):
    assert worker.event_invoke().json["event"] == {}
    assert worker.request("POST", SCF_PATH).json["event"] == {}


def test_chunked_body(worker):
    client = worker.connect()
    head = http_request("POST", SCF_PATH, None, [("Transfer-Encoding", "chunked")])
    client.send(head + b'4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n')
    assert client.read_answer().json["event"] == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not json", id="T40"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="unfinished"),
        pytest.param(b"{} x", id="extra-data"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'"\xff"', id="not-UTF-8"),
        pytest.param(b'{"a": "\x00"}', id="null-character"),
        pytest.param(b"}, {", id="break-out"),
        pytest.param(b'null,"value":1', id="second-member"),
        pytest.param(b"True", id="python"),
    ],
)
def test_body_that_is_no_json(worker, body):
    """T40: refused, the function is not called, and its log has nothing."""
    answer = worker.event_invoke(body)
    document = answer.json
    assert list(document) == ["errorCode", "errorMessage", "requestId", "statusCode"]
    assert (answer.status, document["statusCode"], document["errorCode"]) == (400, 400, -1)
    assert document["errorMessage"].startswith("InvalidParameterValue: the event is not JSON")
    assert document["requestId"] == request_id(answer)
    assert worker.event_invoke({}).json["runs"] == 1


def test_deeply_nested_event(function):
    """As deep as any other door takes it: the number of braces is no error."""
    one = function({NAME: "def main_handler(event, context):\n    return 'taken'\n"})
    for depth in (100, 513, 4000):
        answer = one.event_invoke(b"[" * depth + b"]" * depth)
        assert (answer.status, answer.body) == (200, b'"taken"'), depth


def test_connection_is_kept(worker):
    client = worker.connect()
    for run in range(1, 6):
        client.send(http_request("POST", SCF_PATH, json.dumps({"n": run}).encode()))
        assert client.read_answer().json["runs"] == run


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_wrong_method(worker, method):
    answer = worker.request(method, SCF_PATH)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/event-invoke/", "/event-invoke/x", "/Event-Invoke"])
def test_wrong_path(worker, path):
    answer = worker.invoke({}, path)
    assert answer.status == 404
    assert path in answer.error and SCF_PATH in answer.error


def test_call_before_there_is_a_function(server):
    one = server()
    answer = one.event_invoke({})
    document = answer.json
    assert (answer.status, document["statusCode"], document["errorCode"]) == (435, 435, -1)
    assert document["errorMessage"].startswith("FunctionNotFound: ")
    assert one.init("def main(event):\n    return event\n").status == 200
    assert one.event_invoke({"a": 1}).json == {"a": 1}


# --- what the headers tell the function


def test_all_headers(worker):
    """They make the whole context, but for the two texts of variables."""
    headers = {name: str(value) for name, (_, value) in HEADERS.items()}
    answer = worker.event_invoke({}, **headers)
    context = answer.json["context"]
    assert {key: context[key] for key, _ in HEADERS.values()} == dict(HEADERS.values())
    assert json.loads(context["environment"])["SCF_NAMESPACE"] == "prod"
    assert context["environ"] == "SCF_NAMESPACE=prod"
    assert len(context) == 11
    assert request_id(answer) == HEADERS["X_Scf_Request_Id"][1]


def test_no_headers(worker):
    answer = worker.event_invoke({})
    context = answer.json["context"]
    assert re.fullmatch(UUID, context["request_id"])
    assert context["request_id"] == request_id(answer)
    assert context == {
        "memory_limit_in_mb": 128,
        "time_limit_in_ms": 3000,
        "request_id": request_id(answer),
        "environment": '{"SCF_NAMESPACE":"default"}',
        "environ": "SCF_NAMESPACE=default",
        "function_version": "$LATEST",
        "function_name": "function",
        "namespace": "default",
        "tencentcloud_region": "ap-guangzhou",
        "tencentcloud_appid": "1250000000",
        "tencentcloud_uin": "100000000001",
    }
    assert answer.json["env"] == {}


def test_headers_of_one_call_are_not_those_of_the_next(worker):
    headers = {name: str(value) for name, (_, value) in HEADERS.items() if name != "X_Scf_Request_Id"}
    worker.event_invoke({}, **headers, X_Scf_Secret_Id="id", X_Scf_Trigger_Src="timer")
    result = worker.event_invoke({}).json
    assert result["context"]["function_name"] == "function"
    assert result["context"]["memory_limit_in_mb"] == 128
    assert result["env"] == {}


def test_secrets_are_variables(worker):
    answer = worker.event_invoke(
        {}, X_Scf_Secret_Id="id", X_Scf_Secret_Key="k\"\\ey", X_Scf_Session_Token="token", X_Scf_Trigger_Src="timer"
    )
    assert answer.json["env"] == {
        "TENCENTCLOUD_SECRETID": "id",
        "TENCENTCLOUD_SECRETKEY": 'k"\\ey',
        "TENCENTCLOUD_SESSIONTOKEN": "token",
        "TRIGGER_SRC": "timer",
    }
    assert "k\"\\ey" not in json.dumps(answer.json["context"])


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("3", 3000), ("900", 900_000), ("3000", 3000), ("60000", 60_000), ("x", 3000), ("-1", 3000), ("", 3000)],
)
def test_time_limit_in_seconds_or_milliseconds(worker, text, milliseconds):
    """The unit is not documented; below 1000 it cannot be milliseconds. What is no number counts as absent."""
    assert worker.event_invoke({}, X_Scf_Timeout=text).json["context"]["time_limit_in_ms"] == milliseconds


def test_context_tells_the_limits_that_are_kept(function):
    """Those of the operator come before those of the headers."""
    source = "def main_handler(e, c):\n    return [c['time_limit_in_ms'], c['memory_limit_in_mb']]\n"
    for options, expected in (([], [7000, 512]), (["--timeout", "20", "--memory", "256"], [20_000, 256])):
        one = function({NAME: source}, options=[*options, "--scf-port", "0"])
        assert one.event_invoke({}, X_Scf_Timeout="7", X_Scf_Memory="512").json == expected
        assert f"Memory:{expected[1]}MB" in one.out.text()


def test_strange_request_ids(worker):
    """What JSON and the log must not break on."""
    for text in ('with "quotes"', "back\\slash", "<b>&"):
        answer = worker.event_invoke({}, X_Scf_Request_Id=text)
        assert (request_id(answer), answer.json["context"]["request_id"]) == (text, text)
        failed = worker.event_invoke({"exit": 1}, X_Scf_Request_Id=text)
        assert failed.json["requestId"] == text


def test_ids_differ(worker):
    assert len({request_id(worker.event_invoke({})) for _ in range(50)}) == 50


# --- errors


def test_exception(worker):
    """T22."""
    answer = worker.event_invoke({"raise": "boom"})
    where = f'  File "{worker.folder}/index.py", line 9, in main_handler\n    raise ValueError(event["raise"])\n'
    document = {
        "errorCode": 1,
        "errorMessage": "user code exception caught",
        "requestId": request_id(answer),
        "stackTrace": "Traceback (most recent call last):\n" + where + "ValueError: boom",
        "statusCode": 430,
    }
    assert (answer.status, answer.body) == (430, json.dumps(document, separators=(",", ":")).encode())
    assert worker.event_invoke({}).json["runs"] == 2


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"exit": 1}, id="T38"),
        pytest.param({"exit": 0}, id="status-0"),
        pytest.param({"kill": signal.SIGKILL}, id="SIGKILL"),
    ],
)
def test_end_of_the_process(worker, event):
    """T38. The next call gets a new process."""
    failure(worker.event_invoke(event), 439, 1, "Process exited before completing request")
    assert worker.event_invoke({}).json["runs"] == 1


def test_function_that_fails_to_load_after_a_crash(function, tmp_path):
    """T34, at the call that needed it."""
    flag = tmp_path / "broken"
    one = function({NAME: f"import os\nif os.path.exists({str(flag)!r}):\n    import nowhere\n" + WORKER})
    assert one.event_invoke({}).status == 200
    flag.touch()
    one.event_invoke({"exit": 1})
    for _ in range(2):
        answer = one.event_invoke({})
        document = answer.json
        assert (answer.status, list(document)) == (443, ["errorCode", "errorMessage", "requestId", "statusCode"])
        assert (document["errorCode"], document["statusCode"]) == (1, 443)
        assert document["errorMessage"].startswith("Traceback (most recent call last):\n")
        assert document["errorMessage"].rstrip().endswith("ModuleNotFoundError: No module named 'nowhere'")
    flag.unlink()
    assert one.event_invoke({}).json["runs"] == 1


# --- the log

COLD = (
    r"Init Report RequestId: {id} Coldstart: (?P<cold>\d+)ms \(PullCode: 0ms InitRuntime: 0ms "
    r"InitFunction: (?P<init>\d+)ms\) Memory: 128MB MemUsage: \d+\.\d\dMB\n"
)
REPORT = r"Report RequestId:{id} Duration:(?P<ms>\d+)ms Memory:(?P<size>\d+)MB MemUsage:(?P<used>\d+\.\d+)MB\n"


def lines_of(one, identity: str) -> str:
    """The part of the log between a call's START and Report, both included."""
    match = re.search(rf"(?s)^START RequestId:{identity}\n.*?^Report RequestId:{identity} .*?\n", one.out.text(), re.M)
    assert match, one.out.text()
    return match[0]


def test_log_lines(function):
    """B5: START, the function's own output on either stream, Response, END, Report; Init Report when it is cold.

    T47: what the function returns is logged."""
    one = function({NAME: WORKER}, stderr="stdout")
    expected = ""
    for identity in ("id-a", "id-b"):
        answer = one.event_invoke({"print": "out", "stderr": "err", "return": {"tok": "s"}}, X_Scf_Request_Id=identity)
        assert answer.body == b'{"tok": "s"}'
        expected += f"START RequestId:{identity}\n"
        if identity == "id-a":
            expected += re.sub(r"\?P<\w+>", "", COLD.replace("{id}", identity))
        expected += f"out\nerr\nResponse RequestId:{identity} " + r'RetMsg:\{"tok": "s"\}' + "\n"
        expected += f"END RequestId:{identity}\n" + re.sub(r"\?P<\w+>", "", REPORT.replace("{id}", identity))
    assert re.fullmatch(expected, one.out.text()), one.out.text()


def test_cold_start_in_the_log(function):
    """Its time is that of the import; once, and once more in a process that replaces another."""
    one = function({NAME: "import time\ntime.sleep(0.3)\n" + WORKER})
    for event in ({}, {}, {"exit": 1}, {}, {}):
        one.event_invoke(event)
    match = re.search(COLD.replace("{id}", r"\S+"), one.out.text())
    assert match, one.out.text()
    assert 300 <= int(match["init"]) <= int(match["cold"]) < 5000
    calls = re.split(r"(?m)^START ", one.out.text())[1:]
    assert ["Init Report" in call for call in calls] == [True, False, False, True, False]


def test_numbers_of_the_report(function):
    one = function({NAME: "import time\ndef main_handler(e, c):\n    x = bytearray(e['mb'] << 20)\n"
                          "    time.sleep(e['s'])\n    return len(x)\n"})
    for identity, megabytes, seconds in (("small", 0, 0), ("large", 200, 1), ("again", 0, 0)):
        one.event_invoke({"mb": megabytes, "s": seconds}, X_Scf_Request_Id=identity, X_Scf_Memory="512")
    numbers = {}
    for identity in ("small", "large", "again"):
        match = re.search(REPORT.replace("{id}", identity), lines_of(one, identity))
        assert match["size"] == "512"
        numbers[identity] = (int(match["ms"]), float(match["used"]))
    assert 1000 <= numbers["large"][0] < 3000
    assert numbers["small"][0] < 1000 and numbers["again"][0] < 1000
    assert 200 <= numbers["large"][1] < 300
    assert 5 <= numbers["small"][1] < 100


def test_exception_in_the_log(worker):
    """ERROR with the whole document in place of Response."""
    answer = worker.event_invoke({"raise": "boom"}, X_Scf_Request_Id="x")
    log = lines_of(worker, "x")
    assert f"\nERROR RequestId:x Result:{answer.body.decode()}\nEND RequestId:x\n" in log
    assert "Response" not in log and "RetMsg" not in log


@pytest.mark.parametrize("event", [{"exit": 3}, {"kill": 9}], ids=["exit", "kill"])
def test_end_of_the_process_in_the_log(worker, event):
    answer = worker.event_invoke(event, X_Scf_Request_Id="x")
    assert f"\nERROR RequestId:x Result:{answer.body.decode()}\nEND RequestId:x\nReport " in lines_of(worker, "x")


@pytest.mark.parametrize("extra", [-1, 0, 1, 100_000])
def test_result_in_the_log_is_cut_at_8_kilobytes(worker, extra):
    """B5: the answer is whole, the line in the log is not."""
    text = "r" * (8192 - 2 + extra)  # and its quotes
    answer = worker.event_invoke({"return": text}, X_Scf_Request_Id="x")
    assert answer.json == text
    match = re.search(r"Response RequestId:x RetMsg:(.*)\nEND", worker.out.text())
    assert match[1].encode() == answer.body[:8192]


def test_result_in_the_log_is_cut_between_characters(worker):
    """The log stays UTF-8."""
    for shift in range(3):
        text = "." * shift + "中" * 5000
        worker.event_invoke({"return": text}, X_Scf_Request_Id=f"cut{shift}")
        match = re.search(rf"Response RequestId:cut{shift} RetMsg:(.*)\nEND", worker.out.text())  # strict UTF-8
        assert ('"' + text).startswith(match[1])
        assert 8192 - 3 < len(match[1].encode()) <= 8192


def test_unterminated_output_is_ended_before_the_next_line(function):
    one = function({NAME: "import sys\ndef main_handler(event, context):\n    sys.stdout.write('half')\n"})
    for identity in ("a", "b"):
        one.event_invoke({}, X_Scf_Request_Id=identity)
        assert f"half\nResponse RequestId:{identity} RetMsg:null\n" in lines_of(one, identity)


def test_no_openwhisk_markers(worker):
    worker.event_invoke({"print": "said"})
    assert MARKER not in worker.out.content() + worker.err.content()


# --- the second port


def test_other_port(function):
    """--scf-port: the same doors on both, also after the first one has been used."""
    port = free_port()
    one = function({NAME: WORKER}, options=["--scf-port", str(port)])
    for run, door in enumerate((port, one.port, port), 1):
        answer = one.post(SCF_PATH, {"n": run}, port=door)
        assert (answer.json["event"], answer.json["runs"]) == ({"n": run}, run)
    assert one.post("/run", {"value": {}}, port=port).status == 200


def test_other_port_by_its_environment_twin(function):
    port = free_port()
    one = function({NAME: WORKER}, env={"PYACTION_SCF_PORT": str(port)})
    assert one.post(SCF_PATH, {}, port=port).status == 200


def test_other_port_with_code_by_init(server):
    port = free_port()
    one = server(options=["--scf-port", str(port)])
    assert one.init(WORKER, main="index.main_handler").status == 200
    assert one.post(SCF_PATH, {"a": 1}, port=port).json["event"] == {"a": 1}


def test_other_port_that_is_the_port(function):
    port = free_port()
    one = function({NAME: WORKER}, options=["--scf-port", str(port)], port=port)
    assert one.event_invoke({}).status == 200


def test_other_port_closes_at_the_end(function):
    port = free_port()
    one = function({NAME: WORKER}, options=["--scf-port", str(port)])
    assert one.post(SCF_PATH, {}, port=port).status == 200
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def taken(port: int) -> bool:
    """Whether something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def listens(port: int) -> bool:
    """Whether a connection to it is taken."""
    try:
        Client(port).close()
    except ConnectionRefusedError:
        return False
    return True


needs_9000 = pytest.mark.skipif(taken(9000), reason="something else listens on port 9000")


@needs_9000
def test_port_9000_of_a_function_of_the_convention(function):
    """Where the cloud calls its custom images."""
    one = function({NAME: WORKER})
    assert one.post(SCF_PATH, {"a": 1}, port=9000).json["event"] == {"a": 1}
    assert one.err.content() == b""


@needs_9000
@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        pytest.param({"options": ["--scf-port", "0"]}, False, id="told-not-to"),
        pytest.param({"env": {"PYACTION_SCF_PORT": "0"}}, False, id="told-not-to-by-the-twin"),
        pytest.param({"options": ["--convention", "openwhisk"]}, False, id="another-convention"),
        pytest.param({"env": {"PYACTION_CONVENTION": "lambda"}}, False, id="another-convention-by-the-twin"),
        pytest.param({"options": ["--scf-port", "OTHER"]}, False, id="another-port"),
        pytest.param({}, True, id="by-the-handler"),
    ],
)
def test_who_listens_on_port_9000(function, settings, wanted):
    options = [str(free_port()) if word == "OTHER" else word for word in settings.get("options", [])]
    one = function({NAME: WORKER}, **{**settings, "options": options})
    assert one.run({"return": {}}).status == 200
    assert listens(9000) == wanted


@needs_9000
def test_port_9000_where_the_cloud_runs_the_container(server):
    """It sets TENCENTCLOUD_RUNENV; the code may come later."""
    server(env={"TENCENTCLOUD_RUNENV": "SCF"})
    assert listens(9000)


@needs_9000
def test_no_port_9000_for_others(function):
    function({"__main__.py": "def main():\n    return {}\n"})
    assert not listens(9000)


def test_port_9000_that_is_taken(function):
    """Nobody asked for it, so it is said, and the function serves without it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 9000))
            other.listen()
        except OSError:
            pass  # somebody else has it: as well
        one = function({NAME: WORKER})
        assert one.event_invoke({}).status == 200
        assert "9000" in one.err.text() and "--scf-port" in one.err.text()


# --- what Tencent's local tool, its gateways and its custom runtimes have to do with this door


def test_failure_has_the_lines_of_the_cloud_not_of_the_local_tool(function):
    """T46: of a function that raises, Tencent's (dead) local tool logs no END, and the document as Python writes a
    dict, on stderr. The cloud ends every call with END and Report, and its document is JSON."""
    one = function({NAME: "def main_handler(event, context):\n    raise ValueError('boom')\n"})
    document = one.event_invoke({}, X_Scf_Request_Id="x").json
    assert (document["errorCode"], document["errorMessage"]) == (1, "user code exception caught")
    start, *rest, error, end, report = lines_of(one, "x").splitlines()
    assert (start, end) == ("START RequestId:x", "END RequestId:x")
    assert re.fullmatch(REPORT.replace("{id}", "x"), report + "\n")
    assert len(rest) == 1 and rest[0].startswith("Init Report RequestId: x ")
    assert json.loads(error[len("ERROR RequestId:x Result:"):]) == document
    assert one.err.text() == document["stackTrace"] + "\n"  # the traceback, and nothing of the document


@pytest.mark.parametrize(
    ("result", "passed_on"),
    [
        pytest.param("'plain'", b'"plain"', id="T49"),
        pytest.param("{'a': 1}", b'{"a": 1}', id="T50"),
        pytest.param(
            "{'isBase64Encoded': False, 'statusCode': 404, 'headers': {'X-Mine': '1'}, 'body': 'no'}",
            b'{"isBase64Encoded": false, "statusCode": 404, "headers": {"X-Mine": "1"}, "body": "no"}',
            id="response-of-a-web-function",
        ),
    ],
)
def test_gateways_get_the_result_as_it_is(function, result, passed_on):
    """T49, T50: to make a web response of a result, or to refuse one (T49: errno 403 of the API gateway in integrated
    mode), is for the gateway or function URL in front. What it is given is the function's JSON, as to any caller."""
    one = function({NAME: f"def main_handler(event, context):\n    return {result}\n"})
    answer = one.event_invoke({"httpMethod": "GET", "path": "/", "headers": {}, "queryString": {}, "body": ""})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", passed_on)
    assert "x-mine" not in answer.headers


def test_custom_runtime_api_is_not_served(worker):
    """T52: a custom runtime asks the cloud for its events. This server is asked, by the cloud, and says so; the second
    time as the first, and no event is lost by it."""
    for _ in range(2):
        answer = worker.request("GET", "/runtime/invocation/next")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
        assert "/runtime/invocation/next" in answer.error and SCF_PATH in answer.error
    assert worker.event_invoke({}).json["runs"] == 1


# --- several at once


def test_concurrent_calls_queue(worker):
    def call(number):
        return worker.event_invoke({"n": number, "print": f"said {number}"}, X_Scf_Request_Id=f"id{number}")

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(call, range(20)))
    for number, answer in enumerate(answers):
        assert (answer.json["event"]["n"], answer.json["context"]["request_id"]) == (number, f"id{number}")
        assert re.findall(r"(?m)^said (\d+)", lines_of(worker, f"id{number}")) == [str(number)]
    assert sorted(answer.json["runs"] for answer in answers) == list(range(1, 21))


def test_stop_while_calls_wait(worker, gate):
    """SCF's number for a call that was cancelled."""
    client = worker.connect()
    client.request("POST", SCF_PATH, b"{}")
    running = worker.background(worker.event_invoke, {"gate": gate.path})
    gate.wait_entered()
    client.send(http_request("POST", SCF_PATH, b"{}"))
    worker.signal(signal.SIGTERM)
    gate.release()
    assert running.result().json["runs"] == 2
    answer = client.read_answer()
    assert (answer.status, answer.json["statusCode"]) == (499, 499)
    assert worker.wait() == 0


def test_caller_that_leaves_changes_nothing(worker, gate):
    client = Client(worker.port)
    client.send(http_request("POST", SCF_PATH, json.dumps({"gate": gate.path}).encode()))
    gate.wait_entered()
    client.close()
    waiting = worker.background(worker.event_invoke, {"n": 7})
    gate.release()
    assert waiting.result().json["event"] == {"n": 7}
    wait_until(lambda: worker.out.text().count("\nReport RequestId:") == 2, "both are in the log")


# --- the examples of Tencent's page on Python, as printed


def test_hello_world_of_the_page(server):
    """S000: the event indented, the context as Python writes a dict, and a text that is quoted."""
    one = server(options=["--code", str(EXAMPLES / "scf-hello"), "index.main_handler"])
    answer = one.event_invoke({"key1": "value1"}, X_Scf_Request_Id="x")
    assert (answer.status, answer.body) == (200, b'"Hello World"')
    printed = lines_of(one, "x")
    assert '\nReceived event: {\n  "key1": "value1"\n}\nReceived context: {\'memory_limit_in_mb\': 128, ' in printed
    assert '\nResponse RequestId:x RetMsg:"Hello World"\nEND RequestId:x\n' in printed


def test_logging_of_the_page(server):
    """S000: the same text twice, by logging and by print, and neither level nor time."""
    one = server(options=["--code", str(EXAMPLES / "scf-logs"), "index.main_handler"])
    answer = one.event_invoke({"key1": "value1"}, X_Scf_Request_Id="x")
    assert (answer.status, answer.body) == (200, b'"Hello World!"')
    assert "\ngot event{'key1': 'value1'}\ngot event{'key1': 'value1'}\nResponse RequestId:x" in lines_of(one, "x")
