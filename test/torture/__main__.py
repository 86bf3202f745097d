"""Tortures the built server with thousands of faults under load: README.md.

    PYTHONPATH=test python3 -m torture [--faults N] [--seed N] [--jobs N] [--kinds NAME,...]

Prints the seed at the start, what went wrong as it is found, and a table at the end. Exit status 0: all that was
promised was kept; 1: it was not; 2: wrong command line.
"""

import argparse
import asyncio
import collections
import dataclasses
import math
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, Counter, Dict, List, Optional, Tuple

from blackbox import harness

from . import machine
from .faults import SERVING, TIMEOUT_S
from .init_faults import INIT, disturb_init, init_plan
from .life import LIVING, Life, Plan

#: Of all faults, those that happen to an /init.
INIT_SHARE = 0.08
FAULTS_PER_LIFE = 250


@dataclasses.dataclass
class Row:
    """Of the table: all faults of a kind at a moment."""

    count: int = 0
    answers: Counter[str] = dataclasses.field(default_factory=collections.Counter)
    worst: float = 0.0

    def add(self, answers: List[str], recovery: float) -> None:
        """One more fault: the labels of the answers meanwhile, and how long the next request took."""
        self.count += 1
        self.answers.update(answers)
        self.worst = max(self.worst, recovery)


@dataclasses.dataclass
class Report:
    """What one worker, or all of them, have done."""

    rows: Dict[Tuple[str, str], Row] = dataclasses.field(default_factory=dict)
    requests: int = 0
    servers: int = 0
    markers: int = 0
    log_bytes: int = 0
    growth_kb: int = 0
    problems: List[str] = dataclasses.field(default_factory=list)
    skipped: List[str] = dataclasses.field(default_factory=list)

    def row(self, kind: str, moment: str) -> Row:
        """The row of a kind and a moment."""
        return self.rows.setdefault((kind, moment), Row())

    def add_life(self, life: Life) -> None:
        """A server has ended."""
        self.servers += 1
        self.requests += len(life.ledger.requests)
        self.markers += sum(len(stream.segments) for stream in life.streams)
        self.log_bytes += sum(stream.bytes for stream in life.streams)
        self.growth_kb = max(self.growth_kb, life.growth_kb)

    def add(self, other: "Report") -> None:
        """Another worker's."""
        for key, row in other.rows.items():
            mine = self.rows.setdefault(key, Row())
            mine.count += row.count
            mine.answers.update(row.answers)
            mine.worst = max(mine.worst, row.worst)
        self.requests += other.requests
        self.servers += other.servers
        self.markers += other.markers
        self.log_bytes += other.log_bytes
        self.growth_kb = max(self.growth_kb, other.growth_kb)
        self.problems += other.problems
        self.skipped += [text for text in other.skipped if text not in self.skipped]


def print_tasks() -> None:
    """What a worker waits for, where it seems to stand still: kill -USR1."""
    for task in asyncio.all_tasks():
        lines, inner = [], task.get_coro()
        while getattr(inner, "cr_frame", None) is not None:
            lines.append(f"{inner.cr_code.co_name}:{inner.cr_frame.f_lineno}")  # type: ignore[union-attr]
            inner = inner.cr_await  # type: ignore[union-attr]
        print(f"{task.get_name()} {' > '.join(lines)}", file=sys.stderr, flush=True)


class Worker:
    """One server after the other, until its share of the faults is done."""

    def __init__(self, seed: str, faults: int, kinds: List[str], directory: pathlib.Path) -> None:
        self.seed = seed
        self.faults = faults
        self.kinds = kinds
        self.directory = directory
        self.report = Report()
        self.done = 0
        self.lives = 0
        self.user = machine.other_user()
        self.can_mount = machine.can_mount()
        if not machine.counts_processes(self.user):
            self.report.skipped.append("exhausting processes: needs root and setpriv, to become another user")
        if not machine.can_limit_memory():
            self.report.skipped.append("a container's memory: needs the right to make a control group for it")
        if not self.can_mount:
            self.report.skipped.append("full disk: needs the right to mount")

    async def run(self) -> None:
        """All of them."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print_tasks)
        while self.done < self.faults and len(self.report.problems) < 20:
            serving = [kind for kind in self.kinds if kind in SERVING]
            init = [kind for kind in self.kinds if kind in INIT]
            left = self.faults - self.done
            if serving:
                await self._serve(serving, min(math.ceil(left * (1 - INIT_SHARE)) if init else left, FAULTS_PER_LIFE))
            if init:
                share = math.ceil(FAULTS_PER_LIFE * INIT_SHARE) if serving else left
                for _ in range(min(self.faults - self.done, share)):
                    await self._init(init)

    def _next(self) -> Tuple[pathlib.Path, random.Random, str]:
        self.lives += 1
        name = f"{self.seed}-{self.lives}"
        return self.directory / str(self.lives), random.Random(name), name

    def _tell(self, name: str, problems: List[str], history: List[str]) -> None:
        for problem in problems[:10]:
            text = f"server {name}, after {history[-3:]}: {problem}"
            self.report.problems.append(text)
            print(f"PROBLEM {text}", flush=True)

    async def _init(self, kinds: List[str]) -> None:
        directory, rng, name = self._next()
        kind = rng.choices(kinds, [INIT[kind].weight for kind in kinds])[0]
        plan = init_plan(kind, rng, self.user, self.can_mount)
        if plan is None:
            return
        moment, answers, recovery, problems = await disturb_init(directory, kind, plan, rng)
        self.report.row(kind, moment).add(answers, recovery)
        self.report.servers += 1
        self.done += 1
        self._tell(name, problems, [f"{kind} ({plan.code})"])
        shutil.rmtree(directory)

    def _plan(self, rng: random.Random) -> Plan:
        options: Tuple[str, ...] = ("--memory", "300") if rng.random() < 0.3 else ()
        if rng.random() < 0.2:
            options += ("--timeout", str(TIMEOUT_S))
        door = rng.choice(["lambda", "scf", "openwhisk", "openwhisk", "openwhisk"])
        if door != "openwhisk":  # whose limits are the cloud's
            options += ("--max-request", "20M", "--max-response", "20M")
            options += () if "--memory" in options else ("--memory", "0")
            options += () if "--timeout" in options else ("--timeout", "60")
        return Plan(
            code=rng.choice(["source", "source", "zip", "start"]),
            merged=door != "openwhisk" or rng.random() < 0.3,
            door=door,
            user=self.user if rng.random() < 0.4 else None,
            disk=(8 << 20) if self.can_mount and rng.random() < 0.3 else 0,
            log="/dev/full" if rng.random() < 0.1 else "",
            options=options,
        )

    async def _serve(self, kinds: List[str], faults: int) -> None:
        directory, rng, name = self._next()
        life = Life(directory, self._plan(rng), rng)
        history: List[str] = []
        await life.begin()
        await self._warm_up(life)
        possible = [kind for kind in kinds if SERVING[kind].possible(life)]
        weights = [SERVING[kind].weight for kind in possible]
        while len(history) < faults and possible and life.is_up and not life.problems and not life.ledger.is_full:
            await self._inject(life, rng.choices(possible, weights)[0], history)
        await life.settle()
        if not life.problems:
            await self._end(life)
        await life.finish()
        self.report.add_life(life)
        self._tell(name, life.problems, history)
        self.done += max(1, len(history))
        shutil.rmtree(directory, ignore_errors=True)
        print(f"{name}: {self.done} of {self.faults} faults, {len(life.ledger.requests)} requests, "
              f"the proxy grew by {life.growth_kb} KB ({life.plan})", flush=True)

    async def _end(self, life: Life) -> None:
        """The last fault: the readers of the log leave; the server is stopped under load, or killed."""
        life.start_load()
        await asyncio.sleep(life.rng.random() * 0.05)
        if life.readers and life.rng.random() < 0.2:
            first = len(life.outcomes)
            await life.lose_readers()
            recovery = await life.probe()
            self.report.row("log readers leave", "any").add(life.outcomes[first:], recovery)
        begin, first, moment = time.monotonic(), len(life.outcomes), "SIGKILL"
        how = life.rng.random()
        if how < 0.15:
            await life.kill_server()
        elif how < 0.3 and not life.blind:
            await life.block_log()
            moment = f"{await life.stop_under_load()}, log stalled"
        else:
            moment = await life.stop_under_load()
        recovery = time.monotonic() - begin
        await life.stop_load()
        self.report.row("stop server", moment).add(life.outcomes[first:], recovery)

    async def _warm_up(self, life: Life) -> None:
        """Everything that is made once is made: then look at what there is."""
        for kind in ("log flood", "client breaks off", "slow client", "client pipelines"):
            await SERVING[kind].inject(life)
        await life.settle()
        life.start_load()

    async def _inject(self, life: Life, kind: str, history: List[str]) -> None:
        first = len(life.outcomes)
        moment = await SERVING[kind].inject(life)
        history.append(f"{kind}, {moment}")
        recovery = await life.probe()
        self.report.row(kind, moment).add(life.outcomes[first:], recovery)


def work(seed: str, faults: int, kinds: List[str], directory: str) -> Report:
    """In a process of its own: its share of the faults."""
    harness.adopt_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if harness.SANITIZED:  # a signal from outside is no finding
        own = "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:handle_sigill=0:handle_sigtrap=0"
        os.environ["ASAN_OPTIONS"] = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), own]))
    place = pathlib.Path(directory)
    place.mkdir()
    place.chmod(0o755)
    worker = Worker(seed, faults, kinds, place)
    machine.end_with_parent()
    try:
        asyncio.run(worker.run())
    finally:
        for pid in LIVING:
            machine.kill_tree(pid)
    return worker.report


def print_table(report: Report) -> None:
    """Kinds and moments, how often, what the clients got meanwhile, and the slowest next request."""
    print(f"{'fault':26}{'moment':20}{'count':>7}  {'worst recovery':>14}  answers meanwhile")
    for (kind, moment), row in sorted(report.rows.items()):
        answers = ", ".join(f"{label}: {count}" for label, count in sorted(row.answers.items()))
        print(f"{kind:26}{moment:20}{row.count:>7}{row.worst * 1000:>13.0f} ms  {answers}")
    total: Counter[str] = collections.Counter()
    for row in report.rows.values():
        total.update(row.answers)
    print("all answers: " + ", ".join(f"{label}: {count}" for label, count in sorted(total.items())))


def torture(faults: int, seed: str, jobs: int, kinds: List[str]) -> Report:
    """All of it. Returns what was done and found."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        os.chmod(directory, 0o755)
        shares = [faults // jobs + (1 if index < faults % jobs else 0) for index in range(jobs)]
        tasks: List[Any] = [(f"{seed}-{index}", share, kinds, f"{directory}/{index}")
                            for index, share in enumerate(shares)]
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            for one in pool.starmap(work, tasks, chunksize=1):
                report.add(one)
    return report


def main(arguments: Optional[List[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--seed", default=str(random.randrange(10**6)), help="makes the same choices again")
    parser.add_argument("--jobs", type=int, default=min(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--kinds", default="", help=f"of faults, with commas: {', '.join([*SERVING, *INIT])}")
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",") if options.kinds else [*SERVING, *INIT]
    unknown = [kind for kind in kinds if kind not in SERVING and kind not in INIT]
    if unknown or options.faults < 1 or options.jobs < 1:
        parser.error(f"unknown kinds: {unknown}")
    print(f"torture: {options.faults} faults, seed {options.seed}, {options.jobs} servers at a time", flush=True)
    begin = time.monotonic()
    report = torture(options.faults, options.seed, options.jobs, kinds)
    print_table(report)
    done = sum(row.count for row in report.rows.values())
    print(f"{done} faults in {time.monotonic() - begin:.0f} s, {report.servers} servers, {report.requests} requests, "
          f"{report.markers} ends of activations in the logs, {report.log_bytes >> 20} MB of log; "
          f"the proxy grew by {report.growth_kb} KB at most")
    for text in report.skipped:
        print(f"skipped: {text}")
    print(f"{len(report.problems)} problems" + "".join(f"\n  {text}" for text in report.problems))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
