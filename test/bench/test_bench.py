#!/usr/bin/env python3
"""Tests of the benchmark itself: it must notice what a server does wrong, and leave nothing behind.

Run as `test_bench.py serve PORT FAULT` this file is the server: right in everything but the fault; followed by a
folder of code and a handler, a server of AWS Lambda's door. It needs build/bench-client, or the path of it in
BENCH_CLIENT.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
import zipfile
from typing import Any, Callable, Dict, List

import aws_lambda
import workload
from container import Container

HERE = pathlib.Path(__file__).resolve()
CLIENT = os.environ.get("BENCH_CLIENT") or str(HERE.parents[2] / "build" / "bench-client")
MARKER = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"


class FakeServer(http.server.BaseHTTPRequestHandler):
    """An action server in one process, with a fault that shows from the second run on."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for each answer
    fault = "none"
    runs = 0
    function: Dict[str, Callable[..., Any]] = {}

    def do_POST(self) -> None:
        """Answers /init and /run."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["value"]
        if self.path == "/init":
            if self.function:
                self.send_error(403, "there is a function already")
                return
            exec(self.unpacked(request["code"]) if request["binary"] else request["code"], self.function)
            self.answer({"ok": True})
            return
        FakeServer.runs += 1
        faulty = FakeServer.runs >= 2
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = self.function["main"](request)
        if faulty and self.fault == "lost line":
            printed = io.StringIO(printed.getvalue().partition("\n")[2])
        sys.stdout.write(printed.getvalue() + MARKER * (2 if faulty and self.fault == "two markers" else 1))
        sys.stdout.flush()
        sys.stderr.write("" if faulty and self.fault == "no marker" else MARKER)
        if faulty and self.fault == "crash":
            os._exit(3)
        self.answer({"greeting": "Hello Jürgen?"} if faulty and self.fault == "wrong byte" else result)

    @staticmethod
    def unpacked(code: str) -> bytes:
        """Lets the modules of an archive be imported, and returns its main file."""
        path = pathlib.Path("code.zip").resolve()
        path.write_bytes(base64.b64decode(code))
        sys.path.insert(0, str(path))
        with zipfile.ZipFile(path) as archive:
            return archive.read("__main__.py")

    def answer(self, value: Any) -> None:
        """Sends JSON."""
        body = workload.to_json(value)
        self.send_response(500 if FakeServer.runs >= 2 and self.fault == "status" else 200)
        if self.fault != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "keep-alive" if self.fault != "no length" else "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.fault == "no length"

    def log_message(self, *_: Any) -> None:
        """Standard error is the function's."""


class FakeLambdaServer(FakeServer):
    """The same behind AWS Lambda's door: one function, there from the start; answers in chunks, as AWS's emulator."""

    def do_POST(self) -> None:
        """Answers an invocation."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        FakeServer.runs += 1
        faulty = FakeServer.runs >= 2
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = self.function["lambda_handler"](event, None)
        own = printed.getvalue().partition("\n")[2] if faulty and self.fault == "lost line" else printed.getvalue()
        name = uuid.uuid4()
        lines = f"START RequestId: {name} Version: $LATEST\n{own}END RequestId: {name}\n"
        for _ in range((self.fault != "no report") + (self.fault == "two reports") if faulty else 1):
            lines += f"REPORT RequestId: {name}\tDuration: 0.10 ms\tBilled Duration: 1 ms\t\n"
        sys.stdout.write(lines + ("by the way\n" if faulty and self.fault == "chatter" else ""))
        sys.stdout.flush()
        self.answer({"greeting": "Hello Jürgen?"} if faulty and self.fault == "wrong byte" else result)

    def answer(self, value: Any) -> None:
        """Sends JSON in chunks of seven bytes, in two writes that end somewhere."""
        body = workload.to_json(value)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        step = 7
        pieces = [body[start:start + step] for start in range(0, len(body), step)] + [b""]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        if FakeServer.runs >= 2 and self.fault == "torn chunk":
            chunks = chunks.replace(b"\r\n", b"", 1)
        if FakeServer.runs >= 2 and self.fault == "behind the end":
            chunks += b"x"
        self.wfile.write(chunks[:12])
        time.sleep(0.001)
        self.wfile.write(chunks[12:])


def serve(port: int, fault: str, *code: str) -> None:
    """Runs the server until it is killed.

    Args:
        code: a Lambda function's folder and handler, or nothing
    """
    if fault == "start":
        sys.exit("this server does not start")
    FakeServer.fault = fault
    kind = FakeServer
    if code:
        folder, handler = code
        exec(pathlib.Path(folder, handler.partition(".")[0] + ".py").read_text("utf-8"), FakeServer.function)
        kind = FakeLambdaServer
    http.server.ThreadingHTTPServer(("127.0.0.1", port), kind).serve_forever()


def bench_command(fault: str, *options: str, door: str = "") -> List[str]:
    """The command line of a quick benchmark of the fake server; door: "" or "lambda-"."""
    server = shlex.join([sys.executable, "-B", str(HERE), "serve", "{port}", fault])
    server += " {code} {handler}" if door else ""
    bench = [sys.executable, "-B", str(HERE.with_name("bench.py"))]
    return bench + ["--client", CLIENT, f"--{door}server", f"fake={server}", "--quick", "--rounds", "1", *options]


def fake_servers() -> List[str]:
    """The command lines of fake servers that are running."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode("utf-8", "replace")
            if f"{HERE}\0serve" in line:
                found.append(line)
    return found


class BenchTest(unittest.TestCase):
    """Each test is one run of the benchmark in a temporary directory of its own."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.environment = dict(os.environ, TMPDIR=temporary.name)

    def check_nothing_left(self) -> None:
        """No server and no file of the benchmark is left."""
        self.assertEqual(fake_servers(), [])
        self.assertEqual([path.name for path in self.directory.iterdir() if path.name != "samples.json"], [])

    def bench(self, fault: str, *options: str, door: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the benchmark to its end."""
        command = bench_command(fault, *options, door=door)
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=self.environment, check=False
        )
        self.check_nothing_left()
        return result

    def test_right_server(self) -> None:
        """All figures are there and make sense together."""
        path = self.directory / "samples.json"
        result = self.bench("none", "--only", "cold,init,new,kept,log", "--json", str(path))
        self.assertEqual((result.returncode, "FAILED" in result.stdout), (0, False), result.stdout + result.stderr)
        document = json.loads(path.read_text("utf-8"))
        best = {row["key"]: row["servers"]["fake"]["best"] for row in document["rows"]}
        self.assertTrue(all(value > 0 for value in best.values()), best)
        self.assertLess(best["cold-port"], best["cold-total"])
        self.assertLessEqual(best["kept-p50"], best["kept-p99"])
        self.assertLess(best["kept-cpu"], 2 * 1e6 / best["kept-rate"])

    def test_faults(self) -> None:
        """Each fault is a failure of the run, with the reason in the table's place."""
        for fault, only, reason in (
            ("wrong byte", "kept", "wrong answer to POST /run: status 200"),
            ("wrong byte", "new", "wrong answer to POST /run: status 200"),
            ("status", "kept", "wrong answer to POST /run: status 500"),
            ("crash", "kept", "the connection was closed after 0 bytes"),
            ("no length", "init", "the answer has no Content-Length"),
            ("no marker", "kept", "standard error of 50 runs"),
            ("two markers", "kept", "standard output of 50 runs"),
            ("lost line", "log", "standard output of"),
            ("start", "cold", "this server does not start"),
        ):
            with self.subTest(fault=fault, only=only):
                result = self.bench(fault, "--only", only)
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn("FAILED fake: ", result.stdout)
                self.assertIn(reason, result.stdout)

    def test_compiler(self) -> None:
        """The compiled zip has rows of its own, and their ratio; a server without a compiler has none."""
        path = self.directory / "samples.json"
        result = self.bench("none", "--only", "compiled", "--compiler", "fake=cat", "--json", str(path))
        self.assertEqual((result.returncode, "FAILED" in result.stdout), (0, False), result.stdout + result.stderr)
        rows = {row["key"]: row["servers"]["fake"] for row in json.loads(path.read_text("utf-8"))["rows"]}
        self.assertEqual(set(rows), {"zip-first", "compiled-first", "compiled-gain", "zip-cold", "compiled-cold",
                                     "compiled-cold-gain"})
        for kind in ("best", "median"):
            self.assertEqual(rows["compiled-gain"][kind], rows["zip-first"][kind] / rows["compiled-first"][kind])
        result = self.bench("none", "--only", "compiled,init")
        self.assertEqual((result.returncode, "by -compile" in result.stdout), (0, False), result.stdout)

    def test_compiler_faults(self) -> None:
        """A compiler that fails, and one whose archive is not the function."""
        for compiler, reason in (
            ("sh -c 'echo broken >&2; exit 3'", "ended with status 3: 'broken'"), ("true", "ended with status 0: ''"),
            ("head -c 1000", "FAILED fake: compiled: "), ("/no/compiler", "No such file or directory"),
        ):
            with self.subTest(compiler=compiler):
                result = self.bench("none", "--only", "compiled", "--compiler", f"fake={compiler}")
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn(reason, result.stdout)

    def test_right_lambda_server(self) -> None:
        """The same behind AWS Lambda's door, with every answer in chunks; each start has a folder without bytecode."""
        path = self.directory / "samples.json"
        names = "lambda-cold,lambda-new,lambda-kept,lambda-log,lambda-echo"
        result = self.bench("none", "--only", names, "--json", str(path), door="lambda-")
        self.assertEqual((result.returncode, "FAILED" in result.stdout), (0, False), result.stdout + result.stderr)
        document = json.loads(path.read_text("utf-8"))
        best = {row["key"]: row["servers"]["fake"]["best"] for row in document["rows"]}
        self.assertTrue(all(value > 0 for value in best.values()), best)
        self.assertTrue(all(f"lambda-{key}" in best for key in aws_lambda.ECHOES), best)
        self.assertLess(best["lambda-cold-port"], best["lambda-cold-total"])
        self.assertLess(best["lambda-kept-cpu"], 2 * 1e6 / best["lambda-kept-rate"])
        self.assertEqual(list(document["lambda_servers"]), ["fake"])
        self.assertNotIn("servers", document)

    def test_lambda_faults(self) -> None:
        """Each fault is a failure of the run, with the reason in the table's place."""
        for fault, only, reason in (
            ("wrong byte", "lambda-kept", f"wrong answer to POST {aws_lambda.PATH}: status 200"),
            ("torn chunk", "lambda-kept", "this is not the size of a chunk: "),
            ("behind the end", "lambda-new", "1 after its end"),
            ("no report", "lambda-kept", "'END': 50, 'REPORT': 1}"),
            ("two reports", "lambda-kept", "'END': 50, 'REPORT': 99}"),
            ("chatter", "lambda-kept", "539 bytes instead of 0 besides the platform's lines"),
            ("lost line", "lambda-log", "besides the platform's lines"),
            ("start", "lambda-cold", "this server does not start"),
        ):
            with self.subTest(fault=fault, only=only):
                result = self.bench(fault, "--only", only, door="lambda-")
                self.assertEqual(result.returncode, 1, result.stdout)
                self.assertIn("FAILED fake: ", result.stdout)
                self.assertIn(reason, result.stdout)

    def test_interrupted(self) -> None:
        """SIGINT and SIGTERM end the servers too."""
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(signal=number):
                command = bench_command("none", "--only", "init")
                quiet = subprocess.DEVNULL
                with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=self.environment) as process:
                    deadline = time.monotonic() + 20
                    while not fake_servers() and time.monotonic() < deadline:
                        time.sleep(0.01)
                    self.assertTrue(fake_servers())
                    process.send_signal(number)
                    self.assertEqual(process.wait(20), status)
                self.check_nothing_left()

    def test_usage(self) -> None:
        """A wrong command line is explained."""
        for options, reason in (
            (["--baseline", "other"], "there is no server of that name"),
            (["--only", "warm"], "--only warm: one of cold,"),
            (["--server", "x=y"], "with {port} in it"),
            (["--cpus", "0,4711"], "processors of this machine"),
            (["--rounds", "0"], "--rounds: at least 1"),
            (["--lambda-server", "x=y {port} {code}"], "with {port}, {code}, {handler} in it"),
            (["--lambda-baseline", "other"], "there is no server of that name"),
            (["--compiler", "other=cat"], "--compiler other: there is no server of that name"),
            (["--only", "lambda-kept"], "--only lambda-kept: there is no server to measure it of"),
        ):
            with self.subTest(options=options):
                result = self.bench("none", *options)
                self.assertEqual(result.returncode, 2)
                self.assertIn(reason, result.stderr)


TREE = """
import os, socket, sys, time
child = os.fork()
held = b"x" * 50_000_000
while time.process_time() < 0.4:
    pass
if child:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(100):
    time.sleep(0.001)
time.sleep(60)
"""


class ContainerTest(unittest.TestCase):
    """What is read of a process tree."""

    def test_tree(self) -> None:
        """A process and its child: both counted, both ended."""
        with tempfile.TemporaryDirectory() as name:
            with Container(shlex.join([sys.executable, "-c", TREE, "{port}"]), pathlib.Path(name)) as container:
                container.wait_ready()
                time.sleep(1)
                tree = container.tree()
                rss, pss = container.memory_mb()
                cpu_s, switches = container.cpu_ns() / 1e9, container.context_switches()
            self.assertEqual(os.listdir(name), [])
        self.assertEqual(len(tree), 2)
        self.assertTrue(100 < pss <= rss < 200, (pss, rss))
        self.assertTrue(0.8 <= cpu_s < 1.6, cpu_s)
        self.assertTrue(200 <= switches, switches)
        # A dead child whose parent is dead too stays a zombie, with no address space, until init has reaped it.
        self.assertEqual([pid for pid in tree if pathlib.Path(f"/proc/{pid}/maps").exists() and
                          pathlib.Path(f"/proc/{pid}/maps").read_text("utf-8")], [])


class WorkloadTest(unittest.TestCase):
    """What the figures' names promise about the requests."""

    def test_payload_sizes(self) -> None:
        """Payloads have their size to the byte, and the orders all kinds of JSON values."""
        for payload in (workload.file_payload, workload.orders_payload):
            for size in (1_000, 10_000, 100_000):
                text = workload.to_json(payload(size))
                self.assertEqual(len(text), size)
                self.assertEqual(workload.to_json(payload(size)), text)
        for kind in (b"null", b"true", b": [", b"0.", b'\\"', "ü".encode(), "李".encode()):
            self.assertTrue(kind in text, kind)

    def test_zip_sources(self) -> None:
        """60 modules, a million bytes of source, and the result that running them has; no two rounds the same."""
        sources, result = workload.zip_sources(1)
        modules = [path for path in sources if path.startswith("service/") and "__init__" not in path]
        self.assertEqual(len(modules), 60)
        self.assertAlmostEqual(sum(len(text.encode()) for text in sources.values()), 1_000_000, delta=20_000)
        with tempfile.TemporaryDirectory() as name:
            for path, text in sources.items():
                file = pathlib.Path(name, path)
                file.parent.mkdir(exist_ok=True)
                file.write_text(text, "utf-8")
            code = "import json, runpy; print(json.dumps(runpy.run_path('__main__.py')['main']({'count': 3})))"
            run = subprocess.run([sys.executable, "-c", code], cwd=name, stdout=subprocess.PIPE, check=True)
        self.assertEqual(json.loads(run.stdout), result)
        other = workload.zip_sources(2)[0]
        self.assertEqual([path for path in modules if sources[path] == other[path]], [])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), *sys.argv[3:])
    else:
        unittest.main()
