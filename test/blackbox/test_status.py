"""The status port: what it tells, when it answers, and that it disturbs nobody."""

import collections
import contextlib
import itertools
import json
import pathlib
import re
import signal
import subprocess
import threading
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from .harness import EXECUTABLE, LAMBDA_PATH, MARKER, PATIENCE, PYTHON, Client, Server, base_environment, free_port
from .harness import open_files, wait_until

HELD = """
def main(event):
    if "gate" in event:
        open(event["gate"]).read()
    return event
"""

DIES = """
import os, signal, time

def main(event):
    how = event.get("how")
    if how == "exit":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGUSR1)
    if how == "raise":
        raise ValueError("no")
    if how == "error":
        return {"error": "mine"}
    if how == "time":
        time.sleep(3600)
    return event
"""


@pytest.fixture
def watched(server: Callable[..., Server]) -> Callable[..., Server]:
    """Return a function that starts a server with a status port, which is its attribute `status_port`."""

    def start(options: Any = (), **settings: Any) -> Server:
        port = free_port()
        one = server(options=["--status-port", str(port), *options], **settings)
        one.status_port = port  # type: ignore[attr-defined]
        return one

    return start


def status(one: Server) -> Dict[str, Any]:
    """The document of GET /status."""
    answer = one.request("GET", "/status", port=one.status_port)  # type: ignore[attr-defined]
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    document: Dict[str, Any] = answer.json
    return document


def state(one: Server) -> str:
    """What the server says that the function does."""
    return str(status(one)["state"])


Samples = Dict[Tuple[str, Tuple[Tuple[str, str], ...]], float]

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def parse_labels(text: str) -> Tuple[Tuple[str, str], ...]:
    """The labels of a sample; AssertionError where they are not what the format has."""
    found = LABEL.findall(text)
    assert "".join(f'{name}="{value}",' for name, value in found).rstrip(",") == text, text
    assert len({name for name, _ in found}) == len(found), text
    return tuple(found)


def parse_exposition(text: str) -> Samples:
    """The samples of a Prometheus exposition, format 0.0.4, which must follow it and its naming rules strictly.

    Source: prometheus.io, "Exposition formats" and "Metric and label naming".
    """
    samples: Samples = {}
    families: Dict[str, str] = {}
    helped = family = ""
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            assert helped not in families and len(line.split(" ", 3)[3]) > 0, line
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped and family not in families, line
            assert kind in ("counter", "gauge", "histogram"), line
            assert (kind == "counter") == family.endswith("_total"), line
            families[family] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.group(1), parse_labels(match.group(2) or ""), float(match.group(3))
            suffixes = ("_bucket", "_sum", "_count") if families[family] == "histogram" else ("",)
            assert name in [family + suffix for suffix in suffixes], line
            assert (name, labels) not in samples, line
            samples[name, labels] = value
    for name, kind in families.items():
        if kind == "histogram":
            check_histogram(name, samples)
    return samples


def check_histogram(name: str, samples: Samples) -> None:
    """Its buckets must rise, in both ways, and end with all of its count."""
    buckets = [(float(labels[0][1]), value) for (own, labels), value in samples.items() if own == name + "_bucket"]
    assert buckets == sorted(buckets) and len({bound for bound, _ in buckets}) == len(buckets)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert buckets[-1] == (float("inf"), samples[name + "_count", ()])


def metrics(one: Server) -> Samples:
    """The samples of GET /metrics."""
    answer = one.request("GET", "/metrics", port=one.status_port)  # type: ignore[attr-defined]
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return parse_exposition(answer.body.decode("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "pyaction_x 1\n",
        "# HELP a_total b\n# TYPE a_total counter\na_total 1",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\n\na 1\n",
        '# HELP a b\n# TYPE a gauge\na{b="c} 1\n',
        '# HELP a b\n# TYPE a gauge\na{b="c"d="e"} 1\n',
        "# TYPE a gauge\na 1\n",
        '# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ],
)
def test_parser_is_strict(text):
    with pytest.raises((AssertionError, KeyError)):
        parse_exposition(text)


# --- where it is


def test_function_port_tells_nothing(watched):
    one = watched()
    for path in ("/status", "/metrics"):
        assert one.request("GET", path).status == 404


def test_off_unless_asked_for(server):
    one = server()
    files = open_files(one.pid)
    may_look = set(files) - {"?"}
    assert not may_look or len([target for target in files if target.startswith("socket:")]) == 1
    for path in ("/status", "/metrics"):
        assert one.request("GET", path).status == 404


def test_status_port_serves_no_function(watched):
    one = watched()
    for path in ("/init", "/run", LAMBDA_PATH, "/"):
        answer = one.request("POST", path, b"{}", port=one.status_port)
        assert answer.status == 404
        assert answer.error.startswith(f"There is nothing at {path}: this is the status port")


def test_methods(watched):
    one = watched()
    for path in ("/status", "/metrics"):
        answer = one.request("POST", path, b"{}", port=one.status_port)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert answer.error == f"{path} takes GET, not POST."
        whole = one.request("GET", path, port=one.status_port)
        head = one.request("HEAD", path, port=one.status_port)
        assert (head.status, head.body) == (200, b"") and int(head.headers["content-length"]) > len(whole.body) / 2


def test_large_body_is_refused(watched):
    one = watched()
    assert one.request("GET", "/status", b"x" * 5000, port=one.status_port).status == 413


def test_port_from_the_environment(server):
    port = free_port()
    one = server(env={"PYACTION_STATUS_PORT": str(port)})
    assert one.request("GET", "/status", port=port).json["state"] == "waiting_for_init"


def test_port_in_use(server):
    one = server()
    done = subprocess.run(
        [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(free_port()), "--status-port", str(one.port)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, env=base_environment(), check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on port {one.port} (--status-port, PYACTION_STATUS_PORT)" in done.stderr


# --- when it answers


def test_states(watched, gate):
    one = watched()
    assert state(one) == "waiting_for_init"
    answer = one.background(one.init, f"open({gate.path!r}).read()\n{HELD}")
    gate.wait_entered()
    assert state(one) == "initializing"
    gate.release()
    assert answer.result().status == 200
    assert state(one) == "ready"
    answer = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    assert state(one) == "running"
    gate.release()
    assert answer.result().status == 200
    assert state(one) == "ready"


def test_init_that_failed(watched):
    one = watched()
    assert one.init("raise ValueError").status == 502
    assert status(one)["inits"]["outcomes"]["init_failed"] == 1
    assert (state(one), status(one)["convention"]) == ("init_failed", None)
    assert one.init(HELD).status == 200
    assert (state(one), status(one)["convention"]) == ("ready", "openwhisk")


def test_restart(watched, gate, tmp_path):
    """While a fresh process loads the code again, for an activation that waits for it."""
    second = tmp_path / "second"
    one = watched()
    code = f"import os\nif os.path.exists({str(second)!r}):\n    open({gate.path!r}).read()\n{DIES}"
    assert one.init(code).status == 200
    assert one.run({"how": "exit"}).status == 400
    second.touch()
    answer = one.background(one.run, {})
    gate.wait_entered()
    assert state(one) == "reinitializing"
    gate.release()
    assert answer.result().status == 200
    runner = status(one)["runner"]
    assert (runner["starts"], runner["restarts"], runner["exits"], runner["signals"]) == (2, 1, {"3": 1}, {})
    assert [runner["pid"]] == one.runners()


def test_stopping(watched, gate):
    one = watched(["--grace", "10"])
    assert one.init(HELD).status == 200
    answer = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    wait_until(lambda: state(one) == "stopping", "it says that it stops")
    gate.release()
    assert answer.result().status == 200
    assert one.wait() == 0


def test_code_at_start(function, gate):
    port = free_port()
    one = function(
        {"app.py": f"open({gate.path!r}).read()\ndef lambda_handler(event, context):\n    return event"},
        "app.lambda_handler", options=["--status-port", str(port)],
    )
    gate.wait_entered()
    assert one.request("GET", "/status", port=port).json["state"] == "initializing"
    gate.release()
    assert one.invoke({}).status == 200
    document = one.request("GET", "/status", port=port).json
    assert (document["state"], document["convention"]) == ("ready", "lambda")
    assert document["inits"]["outcomes"]["initialized"] == 1


def test_when_the_functions_port_is_full(watched):
    """The status port has connections of its own."""
    one = watched(wrapper=["prlimit", "--nofile=100"], check_files=False)
    most = status(one)["http"]["max_connections"]
    assert most == 100 - 64
    clients = [one.connect() for _ in range(most + 3)]
    # Some are kept free: the oldest silent ones are closed for them.
    wait_until(lambda: status(one)["http"]["connections"] >= most * 3 // 4, "it has all that it takes")
    assert parse_exposition(one.request("GET", "/metrics", port=one.status_port).body.decode())
    for client in clients:
        client.close()


def test_pollers_that_say_nothing(watched):
    """Sixteen connections at a time: for more, the oldest are closed."""
    one = watched()
    with contextlib.ExitStack() as open_ones:
        silent = [open_ones.enter_context(contextlib.closing(Client(one.status_port))) for _ in range(16)]
        wait_until(lambda: one.run().status == 500, "the function's port is served")
        silent[3].close()
        assert state(one) == "waiting_for_init"
    assert state(one) == "waiting_for_init"


def test_pollers_that_never_say_anything(watched):
    """They are closed after 10 s: nobody is kept out for ever."""
    one = watched()
    with contextlib.ExitStack() as open_ones:
        for _ in range(16):
            open_ones.enter_context(contextlib.closing(Client(one.status_port)))
        assert state(one) == "waiting_for_init"


def test_many_requests_on_a_connection(watched):
    one = watched()
    with contextlib.closing(Client(one.status_port)) as client:
        for _ in range(300):
            assert client.request("GET", "/status").json["state"] == "waiting_for_init"
        client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        for _ in range(40):
            assert client.read_answer().status == 200


def test_half_a_request_and_its_end(watched):
    one = watched()
    with contextlib.closing(Client(one.status_port)) as client:
        client.send(b"GET /sta")
    with contextlib.closing(Client(one.status_port)) as client:
        client.send(b"GET /status HT")
        client.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_answer().status == 200


# --- what it tells


def test_outcomes(watched):
    one = watched(["--timeout", "1"])
    assert one.run({}).status == 500
    assert one.init("").status == 403
    assert one.init(DIES).status == 200
    assert one.init(DIES).status == 403
    for how, code in [("exit", 400), ("signal", 400), ("raise", 502), ("error", 200), ("time", 502), ("", 200)]:
        assert one.run({"how": how}).status == code
    assert one.post("/run", b"no JSON").status == 400
    document = status(one)
    outcomes = {name: count for name, count in document["activations"]["outcomes"].items() if count}
    assert outcomes == {"not_initialized": 1, "exited": 2, "function_error": 1, "application_error": 1,
                        "timed_out": 1, "success": 1, "bad_request": 1}
    assert document["activations"]["total"] == 8
    inits = {name: count for name, count in document["inits"]["outcomes"].items() if count}
    assert inits == {"no_code_given": 1, "initialized": 1, "already_initialized": 1}
    runner = document["runner"]
    assert (runner["exits"], runner["signals"]) == ({"3": 1}, {"SIGUSR1": 1, "SIGKILL": 1})
    assert document["http"]["answers"] == {"200": 3, "400": 3, "403": 2, "500": 1, "502": 2}


#: What no door gets to see: refused for its time, for its arguments, and by libmicrohttpd.
NO_REQUESTS = [
    b"Content-Length: 9\r\n\r\nhalf", b"X-Half: ", b"X-Long: " + b"y" * 100_000 + b"\r\n\r\n",
    b"Content-Length: -5\r\n\r\n", b"Content-Length: 99999999999999999999999999\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
]


def test_refused_by_no_door(watched):
    one = watched(options=["--client-timeout", "1"])
    begin = b"POST /run%s HTTP/1.1\r\nHost: x\r\n"
    clients = []
    for sent in [begin % b"" + rest for rest in NO_REQUESTS] + [begin % (b"?" + b"a&" * 101) + b"\r\n"]:
        clients.append(one.connect())
        clients[-1].send(sent)
    seen = collections.Counter(str(client.read_answer().status) for client in clients)
    assert sum(seen.values()) == len(NO_REQUESTS) + 1 and seen["408"] == 2 and seen["414"] == 1
    document = status(one)
    assert document["http"]["answers"] == dict(seen)
    assert document["activations"]["total"] == 0


def test_memory_limit(watched):
    one = watched(["--memory", "64"])
    assert one.init("def main(event):\n    data = bytearray(200 << 20)\n    return {}").status == 200
    assert one.run({}).status == 502
    document = status(one)
    assert document["activations"]["outcomes"]["out_of_memory"] == 1
    assert document["runner"]["signals"] == {"SIGKILL": 1}


def test_latencies(watched, gate):
    one = watched()
    assert one.init(HELD).status == 200
    first = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    others = [one.background(one.run, {}) for _ in range(3)]
    wait_until(lambda: status(one)["activations"]["waiting"] == 3, "three wait behind one")
    document = status(one)
    assert (document["activations"]["in_flight"], document["http"]["pending"]) == (1, 4)
    assert metrics(one)["pyaction_activations_waiting", ()] == 3
    gate.release()
    assert [future.result().status for future in [first, *others]] == [200] * 4
    latency = status(one)["latency_seconds"]
    assert latency["loading"]["count"] == 1 and latency["queue"]["count"] == latency["run"]["count"] == 4
    for one_of in latency.values():
        assert 0 < one_of["p50"] <= one_of["p90"] <= one_of["p99"] <= one_of["p999"] <= one_of["max"]
        assert one_of["max"] <= one_of["sum"] + 1e-6
    # The first held the others up: they waited for most of the time that it ran.
    assert latency["queue"]["max"] < latency["run"]["max"] + 1 and latency["queue"]["p50"] > 0


def test_clients_that_go(watched, gate):
    one = watched()
    assert one.init(HELD).status == 200
    early = one.connect()
    early.send(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    early.close()
    wait_until(lambda: status(one)["http"]["clients_gone"]["request"] == 1, "one went before the end of its request")
    late = one.connect()
    body = json.dumps({"value": {"gate": gate.path, "large": "x" * 3_000_000}}).encode()
    late.send(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    gate.wait_entered()
    late.close()
    gate.release()
    wait_until(lambda: status(one)["http"]["clients_gone"]["answer"] == 1, "one went before its answer's end")


def test_memory_and_files(watched):
    one = watched()
    assert one.init(HELD).status == 200
    document = status(one)
    for name, pid in (("proxy", one.pid), ("runner", one.runners()[0])):
        assert document[name]["pid"] == pid
        shown = dict(re.findall(r"(?m)^(\w+):\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()))
        for key, member in (("VmRSS", "resident_bytes"), ("VmHWM", "peak_bytes")):
            assert abs(document[name][member] - int(shown[key]) * 1024) < 2 << 20
    assert document["proxy"]["open_files"] in range(10, 40)
    clients = [one.connect() for _ in range(20)]
    wait_until(lambda: status(one)["proxy"]["open_files"] >= document["proxy"]["open_files"] + 20, "20 more")
    for client in clients:
        client.close()


def test_both_documents_agree(watched):
    one = watched()
    assert one.init(DIES).status == 200
    for how in ("", "raise", "exit"):
        one.run({"how": how})
    document, samples = status(one), metrics(one)
    for name, count in document["activations"]["outcomes"].items():
        assert samples["pyaction_activations_total", (("outcome", name),)] == count
    for name, count in document["inits"]["outcomes"].items():
        assert samples["pyaction_inits_total", (("outcome", name),)] == count
    states = {labels[0][1]: value for (name, labels), value in samples.items() if name == "pyaction_state"}
    assert [name for name, value in states.items() if value == 1] == ["ready"] and sum(states.values()) == 1
    assert samples["pyaction_build_info", (("version", document["version"]),)] == 1
    for member, name in (("run", "run"), ("queue", "queue"), ("loading", "loading")):
        assert samples[f"pyaction_{name}_duration_seconds_count", ()] == document["latency_seconds"][member]["count"]
        assert samples[f"pyaction_{name}_duration_seconds_sum", ()] == document["latency_seconds"][member]["sum"]
    assert samples["pyaction_runner_exits_total", (("status", "3"),)] == 1
    for code, count in document["http"]["answers"].items():
        assert samples["pyaction_http_answers_total", (("code", code),)] == count


# --- it disturbs nobody

#: A runner that writes each message to a file, and answers with the number of those that it has had.
COUNTING = f"""#!{PYTHON} -SE
import os
requests = os.fdopen(3, "rb")
with open(os.environ["SEEN"], "ab", buffering=0) as seen:
    for number, line in enumerate(requests):
        seen.write(line)
        status = b'{{"status":"success"}}' if number else b'{{"status":"initialized"}}'
        os.write(4, status + b'\\n{{"number":%d}}\\n' % number)
"""


@contextlib.contextmanager
def polling(one: Server) -> Iterator[List[int]]:
    """Poll from three threads as fast as it goes; yields the numbers of answers so far."""
    over = threading.Event()
    counts = [0, 0, 0]

    def poll(index: int) -> None:
        with contextlib.closing(Client(one.status_port)) as client:  # type: ignore[attr-defined]
            for path in itertools.cycle(["/status", "/metrics"]):
                if over.is_set():
                    return
                assert client.request("GET", path).status == 200
                counts[index] += 1

    futures = [one.background(poll, index) for index in range(len(counts))]
    try:
        yield counts
    finally:
        over.set()
        for future in futures:
            future.result()


def test_runner_is_not_asked(watched, tmp_path):
    """It gets the messages of init and runs, and no other."""
    runner, seen = tmp_path / "runner", tmp_path / "seen"
    runner.write_text(COUNTING)
    runner.chmod(0o755)
    one = watched(["--runner", str(runner)], env={"SEEN": str(seen)})
    with polling(one) as counts:
        wait_until(lambda: min(counts) > 5, "polls without code")
        assert one.init(HELD).status == 200
        for number in range(1, 51):
            assert one.result({"n": number}) == {"number": number}
        before = min(counts)
        wait_until(lambda: min(counts) > before + 5, "polls of the idle one")
    lines = seen.read_bytes().splitlines()
    assert len(lines) == 51
    assert [json.loads(line)["value"]["n"] for line in lines[1:]] == list(range(1, 51))


def test_answers_and_log_are_the_same(watched, gate):
    """A run that polls surround says and returns what it does without them."""
    one = watched()
    code = "def main(event):\n    print('begin', flush=True)\n    open(event['gate']).read()\n" \
           "    print('end')\n    return {'n': event['n']}"
    assert one.init(code).status == 200
    with polling(one) as counts:
        for number in range(3):
            answer = one.background(one.run, {"gate": gate.path, "n": number})
            gate.wait_entered()
            before = min(counts)
            wait_until(lambda least=before: min(counts) > least + 10, "polls during the run")
            gate.release()
            assert (answer.result().status, answer.result().json) == (200, {"n": number})
    assert one.out.content() == (b"begin\nend\n" + MARKER) * 3
    assert one.err.content() == MARKER * 3
