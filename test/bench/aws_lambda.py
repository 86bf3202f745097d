"""What is measured of servers that run AWS Lambda functions as AWS's emulator does: the code is there at the start.

Requests are POST /2015-03-31/functions/function/invocations with the event as the body.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

import workload
from container import BenchError, Container, free_port, make_directory
from server import (
    FULL, Counts, Figures, Material, Measurement, Row, Server, Steps, connection_rows, kept_connection, new_connections
)

PATH = "/2015-03-31/functions/function/invocations"
HANDLER = "lambda_function.lambda_handler"
SETTLE_S = 1.0  # before memory is read

# What is echoed, by the key of the request: a title, what makes the payload, how long it is, the name of that size.
ECHOES: Dict[str, Tuple[str, Callable[[int], Dict[str, Any]], int, str]] = {
    "echo-1KB": ("1 KB of records", workload.orders_payload, 1_000, "1KB"),
    "echo-10KB": ("10 KB of records", workload.orders_payload, 10_000, "10KB"),
    "echo-100KB": ("100 KB of records", workload.orders_payload, 100_000, "100KB"),
    "echo-1MB": ("1 MB of records", workload.orders_payload, 1_000_000, "1MB"),
    "echo-file-1MB": ("1 MB in one string", workload.file_payload, 1_000_000, "1MB"),
}
# Beyond the cloud's limit of 6 MB, so a measurement of its own: not every server takes it.
LARGE_ECHOES: Dict[str, Tuple[str, Callable[[int], Dict[str, Any]], int, str]] = {
    "echo-10MB": ("10 MB of records", workload.orders_payload, 10_000_000, "10MB"),
    "echo-file-10MB": ("10 MB in one string", workload.file_payload, 10_000_000, "10MB"),
}

MEMORY_STAGES = (
    ("idle", "when the port accepts"),
    ("first", "after the first invocation"),
    ("runs", f"after {FULL.memory} invocations"),
    ("echo", "after an echo of 1 MB"),
    ("large", "after echoes of 10 MB"),
)

ROWS = [
    Row("lambda-cold-port", "cold start: spawn until the port accepts", "ms"),
    Row("lambda-cold-run", "cold start: from there until the first answer", "ms"),
    Row("lambda-cold-total", "cold start: spawn until the first answer", "ms"),
    *connection_rows("lambda-", "invocation"),
    *(Row(f"lambda-{key}", f"echo of {title}", "ms") for key, (title, *_) in {**ECHOES, **LARGE_ECHOES}.items()),
    *(
        Row(f"lambda-{key}-cpu", f"echo of {title}: CPU time for each", "ms")
        for key, (title, _, _, size) in ECHOES.items()
        if size == "1MB"
    ),
    Row("lambda-log", f"invocation that prints {workload.LOG_LINES} lines", "ms"),
    *(
        Row(f"lambda-memory-{stage}-{kind}", f"memory, {title}: {kind.upper()}", "MB")
        for stage, title in MEMORY_STAGES
        for kind in ("rss", "pss")
    ),
]

# A line of the platform: START, END and REPORT of each invocation. A REPORT ends with a tab.
PLATFORM_LINE = re.compile(rb"^(START|END|REPORT) RequestId: [0-9a-f-]{36}(?: [^\n]*|\t[^\n]*\t)?\n", re.MULTILINE)
REPORT_END = b"\t\n"


class LambdaMaterial(Material):
    """Each key runs its function; a function is a folder, new for each start, so that no bytecode is left in it."""

    functions: Dict[str, List[str]] = {
        "hello": ["hello"],
        "echo": list(ECHOES),
        "large": list(LARGE_ECHOES),
        "log": ["log"],
    }
    client_options = ("--chunked",)  # AWS's emulator sends answers of more than 2 KB so

    codes = {
        "hello": workload.LAMBDA_HELLO_CODE,
        "echo": workload.LAMBDA_ECHO_CODE,
        "large": workload.LAMBDA_ECHO_CODE,
        "log": workload.LAMBDA_LOG_CODE,
    }

    def __init__(self, directory: pathlib.Path, functions: Sequence[str]) -> None:
        super().__init__(directory)
        self.add("hello", workload.to_json(workload.HELLO_VALUE), workload.HELLO_RESULT)
        self.add("log", b"{}", workload.LOG_RESULT)
        echoes = {**(ECHOES if "echo" in functions else {}), **(LARGE_ECHOES if "large" in functions else {})}
        for key, (_, payload, size, _) in echoes.items():
            value = payload(size)
            self.add(key, workload.to_json(value), value)

    def command(self, template: str, function: str) -> str:
        """The command with a new folder of the code, its handler, and a second free port where it wants one."""
        folder = make_directory(self._directory, "code-")
        pathlib.Path(folder, "lambda_function.py").write_text(self.codes[function], "utf-8")
        parts = {"{code}": shlex.quote(folder), "{handler}": HANDLER, "{second_port}": str(free_port())}
        for name, value in parts.items():
            template = template.replace(name, value)
        return template

    def path(self, key: str) -> str:
        """All are invocations."""
        return PATH

    @staticmethod
    def output(key: str) -> bytes:
        """What the function prints at one invocation."""
        return workload.LOG_TEXT.encode("utf-8") if key == "log" else b""

    def check_output(self, container: Container, steps: Steps) -> None:
        """One START, END and REPORT line for each invocation, on either stream, and the function's own lines."""
        runs = sum(count for _, count in steps)
        container.wait_for_output(REPORT_END, runs)
        printed = container.stdout.take() + container.stderr.take()
        lines = [match.group(1) for match in PLATFORM_LINE.finditer(printed)]
        counts = {name.decode(): lines.count(name) for name in (b"START", b"END", b"REPORT")}
        if set(counts.values()) != {runs}:
            raise BenchError(f"log of {runs} invocations: {counts} lines of the platform: {printed[-200:]!r}")
        own = PLATFORM_LINE.sub(b"", printed)
        right = b"".join(self.output(key) * count for key, count in steps)
        if own != right:
            raise BenchError(
                f"log of {runs} invocations: {len(own)} bytes instead of {len(right)} besides the platform's lines:"
                f" {own[-200:]!r}"
            )


def measure_cold(server: Server, _: Counts) -> Figures:
    """A new process each time: spawn, port, first answer."""
    started, figures = server.request_while_starting("hello", [("hello", 1)])
    port, answer = figures["connected_ns"], figures["steps"][0]["end_ns"]
    return {
        "lambda-cold-port": (port - started) / 1e6,
        "lambda-cold-run": (answer - port) / 1e6,
        "lambda-cold-total": (answer - started) / 1e6,
    }


def measure_new(server: Server, counts: Counts) -> Figures:
    """A new connection for each invocation."""
    with server.start("hello") as container:
        container.wait_ready()
        return new_connections(server, container, "hello", counts, "lambda-new")


def measure_kept(server: Server, counts: Counts) -> Figures:
    """One connection for all invocations."""
    with server.start("hello") as container:
        container.wait_ready()
        return kept_connection(server, container, "hello", counts, "lambda-kept")


def measure_echo(server: Server, counts: Counts) -> Figures:
    """The function returns its event; payloads from small to large, one kept connection for each."""
    figures = {}
    with server.start("echo") as container:
        container.wait_ready()
        for key, (_, _, _, size) in ECHOES.items():
            cpu = container.cpu_ns()
            (result,) = server.request(container, [(key, counts.echo[size])])
            cpu = container.cpu_ns() - cpu
            figures[f"lambda-{key}"] = result["p50_us"] / 1e3
            if size == "1MB":
                figures[f"lambda-{key}-cpu"] = cpu / 1e6 / counts.echo[size]
    return figures


def measure_large(server: Server, counts: Counts) -> Figures:
    """The same with more than the cloud takes, and the memory after that."""
    steps = [(key, counts.echo[size]) for key, (_, _, _, size) in LARGE_ECHOES.items()]
    with server.start("large") as container:
        container.wait_ready()
        results = server.request(container, steps)
        time.sleep(SETTLE_S)
        rss, pss = container.memory_mb()
        figures = {f"lambda-{key}": result["p50_us"] / 1e3 for (key, _), result in zip(steps, results)}
        return {**figures, "lambda-memory-large-rss": rss, "lambda-memory-large-pss": pss}


def measure_log(server: Server, counts: Counts) -> Figures:
    """The function prints lines; all of them have to arrive, in order."""
    with server.start("log") as container:
        container.wait_ready()
        (run,) = server.request(container, [("log", counts.log)])
        return {"lambda-log": run["p50_us"] / 1e3}


def measure_memory(server: Server, counts: Counts) -> Figures:
    """Memory of the process tree at each stage of a server's life, after it had time to settle."""
    stages: Dict[str, List[Tuple[str, int]]] = {
        "idle": [], "first": [("echo-1KB", 1)], "runs": [("echo-1KB", counts.memory)], "echo": [("echo-1MB", 1)]
    }
    figures = {}
    with server.start("echo") as container:
        container.wait_ready()
        for stage, steps in stages.items():
            if steps:
                server.request(container, steps)
            time.sleep(SETTLE_S)
            rss, pss = container.memory_mb()
            figures.update({f"lambda-memory-{stage}-rss": rss, f"lambda-memory-{stage}-pss": pss})
    return figures


MEASUREMENTS = {
    "lambda-cold": Measurement("hello", measure_cold, repeats=3),
    "lambda-new": Measurement("hello", measure_new),
    "lambda-kept": Measurement("hello", measure_kept),
    "lambda-echo": Measurement("echo", measure_echo),
    "lambda-large": Measurement("large", measure_large),
    "lambda-log": Measurement("log", measure_log),
    "lambda-memory": Measurement("echo", measure_memory),
}
