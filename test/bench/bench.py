#!/usr/bin/env python3
"""Measures OpenWhisk action servers: cold start, /init, /run, payloads, logs, memory. See README.md beside this file.

Each server is a command line. With several, every measurement is taken of one after the other, round by round, so
that a change of the machine's load meets all of them. Every answer is verified; the exit status is 1 if one was wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple

import workload
from container import MARKER, BenchError, Container, end_descendants, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAIT_S = 10  # for a starting server's port
REQUEST_TIMEOUT_S = 60
IDLE_BEFORE_INIT_S = 0.3  # longer than any start-up work of a waiting container
SETTLE_S = 1.0  # before memory is read

ECHOES = {  # what is echoed, by the key of the request
    "echo-1KB": ("1 KB of records", workload.orders_payload, 1_000),
    "echo-10KB": ("10 KB of records", workload.orders_payload, 10_000),
    "echo-100KB": ("100 KB of records", workload.orders_payload, 100_000),
    "echo-1MB": ("1 MB of records", workload.orders_payload, 1_000_000),
    "echo-10MB": ("10 MB of records", workload.orders_payload, 10_000_000),
    "echo-file-1MB": ("1 MB in one string", workload.file_payload, 1_000_000),
    "echo-file-10MB": ("10 MB in one string", workload.file_payload, 10_000_000),
}


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many requests a measurement makes in one round."""

    new: int
    kept: int
    warm_up: int
    echo: Tuple[int, ...]  # for each of ECHOES
    log: int
    memory: int = 1000


FULL = Counts(new=2000, kept=5000, warm_up=200, echo=(500, 500, 100, 10, 5, 10, 5), log=10)
QUICK = Counts(new=300, kept=1000, warm_up=50, echo=(100, 100, 20, 3, 1, 3, 1), log=3)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = False


ROWS = [
    Row("cold-port", "cold start: spawn until the port accepts", "ms"),
    Row("cold-init", "cold start: from there until /init is answered", "ms"),
    Row("cold-run", "cold start: from there until the first /run is answered", "ms"),
    Row("cold-total", "cold start: spawn until the first answer", "ms"),
    Row("init", "/init of a source in a waiting container", "ms"),
    Row("zip-init", f"/init of a zip of {workload.ZIP_MODULES} modules, 1 MB of source", "ms"),
    Row("zip-run", "first /run after it", "ms"),
    Row("new-p50", "/run on a new connection each: median latency", "µs"),
    Row("new-p99", "/run on a new connection each: 99th percentile", "µs"),
    Row("new-rate", "/run on a new connection each: throughput", "1/s", True),
    Row("kept-p50", "/run on a kept connection: median latency", "µs"),
    Row("kept-p99", "/run on a kept connection: 99th percentile", "µs"),
    Row("kept-rate", "/run on a kept connection: throughput", "1/s", True),
    Row("kept-cpu", "/run on a kept connection: CPU time for each", "µs"),
    Row("kept-switches", "/run on a kept connection: context switches for each", ""),
    *(Row(key, f"echo of {title}", "ms") for key, (title, _, _) in ECHOES.items()),
    Row("log", f"/run that prints {workload.LOG_LINES} lines", "ms"),
    *(
        Row(f"memory-{stage}-{kind}", f"memory, {title}: {kind.upper()}", "MB")
        for stage, title in (
            ("idle", "idle before /init"),
            ("first", "after the first /run"),
            ("runs", f"after {FULL.memory} runs"),
            ("echo", "after an echo of 10 MB"),
        )
        for kind in ("rss", "pss")
    ),
]

Figures = Dict[str, float]


class Material:
    """The request bodies as files for the client, the right answers as values, and the output each run has to print.

    Requests have keys: `FUNCTION-init` initialises a container with a function, the other keys of a function run it.
    """

    functions: Dict[str, List[str]] = {
        "hello": ["hello"],
        "echo": list(ECHOES),
        "zip": ["zip"],
        "log": ["log"],
    }

    def __init__(self, directory: pathlib.Path, functions: Sequence[str]) -> None:
        self._directory = directory
        self._functions = functions
        self.bodies: Dict[str, pathlib.Path] = {}
        self.answers: Dict[str, Any] = {}
        codes = {"hello": workload.HELLO_CODE, "echo": workload.ECHO_CODE, "log": workload.LOG_CODE}
        for function, code in codes.items():
            self._add(f"{function}-init", workload.init_body(code), {"ok": True})
        self._add("hello", workload.run_body(workload.HELLO_VALUE), workload.HELLO_RESULT)
        self._add("log", workload.run_body({}), workload.LOG_RESULT)
        for key, (_, payload, size) in ECHOES.items() if "echo" in functions else ():
            value = payload(size)
            self._add(key, workload.run_body(value), value)
        self._add("zip", workload.run_body(workload.ZIP_VALUE), workload.zip_sources(0)[1])
        self.new_round(0)

    def _add(self, key: str, body: bytes, answer: Any) -> None:
        self.bodies[key] = self._directory / f"{key}.json"
        self.bodies[key].write_bytes(body)
        self.answers[key] = answer

    def new_round(self, number: int) -> None:
        """Makes what must be new to the servers in each round."""
        if "zip" in self._functions:
            self._add("zip-init", workload.zip_init_body(number), {"ok": True})

    @staticmethod
    def path(key: str) -> str:
        """The path that a request goes to."""
        return "/init" if key.endswith("-init") else "/run"

    @staticmethod
    def output(key: str) -> bytes:
        """What one run prints to standard output before its marker."""
        return workload.LOG_TEXT.encode("utf-8") if key == "log" else b""


class Server:
    """A server by its command line, its right answers to the byte, and the samples taken of it.

    Two servers may write the same value as different JSON. So each one's first answer to a request is compared with the
    expected value, and from then on its answers with the bytes of that first one.
    """

    def __init__(
        self, name: str, command: str, material: Material, directory: pathlib.Path, client: pathlib.Path
    ) -> None:
        self.name = name
        self.command = command
        self.samples: Dict[str, List[float]] = {}
        self.failures: List[str] = []
        self._material = material
        self._directory = directory
        self._client = client
        self._directory.mkdir()

    def start(self, port: Optional[int] = None) -> Container:
        """Starts the server; see Container."""
        return Container(self.command, self._directory, port)

    def learn(self, functions: Sequence[str]) -> None:
        """Gets and verifies the first answer to each request of some functions. Raises BenchError for a wrong one."""
        for function in functions:
            with self.start() as container:
                container.wait_ready()
                self._learn_answer(container, f"{function}-init")
                for key in self._material.functions[function]:
                    self._learn_answer(container, key)
                    self._check_output(container, [(key, 1)])

    def _expected(self, key: str) -> pathlib.Path:
        return self._directory / f"{key}.expected"

    def _learn_answer(self, container: Container, key: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", container.port, timeout=REQUEST_TIMEOUT_S)
        request = self._material.bodies[key].read_bytes()
        try:
            connection.request("POST", Material.path(key), request, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or json.loads(body) != self._material.answers[key]:
                raise BenchError(
                    f"{key}: wrong answer, status {response.status}: {body[:200]!r}; {container.complaint()}"
                )
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BenchError(f"{key}: no right answer: {error!r}; {container.complaint()}") from None
        finally:
            connection.close()
        self._expected(key).write_bytes(body)

    def _client_command(self, port: int, steps: Sequence[Tuple[str, int]], *options: str) -> List[str]:
        command = [str(self._client), *options, str(port)]
        for key, count in steps:
            command += [Material.path(key), str(self._material.bodies[key]), str(self._expected(key)), str(count)]
        return command

    @staticmethod
    def _check_output(container: Container, steps: Sequence[Tuple[str, int]]) -> None:
        """Compares what the server printed since the last check with what these runs have to print."""
        runs = [(key, count) for key, count in steps if Material.path(key) == "/run"]
        markers = sum(count for _, count in runs)
        expected = b"".join((Material.output(key) + MARKER) * count for key, count in runs)
        streams = (("output", container.stdout, expected), ("error", container.stderr, MARKER * markers))
        for stream, log, right in streams:
            printed = log.take(markers)
            if printed != right:
                raise BenchError(
                    f"standard {stream} of {markers} runs: {len(printed)} bytes with {printed.count(MARKER)} markers"
                    f" instead of {len(right)} with {markers}: {printed[-200:]!r}"
                )

    def request(
        self, container: Container, steps: Sequence[Tuple[str, int]], new: bool = False
    ) -> List[Dict[str, float]]:
        """Has the client make requests: keys and how often. Returns the client's figures for each step.

        Raises:
            BenchError: an answer or the printed output was wrong
        """
        command = self._client_command(container.port, steps, *(["--new"] if new else []))
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if result.returncode != 0:
            raise BenchError(f"{result.stderr.decode('utf-8', 'replace').strip()}; {container.complaint()}")
        self._check_output(container, steps)
        return list(json.loads(result.stdout)["steps"])

    def request_while_starting(self, steps: Sequence[Tuple[str, int]]) -> Tuple[int, Dict[str, Any]]:
        """Starts a server while the client already tries to connect to it; a new connection for each request.

        Returns:
            the time just before the spawn, in ns of the monotonic clock, and the client's figures
        """
        port = free_port()
        command = self._client_command(port, steps, "--new", "--wait", str(WAIT_S))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            try:
                assert client.stdout
                client.stdout.readline()  # "waiting"
                with self.start(port) as container:
                    output, complaint = client.communicate()
                    if client.returncode != 0:
                        raise BenchError(f"{complaint.decode('utf-8', 'replace').strip()}; {container.complaint()}")
                    self._check_output(container, steps)
                    return container.started_ns, json.loads(output)
            finally:
                client.kill()


def measure_cold(server: Server, _: Counts) -> Figures:
    """A new process each time: spawn, port, /init, first /run."""
    started, figures = server.request_while_starting([("hello-init", 1), ("hello", 1)])
    port = figures["connected_ns"]
    init, run = (step["end_ns"] for step in figures["steps"])
    return {
        "cold-port": (port - started) / 1e6,
        "cold-init": (init - port) / 1e6,
        "cold-run": (run - init) / 1e6,
        "cold-total": (run - started) / 1e6,
    }


def measure_init(server: Server, _: Counts) -> Figures:
    """/init of a source in a container that has been idle for a while; a run shows that it was meant."""
    with server.start() as container:
        container.wait_ready()
        time.sleep(IDLE_BEFORE_INIT_S)
        init, _run = server.request(container, [("hello-init", 1), ("hello", 1)], new=True)
        return {"init": init["p50_us"] / 1e3}


def measure_zip(server: Server, _: Counts) -> Figures:
    """/init of the zip in a waiting container and the first run, in which nothing may be left to import."""
    with server.start() as container:
        container.wait_ready()
        time.sleep(IDLE_BEFORE_INIT_S)
        init, run = server.request(container, [("zip-init", 1), ("zip", 1)], new=True)
        return {"zip-init": init["p50_us"] / 1e3, "zip-run": run["p50_us"] / 1e3}


def measure_new(server: Server, counts: Counts) -> Figures:
    """One client, one request after the other, a new connection for each."""
    with server.start() as container:
        container.wait_ready()
        server.request(container, [("hello-init", 1), ("hello", counts.warm_up)], new=True)
        (run,) = server.request(container, [("hello", counts.new)], new=True)
        return {"new-p50": run["p50_us"], "new-p99": run["p99_us"], "new-rate": run["per_second"]}


def measure_kept(server: Server, counts: Counts) -> Figures:
    """One client, one request after the other on one connection; what that costs the whole process tree."""
    with server.start() as container:
        container.wait_ready()
        server.request(container, [("hello-init", 1), ("hello", counts.warm_up)])
        tree, cpu, switches = container.tree(), container.cpu_ns(), container.context_switches()
        (run,) = server.request(container, [("hello", counts.kept)])
        cpu, switches = container.cpu_ns() - cpu, container.context_switches() - switches
        if container.tree() != tree:
            raise BenchError("processes came or went during the runs, so their CPU time is not known")
        if run["connections"] != 1:
            raise BenchError(f"the server did not keep the connection: {run['connections']} for {counts.kept} requests")
        return {
            "kept-p50": run["p50_us"],
            "kept-p99": run["p99_us"],
            "kept-rate": run["per_second"],
            "kept-cpu": cpu / 1e3 / counts.kept,
            "kept-switches": switches / counts.kept,
        }


def measure_echo(server: Server, counts: Counts) -> Figures:
    """The function returns its arguments; payloads from small to large on a kept connection."""
    steps = list(zip(ECHOES, counts.echo))
    with server.start() as container:
        container.wait_ready()
        results = server.request(container, [("echo-init", 1), *steps])
        return {key: result["p50_us"] / 1e3 for (key, _), result in zip(steps, results[1:])}


def measure_log(server: Server, counts: Counts) -> Figures:
    """The function prints lines; all of them and the markers have to arrive, in order."""
    with server.start() as container:
        container.wait_ready()
        _init, run = server.request(container, [("log-init", 1), ("log", counts.log)])
        return {"log": run["p50_us"] / 1e3}


def measure_memory(server: Server, counts: Counts) -> Figures:
    """Memory of the process tree at each stage of a container's life, after it had time to settle."""
    small, large = "echo-1KB", "echo-10MB"
    stages: List[Tuple[str, List[Tuple[str, int]]]] = [
        ("idle", []),
        ("first", [("echo-init", 1), (small, 1)]),
        ("runs", [(small, counts.memory)]),
        ("echo", [(large, 1)]),
    ]
    figures = {}
    with server.start() as container:
        container.wait_ready()
        for stage, steps in stages:
            if steps:
                server.request(container, steps)
            time.sleep(SETTLE_S)
            figures[f"memory-{stage}-rss"], figures[f"memory-{stage}-pss"] = container.memory_mb()
    return figures


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Something to measure: the function whose answers it needs, how, and how often in a round."""

    function: str
    measure: Callable[[Server, Counts], Figures]
    repeats: int = 1


MEASUREMENTS = {
    "cold": Measurement("hello", measure_cold, repeats=3),
    "init": Measurement("hello", measure_init, repeats=3),
    "zip": Measurement("zip", measure_zip, repeats=2),
    "new": Measurement("hello", measure_new),
    "kept": Measurement("hello", measure_kept),
    "echo": Measurement("echo", measure_echo),
    "log": Measurement("log", measure_log),
    "memory": Measurement("echo", measure_memory),
}


def attempt(server: Server, what: str, action: Callable[[], Optional[Figures]]) -> bool:
    """Does something with a server and keeps its samples, or the reason why there are none. Returns success."""
    try:
        for key, value in (action() or {}).items():
            server.samples.setdefault(key, []).append(value)
    except (BenchError, OSError) as error:
        server.failures.append(f"{server.name}: {what}: {error}")
        print(f"FAILED {server.failures[-1]}", file=sys.stderr)
        return False
    return True


def run_rounds(
    servers: Sequence[Server], material: Material, names: Sequence[str], rounds: int, counts: Counts
) -> None:
    """Learns the right answers, then measures: for each round and measurement one server after the other.

    A server that fails a measurement is not asked for that one again.
    """
    functions = sorted({MEASUREMENTS[name].function for name in names})
    skipped = set()
    for server in servers:
        for function in functions:
            if not attempt(server, "first answers", lambda: server.learn([function])):
                skipped |= {(server, name) for name in names if MEASUREMENTS[name].function == function}
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        material.new_round(number)
        for name in names:
            measurement = MEASUREMENTS[name]
            for server in list(servers) * measurement.repeats:
                if (server, name) in skipped:
                    continue
                if not attempt(server, name, lambda: measurement.measure(server, counts)):
                    skipped.add((server, name))


@dataclasses.dataclass(frozen=True)
class Summary:
    """A row's samples of one server."""

    best: float
    median: float
    samples: List[float]

    @classmethod
    def of(cls, row: Row, server: Server) -> Optional[Summary]:
        """None without samples."""
        samples = server.samples.get(row.key)
        if not samples:
            return None
        return cls(max(samples) if row.higher_is_better else min(samples), statistics.median(samples), samples)

    def times_better(self, row: Row, baseline: Summary) -> Tuple[float, float]:
        """How many times better than the baseline, best against best and median against median."""
        pairs = [(self.best, baseline.best), (self.median, baseline.median)]
        best, median = (mine / base if row.higher_is_better else base / mine for mine, base in pairs)
        return best, median


def readable(value: float) -> str:
    """Three significant digits, more for whole numbers of thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def table(servers: Sequence[Server], baseline: Server) -> str:
    """The results as a Markdown table, its columns aligned."""
    others = [server for server in servers if server is not baseline]
    titles = [server.name for server in servers] + [f"{server.name} : {baseline.name}" for server in others]
    lines = [["measurement", "unit", *titles]]
    for row in ROWS:
        summaries = {server.name: Summary.of(row, server) for server in servers}
        if not any(summaries.values()):
            continue
        line = [row.title, row.unit]
        line += [f"{readable(s.best)} ({readable(s.median)})" if s else "–" for s in summaries.values()]
        base = summaries[baseline.name]
        for server in others:
            summary = summaries[server.name]
            line.append("{:.2f}× ({:.2f}×)".format(*summary.times_better(row, base)) if summary and base else "–")
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines)]
    left = 2  # the first columns are text, the others numbers
    lines.insert(1, ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)])
    padded = (
        (cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
        for line in lines
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def machine_facts() -> Dict[str, Any]:
    """What a figure depends on besides the server."""
    processors = pathlib.Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    models = (line.partition(":")[2].strip() for line in processors if line.startswith("model name"))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": next(models, platform.machine()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%d %H:%M:%S%z"),
    }


def to_document(facts: Dict[str, Any], servers: Sequence[Server], baseline: Server) -> Dict[str, Any]:
    """All samples and what was made of them, for `--json`."""
    rows = []
    for row in ROWS:
        summaries = {server.name: Summary.of(row, server) for server in servers}
        base = summaries[baseline.name]
        rows.append(
            {
                **dataclasses.asdict(row),
                "servers": {name: dataclasses.asdict(summary) for name, summary in summaries.items() if summary},
                "times_better": {name: list(s.times_better(row, base)) for name, s in summaries.items() if s and base},
            }
        )
    return {
        "machine": facts,
        "servers": {server.name: server.command for server in servers},
        "baseline": baseline.name,
        "rows": [row for row in rows if row["servers"]],
        "failures": [failure for server in servers for failure in server.failures],
    }


def parse_cpus(text: str) -> List[int]:
    """Numbers of processors with commas between."""
    there = sorted(os.sched_getaffinity(0))
    cpus = [number for number in there if str(number) in text.split(",")]
    if len(cpus) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"'{text}': processors of this machine are {', '.join(map(str, there))}")
    return cpus


def make_parser() -> argparse.ArgumentParser:
    """The options as they are typed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False)
    option = parser.add_argument
    option("--server", action="append", metavar="NAME=COMMAND",
           help="a server to measure, {port} in the command is its port; may be repeated; default: build/pyaction")
    option("--baseline", metavar="NAME", help="the server to compare the others with; default: the first")
    option("--only", metavar="NAMES", help=f"some measurements, with commas between: {', '.join(MEASUREMENTS)}")
    option("--rounds", type=int, metavar="N", help="how often to measure everything; default: 5, with --quick 2")
    option("--quick", action="store_true", help="fewer requests and rounds: a look, not a result")
    option("--cpus", type=parse_cpus, metavar="LIST", help="run client and servers on these processors only, like 0,1")
    option("--json", type=pathlib.Path, metavar="FILE", help="write all samples to this file")
    option("--client", type=pathlib.Path, metavar="PATH", default=ROOT / "build" / "bench-client",
           help="the load client made of client.c; default: build/bench-client")
    return parser


def parse_arguments() -> argparse.Namespace:
    """The command line; ends the program with a message if it is wrong."""
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.server is None:
        arguments.server = [f"pyaction={shlex.quote(str(ROOT / 'build' / 'pyaction'))} --port {{port}}"]
    arguments.server = {name: command for name, _, command in (pair.partition("=") for pair in arguments.server)}
    for name, command in arguments.server.items():
        if not name or "/" in name or "{port}" not in command:
            parser.error(f"--server {name}={command}: it takes a name without '/' and a command with {{port}} in it")
    arguments.baseline = arguments.baseline or next(iter(arguments.server))
    if arguments.baseline not in arguments.server:
        parser.error(f"--baseline {arguments.baseline}: there is no server of that name")
    arguments.only = arguments.only.split(",") if arguments.only else list(MEASUREMENTS)
    unknown = [name for name in arguments.only if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"--only {unknown[0]}: one of {', '.join(MEASUREMENTS)}")
    arguments.rounds = (2 if arguments.quick else 5) if arguments.rounds is None else arguments.rounds
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if not os.access(arguments.client, os.X_OK):
        parser.error(f"--client {arguments.client}: there is no such program; `make bench` builds it")
    return arguments


def stop(*_: object) -> NoReturn:
    """Ends as on ^C: every `with` statement still ends its server."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    """Returns 0, or 1 if an answer was wrong or a server could not be measured."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, stop)
    if arguments.cpus:
        os.sched_setaffinity(0, arguments.cpus)  # inherited by all that is started
    facts = machine_facts()
    with tempfile.TemporaryDirectory(prefix="pyaction-bench-") as temporary:
        directory = pathlib.Path(temporary)
        material = Material(directory, [MEASUREMENTS[name].function for name in arguments.only])
        client = arguments.client.resolve()
        servers = [
            Server(name, command, material, directory / name, client) for name, command in arguments.server.items()
        ]
        baseline = next(server for server in servers if server.name == arguments.baseline)
        try:
            run_rounds(servers, material, arguments.only, arguments.rounds, QUICK if arguments.quick else FULL)
        finally:
            end_descendants(os.getpid())  # a signal may have come before a new server was in its `with` statement
    document = to_document(facts, servers, baseline)
    print("{cores} × {processor}, Linux {kernel}, benchmark on Python {python}, load {load}, {time}\n".format(**facts))
    for server in servers:
        print(f"- {server.name}: `{server.command}`")
    print(f"\n{table(servers, baseline)}\n")
    print(f"Best and (median) of {arguments.rounds} rounds.", end="")
    if len(servers) > 1:
        print(f" 2.00× is twice as good as {baseline.name}: half the time or memory, or double the rate.", end="")
    print()
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for failure in document["failures"]:
        print(f"FAILED {failure}")
    return 1 if document["failures"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
