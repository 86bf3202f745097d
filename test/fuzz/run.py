#!/usr/bin/env python3
"""Runs the fuzz targets and reports what they reached.

usage: run.py --build FOLDER fuzz [--seconds N] [--jobs N] TARGET...
       run.py --build FOLDER merge TARGET...
       run.py --build FOLDER coverage TARGET...

fuzz: each target for N seconds, from its corpus in the tree and what earlier runs found (FOLDER/found/TARGET);
prints executions and coverage, and adds a line for each to FOLDER/runs.jsonl; ends with 1 if there is a finding.
merge: adds inputs from FOLDER/found to the corpora, those that reach what nothing in a corpus does.
coverage: replays the corpora with programs built with --coverage and prints what gcov says of the modules.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent

# Where a target has not a dictionary of its own name.
DICTIONARIES = {"envelope": "json", "json_decode": "json", "environment": "json", "doors": "json", "activation": "json"}
# Bytes of an input. Most targets have all there is in short ones, which are faster.
MAX_LENGTHS = {"archive": 16384, "archive_tree": 512, "http": 4096, "json_encode": 512, "handler": 256, "logs": 1024}
MAX_LENGTH = 2048
# MB that a target may have resident, the sanitizer's part included.
MEMORY_LIMIT_MB = 2048
# Seconds that one input may take before it is a finding. The machine may be busy.
INPUT_LIMIT_S = 25

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Result(NamedTuple):
    """One run of a target."""

    target: str
    seconds: float
    executions: int
    edges: int  # reached, of those that the compiler instrumented in the program
    edges_all: int
    features: int  # edges by how often they were passed, and what targets count themselves
    corpus: int  # inputs
    memory_mb: int
    finding: Optional[str]


def number(pattern: str, text: str) -> int:
    """The last number that pattern's group finds in text; 0 if there is none."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def parse_log(target: str, seconds: float, text: str, status: int) -> Result:
    """What libFuzzer's log says."""
    finding = None
    if status != 0:
        lines = [line for line in text.splitlines() if re.search(r"does not hold|ERROR: |runtime error|Error: ", line)]
        finding = (lines or ["it ended with status %d" % status])[0]
    return Result(
        target=target,
        seconds=seconds,
        executions=number(r"stat::number_of_executed_units:\s+(\d+)", text),
        edges=number(r"\bcov: (\d+)", text),
        edges_all=number(r"\((\d+) inline 8-bit counters\)", text),
        features=number(r"\bft: (\d+)", text),
        corpus=number(r"\bcorp: (\d+)/", text),
        memory_mb=number(r"stat::peak_rss_mb:\s+(\d+)", text),
        finding=finding,
    )


def command(build: Path, target: str) -> List[str]:
    """The program, with the options that every use of it has."""
    words = [str(build / "fuzz" / f"fuzz_{target}"), f"-max_len={MAX_LENGTHS.get(target, MAX_LENGTH)}"]
    words += [f"-rss_limit_mb={MEMORY_LIMIT_MB}", f"-timeout={INPUT_LIMIT_S}", "-print_final_stats=1"]
    words += ["-entropic_scale_per_exec_time=1"]
    words += [f"-artifact_prefix={build / 'findings'}/{target}-"]
    dictionary = FOLDER / f"{DICTIONARIES.get(target, target)}.dict"
    return words + ([f"-dict={dictionary}"] if dictionary.exists() else [])


def start(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a program as one that has time; its output goes to log."""
    environment = {**os.environ, **SANITIZER_OPTIONS}
    with log.open("wb") as out:
        return subprocess.Popen(["nice", "-n", "15", *words], stdout=out, stderr=subprocess.STDOUT, env=environment)


def fuzz(build: Path, targets: Sequence[str], seconds: int, jobs: int) -> List[Result]:
    """Runs the targets, jobs of them at a time."""
    waiting, results = list(targets), []
    running: List[Tuple[str, float, Path, subprocess.Popen[bytes]]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            target = waiting.pop(0)
            corpus, found, log = FOLDER / "corpus" / target, build / "found" / target, build / f"{target}.log"
            for folder in (corpus, found):
                folder.mkdir(parents=True, exist_ok=True)
            words = command(build, target) + [f"-max_total_time={seconds}", str(found), str(corpus)]
            running.append((target, time.monotonic(), log, start(words, log)))
        time.sleep(0.2)
        for job in [job for job in running if job[3].poll() is not None]:
            target, started, log, process = job
            running.remove(job)
            text = log.read_text(errors="replace")
            results.append(parse_log(target, time.monotonic() - started, text, process.returncode))
            if process.returncode != 0:
                print(f"{target}: {results[-1].finding}\n    log: {log}", file=sys.stderr)
    return sorted(results, key=lambda result: targets.index(result.target))


def print_results(results: Sequence[Result]) -> None:
    """The table that make fuzz ends with."""
    print("target           seconds   executions   per s        edges   features   inputs     MB")
    for result in results:
        edges = f"{result.edges} of {result.edges_all}"
        rate = result.executions / max(result.seconds, 0.001)
        print(
            f"{result.target:<15} {result.seconds:8.0f} {result.executions:12,} {rate:7.0f} {edges:>12}"
            f" {result.features:10,} {result.corpus:8,} {result.memory_mb:6,}{'   FINDING' if result.finding else ''}"
        )
    print(f"{'all':<15} {sum(result.seconds for result in results):8.0f} {sum(r.executions for r in results):12,}")


def record(build: Path, results: Sequence[Result]) -> None:
    """Adds to the record of all runs, and prints its sum."""
    path = build / "runs.jsonl"
    with path.open("a") as out:
        for result in results:
            date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            out.write(json.dumps({"date": date, **result._asdict()}) + "\n")
    every = [json.loads(line) for line in path.read_text().splitlines()]
    print(f"since {every[0]['date']}: {sum(run['executions'] for run in every):,} executions in {len(every)} runs")


def merge(build: Path, targets: Sequence[str]) -> bool:
    """Adds to the corpora in the tree. False if a program fails."""
    fine = True
    for target in targets:
        corpus, found, log = FOLDER / "corpus" / target, build / "found" / target, build / f"{target}.merge.log"
        corpus.mkdir(parents=True, exist_ok=True)
        found.mkdir(parents=True, exist_ok=True)
        before = len(list(corpus.iterdir()))
        # As few inputs as reach each edge: how often each was passed would keep hundreds more.
        words = command(build, target) + ["-set_cover_merge=1", "-use_counters=0", str(corpus), str(found)]
        status = start(words, log).wait()
        after = list(corpus.iterdir())
        size = sum(path.stat().st_size for path in after)
        print(f"{target:<15} {before:4} inputs, now {len(after):4}, {size:7,} bytes" + ("  FAILED" if status else ""))
        fine = fine and status == 0
    return fine


# The modules that each target is about, beside those that are named like it.
MODULES = {
    "archive_tree": ["proxy/archive.c"],
    "json_decode": ["pyrunner/json_decode.c", "pyrunner/json_encode.c", "proxy/json.c"],
    "json_encode": ["pyrunner/json_encode.c"],
    "http": ["proxy/http.c", "proxy/loop.c"],
    "doors": ["proxy/door.c", "proxy/openwhisk.c", "proxy/lambda.c", "proxy/scf.c", "proxy/knative.c"],
}


def modules_of(targets: Sequence[str]) -> List[str]:
    """Sources, relative to the root of the tree."""
    found: List[str] = []
    for target in targets:
        for module in MODULES.get(target, [f"proxy/{target}.c"]):
            if module not in found and (ROOT / module).exists():
                found.append(module)
    return found


def gcov(build: Path, module: str) -> Optional[Dict[str, str]]:
    """What gcov prints of a module's lines and branches; None when nothing of it ran."""
    side = module.split("/")[0].replace("pyrunner", "runner")
    data = build / "obj" / side / Path(module).with_suffix(".gcda")
    if not data.exists():
        return None
    words = ["gcov", "--no-output", "--branch-probabilities", "--object-directory", str(data.parent), module]
    text = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    section = text.split(f"File '{module}'")[1].split("File '")[0]
    return dict(re.findall(r"^(Lines executed|Branches executed|Taken at least once):(.*)$", section, re.MULTILINE))


def coverage(build: Path, targets: Sequence[str]) -> bool:
    """Replays the corpora and prints a table. False if a replay fails."""
    fine = True
    for data in build.glob("**/*.gcda"):
        data.unlink()
    for target in targets:
        done = subprocess.run([str(build / "fuzz" / f"replay_{target}")], cwd=ROOT, stdout=subprocess.PIPE)
        fine = fine and done.returncode == 0
    print("module                     lines               branches taken")
    for module in modules_of(targets):
        shares = gcov(build, module)
        if shares is not None:
            print(f"{module:<26} {shares['Lines executed']:<19} {shares['Taken at least once']}")
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("action", choices=["fuzz", "merge", "coverage"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    build = options.build.resolve()  # some targets change their working directory
    if options.action == "coverage":
        return 0 if coverage(build, options.targets) else 1
    (build / "findings").mkdir(parents=True, exist_ok=True)
    if options.action == "merge":
        return 0 if merge(build, options.targets) else 1
    results = fuzz(build, options.targets, options.seconds, options.jobs)
    print_results(results)
    record(build, results)
    return 1 if any(result.finding for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
