"""A million activations of one server process: every answer right, and in the end everything as at the start.

    PYTHONPATH=test python3 -m torture.soak --client PATH [--activations N] [--seed N]

Prints a line for each tenth and what was found. Exit status 0: all that was promised was kept; 1: it was not.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time
from typing import Dict, Iterator, List, Optional

from blackbox import harness
from blackbox.harness import Log, Server, Settings, open_files, wait_until

from . import machine

FUNCTION = pathlib.Path(__file__).with_name("soak_function.py")
STEPS = 100
#: How long to idle before memory is looked at: large payloads are given back after 100 ms (docs/architecture.md).
IDLE_SECONDS = 0.3
#: KB that the proxy may grow by after the first step; the runner, whose allocator fragments; and either, of what it
#: had before a payload of 10 MB. A sanitizer's allocator fragments more (2,732 KB measured).
PROXY_GROWTH_KB, RUNNER_GROWTH_KB, LARGE_KB = 1024, 4096 if harness.SANITIZED else 2048, 2048
#: The median of the last tenth may be so many times that of the slowest in the first half: on a machine with few
#: processors a small request takes twice as long where the scheduler spreads the processes, which it does by turns.
SLOWER = 1.25


@dataclasses.dataclass
class Sample:
    """One step: what the client counted, and the resident memory of both processes after it, in KB."""

    figures: Dict[str, float]
    proxy_kb: int
    runner_kb: int
    runner: int


def sample(server: Server, figures: Dict[str, float]) -> Sample:
    """Look at the idle server."""
    time.sleep(IDLE_SECONDS)
    runner = int(wait_until(lambda: machine.runner_of(server.pid), "there is a runner"))
    return Sample(figures, machine.memory_kb(server.pid)["VmRSS"], machine.memory_kb(runner)["VmRSS"], runner)


def run_client(server: Server, client: str, activations: int, steps: int, seed: int) -> Iterator[Sample]:
    """Send all activations; a sample after each step. Raises AssertionError when an answer was wrong."""
    command = [client, str(server.port), str(activations), str(steps), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            yield sample(server, json.loads(line))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
        message = process.stderr.read()
        assert process.wait() == 0, message


def tenths(samples: List[Sample]) -> List[List[Sample]]:
    """The samples of the first tenth, of the second, and so on."""
    size = max(1, len(samples) // 10)
    return [samples[index:index + size] for index in range(0, len(samples), size)]


def latency(samples: List[Sample], name: str) -> float:
    """The median over steps of one of their percentiles, in microseconds."""
    return statistics.median(one.figures[name] for one in samples)


def grown(samples: List[Sample]) -> List[int]:
    """By how many KB each runner has grown from its first sample to its largest."""
    of_each: Dict[int, List[int]] = {}
    for one in samples:
        of_each.setdefault(one.runner, []).append(one.runner_kb)
    return [max(values) - values[0] for values in of_each.values()]


def count(samples: List[Sample]) -> Dict[str, int]:
    """How many requests of each kind there were."""
    names = [name for name in samples[0].figures if not name.endswith("_us") and name != "seconds"]
    return {name: int(sum(one.figures[name] for one in samples)) for name in names}


def check_logs(server: Server, counts: Dict[str, int]) -> Iterator[str]:
    """The markers of all activations, and what they printed."""
    ran = sum(counts[name] for name in ("small", "medium", "large", "huge", "exception", "bad_result", "exit"))
    for name, log in (("stdout", server.out), ("stderr", server.err)):
        markers = count_lines(log, harness.MARKER)
        if markers != ran:
            yield f"{markers} markers on {name} for {ran} activations"


def count_lines(log: Log, line: bytes) -> int:
    """How often this line is in a log."""
    with open(log.path, "rb") as file:
        return sum(one == line for one in file)


def check_memory(samples: List[Sample]) -> Iterator[str]:
    """Neither process may grow."""
    first = samples[0].proxy_kb
    if max(one.proxy_kb for one in samples) > first + PROXY_GROWTH_KB:
        yield f"the proxy grew from {first} to {max(one.proxy_kb for one in samples)} KB"
    if max(grown(samples)) > RUNNER_GROWTH_KB:
        yield f"runners grew by {grown(samples)} KB"


def check_large_payload(server: Server) -> Iterator[str]:
    """After 10 MB there and back both are as large as before."""
    server.result({"n": 1, "do": "echo", "data": ""})
    before = sample(server, {})
    text = "x" * (10 << 20)
    if server.result({"n": 1, "do": "echo", "data": text}) != {"n": 1, "do": "echo", "data": text}:
        yield "10 MB did not come back"
    after = sample(server, {})
    print(f"10 MB there and back: the proxy {before.proxy_kb} KB before, {after.proxy_kb} KB after; "
          f"the runner {before.runner_kb} and {after.runner_kb} KB")
    for name, growth in (("proxy", after.proxy_kb - before.proxy_kb), ("runner", after.runner_kb - before.runner_kb)):
        if growth > LARGE_KB:
            yield f"after a payload of 10 MB the {name} keeps {growth} KB"


def check_latency(samples: List[Sample]) -> Iterator[str]:
    """At the end as at the start."""
    parts = tenths(samples)
    before = max(latency(part, "p50_us") for part in parts[:max(1, len(parts) // 2)])
    last = latency(parts[-1], "p50_us")
    if last > before * SLOWER:
        yield (f"the median latency of small requests was at most {before:.0f} us in a tenth of the first half, "
               f"{last:.0f} us in the last")


def print_tenths(samples: List[Sample]) -> None:
    """Memory and latencies as they went."""
    print(f"{'tenth':>5}{'requests':>10}{'MB sent':>9}{'p50 us':>9}{'p90 us':>9}{'p99 us':>9}{'proxy KB':>10}"
          f"{'runner KB':>11}")
    for index, part in enumerate(tenths(samples)):
        counts = count(part)
        sent = counts.pop("bytes")
        print(f"{index + 1:>5}{sum(counts.values()):>10}{sent >> 20:>9}"
              f"{latency(part, 'p50_us'):>9.0f}{latency(part, 'p90_us'):>9.0f}{latency(part, 'p99_us'):>9.0f}"
              f"{max(one.proxy_kb for one in part):>10}{max(one.runner_kb for one in part):>11}")


def soak(client: str, activations: int, seed: int, directory: pathlib.Path, steps: int = STEPS,
         judge_latency: bool = True) -> List[str]:
    """All of it. Returns what went wrong."""
    server = Server(directory, Settings())
    problems: List[str] = []
    try:
        answer = server.init(FUNCTION.read_text())
        assert answer.status == 200, answer
        server.result({"n": 1, "do": "echo"})
        files, processes = open_files(server.pid), len(machine.tree(server.pid))
        samples = list(run_client(server, client, activations, min(steps, activations), seed))
        print_tenths(samples)
        counts = count(samples)
        print("requests: " + ", ".join(f"{name} {number}" for name, number in counts.items()))
        print(f"the proxy has grown by {max(one.proxy_kb for one in samples) - samples[0].proxy_kb} KB at most since "
              f"the first step, the runners by {grown(samples)} KB")
        counts["small"] += 1  # the one above
        problems += check_logs(server, counts)
        problems += check_memory(samples)
        problems += check_large_payload(server)
        if judge_latency:
            problems += check_latency(samples)
        wait_until(lambda: len(open_files(server.pid)) <= len(files), f"open files as at the start: {files}", 5)
        if len(machine.tree(server.pid)) != processes:
            problems.append(f"{processes} processes at the start, {len(machine.tree(server.pid))} at the end")
    except AssertionError as error:
        problems.append(str(error))
    try:
        server.finish()
    except AssertionError as error:
        problems.append(str(error))
    return problems


def main(arguments: Optional[List[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--client", required=True, help="the built soak-client")
    parser.add_argument("--activations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 10**6), help="makes the same choices again")
    options = parser.parse_args(arguments)
    harness.adopt_orphans()
    print(f"soak: {options.activations} requests, seed {options.seed}", flush=True)
    begin = time.monotonic()
    with harness.shared_directory() as directory:
        problems = soak(options.client, options.activations, options.seed, directory)
    print(f"{time.monotonic() - begin:.0f} s, {len(problems)} problems"
          + "".join(f"\n  {problem}" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
