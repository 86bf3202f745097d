"""Limits of time, memory and size, at every door: what the caller gets, and that the next call works."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from .harness import (
    ABSENT,
    EXECUTABLE,
    LAMBDA_PATH,
    PATIENCE,
    SANITIZED,
    SCF_PATH,
    alive,
    base_environment,
    free_port,
    http_request,
    wait_until,
)

#: One function by three names, so that each convention and each door can call it.
SOURCE = """
import os, signal, subprocess, sys, time
runs = 0

def handle(event, context):
    global runs
    runs += 1
    if "print" in event:
        print(event["print"])
    if "code" in event:
        exec(event["code"], {**globals(), "event": event})
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "make" in event:
        return "r" * event["make"]
    if "bytes" in event:
        return b"r" * event["bytes"]
    return {"runs": runs, "length": len(event.get("text", ""))}

main = lambda_handler = main_handler = handle
"""
FILES = {"app.py": SOURCE}
LAMBDA = "app.lambda_handler"
SCF = "app.main_handler"
OPENWHISK = "app.main"

MIB = 1 << 20

# The documents of the three doors for the same failure. {id} is the call's.


def lambda_failure(answer, kind: str, text: str) -> None:
    """Assert the document of a failure at the Lambda door."""
    assert answer.status == 200, answer
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    identity = answer.headers["x-amzn-requestid"]
    assert answer.json == {"errorType": kind, "errorMessage": text.replace("{id}", identity)}
    assert list(answer.json) == ["errorType", "errorMessage"]


def scf_failure(answer, status: int, text: str, code: int = -1) -> None:
    """Assert the document of a failure at the SCF door."""
    identity = answer.headers["x-scf-request-id"]
    document = {"errorCode": code, "errorMessage": text, "requestId": identity, "statusCode": status}
    assert (answer.status, answer.json) == (status, document)


# --- time


def test_timeout_at_the_lambda_door(function):
    """L53, with half a second."""
    one = function(FILES, LAMBDA, options=["--timeout", "0.5"])
    assert one.invoke({}).json["runs"] == 1
    answer = one.invoke({"print": "before", "sleep": 60})
    lambda_failure(answer, "Sandbox.Timedout", "RequestId: {id} Error: Task timed out after 0.50 seconds")
    assert one.invoke({}).json["runs"] == 1, "a new process"
    identity = answer.headers["x-amzn-requestid"]
    log = one.out.text()
    match = re.search(
        rf"START RequestId: {identity} Version: \$LATEST\nbefore\nEND RequestId: {identity}\n"
        rf"REPORT RequestId: {identity}\tDuration: (\d+\.\d\d) ms\t.*\n"
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z {identity} Task timed out after 0\.50 seconds\n\n",
        log,
    )
    assert match, log
    assert 500 <= float(match[1]) < 5000


def test_timeout_at_the_scf_door(function):
    one = function(FILES, SCF, options=["--timeout", "0.5", "--scf-port", "0"])
    assert one.event_invoke({}).json["runs"] == 1
    answer = one.event_invoke({"print": "before", "sleep": 60}, X_Scf_Request_Id="x")
    scf_failure(answer, 433, "Invoking task timed out after 0.5 seconds")
    assert one.event_invoke({}).json["runs"] == 1, "a new process"
    ending = f"before\nERROR RequestId:x Result:{answer.body.decode()}\nEND RequestId:x\nReport RequestId:x Duration:"
    assert ending in one.out.text()


def test_timeout_at_the_run_door(function):
    """OpenWhisk's own sentence, from where its invoker decides it."""
    one = function(FILES, OPENWHISK, options=["--timeout", "0.5"])
    assert one.result({})["runs"] == 1
    answer = one.run({"print": "before", "sleep": 60})
    assert (answer.status, answer.error) == (502, "The action exceeded its time limits of 500 milliseconds.")
    assert one.out.activations()[1] == b"before\n"
    assert one.result({})["runs"] == 1, "a new process"


def test_timeout_by_its_environment_twin(function):
    one = function(FILES, LAMBDA, env={"PYACTION_TIMEOUT": "0.3"})
    assert "after 0.30 seconds" in one.invoke({"sleep": 60}).json["errorMessage"]


@pytest.mark.parametrize("path", [LAMBDA_PATH, SCF_PATH])
def test_default_timeout(function, path):
    """Three seconds, in both clouds (facts A7, B7)."""
    one = function(FILES, LAMBDA)
    begun = time.monotonic()
    answer = one.invoke({"sleep": 60}, path)
    assert 3 <= time.monotonic() - begun < PATIENCE
    text = answer.json["errorMessage"]
    assert text.endswith("Task timed out after 3.00 seconds" if path == LAMBDA_PATH else "timed out after 3 seconds")


def test_no_timeout(function):
    """--timeout 0; and by default at /run, whose caller keeps the time."""
    one = function(FILES, LAMBDA, options=["--timeout", "0"])
    other = function(FILES, OPENWHISK)
    calls = [one.background(one.invoke, {"sleep": 3.5}), one.background(other.run, {"sleep": 3.5})]
    assert [call.result().json["runs"] for call in calls] == [1, 1]


def test_timeout_of_the_scf_header(function):
    """The cloud says what the function may have; what the operator says comes first."""
    one = function(FILES, SCF, options=["--scf-port", "0"])
    scf_failure(one.event_invoke({"sleep": 60}, X_Scf_Timeout="1"), 433, "Invoking task timed out after 1 seconds")
    strict = function(FILES, SCF, options=["--timeout", "0.5", "--scf-port", "0"])
    answer = strict.event_invoke({"sleep": 60}, X_Scf_Timeout="2000")
    scf_failure(answer, 433, "Invoking task timed out after 0.5 seconds")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("while True: pass", id="busy"),
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)", id="ignores-SIGTERM"),
        pytest.param("subprocess.run(['sleep', '60'])", id="waits-for-a-program"),
        pytest.param(
            "import threading\nwhile True:\n    try: threading.Event().wait(60)\n    except BaseException: pass",
            id="swallows-everything",
        ),
        pytest.param("print('x' * 10_000_000); time.sleep(60)", id="wrote-much"),
        pytest.param("os.kill(os.getpid(), signal.SIGSTOP)", id="stopped"),
    ],
)
def test_timeout_of_every_kind_of_function(function, code):
    one = function(FILES, LAMBDA, options=["--timeout", "0.5"])
    answer = one.invoke({"code": code})
    lambda_failure(answer, "Sandbox.Timedout", "RequestId: {id} Error: Task timed out after 0.50 seconds")
    assert one.invoke({}).json["runs"] == 1


def test_timeout_takes_the_programs_it_started(function, tmp_path):
    path = tmp_path / "pid"
    one = function(FILES, LAMBDA, options=["--timeout", "0.5"])
    code = f"child = subprocess.Popen(['sleep', '60'])\nopen({str(path)!r}, 'w').write(str(child.pid))\nchild.wait()"
    assert "timed out" in one.invoke({"code": code}).json["errorMessage"]
    wait_until(lambda: not alive(int(path.read_text())), "the end of the program")


def test_loading_has_a_time_of_its_own(function):
    """An import that takes longer than an invocation may (Lambda gives it ten seconds) is no timeout, neither at
    the start nor when the code is loaded again."""
    one = function({"app.py": "import time\ntime.sleep(0.8)\n" + SOURCE}, LAMBDA, options=["--timeout", "0.5"])
    assert one.invoke({}).json["runs"] == 1
    assert "timed out" in one.invoke({"sleep": 60}).json["errorMessage"]
    assert one.invoke({}).json["runs"] == 1


def test_waiting_is_not_counted(function):
    """Each call has its time from its own beginning, not from when it came."""
    one = function(FILES, LAMBDA, options=["--timeout", "2"])
    calls = [one.background(one.invoke, {"sleep": 0.6}) for _ in range(5)]
    assert sorted(call.result().json["runs"] for call in calls) == [1, 2, 3, 4, 5]


def test_calls_behind_a_timeout(function):
    one = function(FILES, LAMBDA, options=["--timeout", "0.5"])
    calls = [one.background(one.invoke, {"sleep": 60} if n % 2 else {}) for n in range(6)]
    documents = [call.result().json for call in calls]
    assert [("runs" in document) for document in documents] == [True, False] * 3


def test_event_invocation_that_times_out(function):
    one = function(FILES, LAMBDA, options=["--timeout", "0.5"])
    assert one.invoke({"sleep": 60}, X_Amz_Invocation_Type="Event").status == 202
    wait_until(lambda: "Task timed out after 0.50 seconds\n" in one.out.text(), "the invocation has ended")
    assert one.invoke({}).json["runs"] == 1


def test_stop_during_the_time(function, gate):
    """SIGTERM does not wait for the deadline."""
    one = function(FILES, LAMBDA, options=["--timeout", "100"])
    one.background(lambda: one.invoke({"code": f"open({gate.path!r}).read()"}).status)
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait() == 0


@pytest.mark.parametrize(
    ("options", "most"), [([], 3000), (["--timeout", "7"], 7000), (["--timeout", "0.4"], 400)], ids=["3", "7", "0.4"]
)
def test_remaining_time(function, options, most):
    """Counts down from the limit, in the functions of both conventions that have it."""
    source = (
        "import time\n"
        "def lambda_handler(event, context):\n"
        "    first = context.get_remaining_time_in_millis()\n"
        "    time.sleep(0.1)\n"
        "    return {'times': [first, context.get_remaining_time_in_millis()]}\n"
        "main = lambda_handler\n"
    )
    for handler in ("app.lambda_handler", "app.main"):
        first, second = function({"app.py": source}, handler, options=options).invoke({}).json["times"]
        assert most - (3000 if SANITIZED else 300) < first <= most
        assert 99 <= first - second < 1000


def test_timeout_kills_an_import_after_ten_seconds(tmp_path):
    """Not sooner (Lambda's init limit), but at last: exit status 3."""
    (tmp_path / "app.py").write_text("import time\ntime.sleep(60)\n")
    begun = time.monotonic()
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port()), "--work-dir", str(tmp_path), "--code", str(tmp_path),
         "--timeout", "1", "app.lambda_handler"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE + 10, env=base_environment(),
        check=False,
    )
    assert done.returncode == 3, done
    assert 10 <= time.monotonic() - begun < 10 + PATIENCE
    assert "time limit" in done.stderr.splitlines()[-1]


# --- memory


HOLD = "kept = bytearray({mb} << 20); time.sleep(60)"
TOUCH = "kept = bytearray({mb} << 20); del kept"


@pytest.mark.parametrize("code", [HOLD, TOUCH], ids=["held", "given-back"])
def test_memory_at_the_lambda_door(function, code):
    """128 MB by default. Whether it is seen while it is held or at the end, the document is one."""
    one = function(FILES, LAMBDA)
    assert one.invoke({"code": TOUCH.format(mb=60)}).json["runs"] == 1
    answer = one.invoke({"print": "before", "code": code.format(mb=200)})
    lambda_failure(answer, "Runtime.OutOfMemory", "RequestId: {id} Error: Runtime exited with error: signal: killed")
    assert one.invoke({}).json["runs"] == 1, "a new process"
    identity = answer.headers["x-amzn-requestid"]
    match = re.search(
        rf"before\nEND RequestId: {identity}\nREPORT RequestId: {identity}\t.*"
        rf"\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB\t.*\n"
        rf"RequestId: {identity} Error: Runtime exited with error: signal: killed\nRuntime.OutOfMemory\n",
        one.out.text(),
    )
    assert match, one.out.text()
    assert 128 <= int(match[1]) < 300


def test_memory_of_children(function):
    """What the function starts has a part in its memory, as in the cloud; what they share with it counts once."""
    one = function(FILES, LAMBDA)
    shared = ("import os; kept = bytearray(60 << 20); gate = os.pipe(); pids = [os.fork() for _ in range(3)]\n"
              "if 0 in pids:\n    os.close(gate[1]); os.read(gate[0], 1); os._exit(0)\n"
              "time.sleep(0.3); os.close(gate[1]); [os.waitpid(pid, 0) for pid in pids]")
    assert one.invoke({"code": shared}).json["runs"] == 1
    program = "import time; kept = bytearray(200 << 20); time.sleep(60)"
    answer = one.invoke({"code": f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {program!r}])"})
    lambda_failure(answer, "Runtime.OutOfMemory", "RequestId: {id} Error: Runtime exited with error: signal: killed")
    assert one.invoke({}).json["runs"] == 1, "a new process"


@pytest.mark.parametrize("code", [HOLD, TOUCH], ids=["held", "given-back"])
def test_memory_at_the_scf_door(function, code):
    """T37."""
    one = function(FILES, SCF, options=["--scf-port", "0"])
    assert one.event_invoke({"code": TOUCH.format(mb=60)}).json["runs"] == 1
    scf_failure(one.event_invoke({"code": code.format(mb=200)}), 434, "Task memory exceeded 128 MB")
    assert one.event_invoke({}).json["runs"] == 1, "a new process"


@pytest.mark.parametrize("code", [HOLD, TOUCH], ids=["held", "given-back"])
def test_memory_at_the_run_door(function, code):
    one = function(FILES, OPENWHISK, options=["--memory", "128"])
    answer = one.run({"print": "before", "code": code.format(mb=200)})
    assert answer.status == 502
    assert answer.error == "The action exhausted its memory and was aborted."
    assert one.out.activations()[0] == b"before\n"
    assert one.result({})["runs"] == 1


@pytest.mark.parametrize("options", [["--memory", "0"], ["--memory", "1000"]], ids=["never", "more"])
def test_more_memory(function, options):
    one = function(FILES, LAMBDA, options=options)
    assert one.invoke({"code": TOUCH.format(mb=200)}).json["runs"] == 1
    assert one.event_invoke({"code": TOUCH.format(mb=200)}).json["runs"] == 2


def test_no_memory_limit_at_the_run_door(function):
    assert function(FILES, OPENWHISK).result({"code": TOUCH.format(mb=200)})["runs"] == 1


def test_memory_by_its_environment_twin(function):
    one = function(FILES, LAMBDA, env={"PYACTION_MEMORY": "100"})
    assert one.invoke({"code": HOLD.format(mb=110)}).json["errorType"] == "Runtime.OutOfMemory"


def test_memory_of_the_scf_header(function):
    one = function(FILES, SCF, options=["--scf-port", "0"])
    assert one.event_invoke({"code": TOUCH.format(mb=200)}, X_Scf_Memory="512").status == 200
    answer = one.event_invoke({"code": HOLD.format(mb=100)}, X_Scf_Memory="64")
    scf_failure(answer, 434, "Task memory exceeded 64 MB")


def test_memory_of_the_import(tmp_path):
    """The function cannot be loaded within it: said at the start."""
    (tmp_path / "app.py").write_text("import time\nx = bytearray(200 << 20)\ntime.sleep(60)\n")
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port()), "--work-dir", str(tmp_path), "--code", str(tmp_path),
         "--memory", "128", "app.lambda_handler"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert done.returncode == 3, done
    assert "The action exhausted its memory and was aborted." in done.stderr.splitlines()[-1]


# --- size


def text_event(size: int) -> bytes:
    """An event of exactly so many bytes."""
    return b'{"text":"' + b"e" * (size - 11) + b'"}'


def post_chunked(one, path: str, body: bytes, headers=()):
    """The answer to a body whose length is not told before it comes. The server may answer before all is sent."""
    client = one.connect()
    client.send(http_request("POST", path, None, [("Transfer-Encoding", "chunked"), *headers]))
    try:
        for start in range(0, len(body), 65536):
            piece = body[start:start + 65536]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
    return client.read_answer()


def declared(one, path: str, size: int, headers=()):
    """The answer to a body that is announced; it does not come if it is large."""
    client = one.connect()
    client.send(http_request("POST", path, None, [("Content-Length", str(size)), *headers]))
    if size <= 65536:  # is read even if it is refused, so that the connection can go on (docs/protocol.md)
        client.send(text_event(size))
    return client.read_answer()


def request_too_large(answer, size: int, kind: str, limit: int) -> None:
    """Assert AWS's refusal of an event."""
    assert answer.status == 413
    assert answer.headers["x-amzn-errortype"] == "RequestTooLargeException"
    text = f"{size} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
    assert answer.json == {"Type": "User", "Message": text}
    assert "x-amz-function-error" not in answer.headers


@pytest.mark.parametrize(
    ("options", "kind", "limit"),
    [
        pytest.param([], "RequestResponse", 6 * MIB, id="default"),
        pytest.param([], "Event", 1 * MIB, id="default-event"),
        pytest.param(["--max-request", "1000"], "RequestResponse", 1000, id="option"),
        pytest.param(["--max-request", "2M"], "Event", 2 * MIB, id="option-event"),
    ],
)
def test_request_too_large_at_the_lambda_door(function, options, kind, limit):
    one = function(FILES, LAMBDA, options=options)
    headers = [("X-Amz-Invocation-Type", kind)]
    answer = one.request("POST", LAMBDA_PATH, text_event(limit), headers)
    assert answer.status == (202 if kind == "Event" else 200)
    request_too_large(declared(one, LAMBDA_PATH, limit + 1, headers), limit + 1, kind, limit)
    request_too_large(declared(one, LAMBDA_PATH, 80 * MIB, headers), 80 * MIB, kind, limit)
    request_too_large(post_chunked(one, LAMBDA_PATH, text_event(limit + 1), headers), limit + 1, kind, limit)
    assert one.invoke({}).json["runs"] == 2, "only the first was run"


@pytest.mark.parametrize(("options", "limit"), [([], 6 * MIB), (["--max-request", "1000"], 1000)])
def test_request_too_large_at_the_scf_door(function, options, limit):
    """406 (facts B3)."""
    one = function(FILES, SCF, options=[*options, "--scf-port", "0"])
    assert one.event_invoke(text_event(limit)).json["length"] == limit - 11
    text = f"RequestTooLarge: the event has {limit + 1} bytes, the limit is {limit}"
    for answer in (declared(one, SCF_PATH, limit + 1), post_chunked(one, SCF_PATH, text_event(limit + 1))):
        document = answer.json
        assert (answer.status, document["statusCode"], document["errorCode"]) == (406, 406, -1)
        assert document["errorMessage"] == text
        assert document["requestId"]
    assert one.event_invoke({}).json["runs"] == 2


def test_request_id_of_what_was_too_large(function):
    """Headers are there, whatever the body: the id is the caller's."""
    one = function(FILES, SCF, options=["--max-request", "10", "--scf-port", "0"])
    answer = one.event_invoke({"text": "longer"}, X_Scf_Request_Id="mine")
    assert (answer.status, answer.json["requestId"], answer.headers.get("x-scf-request-id")) == (406, "mine", "mine")


@pytest.mark.parametrize(
    ("options", "limit"), [([], 6 * MIB + 100), (["--max-response", "1000"], 1000), (["--max-response", "7M"], 7 * MIB)]
)
def test_response_too_large_at_the_lambda_door(function, options, limit):
    """L80."""
    one = function(FILES, LAMBDA, options=options)
    answer = one.invoke({"make": limit - 2})  # and its quotes
    assert (answer.status, len(answer.body)) == (200, limit)
    text = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    lambda_failure(one.invoke({"make": limit - 1}), "Function.ResponseSizeTooLarge", text)
    assert one.invoke({}).json["runs"] == 3, "the process lives on"


@pytest.mark.usefixtures("freed_at_once")
@pytest.mark.parametrize("limit", [1000, 6 * MIB + 100])
def test_bytes_that_are_too_large(function, limit):
    """Counted as they are sent, not as the runner encodes them."""
    options = ["--max-response", str(limit)] if limit == 1000 else []
    one = function(FILES, LAMBDA, options=options)
    for size in (limit - 2, limit - 1, limit):
        answer = one.invoke({"bytes": size})
        assert (answer.status, answer.body) == (200, b"r" * size), size
    assert one.invoke({"bytes": limit + 1}).json["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    ("options", "limit", "words"),
    [([], 6 * MIB, "6MB"), (["--max-response", "1000"], 1000, "1000 bytes")],
)
def test_response_too_large_at_the_scf_door(function, options, limit, words):
    """407 (facts B3), in the log as well."""
    one = function(FILES, SCF, options=[*options, "--scf-port", "0"])
    answer = one.event_invoke({"make": limit - 2})
    assert (answer.status, len(answer.body)) == (200, limit)
    answer = one.event_invoke({"make": limit - 1}, X_Scf_Request_Id="x")
    scf_failure(answer, 407, f"The size of response exceeds the upper limit ({words})")
    assert f"ERROR RequestId:x Result:{answer.body.decode()}\n" in one.out.text()
    assert one.event_invoke({}).json["runs"] == 3


ECHO = "def lambda_handler(event, context):\n    return event\nmain_handler = lambda_handler\nmain = lambda_handler\n"


@pytest.mark.parametrize("path", [LAMBDA_PATH, SCF_PATH])
def test_ten_megabytes_where_the_limits_allow_it(function, path):
    """AWS's own emulator cannot."""
    options = ["--max-request", "20M", "--max-response", "20M", "--timeout", "30"]
    options += ["--memory", "0"] if SANITIZED else []
    one = function({"app.py": ECHO}, LAMBDA, options=options)
    event = json.dumps({"text": "£" * 1000, "numbers": list(range(1000)), "rest": "e" * 10_000_000}).encode()
    for _ in range(2):
        answer = one.invoke(event, path)
        assert answer.status == 200
        assert answer.body == event


def test_limits_by_their_environment_twins(function):
    one = function({"app.py": ECHO}, LAMBDA, env={"PYACTION_MAX_REQUEST": "2K", "PYACTION_MAX_RESPONSE": "1K"})
    assert one.invoke(text_event(2049)).status == 413
    assert one.invoke(text_event(2048)).json["errorType"] == "Function.ResponseSizeTooLarge"
    assert one.invoke(text_event(1000)).status == 200


def test_no_such_limits_at_the_run_door(function):
    """The platform in front of it has its own."""
    one = function({"app.py": ECHO}, OPENWHISK, options=["--max-request", "1K", "--max-response", "1K"])
    value = {"text": "e" * 8 * MIB}
    assert one.run(value).json == value


def test_body_limit_holds_at_every_door(function):
    """--max-body is the server's own: what is over it is never read, whatever else is allowed."""
    one = function({"app.py": ECHO}, LAMBDA, options=["--max-body", "1M", "--max-request", "20M"])
    for path in (LAMBDA_PATH, SCF_PATH, "/run"):
        assert declared(one, path, MIB + 1).status == 413
        assert one.invoke(text_event(MIB), path).status in (200, 400)


# --- options


def test_help_tells_every_option():
    done = subprocess.run([str(EXECUTABLE), "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    for name in ("timeout", "memory", "max-request", "max-response", "scf-port", "code", "convention", "log-level"):
        assert f"--{name}=" in done.stdout
        assert "PYACTION_" + name.upper().replace("-", "_") in done.stdout
    assert "PYACTION_MAIN" in done.stdout and "/function" in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["--timeout", "soon"], "--timeout", id="timeout-text"),
        pytest.param(["--timeout", "-1"], "--timeout", id="timeout-negative"),
        pytest.param(["--timeout", "86401"], "--timeout", id="timeout-too-long"),
        pytest.param(["--timeout", "1e3"], "--timeout", id="timeout-exponent"),
        pytest.param(["--timeout", "."], "--timeout", id="timeout-point"),
        pytest.param(["--memory", "128M"], "--memory", id="memory-unit"),
        pytest.param(["--memory", "99999999999"], "--memory", id="memory-too-much"),
        pytest.param(["--max-request", "much"], "--max-request", id="max-request-text"),
        pytest.param(["--max-response", "-1"], "--max-response", id="max-response-negative"),
        pytest.param(["--max-response", "2G"], "--max-response", id="max-response-too-much"),
        pytest.param(["--scf-port", "70000"], "--scf-port", id="scf-port"),
        pytest.param(["--convention", "azure"], "--convention", id="convention"),
        pytest.param(["--log-level", "loud"], "--log-level", id="log-level"),
        pytest.param(["a.b", "c.d"], "c.d", id="two-handlers"),
    ],
)
def test_bad_option_is_named(words, named):
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port()), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr and words[-1] in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYACTION_TIMEOUT", "soon"),
        ("PYACTION_MEMORY", "128M"),
        ("PYACTION_MAX_REQUEST", "much"),
        ("PYACTION_MAX_RESPONSE", "much"),
        ("PYACTION_SCF_PORT", "x"),
        ("PYACTION_CONVENTION", "azure"),
        ("PYACTION_LOG_LEVEL", "loud"),
    ],
)
def test_bad_environment_twin_is_named(name, value):
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port())],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        env={**base_environment(), name: value}, check=False,
    )
    assert done.returncode == 2
    assert name in done.stderr and value in done.stderr


def test_absent_event_is_within_every_limit(function):
    one = function(FILES, LAMBDA, options=["--max-request", "0"])
    assert one.invoke(ABSENT).json["runs"] == 1
    assert one.invoke({}).status == 413
