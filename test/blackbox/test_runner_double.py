"""The proxy alone, with a script in the place of the runner: the wire, byte for byte."""

import itertools
import json
import os
import signal
import subprocess

import pytest

from .harness import EXECUTABLE, MARKER, PATIENCE, PYTHON, alive, base_environment, free_port, wait_until

#: Reads messages on fd 3 and answers on fd 4 as the wire wants it; cases replace `serve`.
PREAMBLE = f"""#!{PYTHON} -SE
import json, os, signal, sys, time
requests = os.fdopen(3, "rb", closefd=False)

def send(data):
    while data:
        data = data[os.write(4, data):]

def reply(payload, status=b'{{"status":"success"}}'):
    send(status + b"\\n" + payload + b"\\n")

def serve(line):
    reply(b'{{"ok":true}}')

def start():
    pass
"""

LOOP = """
start()
requests.readline()
reply(b'{"ok":true}', b'{"status":"initialized"}')
for line in requests:
    serve(line[:-1])
"""


@pytest.fixture
def double(server, tmp_path):
    """Return a function that starts a server whose runner is a script, and initialises it."""
    numbers = itertools.count()

    def start(code: str, init: bool = True, by_option: bool = True, **settings):
        path = tmp_path / f"runner{next(numbers)}"
        path.write_text(PREAMBLE + code + LOOP)
        path.chmod(0o755)
        if by_option:
            settings["options"] = ["--runner", str(path)]
        else:
            settings["env"] = {"PYACTION_RUNNER": str(path)}
        one = server(**settings)
        if init:
            answer = one.init("not for this runner")
            assert answer.status == 200, (answer, one.err.content())
        return one

    return start


@pytest.mark.parametrize("by_option", [True, False], ids=["option", "environment"])
def test_other_runner(double, by_option):
    one = double("", by_option=by_option)
    assert one.result() == {"ok": True}
    assert one.out.content() == one.err.content() == MARKER


PAYLOADS = {
    "beyond-double": b'{"n":9007199254740993}',
    "beyond-range": b'{"n":1e400,"m":-1E-400}',
    "trailing-zero": b'{"price":1.10,"z":-0,"e":1.0e+2}',
    "long-number": b'{"pi":3.' + b"1415926535" * 20 + b"}",
    "blanks": b' { "a" :\t[ 1 , 2 ]  } ',
    "repeated-keys": b'{"a":1,"a":2}',
    "escapes": b'{"\\u0061":"\\/\\ud83d\\ude00"}',
    "utf-8": '{"ä":"日本 \U0001f600"}'.encode(),
    "array": b"[1,[2,[3]]]",
    "carriage-return": b'{"a":\r1}',
    "deep": b"[" * 50_000 + b"]" * 50_000,
}


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_payload_goes_out_byte_for_byte(double, tmp_path, name):
    payload = PAYLOADS[name]
    path = tmp_path / "payload"
    path.write_bytes(payload)
    one = double(f"def serve(line):\n    reply(open({str(path)!r}, 'rb').read())\n")
    for _ in range(2):
        answer = one.run({})
        assert (answer.status, answer.body) == (200, payload)
        assert answer.headers["content-type"].startswith("application/json")


def to_file(path) -> str:
    """A `serve` that appends each message to a file."""
    return (
        "def serve(line):\n"
        f"    with open({str(path)!r}, 'ab') as file:\n"
        "        file.write(line + b'\\n')\n"
        "    reply(b'{}')\n"
    )


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_body_comes_in_byte_for_byte(double, tmp_path, name):
    """The runner reads exactly what was posted: no number, blank or escape is touched."""
    seen = tmp_path / "seen"
    one = double(to_file(seen))
    body = b'{"value": ' + PAYLOADS[name] + b', "deadline": "1.10"}'
    assert one.post("/run", body).status == 200
    assert seen.read_bytes() == body + b"\n"


def test_newlines_become_blanks(double, tmp_path):
    """A newline between JSON's tokens is white space, and the wire's messages are lines."""
    seen = tmp_path / "seen"
    one = double(to_file(seen))
    body = json.dumps({"value": {"a": "x\ny"}}, indent=2).encode() + b"\n\n"
    assert one.post("/run", body).status == 200
    assert seen.read_bytes().replace(b"\r", b" ") == body.replace(b"\n", b" ") + b"\n"


def test_init_message_is_one_line_of_json(double, tmp_path):
    seen = tmp_path / "seen"
    code = (
        "class Tee:\n"
        "    def __init__(self, file): self.file = file\n"
        "    def readline(self):\n"
        "        line = self.file.readline()\n"
        f"        open({str(seen)!r}, 'wb').write(line)\n"
        "        return line\n"
        "    def __iter__(self): return iter(self.file)\n"
        "requests = Tee(requests)\n"
    )
    double(code)
    line = seen.read_bytes()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert isinstance(json.loads(line), dict)


def test_standard_streams_of_the_runner(double):
    """0 is /dev/null, 3 and 4 are the channel, and nothing else of the proxy comes along."""
    code = (
        "def serve(line):\n"
        "    found = {n: os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd')\n"
        "             if os.path.lexists('/proc/self/fd/' + n)}\n"
        "    reply(json.dumps(found).encode())\n"
    )
    found = double(code).result()
    assert found["0"] == "/dev/null"
    assert set(found) == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reply_in_small_pieces(double, size):
    """However the kernel cuts a reply up, it is the same reply."""
    code = (
        "def send(data):\n"
        f"    for at in range(0, len(data), {size}):\n"
        f"        os.write(4, data[at:at + {size}])\n"
        "def serve(line):\n    reply(b'{\"length\":' + str(len(line)).encode() + b'}')\n"
    )
    one = double(code)
    for n in range(5):
        body = b'{"value": "%b"}' % (b"x" * n)
        assert one.post("/run", body).json == {"length": len(body)}


def test_large_messages_both_ways(double):
    """More than any pipe holds in both directions at once."""
    one = double("def serve(line):\n    reply(line)\n")
    for size in (65_535, 65_536, 65_537, 1_000_000, 20_000_000):
        body = b'{"value":"' + b"x" * size + b'"}'
        answer = one.post("/run", body)
        assert answer.status == 200 and answer.body == body


def test_runner_answers_before_it_has_read_everything(double):
    """A large request half read, its reply already under way: neither side may wait for the other."""
    code = (
        "def start():\n"
        "    global requests\n"
        "    requests = iter_lines()\n"
        "class iter_lines:\n"
        "    def readline(self):\n"
        "        line = b''\n"
        "        while not line.endswith(b'\\n'): line += os.read(3, 1)\n"
        "        return line\n"
        "    def __iter__(self):\n"
        "        while True:\n"
        "            first = os.read(3, 10)\n"
        "            if not first: return\n"
        "            yield first + b'\\n'\n"
        "def serve(line):\n"
        "    send(b'{\"status\":\"success\"}\\n{\"t\":\"' + b'x' * 500_000)\n"
        "    while not line.endswith(b'\\n'): line = os.read(3, 65536)\n"
        "    send(b'\"}\\n')\n"
    )
    one = double(code)
    for _ in range(2):
        answer = one.run("y" * 5_000_000)
        assert answer.status == 200 and len(answer.json["t"]) == 500_000


# --- death and disorder


def first_time(tmp_path, then: str) -> str:
    """A `serve` that does something once, and after that, in a new process, answers properly."""
    flag = str(tmp_path / "flag")
    return (
        "def serve(line):\n"
        f"    if os.path.exists({flag!r}):\n        return reply(b'{{\"ok\":true}}')\n"
        f"    open({flag!r}, 'w').close()\n"
        f"    {then}\n"
    )


DEATHS = {
    "at-once": "os._exit(3)",
    "half-a-status-line": "send(b'{\"sta'); os._exit(3)",
    "status-line-only": "send(b'{\"status\":\"success\"}\\n'); os._exit(3)",
    "half-a-payload": "send(b'{\"status\":\"success\"}\\n{\"a\":'); os._exit(3)",
    "payload-without-newline": "send(b'{\"status\":\"success\"}\\n{\"a\":1}'); os._exit(3)",
    "closes-its-replies": "os.close(4); time.sleep(1000)",
    "half-a-payload-by-signal": "send(b'{\"status\":\"success\"}\\n{'); os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("kind", sorted(DEATHS))
def test_death_in_the_middle_of_a_reply(double, tmp_path, kind):
    """Never a hang, never half an answer: a crashed activation, and a new runner for the next."""
    one = double(first_time(tmp_path, DEATHS[kind]))
    answer = one.run({})
    assert answer.status == 400
    assert answer.error.startswith("command exited")
    assert one.result() == {"ok": True}
    assert one.out.content() == one.err.content() == MARKER * 2


def test_complete_reply_before_a_death_counts(double):
    """What had been answered when the process ended is the answer."""
    one = double("def serve(line):\n    reply(b'{\"n\":1}'); os._exit(0)\n")
    for _ in range(5):
        assert one.result() == {"n": 1}
    assert one.out.markers() == 5


def test_large_complete_reply_before_a_death_counts(double):
    one = double("def serve(line):\n    reply(b'{\"t\":\"' + b'x' * 3_000_000 + b'\"}'); os._exit(0)\n")
    for _ in range(2):
        assert len(one.result()["t"]) == 3_000_000


DISORDER = {
    "no-json": "reply(b'{}', b'nonsense')",
    "no-object": "reply(b'{}', b'[]')",
    "no-status": "reply(b'{}', b'{}')",
    "status-is-no-text": "reply(b'{}', b'{\"status\":5}')",
    "unknown-status": "reply(b'{}', b'{\"status\":\"splendid\"}')",
    "empty-status-line": "reply(b'{}', b'')",
    "endless-status-line": "reply(b'{}', b'{' + b' ' * 1_000_000)",
    # In one write: a reply that comes later could only be told from the next one by a number.
    "two-replies": "send(b'{\"status\":\"success\"}\\n{\"a\":1}\\n{\"status\":\"success\"}\\n{\"b\":2}\\n')",
    "bytes-after-the-reply": "send(b'{\"status\":\"success\"}\\n{\"a\":1}\\nmore')",
}


@pytest.mark.parametrize("kind", sorted(DISORDER))
def test_runner_that_breaks_the_protocol(double, tmp_path, kind):
    """It is not trusted any further: an error or its first good reply, and then a fresh one."""
    one = double(first_time(tmp_path, DISORDER[kind]))
    answer = one.run({})
    assert answer.status in (200, 400, 500, 502)
    assert answer.status != 200 or (answer.json == {"a": 1} and "repl" in kind)
    for _ in range(3):
        assert one.result() == {"ok": True}


def test_output_of_a_runner_that_breaks_the_protocol(double):
    """All that it writes until it has ended belongs to its activation."""
    one = double(
        "import threading\n"
        "def serve(line):\n"
        "    data = json.loads(line)['value'].encode() * 6000000\n"
        "    threading.Thread(target=os.write, args=(1, data)).start()\n"
        "    reply(b'{}', b'nonsense')\n"
        "    time.sleep(1000)\n"
    )
    letters = "abcdefghijklmnop"
    for letter in letters:
        assert one.run(letter).status == 500
    for letter, log in zip(letters, one.out.content().split(MARKER)):
        assert set(log.decode()) <= {letter, "\n"}


def test_unasked_reply_while_idle(double, tmp_path):
    """A reply nobody asked for must not become the answer to the next request."""
    flag = tmp_path / "sent"
    code = first_time(
        tmp_path,
        "reply(b'{\"pid\":%d}' % os.getpid())\n"
        "    time.sleep(0.05)\n"
        "    reply(b'{\"forged\":1}')\n"
        f"    open({str(flag)!r}, 'w').close()",
    )
    one = double(code)
    pid = one.result()["pid"]
    wait_until(lambda: flag.exists() or not alive(pid), "the runner speaks unasked")
    for _ in range(3):
        assert one.result() == {"ok": True}


def test_runner_that_never_reads(double, tmp_path):
    """A request larger than the pipe, and the process dies without having read it."""
    flag = str(tmp_path / "flag")
    code = (
        "def start():\n"
        "    global requests\n"
        f"    if not os.path.exists({flag!r}):\n"
        f"        open({flag!r}, 'w').close()\n"
        "        line = b''\n"
        "        while not line.endswith(b'\\n'): line += os.read(3, 1)\n"
        "        reply(b'{\"ok\":true}', b'{\"status\":\"initialized\"}')\n"
        "        os.read(3, 1)\n"
        "        os._exit(3)\n"
    )
    one = double(code)
    answer = one.run("x" * 5_000_000)
    assert answer.status == 400
    assert one.result() == {"ok": True}


def test_slow_start(double, gate):
    """The init waits for a runner that takes its time; the server answers others meanwhile."""
    code = f"def start():\n    open({gate.path!r}).read()\n"
    one = double(code, init=False)
    pending = one.background(one.init, "x")
    gate.wait_entered()
    assert one.request("GET", "/nowhere").status == 404
    assert not pending.done()
    gate.release()
    assert pending.result().status == 200


def test_runner_that_dies_at_start(double):
    """Nothing to be had from this runner: an error for each init, and no storm of processes."""
    one = double("def start():\n    requests.readline(); os._exit(9)\n", init=False)
    for _ in range(3):
        answer = one.init("x")
        assert answer.status == 502
        assert answer.error.startswith("Cannot start action. Check logs for details.")
    assert one.err.text().count("Command exited abruptly during initialization.") == 3


def test_runner_that_ignores_the_end(double):
    """Deaf to SIGTERM and to the end of its requests: the teardown's second must do."""
    code = (
        "def start():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def serve(line):\n    reply(b'{\"ok\":true}'); time.sleep(1000)\n"
    )
    assert double(code).result() == {"ok": True}


def test_runner_stopped_by_a_signal(double):
    """A stopped process cannot act on SIGTERM; the server's end must not depend on it."""
    one = double("def serve(line):\n    reply(str(os.getpid()).encode())\n", init=True)
    answer = one.run({})
    os.kill(int(answer.body), signal.SIGSTOP)


@pytest.mark.parametrize("text", ["#!/nonexistent/interpreter\n", ""], ids=["interpreter", "empty"])
def test_runner_that_cannot_be_executed(tmp_path, text):
    """The person who gave --runner learns which file it was and why."""
    path = tmp_path / "runner"
    path.write_text(text)
    path.chmod(0o755)
    words = [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(free_port()), "--runner", str(path)]
    done = subprocess.run(
        words, capture_output=True, text=True, env=base_environment(), timeout=PATIENCE, check=False
    )
    assert done.returncode > 0
    assert str(path) in done.stderr
