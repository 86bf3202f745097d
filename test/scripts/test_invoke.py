"""scripts/invoke: what it sends, and what it makes of every answer.

The server here is a double that records requests and gives prepared answers;
test_examples.py runs the real one.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from .harness import SCRIPTS, lines_of, run_script

SOURCE = "def main():\n    return {}\n"
Make = Callable[..., Path]


class Double:
    """An action container of prepared answers.

    Attributes:
        answers: (status, body) for each path; a list is used up in order.
        requests: the (path, body) of every request so far.
        delay: seconds to wait before each answer.
    """

    def __init__(self) -> None:
        self.answers: Dict[str, Any] = {"/init": (200, b'{"ok":true}')}
        self.requests: List[Tuple[str, bytes]] = []
        self.delay = 0.0
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                double.requests.append((self.path, body))
                time.sleep(double.delay)
                status, answer = double.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,)).start()

    def answer(self, path: str) -> Tuple[int, bytes]:
        answer = self.answers.get(path, (200, b"{}"))
        status, body = answer.pop(0) if isinstance(answer, list) else answer
        return status, body

    def body(self, path: str) -> Any:
        """The JSON of the only request to a path."""
        [body] = [body for where, body in self.requests if where == path]
        return json.loads(body)

    def value(self, path: str = "/init") -> Any:
        return self.body(path)["value"]


@pytest.fixture
def double() -> Iterator[Double]:
    running = Double()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hello.py"
    path.write_text(SOURCE)
    return path


Done = subprocess.CompletedProcess[bytes]


def invoke(double: Double, *arguments: object, **more: Any) -> Done:
    return run_script("invoke", "--url", double.url, *arguments, **more)


def stderr_of(done: Done, status: int) -> str:
    """Check how a run ended that gives no result; return standard error."""
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith((b"invoke: ", b"usage: "))
    return done.stderr.decode()


# The code


def test_source_is_sent_as_text(double: Double, source: Path) -> None:
    assert invoke(double, source).returncode == 0
    assert double.value() == {
        "name": "hello", "main": "main", "env": {},
        "code": SOURCE, "binary": False,
    }
    assert [path for path, _ in double.requests] == ["/init", "/run"]


def test_source_that_is_not_utf8_is_sent_as_base64(
    double: Double, source: Path
) -> None:
    source.write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    assert invoke(double, source).returncode == 0
    assert double.value()["binary"] is True
    assert base64.b64decode(double.value()["code"]) == source.read_bytes()


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b"])
def test_archive_is_sent_as_base64(
    double: Double, tmp_path: Path, start: bytes
) -> None:
    archive = tmp_path / "code.bin"
    archive.write_bytes(start + b" the rest, if it is text")
    assert invoke(double, archive).returncode == 0
    assert double.value()["binary"] is True
    assert base64.b64decode(double.value()["code"]) == archive.read_bytes()


def test_folder_is_packaged(double: Double, make_folder: Make) -> None:
    folder = make_folder(
        {"__main__.py": SOURCE, "a.txt": "", ".ignore": "no", "no": "", "build.sh*": ""}
    )
    assert invoke(double, f"{folder}/").returncode == 0
    value = double.value()
    assert (value["name"], value["binary"]) == ("fn", True)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(value["code"]))) as archive:
        assert archive.namelist() == ["__main__.py", "a.txt"]


def test_folder_with_one_file_is_sent_as_source(
    double: Double, make_folder: Make
) -> None:
    assert invoke(double, make_folder({"hi.py": SOURCE})).returncode == 0
    assert double.value()["binary"] is False
    assert double.value()["code"] == SOURCE


def test_folder_with_one_module_is_zipped_for_its_name(
    double: Double, make_folder: Make
) -> None:
    folder = make_folder({"index.py": SOURCE})
    assert invoke(double, folder, "--main", "index.main").returncode == 0
    assert double.value()["binary"] is True


def test_folder_build_output_is_not_the_result(
    double: Double, make_folder: Make
) -> None:
    folder = make_folder({"__main__.py": SOURCE, "build.sh*": "echo building"})
    done = invoke(double, folder, "--raw")
    assert done.stdout == b"{}"
    assert b"building" in done.stderr
    assert b"building" not in invoke(double, folder, "--no-build").stderr


def test_folder_that_cannot_be_packaged(double: Double, make_folder: Make) -> None:
    done = invoke(double, make_folder({"a.py": "", "b.py": ""}))
    assert "none is __main__.py" in stderr_of(done, 2)
    assert double.requests == []


def test_missing_code(double: Double) -> None:
    done = invoke(double, "no/such.py")
    assert "no/such.py: No such file or directory" in stderr_of(done, 2)


def test_handler_and_name(double: Double, source: Path) -> None:
    assert invoke(double, source, "--main", "m.f", "--name", "other").returncode == 0
    assert double.value()["main"] == "m.f"
    assert double.value()["name"] == "other"
    assert double.body("/run")["action_name"] == "/guest/other"


# The environment


def test_environment(double: Double, source: Path, tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "# comment\n\nA=1\nexport B = 'two words' \nC=\"x\\ny\"\nD=a=b # c\n"
        "E=\nF=x#y\nG='it is \\n'\n"
    )
    options = ["--env", "A=over", "--env", "H=x=y", "--env", "I="]
    done = invoke(double, *options, "--env-file", env_file, source)
    assert done.returncode == 0, done.stderr
    assert double.value()["env"] == {
        "A": "over", "B": "two words", "C": "x\ny", "D": "a=b", "E": "",
        "F": "x#y", "G": "it is \\n", "H": "x=y", "I": "",
    }


@pytest.mark.parametrize("text", ["A", "=x", ""])
def test_environment_of_another_form(double: Double, source: Path, text: str) -> None:
    done = invoke(double, source, "--env", text)
    assert f"--env {text}: not of the form KEY=VALUE" in stderr_of(done, 2)


def test_environment_file_of_another_form(
    double: Double, source: Path, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("A=1\nwhat\n")
    done = invoke(double, source, "--env-file", env_file)
    assert f"{env_file}: line 2: not of the form" in stderr_of(done, 2)
    done = invoke(double, source, "--env-file", tmp_path / "no")
    assert "No such file" in stderr_of(done, 2)


# The event


def run_text(double: Double) -> str:
    [body] = [body for path, body in double.requests if path == "/run"]
    return body.decode()


@pytest.mark.parametrize("event", ['{"n": 9007199254740993}', "[1e400, 1.10]", "null"])
def test_event_is_sent_as_written(double: Double, source: Path, event: str) -> None:
    assert invoke(double, source, event).returncode == 0
    assert run_text(double).startswith(f'{{"value": {event}, "activation_id"')


def test_event_is_empty_by_default(double: Double, source: Path) -> None:
    assert invoke(double, source).returncode == 0
    assert double.value("/run") == {}


def test_event_from_a_file(double: Double, source: Path, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('\ufeff{"name":\n "é"}\n', encoding="utf-8")
    assert invoke(double, source, f"@{event}").returncode == 0
    assert double.value("/run") == {"name": "é"}
    done = invoke(double, source, f"@{tmp_path}/no")
    assert "no: No such file" in stderr_of(done, 2)


@pytest.mark.parametrize("word", ["-", "@-"])
def test_event_from_standard_input(double: Double, source: Path, word: str) -> None:
    assert invoke(double, source, word, stdin='{"a": 1}').returncode == 0
    assert double.value("/run") == {"a": 1}


def test_event_after_options(double: Double, source: Path) -> None:
    assert invoke(double, source, "--env", "A=b", '{"a": 1}').returncode == 0
    assert double.value("/run") == {"a": 1}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ('{"a": x}', "at line 1, column 7:\n  {\"a\": x}\n        ^"),
        ('{\n "a" 1}', 'at line 2, column 6:\n   "a" 1}\n       ^'),
        ("", "Expecting value at line 1, column 1"),
        ('{"a": NaN}', "EVENT: NaN is not JSON"),
    ],
)
def test_event_that_is_not_json(
    double: Double, source: Path, event: str, says: str
) -> None:
    assert says in stderr_of(invoke(double, source, event), 2)
    assert double.requests == []


def test_event_that_is_the_name_of_a_file(double: Double, source: Path) -> None:
    done = invoke(double, source, str(source))
    assert f"(a file is given as @{source})" in stderr_of(done, 2)


@pytest.mark.parametrize(
    ("event", "value"),
    [
        ("{}", {"b": "2", "c": "=x"}),
        (' {"a": 1, "b": 1}\n', {"a": 1, "b": "2", "c": "=x"}),
    ],
)
def test_parameters(double: Double, source: Path, event: str, value: object) -> None:
    params = ["--param", "b=1", "--param", "b=2", "--param", "c==x"]
    assert invoke(double, source, event, *params).returncode == 0
    assert double.value("/run") == value


def test_parameters_need_an_object(double: Double, source: Path) -> None:
    done = invoke(double, source, "[1]", "--param", "a=1")
    assert "--param needs a JSON object" in stderr_of(done, 2)


# The metadata of an activation


def test_metadata_by_default(double: Double, source: Path) -> None:
    before = time.time() * 1000
    assert invoke(double, source, "--timeout", "7").returncode == 0
    body = double.body("/run")
    assert len(body.pop("activation_id")) == 32
    assert len(body.pop("transaction_id")) == 32
    deadline = body.pop("deadline")
    assert isinstance(deadline, str)
    assert before + 7000 <= int(deadline) + 1 <= time.time() * 1000 + 7001
    assert body == {
        "value": {}, "namespace": "guest", "action_name": "/guest/hello",
        "action_version": "0.0.1", "api_host": "", "api_key": "",
    }


def test_metadata_from_options(double: Double, source: Path) -> None:
    options = {
        "activation-id": "A", "transaction-id": "T", "namespace": "N",
        "name": "f", "version": "9", "api-host": "H", "api-key": "K",
    }
    words = [w for k, v in options.items() for w in (f"--{k}", v)]
    before = time.time() * 1000
    done = invoke(double, source, *words, "--deadline-ms", "100000")
    assert done.returncode == 0
    body = double.body("/run")
    assert int(body.pop("deadline")) + 1 >= before + 100000
    assert body == {
        "value": {}, "activation_id": "A", "transaction_id": "T",
        "namespace": "N", "action_name": "/N/f", "action_version": "9",
        "api_host": "H", "api_key": "K",
    }


# The result

RESULT = '{"a":[],"b":{},"n":[1.10,1e400,9007199254740993],"s":"x,{[\\"\\u00e9é"}'
INDENTED = """\
{
  "a": [],
  "b": {},
  "n": [
    1.10,
    1e400,
    9007199254740993
  ],
  "s": "x,{[\\"\\u00e9é"
}
"""


def test_result_is_indented_and_otherwise_unchanged(
    double: Double, source: Path
) -> None:
    double.answers["/run"] = (200, RESULT.encode())
    done = invoke(double, source)
    assert (done.returncode, done.stdout.decode()) == (0, INDENTED)
    assert done.stderr == b""


def test_raw_result(double: Double, source: Path) -> None:
    double.answers["/run"] = (200, RESULT.encode())
    assert invoke(double, source, "--raw").stdout == RESULT.encode()


@pytest.mark.parametrize(
    "value", [[], {}, 1, "x", None, [[1], [], {}], {"a": {"b": [{"c": [[2, 3]]}]}}]
)
def test_indents_like_python(double: Double, source: Path, value: object) -> None:
    double.answers["/run"] = (200, json.dumps(value, separators=(",", ":")).encode())
    done = invoke(double, source)
    assert done.stdout.decode() == json.dumps(value, indent=2) + "\n"


def test_result_that_is_too_deep_for_python(double: Double, source: Path) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    double.answers["/run"] = (200, deep)
    done = invoke(double, source, "--raw")
    assert (done.returncode, done.stdout) == (0, deep)


def test_result_that_is_an_error(double: Double, source: Path) -> None:
    double.answers["/run"] = (200, b'{"error": {"code": 7}}')
    done = invoke(double, source, "--raw")
    assert done.returncode == 1
    assert done.stdout == b'{"error": {"code": 7}}'
    assert done.stderr == b'invoke: the result is an error: {"code": 7}\n'


@pytest.mark.parametrize("status", [400, 500, 502])
def test_run_that_fails(double: Double, source: Path, status: int) -> None:
    double.answers["/run"] = (status, b'{"error": "division by zero"}')
    message = stderr_of(invoke(double, source), 1)
    assert message == f"invoke: /run answered {status}: division by zero\n"


def test_repeat(double: Double, source: Path) -> None:
    double.answers["/run"] = [(200, b"1"), (502, b'{"error": "x"}'), (200, b"3")]
    done = invoke(double, source, "--repeat", "3")
    assert done.returncode == 1
    assert lines_of(done.stdout) == ["1", "3"]
    assert "3 runs, 1 failed; min " in done.stderr.decode()
    ids = [json.loads(b)["activation_id"] for p, b in double.requests if p == "/run"]
    assert len(set(ids)) == 3


def test_init_only(double: Double, source: Path) -> None:
    done = invoke(double, source, "--init-only")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [path for path, _ in double.requests] == ["/init"]


def test_run_only(double: Double, source: Path) -> None:
    cases: List[List[object]] = [['{"a": 1}'], [source, '{"a": 1}'], []]
    for words in cases:
        double.requests.clear()
        assert invoke(double, "--run-only", *words).returncode == 0
        assert [path for path, _ in double.requests] == ["/run"]
        assert double.value("/run") == ({"a": 1} if words else {})


# The container


@pytest.mark.parametrize("word", ["action", "function"])
def test_second_init(double: Double, source: Path, word: str) -> None:
    error = f"Cannot initialize the {word} more than once."
    double.answers["/init"] = (403, json.dumps({"error": error}).encode())
    message = stderr_of(invoke(double, source), 3)
    assert message == (
        f"invoke: /init answered 403: {error}\n"
        "This container has a function: restart it, or use --run-only.\n"
    )
    assert [path for path, _ in double.requests] == ["/init"]


@pytest.mark.parametrize(("status", "traceback"), [(400, False), (502, True)])
def test_init_that_fails(
    double: Double, source: Path, status: int, traceback: bool
) -> None:
    double.answers["/init"] = (status, b'{"error": "why"}')
    message = stderr_of(invoke(double, source), 3)
    assert f"/init answered {status}: why" in message
    assert ("console of the container" in message) is traceback


@pytest.mark.parametrize(
    "answer", [(404, b'{"error": "x"}'), (405, b"{}"), (200, b"<p>hi"), (200, b"\xff")]
)
def test_another_server(
    double: Double, source: Path, answer: Tuple[int, bytes]
) -> None:
    double.answers["/init"] = answer
    message = stderr_of(invoke(double, source), 4)
    assert double.url in message
    assert "not an action container" in message


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_listens(source: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    message = stderr_of(run_script("invoke", "--url", url, source), 4)
    assert f"{url}: nothing listens there. Start a container" in message
    assert f"pyaction --port {url.rpartition(':')[2]}" in message


def test_no_answer_in_time(double: Double, source: Path) -> None:
    double.delay = 0.5
    done = invoke(double, source, "--timeout", "0.1")
    assert "no answer to /init within 0.1 s (--timeout)" in stderr_of(done, 4)


def serve_once(answer: bytes, drain: bool = True) -> Tuple[str, threading.Thread]:
    """Read a little of one request, send these bytes, and hang up.

    Without `drain`, what has not been read resets the connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(100)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while drain and connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", thread


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nCon"])
def test_connection_that_ends_early(source: Path, answer: bytes) -> None:
    url, thread = serve_once(answer)
    message = stderr_of(run_script("invoke", "--url", url, source), 4)
    thread.join()
    assert f"{url}: " in message


def test_refusal_of_a_large_body_is_read(source: Path) -> None:
    """A server may answer 413 and hang up while the body is still coming."""
    source.write_bytes(b"#" * 20_000_000)
    body = b'{"error": "too large"}'
    head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(body)}\r\n\r\n"
    url, thread = serve_once(head.encode() + body, drain=False)
    message = stderr_of(run_script("invoke", "--url", url, source), 3)
    thread.join()
    assert message == "invoke: /init answered 413: too large\n"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x", "http://x:port", "http://"])
def test_url_of_another_form(source: Path, url: str) -> None:
    done = run_script("invoke", "--url", url, source)
    assert f"--url {url}: " in stderr_of(done, 2)


def test_url_from_the_environment_and_with_a_path(
    double: Double, source: Path
) -> None:
    env = {"PYACTION_URL": f"{double.url}/prefix/"}
    assert run_script("invoke", source, env=env).returncode == 0
    assert [p for p, _ in double.requests] == ["/prefix/init", "/prefix/run"]


# Usage


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "CODE is needed"),
        (["x.py", "{}", "{}"], "one EVENT only"),
        (["x.py", "{}", "--init-only"], "--init-only runs nothing"),
        (["x.py", "--init-only", "--param", "a=b"], "--init-only runs nothing"),
        (["x.py", "--init-only", "--run-only"], "not allowed with"),
        (["x.py", "--repeat", "0"], "0 is not above 0"),
        (["x.py", "--timeout", "-1"], "-1 is not above 0"),
        (["x.py", "--timeout", "nan"], "nan is not above 0"),
        (["x.py", "--deadline-ms", "x"], "--deadline-ms"),
        (["x.py", "--nonsense"], "--nonsense"),
    ],
)
def test_usage(words: List[str], says: str) -> None:
    assert says in stderr_of(run_script("invoke", *words), 2)


def test_help_tells_the_exit_status() -> None:
    done = run_script("invoke", "--help")
    assert done.returncode == 0
    for status in range(5):
        assert f"\n  {status}  " in done.stdout.decode()


def test_reader_that_has_gone(double: Double, source: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    script = str(SCRIPTS / "invoke")
    command = [sys.executable, script, "--url", double.url, str(source)]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == b""
