"""The proxy's own log: where it goes, what it says, and that it is neither the function's nor in anybody's way."""

import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
from typing import Any, Callable, Dict, List

import pytest

from .harness import COUNTED, EXECUTABLE, LAMBDA_PATH, MARKER, PATIENCE, PYTHON, ROOT, Server, base_environment
from .harness import Client, free_port, http_request, wait_until

CODE = """
import os, sys

def main(event):
    print("out", event.get("secret", ""))
    print("error", file=sys.stderr)
    if event.get("die"):
        os._exit(3)
    return event
"""
SECRET = "tr\u00e4umerei-4711"

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = ("error", "warning", "info", "debug")


def records(path: pathlib.Path) -> List[Dict[str, Any]]:
    """The lines of a JSON log, each of which must be whole and have what every line has."""
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n") or not text
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        assert list(record)[:4] == ["time", "level", "event", "message"]
        assert TIME.fullmatch(record["time"]) and record["level"] in LEVELS
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", record["event"])
    assert [record["time"] for record in found] == sorted(record["time"] for record in found)
    return found


def events(path: pathlib.Path) -> List[str]:
    """The names of the events of a JSON log, in their order."""
    return [record["event"] for record in records(path)]


def last(path: pathlib.Path, event: str) -> Dict[str, Any]:
    """The last line about an event."""
    return [record for record in records(path) if record["event"] == event][-1]


@pytest.fixture
def logging(server: Callable[..., Server], tmp_path: pathlib.Path) -> Callable[..., Server]:
    """Return a function that starts a server with a JSON log of a level, at `log` of the server."""

    def start(level: str = "info", options: Any = (), **settings: Any) -> Server:
        path = tmp_path / "log"
        words = ["--log-file", str(path), "--log-format", "json", "--log-level", level, *options]
        one = server(options=words, **settings)
        one.log = path  # type: ignore[attr-defined]
        return one

    return start


def test_life_of_a_server(logging):
    one = logging()
    assert one.init(CODE).status == 200
    assert one.run({"n": 1}, activation_id="0123456789abcdef").status == 200
    assert one.run({"die": True}, activation_id="fedcba").status == 400
    assert one.run({}).status == 200
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert events(one.log) == [
        "server_started", "runner_started", "listening",
        "init_started", "init_ended", "activation_ended",
        "runner_ended", "runner_started", "activation_ended",
        "init_started", "init_ended", "activation_ended",
        "server_stopping", "runner_discarded", "server_stopped",
    ]
    started, ended, died = records(one.log)[0], records(one.log)[5], records(one.log)[6]
    assert started["pid"] == one.pid and re.fullmatch(r"\d+\.\d+\.\d+", started["version"])
    assert (ended["activation_id"], ended["outcome"]) == ("0123456789abcdef", "success")
    assert ended["queue_ms"] >= 0 and ended["run_ms"] > 0 and ended["peak_kb"] > 1000 and ended["waiting"] == 0
    assert (died["level"], died["reason"], died["phase"]) == ("warning", "exit status 3", "running")
    assert died["activation_id"] == "fedcba"
    assert last(one.log, "init_started")["again"] == "yes"
    assert last(one.log, "listening")["port"] == str(one.port)
    assert last(one.log, "server_stopped")["exit_status"] == 0


def test_function_streams_are_the_functions(logging):
    """With the log at its fullest they hold what they hold without it."""
    one = logging("debug")
    assert one.init(CODE).status == 200
    assert one.run({"die": True}).status == 400
    assert one.run({}).status == 200
    assert one.request("GET", "/nowhere").status == 404
    assert one.out.content() == (b"out \n" + MARKER) * 2
    assert one.err.content() == (b"error\n" + MARKER) * 2
    assert "activation_started" in events(one.log)


def test_nothing_of_the_users(logging):
    """Neither event, result, output, code nor variables, at any level; paths of requests at debug only."""
    one = logging("debug")
    assert one.init(f"# {SECRET}\n{CODE}", env={"TOKEN": SECRET}).status == 200
    assert one.run({"secret": SECRET}).json["secret"] == SECRET
    assert one.run({"secret": SECRET, "die": True}).status == 400
    assert one.post("/run", SECRET.encode()).status == 400
    assert SECRET not in one.log.read_text() and SECRET.encode("unicode-escape").decode() not in one.log.read_text()


def test_refused_requests_are_for_debug(logging):
    one = logging("debug")
    assert one.request("GET", "/a%0Ab").status == 404
    refused = last(one.log, "request_refused")
    assert (refused["status"], refused["method"], refused["path"]) == (404, "GET", "/a\nb")


def test_refused_before_any_door(logging):
    """By the time limit for clients, and by libmicrohttpd."""
    one = logging("debug", ["--client-timeout", "1"])
    for line, status, error in (
        (b"X-Half: ", 408, "--client-timeout"),
        (b"Content-Length: -5\r\n\r\n", 400, "libmicrohttpd"),
    ):
        client = one.connect()
        client.send(b"POST /run HTTP/1.1\r\nHost: x\r\n" + line)
        assert client.read_answer().status == status
        refused = last(one.log, "request_refused")
        assert refused["status"] == status and error in refused["error"]
    assert "client_gone" not in events(one.log)


def test_paths_are_for_debug(logging):
    one = logging("info")
    assert one.request("GET", "/secret").status == 404
    assert "secret" not in one.log.read_text()


@pytest.mark.parametrize("level", LEVELS)
def test_levels(logging, level):
    one = logging(level)
    assert one.init(CODE).status == 200
    assert one.run({"die": True}).status == 400
    found = {record["level"] for record in records(one.log)}
    assert found == {"error": set(), "warning": {"warning"}, "info": {"warning", "info"},
                     "debug": {"warning", "info", "debug"}}[level]


def test_text(server, tmp_path):
    path = tmp_path / "log"
    one = server(env={"PYACTION_LOG_FILE": str(path)})
    assert one.init(CODE).status == 200
    assert one.run({}, activation_id='a"b\x1bc').status == 200
    lines = path.read_text().splitlines()
    assert all(re.fullmatch(rf"{TIME.pattern} (info|warning) [a-z_]+: [ -~]+", line) for line in lines), lines
    assert len(lines) == 6 and lines[0].split()[2] == "server_started:"


@pytest.mark.parametrize("identifier", ["x" * 5000, "a\nb\x1b[31m\u009b", "\u00e9" * 70, 17, {"a": 1}, None])
def test_hostile_activation_id(logging, identifier):
    one = logging("debug")
    assert one.init(CODE).status == 200
    assert one.run({}, activation_id=identifier).status == 200
    told = last(one.log, "activation_ended").get("activation_id", "")
    assert len(told.encode()) <= 64 * 3 and told.isprintable()
    assert all(31 < byte < 127 for line in one.log.read_bytes().splitlines() for byte in line if byte < 128)


def test_activation_ids_of_every_door(logging):
    """As the caller knows them: from the message, or from the answer's header."""
    one = logging(env={"__OW_RUNTIME_PLATFORM": "knative"})
    assert one.init(CODE).status == 200

    def told() -> str:
        return str(last(one.log, "activation_ended")["activation_id"])

    assert one.run({}, activation_id="of-run").status == 200 and told() == "of-run"
    assert one.post("/", {"activation": {"activation_id": "of-knative"}, "value": {}}).status == 200
    assert told() == "of-knative"
    assert one.post("/", {"value": {}}).status == 200
    assert "activation_id" not in last(one.log, "activation_ended")
    answer = one.invoke({})
    assert answer.status == 200 and told() == answer.headers["x-amzn-requestid"]
    assert one.event_invoke({}, X_Scf_Request_Id="of-scf").status == 200 and told() == "of-scf"


def test_limits(logging):
    one = logging("warning", options=["--timeout", "0.5", "--memory", "100"])
    assert one.init("import time\ndef main(event):\n    data = bytearray(event.get('take', 0))\n"
                    "    time.sleep(event.get('sleep', 0))\n    return {}").status == 200
    assert one.run({"sleep": 3600}).status == 502
    assert one.run({"take": 300 << 20}).status == 502
    assert last(one.log, "time_limit_passed")["timeout_ms"] == 500
    passed = last(one.log, "memory_limit_passed")
    assert passed["memory_mb"] == 100 and passed["peak_kb"] > 100 * 1024
    assert [record["reason"] for record in records(one.log) if record["event"] == "runner_ended"] == \
        ["it passed a limit"] * 2


def test_init_that_fails(logging):
    one = logging("debug")
    assert one.init(b"PK\x03\x04 no archive").status == 502
    assert one.init("raise ValueError('" + SECRET + "')").status == 502
    assert [record["outcome"] for record in records(one.log) if record["event"] == "init_ended"] == ["init_failed"] * 2
    assert events(one.log).count("unpacking_failed") == 1
    assert SECRET not in one.log.read_text()


def test_client_that_goes(logging):
    one = logging()
    client = one.connect()
    client.send(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    client.close()
    wait_until(lambda: "client_gone" in events(one.log), "it is said")
    assert last(one.log, "client_gone")["before"] == "the end of its request"


def test_result_too_large(logging):
    port = free_port()
    one = logging("warning", options=["--max-response", "10", "--status-port", str(port)])
    assert one.init("def lambda_handler(event, context):\n    return 'x' * 100", main="lambda_handler").status == 200
    assert one.invoke({}).status == 200
    assert one.event_invoke({}).status == 407
    assert events(one.log) == ["result_too_large"] * 2
    assert one.request("GET", "/status", port=port).json["results_too_large"] == 2
    assert [(record["bytes"], record["max_response"]) for record in records(one.log)] == [(102, 10)] * 2


def test_output_that_is_lost(logging):
    one = logging("warning", stdout="/dev/full")
    assert one.init(CODE).status == 200
    for _ in range(3):
        assert one.run({}).status == 200
    assert [(record["stream"], record["error"]) for record in records(one.log) if record["event"] == "output_lost"] \
        == [(1, "No space left on device")]


def test_folder_that_cannot_be_removed(logging, tmp_path):
    """It is somebody else's in part; or it is in a folder that may not be written to any more."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    one = logging(options=["--work-dir", str(work_dir)])
    assert one.init(CODE).status == 200
    folder = next(work_dir.iterdir())
    if os.geteuid() == 0:
        (folder / "another's").mkdir(0o700)
        (folder / "another's" / "file").touch()
    else:
        work_dir.chmod(0o555)
    one.finish()
    left = last(one.log, "folder_left")
    assert (left["level"], left["folder"]) == ("warning", str(folder))
    work_dir.chmod(0o755)


def test_process_that_cannot_be_started(logging, tmp_path):
    runner = tmp_path / "runner"
    runner.write_text("#!/bin/sh\nexec sleep 60\n")
    runner.chmod(0o755)
    one = logging(options=["--runner", str(runner)])
    runner.unlink()
    for pid in one.runners():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "runner_ended" in events(one.log), "its end is said")
    assert one.init(CODE).status == 500
    assert last(one.log, "runner_start_failed")["error"].startswith(f"cannot start '{runner}': ")
    assert last(one.log, "internal_error")["error"] == last(one.log, "runner_start_failed")["error"]


def test_process_that_misbehaves(logging, tmp_path):
    """What it says is not in the log: it may be the user's."""
    runner = tmp_path / "runner"
    runner.write_text(
        f"#!{PYTHON} -SE\nimport os\nmessages = os.fdopen(3, 'rb')\nmessages.readline()\n"
        "os.write(4, b'{\"status\":\"initialized\"}\\n{}\\n')\nmessages.readline()\n"
        f"os.write(4, b'{SECRET.encode('ascii', 'replace').decode()}\\n{{}}\\n')\nmessages.readline()\n"
    )
    runner.chmod(0o755)
    one = logging(options=["--runner", str(runner)])
    assert one.init(CODE).status == 200
    assert one.run({}).status == 500
    misbehaved = last(one.log, "runner_misbehaved")
    assert (misbehaved["level"], misbehaved["error"]) == ("error", "it answered with an unknown status")
    assert "4711" not in one.log.read_text()


def test_queue_that_is_full(logging, gate):
    """Said once, and again only after it has been empty."""
    one = logging("warning")
    code = f"def lambda_handler(event, context):\n    event.get('gate') and open({gate.path!r}).read()"
    assert one.init(code, main="lambda_handler").status == 200
    client = one.connect()
    asynchronous = [("X-Amz-Invocation-Type", "Event")]
    for _ in range(2):
        client.request("POST", LAMBDA_PATH, b'{"gate": 1}', asynchronous)
        gate.wait_entered()
        before = events(one.log).count("queue_full")
        for _ in range(39):
            client.send(http_request("POST", LAMBDA_PATH, b"{}", asynchronous) * 105)
            assert {client.read_answer().status for _ in range(105)} == {202}
        assert [one.invoke({}).status for _ in range(3)] == [429] * 3
        assert events(one.log).count("queue_full") == before + 1
        gate.release()
        assert wait_until(lambda: one.invoke({}).status == 200, "there is room again")
    assert last(one.log, "queue_full")["waiting"] == 4096


def test_stop_that_is_hurried(logging, gate):
    one = logging(options=["--grace", "1000"])
    assert one.init(f"def main(event):\n    open({gate.path!r}).read()\n    return event").status == 200
    one.connect().send(http_request("POST", "/run", b"{}"))
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    wait_until(lambda: "server_stopping" in events(one.log), "it is asked")
    one.signal(signal.SIGINT)
    assert one.wait() == 0
    found = events(one.log)
    assert found.index("server_stopping") < found.index("stop_hurried") < found.index("grace_over")
    assert [last(one.log, name)["signal"] for name in ("server_stopping", "stop_hurried")] == [15, 2]
    assert last(one.log, "activation_ended")["outcome"] == "stopping"
    gate.release()


def test_port_that_is_missed(function, tmp_path):
    path = tmp_path / "log"
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it: as well
            other.bind(("127.0.0.1", 9000))
            other.listen()
        function({"index.py": "def main_handler(event, context):\n    return event"}, "index.main_handler",
                 options=["--log-file", str(path), "--log-format", "json"])
        missed = last(path, "port_missed")
    assert missed["level"] == "warning" and "cannot listen on port 9000 (--scf-port" in missed["error"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only a server that is started as root changes the user")
def test_user_that_cannot_be_changed(logging):
    kept = last(logging(wrapper=["setpriv", "--bounding-set=-kill"]).log, "user_kept")
    assert kept["level"] == "warning" and "that takes CAP_KILL" in kept["error"]


def test_code_that_cannot_be_loaded(server, tmp_path):
    path = tmp_path / "log"
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "__main__.py").write_text(f"raise ValueError({SECRET!r})")
    done = subprocess.run(
        [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(free_port()), "--code", str(folder),
         "--log-file", str(path), "--log-format", "json"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert done.returncode == 3
    failed = last(path, "load_failed")
    assert (failed["level"], failed["code"], failed["handler"]) == ("error", str(folder), "main")
    assert last(path, "server_stopped")["exit_status"] == 3
    assert SECRET not in path.read_text()


def test_start_that_fails(server, tmp_path):
    one = server()
    path = tmp_path / "log"
    done = subprocess.run(
        [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(one.port), "--log-file", str(path),
         "--log-format", "json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "pyaction: " + last(path, "start_failed")["error"] + "\n"


# --- the place


@pytest.mark.parametrize("place", ["/", "/nowhere/log", "fd:99"])
def test_bad_place(place):
    done = subprocess.run(
        [str(EXECUTABLE), "--port", str(free_port()), "--log-file", place],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"pyaction: cannot [a-z ]+ --log-file \(PYACTION_LOG_FILE\) '{place}': .+\n", done.stderr)


#: Tells what its process has open, and what a program has that it starts.
FILES_OF = """
import os, subprocess

LIST = "ls -l /proc/self/fd"

def main(event):
    paths = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd")]
    mine = [os.readlink(path) for path in paths if os.path.islink(path)]  # the listing's own is closed
    return {"function": mine, "child": subprocess.check_output(["sh", "-c", LIST]).decode().split()}
"""


def test_descriptor(tmp_path):
    """fd:N: and neither the runner nor what it starts has it."""
    read_end, write_end = os.pipe()
    code = tmp_path / "app.py"
    code.write_text(FILES_OF)
    port = free_port()
    process = subprocess.Popen(
        [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(port), "--code", str(code), "--log-file",
         f"fd:{write_end}", "--log-format", "json"],
        stdin=subprocess.DEVNULL, pass_fds=[write_end], env=base_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with open(read_end, encoding="utf-8") as lines:
            assert json.loads(lines.readline())["event"] == "server_started"
            while json.loads(lines.readline())["event"] != "listening":
                pass
            with contextlib.closing(Client(port)) as client:
                held = client.request("POST", "/run", b"{}").json
            place = os.readlink(f"/proc/self/fd/{read_end}")
            assert held["function"] and place not in held["function"] + held["child"]
            process.send_signal(signal.SIGTERM)
            assert json.loads(lines.read().splitlines()[-1])["event"] == "server_stopped"
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_moved_and_cut(logging):
    """As logrotate does it, with its option copytruncate and without."""
    one = logging()
    assert one.init(CODE).status == 200
    old = one.log.with_name("log.1")
    one.log.rename(old)

    def reopened() -> bool:
        assert one.run({}).status == 200
        return one.log.exists()

    wait_until(reopened, "the file is made anew")
    assert events(one.log)[0] == "log_reopened"
    assert events(old)[0] == "server_started"
    os.truncate(one.log, 0)
    assert one.run({}).status == 200
    assert events(one.log) == ["activation_ended"]


def test_pipe_that_nobody_reads(server, tmp_path):
    """Requests go on; the lines are counted."""
    path, port = tmp_path / "pipe", free_port()
    os.mkfifo(path)
    one = server(options=["--log-file", str(path), "--log-level", "debug", "--status-port", str(port)])
    assert one.init(CODE).status == 200
    client = one.connect()
    lost = 0
    while lost == 0:
        for _ in range(50):
            assert one.run({}, client=client).status == 200
        lost = one.request("GET", "/status", port=port).json["log_lines_lost"]
    with open(path, "rb", buffering=0) as reader:
        data = b""
        while b"log_lines_lost" not in data:
            assert one.run({}, client=client).status == 200
            data += reader.read(1 << 20) or b""
    assert all(TIME.match(line) for line in data.decode().splitlines())


def test_full_disk(server):
    one = server(options=["--log-file", "/dev/full", "--log-level", "debug"])
    assert one.init(CODE).status == 200
    assert one.run({"n": 1}).json == {"n": 1}


@pytest.mark.skipif(COUNTED, reason="the limit keeps the counts of branches from being written")
def test_limit_of_file_sizes(logging):
    """RLIMIT_FSIZE: the signal that says so must not end the server. Lines are whole again when there is room."""
    one = logging("debug", wrapper=["prlimit", "--fsize=5000:unlimited"])
    assert one.init(CODE).status == 200
    for _ in range(20):
        assert one.run({}).status == 200
    assert one.log.stat().st_size == 5000
    resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert one.run({}).status == 200
    lines = one.log.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines[-3:]][0] == "log_lines_lost"
    torn = [line for line in lines if not line.endswith("}")]
    assert len(torn) <= 1


@pytest.mark.skipif(COUNTED, reason="the limit keeps the counts of branches from being written")
def test_limit_of_file_sizes_at_the_first_line(logging):
    one = logging("debug", wrapper=["prlimit", "--fsize=0:unlimited"])
    assert one.run({}).status == 500
    assert one.log.stat().st_size == 0


def test_without_a_place(server):
    """As it was: at info and debug one line on stderr, at the others none."""
    for level, expected in (("debug", 1), ("info", 1), ("warning", 0), ("error", 0)):
        one = server(options=["--log-level", level])
        assert one.init(CODE).status == 200
        assert one.run({}).status == 200
        text = one.err.text()
        assert text.count("pyaction: convention openwhisk") == expected
        assert len(text.splitlines()) == 2 + expected


def test_every_event_is_tested():
    """Each has been seen by a test above, by name."""
    source = pathlib.Path(__file__).read_text(encoding="utf-8")
    names = re.findall(r"^\tEVENT_(\w+),$", (ROOT / "proxy" / "server_log.h").read_text(encoding="utf-8"), re.M)
    assert [name for name in names if f'"{name.lower()}"' not in source] == []
