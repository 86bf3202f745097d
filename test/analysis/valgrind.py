#!/usr/bin/env python3
"""Runs programs under valgrind's memcheck and judges what it says, processes that they fork included.

usage: valgrind.py unit TEST...
       valgrind.py server PYACTION

unit: test programs, which must pass. server: a pyaction with its runner, both under valgrind, answers requests of all
kinds and stops.

No process may use memory wrongly. What a program has allocated must be free, or in reach, at its end, and no descriptor
may be open that it has opened itself: but for forked children that end with _exit(), and the runner, which leaves its
interpreter to the system.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent.parent
#: What valgrind itself is asked for. Errors of memory are counted apart from leaks, which it lists at the end.
OPTIONS = ["--tool=memcheck", "--leak-check=full", "--show-leak-kinds=definite,indirect",
           "--track-fds=yes", "--num-callers=30", "--error-limit=no"]
#: How the first lines of errors begin, in valgrind's memcheck.
ERRORS = ("(?:Invalid |Conditional jump|Use of uninit|Syscall param|Source and dest|Mismatched|Jump to|Argument '|"
          "Process terminating with default action of signal (?:4|6|7|8|11) )")
#: Debian's, for the interpreter (package python3).
PYTHON_SUPPRESSIONS = "/usr/lib/valgrind/python3.supp"
#: Seconds that one answer may take.
PATIENCE_S = 300


def problems_of(text: str, is_whole: bool) -> List[str]:
    """What a log of valgrind complains of. is_whole: the program ended by itself, so that leaks count."""
    # Not the sum at the end, which a process that is killed has not.
    found = re.findall(rf"^==\d+== ({ERRORS}.*)$", text, re.MULTILINE)
    if not is_whole:
        return found
    if "ERROR SUMMARY" not in text:
        found.append("no end")
    for kind in ("definitely", "indirectly"):
        lost = re.search(rf"{kind} lost: ([\d,]+) bytes", text)
        if lost is not None and lost.group(1) != "0":
            found.append(f"{lost.group(1)} bytes {kind} lost")
    opened = re.findall(r"Open (?:file descriptor|AF_\S+ socket) (\d+):?[^\n]*\n==\d+==\s+(.*)", text)
    left = [number for number, where in opened if "inherited from parent" not in where and int(number) > 2]
    if left:
        found.append(f"descriptors left open: {', '.join(left)}")
    return found


class Logs:
    """A folder into which each process under valgrind writes its log."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pyaction-valgrind-"))
        self.folder.chmod(0o777)  # started as root, the function is another user

    def command(self, name: str, *options: str) -> List[str]:
        """The words in front of a program; name: its logs' own, for a child has one before exec, as another user."""
        return ["valgrind", *OPTIONS, f"--log-file={self.folder}/{name}-%p.log", *options]

    def judge(self, whole: str) -> List[str]:
        """What the logs complain of; whole: that of the process whose leaks count."""
        found = []
        for path in sorted(self.folder.glob("*.log")):
            text = path.read_text(errors="replace")
            for problem in problems_of(text, path.stem == whole):
                found.append(f"process {path.stem}: {problem}\n{text}")
        return found

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)


# --- unit tests -----------------------------------------------------------------------------------------------


def run_unit(program: str) -> bool:
    """Runs one of them and prints a line, or all that is wrong."""
    logs, started = Logs(), time.monotonic()
    environment = {**os.environ, "PYACTION_VALGRIND": "1"}
    process = subprocess.Popen(logs.command("test", "--child-silent-after-fork=no") + [program], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    output = process.communicate()[0]
    found = logs.judge(f"test-{process.pid}")
    if process.returncode != 0:
        failed = [line for line in output.splitlines() if not line.startswith("ok ")]
        found.append("\n".join([f"exit status {process.returncode}", *failed]))
    print(f"{program:<40} {time.monotonic() - started:5.1f} s  {'FAILED' if found else 'clean'}", flush=True)
    for text in found:
        print(text)
    logs.remove()
    return not found


# --- a server -------------------------------------------------------------------------------------------------

FUNCTION = """\
import asyncio, json, os, sys

def main(event, context):
    what = event.get("what")
    if what == "print":
        print("out", event, sep="-")
        print("err", file=sys.stderr)
    if what == "raise":
        raise ValueError("no", event)
    if what == "exit":
        sys.exit(3)
    if what == "result":
        return 5
    if what == "object":
        return {"a": [object()]}
    if what == "numbers":
        return {"f": [1.5, 1e300, 0.1, -1e-7], "i": [2**80, -1], "t": (1, None, True), 3: {"x": "\\u20ac\\x01"}}
    if what == "big":
        return {"big": "x" * 1000000}
    if what == "await":
        return asyncio.run(asyncio.sleep(0, {"slept": True}))
    return event

async def lambda_handler(event, context):
    return {"id": context.aws_request_id, "event": event}

def main_handler(event, context):
    return {"id": context["request_id"], "event": event}
"""

Request = Tuple[str, bytes, Dict[str, str], Tuple[int, ...]]


def post(path: str, document: Any, *statuses: int, **headers: str) -> Request:
    """A request and the statuses that its answer may have."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return path, body, {name.replace("_", "-"): value for name, value in headers.items()}, statuses


def make_zip() -> str:
    """An archive with the function, in base64."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", FUNCTION)
        archive.writestr("package/__init__.py", "x = 1\n")
    return base64.b64encode(data.getvalue()).decode()


LAMBDA, SCF = "/2015-03-31/functions/function/invocations", "/event-invoke"

REQUESTS: List[Request] = [
    post("/run", {"value": {}}, 500),
    post("/init", {"value": {"code": "1 / 0"}}, 502),
    post("/init", b'{"value": {"code": ', 400),
    post("/init", {"value": {"code": make_zip(), "binary": True, "env": {"A": "b", "LANG": "C"}}}, 200),
    post("/init", {"value": {"code": "x"}}, 403),
    post("/run", {"value": {"a": ["ä", 1, 2.5, None, {"b": {}}]}, "activation_id": "1", "deadline": "0"}, 200),
    *(post("/run", {"value": {"what": what}}, 200, 400, 502)
      for what in ("print", "raise", "result", "object", "numbers", "big", "await")),
    post("/run", b'{"value": [1, 2', 400),
    post("/run", b'{"value": ["\xff", "\\ud800", 1e999]}', 400),
    post("/run", {"value": {"pad": "x" * 300_000}}, 200),
    post(LAMBDA, {"a": 1}, 200, X_Amz_Log_Type="Tail", X_Amz_Client_Context="e30="),
    post(LAMBDA, b"no JSON", 200, 400),
    post(LAMBDA, {"what": "raise"}, 200),
    post(LAMBDA, {"a": 1}, 202, X_Amz_Invocation_Type="Event"),
    post(LAMBDA, {"a": 1}, 204, X_Amz_Invocation_Type="DryRun"),
    post(SCF, {"a": 1}, 200, X_Scf_Request_Id="abc"),
    post(SCF, {"what": "raise"}, 200, 430),
    post("/nowhere", b"", 404),
    post("/run", {"value": {"what": "exit"}}, 400),
    post("/run", {"value": {"again": True}}, 200),
]


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect(port: int, process: "subprocess.Popen[bytes]") -> http.client.HTTPConnection:
    """A connection to the server, once it listens. RuntimeError when it has ended."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.connect()
            return connection
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}") from None
            time.sleep(0.1)


def ask(port: int, process: "subprocess.Popen[bytes]") -> List[str]:
    """Sends the requests; returns which answers were wrong."""
    found = []
    for path, body, headers, statuses in REQUESTS:
        connection = connect(port, process)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status not in statuses:
            found.append(f"{path} {body[:100]!r}: {answer.status} {text[:300]!r}")
        connection.close()
    return found


def run_server(executable: str) -> bool:
    """Runs the server and prints a line, or all that is wrong."""
    logs, work_dir, port = Logs(), Path(tempfile.mkdtemp(prefix="pyaction-valgrind-")), free_port()
    work_dir.chmod(0o755)
    runner = work_dir / "runner"
    suppressions = [f"--suppressions={path}" for path in (PYTHON_SUPPRESSIONS, ROOT / "test/analysis/valgrind.supp")]
    words = logs.command("runner", *suppressions, "--leak-check=no", "--track-fds=no")
    runner.write_text("#!/bin/sh\nexec " + " ".join(words) + f" {Path(executable).resolve().parent}/pyrunner\n")
    runner.chmod(0o755)
    command = [*logs.command("server"), executable, "--host", "127.0.0.1", "--port", str(port), "--scf-port", "0"]
    command += ["--runner", str(runner), "--work-dir", str(work_dir), "--timeout", "0", "--memory", "0"]
    with (work_dir / "output").open("wb") as output:
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "PYTHONMALLOC": "malloc"}, stdout=output,
                                   stderr=output)
    try:
        found = ask(port, process)
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE_S) != 0:
            found.append(f"exit status {process.returncode}")
    finally:
        process.kill()
    found += logs.judge(f"server-{process.pid}")
    print(f"{executable}: {len(REQUESTS)} requests, {len(list(logs.folder.iterdir()))} processes, "
          f"{'FAILED' if found else 'clean'}")
    for text in found:
        print(text)
    if found:
        print((work_dir / "output").read_text(errors="replace"))
    logs.remove()
    shutil.rmtree(work_dir)
    return not found


def main(words: Sequence[str]) -> int:
    """See above."""
    if len(words) >= 2 and words[0] == "unit":
        return 0 if all([run_unit(program) for program in words[1:]]) else 1
    if len(words) == 2 and words[0] == "server":
        return 0 if run_server(words[1]) else 1
    print((__doc__ or "").split("\n\n")[1], file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
