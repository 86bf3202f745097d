#!/usr/bin/env python3
"""Measures servers of Python functions, through OpenWhisk's and AWS Lambda's doors. See README.md beside this file.

Each server is a command line. With several, every measurement is taken of one after the other, round by round, so
that a change of the machine's load meets all of them. Every answer is verified; the exit status is 1 if one was wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple

import aws_lambda
import openwhisk
from container import BenchError, end_descendants
from server import FULL, QUICK, Counts, Figures, Material, Measurement, Row, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Door:
    """An interface that servers have, and what is measured through it.

    Attributes:
        prefix: of its options and of its members of the JSON document
        placeholders: what a server's command must have
        own_arguments: of pyaction, for a server that is not given
    """

    title: str
    prefix: str
    placeholders: Sequence[str]
    own_arguments: str
    rows: Sequence[Row]
    measurements: Dict[str, Measurement]
    material: Callable[[pathlib.Path, Sequence[str]], Material]


DOORS = [
    Door(
        "OpenWhisk", "", ["{port}"], "--port {port}", openwhisk.ROWS, openwhisk.MEASUREMENTS,
        openwhisk.OpenWhiskMaterial,
    ),
    Door(
        "AWS Lambda", "lambda_", ["{port}", "{code}", "{handler}"],
        "--port {port} --code {code} --max-request 20M --max-response 20M {handler}", aws_lambda.ROWS,
        aws_lambda.MEASUREMENTS, aws_lambda.LambdaMaterial,
    ),
]
MEASUREMENTS = [name for door in DOORS for name in door.measurements]


@dataclasses.dataclass
class Contest:
    """The servers that are compared with each other through one door.

    Attributes:
        names: of the measurements that are taken
    """

    door: Door
    names: Sequence[str]
    material: Material
    servers: Sequence[Server]
    baseline: Server


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


def learn(contest: Contest) -> List[Tuple[Server, str]]:
    """Learns the right answers. Returns what cannot be measured because there was a wrong one."""
    skipped = []
    for server in contest.servers:
        for function in sorted({contest.door.measurements[name].function for name in contest.names}):
            if not attempt(server, f"first answers of {function}", lambda: server.learn(function)):
                skipped += [(server, name) for name in contest.names
                            if contest.door.measurements[name].function == function]
    return skipped


def run_rounds(contests: Sequence[Contest], rounds: int, counts: Counts) -> None:
    """Learns the right answers, then measures: for each round and measurement one server after the other.

    A server that fails a measurement is not asked for that one again.
    """
    skipped = [pair for contest in contests for pair in learn(contest)]
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        for contest in contests:
            contest.material.new_round(number)
            for name in contest.names:
                measurement = contest.door.measurements[name]
                for server in list(contest.servers) * measurement.repeats:
                    if (server, name) in skipped:
                        continue
                    if not attempt(server, name, lambda: measurement.measure(server, counts)):
                        skipped.append((server, name))


@dataclasses.dataclass(frozen=True)
class Summary:
    """A row's samples of one server."""

    best: float
    median: float
    samples: List[float]

    @classmethod
    def of(cls, row: Row, server: Server) -> Optional[Summary]:
        """None without samples."""
        if row.ratio_of:
            over, under = (cls.of(dataclasses.replace(row, key=key, ratio_of=(), higher_is_better=False), server)
                           for key in row.ratio_of)
            if over is None or under is None:
                return None
            return cls(over.best / under.best, over.median / under.median, [])
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


def table(contest: Contest) -> str:
    """The results as a Markdown table, its columns aligned."""
    servers, baseline = contest.servers, contest.baseline
    others = [server for server in servers if server is not baseline]
    titles = [server.name for server in servers] + [f"{server.name} : {baseline.name}" for server in others]
    lines = [["measurement", "unit", *titles]]
    for row in contest.door.rows:
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


def to_rows(contest: Contest) -> List[Dict[str, Any]]:
    """All samples and what was made of them, row by row."""
    rows = []
    for row in contest.door.rows:
        summaries = {server.name: Summary.of(row, server) for server in contest.servers}
        base = summaries[contest.baseline.name]
        rows.append(
            {
                **dataclasses.asdict(row),
                "servers": {name: dataclasses.asdict(summary) for name, summary in summaries.items() if summary},
                "times_better": {name: list(s.times_better(row, base)) for name, s in summaries.items() if s and base},
            }
        )
    return [row for row in rows if row["servers"]]


def to_document(facts: Dict[str, Any], contests: Sequence[Contest]) -> Dict[str, Any]:
    """Everything, for `--json`."""
    document: Dict[str, Any] = {"machine": facts}
    for contest in contests:
        document[f"{contest.door.prefix}servers"] = {server.name: server.command for server in contest.servers}
        document[f"{contest.door.prefix}baseline"] = contest.baseline.name
    document["rows"] = [row for contest in contests for row in to_rows(contest)]
    document["failures"] = [text for contest in contests for server in contest.servers for text in server.failures]
    return document


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
           help="a server to measure through OpenWhisk's door, {port} in the command is its port; may be repeated")
    option("--baseline", metavar="NAME", help="the server to compare the others with; default: the first")
    option("--lambda-server", action="append", metavar="NAME=COMMAND",
           help="a server to measure through AWS Lambda's door: in the command {port}, {code} for the function's"
           " folder and {handler}, and for a server that needs it {second_port}; may be repeated")
    option("--lambda-baseline", metavar="NAME", help="the same for these; default: the first")
    option("--compiler", action="append", metavar="NAME=COMMAND",
           help="the -compile of a --server: a command that makes of a zip one that the server starts sooner, from"
           " stdin to stdout; may be repeated")
    option("--only", metavar="NAMES", help=f"some measurements, with commas between: {', '.join(MEASUREMENTS)}")
    option("--rounds", type=int, metavar="N", help="how often to measure everything; default: 5, with --quick 2")
    option("--quick", action="store_true", help="fewer requests and rounds: a look, not a result")
    option("--cpus", type=parse_cpus, metavar="LIST", help="run client and servers on these processors only, like 0,1")
    option("--json", type=pathlib.Path, metavar="FILE", help="write all samples to this file")
    option("--client", type=pathlib.Path, metavar="PATH", default=ROOT / "build" / "bench-client",
           help="the load client made of client.c; default: build/bench-client")
    parser.epilog = "Without any server, build/pyaction is measured through both doors."
    return parser


def parse_servers(parser: argparse.ArgumentParser, arguments: argparse.Namespace, door: Door) -> None:
    """Makes a dict of a door's servers, empty if there are none, and finds its baseline."""
    option = f"--{door.prefix}server".replace("_", "-")
    pairs = getattr(arguments, f"{door.prefix}server") or []
    servers = {name: command for name, _, command in (pair.partition("=") for pair in pairs)}
    for name, command in servers.items():
        if not name or "/" in name or not all(part in command for part in door.placeholders):
            parser.error(
                f"{option} {name}={command}: it takes a name without '/' and a command with"
                f" {', '.join(door.placeholders)} in it"
            )
    baseline = getattr(arguments, f"{door.prefix}baseline") or next(iter(servers), None)
    if baseline is not None and baseline not in servers:
        parser.error(f"--{door.prefix.replace('_', '-')}baseline {baseline}: there is no server of that name")
    setattr(arguments, f"{door.prefix}server", servers)
    setattr(arguments, f"{door.prefix}baseline", baseline)


def parse_arguments() -> argparse.Namespace:
    """The command line; ends the program with a message if it is wrong."""
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.server is None and arguments.lambda_server is None:
        for door in DOORS:
            command = f"pyaction={shlex.quote(str(ROOT / 'build' / 'pyaction'))} {door.own_arguments}"
            setattr(arguments, f"{door.prefix}server", [command])
        arguments.compiler = [f"pyaction={shlex.quote(str(ROOT / 'build' / 'pyaction'))} -compile main"]
    for door in DOORS:
        parse_servers(parser, arguments, door)
    arguments.compiler = dict(pair.split("=", 1) for pair in arguments.compiler or [] if "=" in pair)
    for name in arguments.compiler:
        if name not in arguments.server:
            parser.error(f"--compiler {name}: there is no server of that name")
    arguments.only = arguments.only.split(",") if arguments.only else list(MEASUREMENTS)
    unknown = [name for name in arguments.only if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"--only {unknown[0]}: one of {', '.join(MEASUREMENTS)}")
    if not any(name in door.measurements for door in DOORS if getattr(arguments, f"{door.prefix}server")
               for name in arguments.only):
        parser.error(f"--only {arguments.only[0]}: there is no server to measure it of")
    arguments.rounds = (2 if arguments.quick else 5) if arguments.rounds is None else arguments.rounds
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if not os.access(arguments.client, os.X_OK):
        parser.error(f"--client {arguments.client}: there is no such program; `make bench` builds it")
    return arguments


def make_contests(arguments: argparse.Namespace, directory: pathlib.Path) -> List[Contest]:
    """The doors that there are servers and measurements for."""
    contests = []
    for door in DOORS:
        commands = getattr(arguments, f"{door.prefix}server")
        names = [name for name in arguments.only if name in door.measurements]
        if not commands or not names:
            continue
        place = directory / f"{door.prefix}servers"
        place.mkdir()
        material = door.material(place, [door.measurements[name].function for name in names])
        client = arguments.client.resolve()
        compilers = {} if door.prefix else arguments.compiler
        servers = [Server(name, command, material, place / name, client, compilers.get(name, ""))
                   for name, command in commands.items()]
        (baseline,) = (server for server in servers if server.name == getattr(arguments, f"{door.prefix}baseline"))
        contests.append(Contest(door, names, material, servers, baseline))
    return contests


def print_results(contest: Contest, rounds: int) -> None:
    """A heading, the servers and the table."""
    print(f"## {contest.door.title}\n")
    for server in contest.servers:
        print(f"- {server.name}: `{server.command}`")
    print(f"\n{table(contest)}\n")
    print(f"Best and (median) of {rounds} rounds.", end="")
    if len(contest.servers) > 1:
        base = contest.baseline.name
        print(f" 2.00× is twice as good as {base}: half the time or memory, or double the rate.", end="")
    print("\n")


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
        os.chmod(temporary, 0o755)  # as make_directory() does
        contests = make_contests(arguments, pathlib.Path(temporary))
        try:
            run_rounds(contests, arguments.rounds, QUICK if arguments.quick else FULL)
        finally:
            end_descendants(os.getpid())  # a signal may have come before a new server was in its `with` statement
    document = to_document(facts, contests)
    print("{cores} × {processor}, Linux {kernel}, benchmark on Python {python}, load {load}, {time}\n".format(**facts))
    for contest in contests:
        print_results(contest, arguments.rounds)
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
