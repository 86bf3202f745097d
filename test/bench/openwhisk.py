"""What is measured of OpenWhisk action servers: cold start, /init, /run, payloads, logs, memory."""

from __future__ import annotations

import pathlib
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

import workload
from container import MARKER, BenchError, Container
from server import (
    FULL, Counts, Figures, Material, Measurement, Row, Server, Steps, connection_rows, kept_connection, new_connections
)

IDLE_BEFORE_INIT_S = 0.3  # longer than any start-up work of a waiting container
SETTLE_S = 1.0  # before memory is read

# What is echoed, by the key of the request: a title, what makes the payload, how long it is, the name of that size.
ECHOES: Dict[str, Tuple[str, Callable[[int], Dict[str, Any]], int, str]] = {
    "echo-1KB": ("1 KB of records", workload.orders_payload, 1_000, "1KB"),
    "echo-10KB": ("10 KB of records", workload.orders_payload, 10_000, "10KB"),
    "echo-100KB": ("100 KB of records", workload.orders_payload, 100_000, "100KB"),
    "echo-1MB": ("1 MB of records", workload.orders_payload, 1_000_000, "1MB"),
    "echo-10MB": ("10 MB of records", workload.orders_payload, 10_000_000, "10MB"),
    "echo-file-1MB": ("1 MB in one string", workload.file_payload, 1_000_000, "1MB"),
    "echo-file-10MB": ("10 MB in one string", workload.file_payload, 10_000_000, "10MB"),
}

ROWS = [
    Row("cold-port", "cold start: spawn until the port accepts", "ms"),
    Row("cold-init", "cold start: from there until /init is answered", "ms"),
    Row("cold-run", "cold start: from there until the first /run is answered", "ms"),
    Row("cold-total", "cold start: spawn until the first answer", "ms"),
    Row("init", "/init of a source in a waiting container", "ms"),
    Row("zip-init", f"/init of a zip of {workload.ZIP_MODULES} modules, 1 MB of source", "ms"),
    Row("zip-run", "first /run after it", "ms"),
    Row("zip-first", "/init of that zip until the first answer", "ms"),
    Row("compiled-first", "the same, the zip made by -compile", "ms"),
    Row("compiled-gain", "… times as fast as without -compile", "×", True, ("zip-first", "compiled-first")),
    Row("zip-cold", "spawn until the first answer of that zip", "ms"),
    Row("compiled-cold", "the same, the zip made by -compile", "ms"),
    Row("compiled-cold-gain", "… times as fast as without -compile", "×", True, ("zip-cold", "compiled-cold")),
    *connection_rows("", "/run"),
    *(Row(key, f"echo of {title}", "ms") for key, (title, *_) in ECHOES.items()),
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


class OpenWhiskMaterial(Material):
    """`FUNCTION-init` initialises a container with a function, the other keys of a function run it."""

    functions: Dict[str, List[str]] = {
        "hello": ["hello-init", "hello"],
        "echo": ["echo-init", *ECHOES],
        "zip": ["zip-init", "zip"],
        "compiled": ["compiled-init", "zip"],
        "log": ["log-init", "log"],
    }

    def __init__(self, directory: pathlib.Path, functions: Sequence[str]) -> None:
        super().__init__(directory)
        self._has_zip = "zip" in functions or "compiled" in functions
        codes = {"hello": workload.HELLO_CODE, "echo": workload.ECHO_CODE, "log": workload.LOG_CODE}
        for function, code in codes.items():
            self.add(f"{function}-init", workload.init_body(code), {"ok": True})
        self.add("hello", workload.run_body(workload.HELLO_VALUE), workload.HELLO_RESULT)
        self.add("log", workload.run_body({}), workload.LOG_RESULT)
        for key, (_, payload, size, _) in ECHOES.items() if "echo" in functions else ():
            value = payload(size)
            self.add(key, workload.run_body(value), value)
        self.add("zip", workload.run_body(workload.ZIP_VALUE), workload.zip_sources(0)[1])
        self.new_round(0)

    def new_round(self, number: int) -> None:
        """The zip: its modules are new to any cache."""
        if self._has_zip:
            body = workload.zip_init_body(number)
            self.add("zip-init", body, {"ok": True})
            self.add("compiled-init", body, {"ok": True})  # each server gets its own

    def command(self, template: str, function: str) -> str:
        """The function comes with /init."""
        return template

    def path(self, key: str) -> str:
        """The path that a request goes to."""
        return "/init" if key.endswith("-init") else "/run"

    @staticmethod
    def output(key: str) -> bytes:
        """What one run prints to standard output before its marker."""
        return workload.LOG_TEXT.encode("utf-8") if key == "log" else b""

    def check_output(self, container: Container, steps: Steps) -> None:
        """Each run prints its lines to standard output, and a marker to each stream."""
        runs = [(key, count) for key, count in steps if self.path(key) == "/run"]
        markers = sum(count for _, count in runs)
        expected = b"".join((self.output(key) + MARKER) * count for key, count in runs)
        streams = (("output", container.stdout, expected), ("error", container.stderr, MARKER * markers))
        for stream, log, right in streams:
            printed = log.take(markers)
            if printed != right:
                raise BenchError(
                    f"standard {stream} of {markers} runs: {len(printed)} bytes with {printed.count(MARKER)} markers"
                    f" instead of {len(right)} with {markers}: {printed[-200:]!r}"
                )


def measure_cold(server: Server, _: Counts) -> Figures:
    """A new process each time: spawn, port, /init, first /run."""
    started, figures = server.request_while_starting("hello", [("hello-init", 1), ("hello", 1)])
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
    with server.start("hello") as container:
        container.wait_ready()
        time.sleep(IDLE_BEFORE_INIT_S)
        init, _run = server.request(container, [("hello-init", 1), ("hello", 1)], new=True)
        return {"init": init["p50_us"] / 1e3}


def measure_zip(server: Server, _: Counts) -> Figures:
    """/init of the zip in a waiting container and the first run, in which nothing may be left to import."""
    init, run = initialize_waiting(server, "zip-init")
    return {"zip-init": init, "zip-run": run, "zip-first": init + run}


def initialize_waiting(server: Server, key: str) -> Tuple[float, float]:
    """/init of the zip in a waiting container and the first run, in ms."""
    with server.start("zip") as container:
        container.wait_ready()
        time.sleep(IDLE_BEFORE_INIT_S)
        init, run = server.request(container, [(key, 1), ("zip", 1)], new=True)
        return init["p50_us"] / 1e3, run["p50_us"] / 1e3


def initialize_cold(server: Server, key: str) -> float:
    """The start of a process, /init of the zip and the first run, in ms."""
    started, figures = server.request_while_starting("zip", [(key, 1), ("zip", 1)])
    return float(figures["steps"][-1]["end_ns"] - started) / 1e6


def measure_compiled(server: Server, _: Counts) -> Figures:
    """The zip as it is and as the server's own compiler makes it, in a waiting container and in one that starts."""
    if not server.compiler:
        return {}
    plain = server.body("zip-init").read_bytes()
    compiled = workload.archive_init_body(server.compile(workload.archive_of(plain)))
    figures = {}
    for name, body in (("zip", plain), ("compiled", compiled)):
        server.set_body("compiled-init", body)
        figures[f"{name}-first"] = sum(initialize_waiting(server, "compiled-init"))
        figures[f"{name}-cold"] = initialize_cold(server, "compiled-init")
    return figures


def measure_new(server: Server, counts: Counts) -> Figures:
    """A new connection for each run."""
    with server.start("hello") as container:
        container.wait_ready()
        server.request(container, [("hello-init", 1)])
        return new_connections(server, container, "hello", counts, "new")


def measure_kept(server: Server, counts: Counts) -> Figures:
    """One connection for all runs."""
    with server.start("hello") as container:
        container.wait_ready()
        server.request(container, [("hello-init", 1)])
        return kept_connection(server, container, "hello", counts, "kept")


def measure_echo(server: Server, counts: Counts) -> Figures:
    """The function returns its arguments; payloads from small to large on a kept connection."""
    steps = [(key, counts.echo[size]) for key, (_, _, _, size) in ECHOES.items()]
    with server.start("echo") as container:
        container.wait_ready()
        results = server.request(container, [("echo-init", 1), *steps])
        return {key: result["p50_us"] / 1e3 for (key, _), result in zip(steps, results[1:])}


def measure_log(server: Server, counts: Counts) -> Figures:
    """The function prints lines; all of them and the markers have to arrive, in order."""
    with server.start("log") as container:
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
    with server.start("echo") as container:
        container.wait_ready()
        for stage, steps in stages:
            if steps:
                server.request(container, steps)
            time.sleep(SETTLE_S)
            figures[f"memory-{stage}-rss"], figures[f"memory-{stage}-pss"] = container.memory_mb()
    return figures


MEASUREMENTS = {
    "cold": Measurement("hello", measure_cold, repeats=3),
    "init": Measurement("hello", measure_init, repeats=3),
    "zip": Measurement("zip", measure_zip, repeats=2),
    "compiled": Measurement("compiled", measure_compiled, repeats=2),
    "new": Measurement("hello", measure_new),
    "kept": Measurement("hello", measure_kept),
    "echo": Measurement("echo", measure_echo),
    "log": Measurement("log", measure_log),
    "memory": Measurement("echo", measure_memory),
}
