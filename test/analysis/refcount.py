#!/usr/bin/env python3
"""Shows that activations leave no references behind, with a pyaction that embeds Python's debug build.

usage: refcount.py PYACTION [--activations N]

For each kind of activation: warms up, then compares the sum of all reference counts (sys.gettotalrefcount(), which
only the debug build has) after half of N activations with that after all of them. A leak of one reference in each
shows as N/2. Ends with 1 if a count has grown by more than ALLOWED.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

#: Seconds for the server to come up. The debug build is slow, the machine may be busy.
PATIENCE_S = 60
WARM_UP = 300
#: What two counts may differ by: dictionaries of interned strings and free lists breathe. A leak in each activation is
#: hundreds of times that.
ALLOWED = 50

LAMBDA_PATH = "/2015-03-31/functions/function/invocations"
SCF_PATH = "/event-invoke"

#: In front of each function: what it is asked for its count, in between.
COUNT = """\
import gc, sys

def count():
    gc.collect()
    return sys.gettotalrefcount()

"""

#: What an activation can meet: bodies go round by their number.
VALUES: List[Any] = [
    {"n": 1, "text": "plain"},
    {"n": -1.5, "big": 2**70, "small": 1e-300, "exact": 0.1, "none": None, "true": True, "false": False},
    {"ä": "ö€😀", "escapes": '"\\\n\u0001', "empty": "", "one": "x"},
    {"list": [1, [2, [3, [{}]]], []], "same": [{"a": 1, "b": 2}] * 5},
    {"long": "x" * 10_000, "wide": "€" * 3000},
]


class Kind(NamedTuple):
    """A kind of activation: the function and how it is called."""

    name: str
    handler: str  # the function's name, which decides the convention
    code: str
    path: str
    statuses: Tuple[int, ...]
    headers: Dict[str, str] = {}


def openwhisk(name: str, body: str, *statuses: int, head: str = "def main(event, context):") -> Kind:
    """A function of OpenWhisk; body: its lines, indented by four."""
    return Kind(name, "main", f"{head}\n    if 'count' in event: return {{'count': count()}}\n{body}", "/run", statuses)


def cloud(name: str, handler: str, path: str, body: str, **headers: str) -> Kind:
    """A function of AWS or Tencent."""
    code = f"def {handler}(event, context):\n    if event == 'count': return count()\n{body}"
    return Kind(name, handler, code, path, (200, 430), {key.replace("_", "-"): value for key, value in headers.items()})


KINDS = [
    openwhisk("echo", "    return event\n", 200),
    openwhisk("many types of results",
              "    class D(dict): pass\n"
              "    return {'d': D(a=(1, 2)), 3: 'x', None: 4.5, True: [event], 'r': 1e100, 'i': 2**80}\n", 200),
    openwhisk("output", "    print('line', 1, event.get('n'), sep='-'); print('e', file=sys.stderr)\n"
              "    sys.stdout.write('w')\n    return {}\n", 200),
    openwhisk("exceptions", "    raise ValueError('no', event)\n", 502),
    openwhisk("wrong results", "    return 1\n", 502),
    openwhisk("what is no JSON", "    return {'a': [{'b': {1, 2}}], 'n': float('nan')}\n", 502),
    openwhisk("circles", "    a = {}; a['a'] = a\n    return a\n", 502),
    openwhisk("a result with an error", "    return {'error': 'mine'}\n", 200, 502),
    openwhisk("async", "    import asyncio\n    await asyncio.sleep(0)\n    return event\n", 200,
              head="async def main(event, context):"),
    openwhisk("async exceptions", "    raise KeyError('k')\n", 502, head="async def main(event):"),
    cloud("Lambda", "lambda_handler", LAMBDA_PATH, "    return event\n", X_Amz_Log_Type="Tail",
          X_Amz_Client_Context=base64.b64encode(b'{"custom": {"a": 1}}').decode()),
    cloud("Lambda's exceptions", "lambda_handler", LAMBDA_PATH, "    raise ValueError('no', event)\n"),
    # Without simplejson: the encoder of its 3.18, in C, leaks some references for each value that it refuses.
    cloud("Lambda's wrong results", "lambda_handler", LAMBDA_PATH,
          "    return {'a': [object()]}\nsys.modules['simplejson'] = None\n"),
    cloud("SCF", "main_handler", SCF_PATH, "    return event\n"),
    cloud("SCF's exceptions", "main_handler", SCF_PATH, "    raise ValueError('no', event)\n"),
    cloud("SCF's wrong results", "main_handler", SCF_PATH, "    return object()\n"),
]

#: Bodies that the runner refuses, in place of VALUES.
BROKEN = [b'{"value": {"a": 1,}}', b'{"value": "\xff"}', b'{"value": ["\\u12"]}', b'{"value": 01}', b"[" * 6000,
          b'{"value": {"key": {"other": [1, 2, nul]}}}', b"[]"]


class Server:
    """A pyaction with a function, and a connection to it."""

    def __init__(self, executable: str, folder: Path, kind: Kind) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.kind = kind
        (folder / "code.py").write_text(COUNT + kind.code)
        command = [executable, "--host", "127.0.0.1", "--port", str(self.port), "--scf-port", "0", "--work-dir",
                   str(folder), "--timeout", "600", "--memory", "0", "--code", str(folder), f"code.{kind.handler}"]
        log = (folder / "log").open("wb")
        self.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdout=log, stderr=log)
        log.close()
        self.connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            try:
                connection.connect()
                return connection
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def post(self, body: bytes) -> Tuple[int, bytes]:
        """Status and body of the answer."""
        self.connection.request("POST", self.kind.path, body, self.kind.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def count(self) -> int:
        """All references of the function's process."""
        wrapped = self.kind.path == "/run"
        status, body = self.post(json.dumps({"value": {"count": 1}} if wrapped else "count").encode())
        if status != 200:
            raise RuntimeError(f"{self.kind.name}: no count: {status} {body!r}")
        return int(json.loads(body)["count"] if wrapped else json.loads(body))

    def stop(self) -> None:
        """Ends it."""
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def bodies(kind: Kind) -> Iterator[bytes]:
    """Bodies for its activations, for ever."""
    documents = VALUES if kind.path != "/run" else [{"value": value, "activation_id": "0"} for value in VALUES]
    encoded = [json.dumps(document, ensure_ascii=number % 2 == 0).encode() for number, document in enumerate(documents)]
    while True:
        yield from encoded


def measure(executable: str, kind: Kind, activations: int, broken: bool = False) -> int:
    """How much the count has grown in the second half of the activations. RuntimeError for an answer that is none of
    the kind's."""
    folder = Path(tempfile.mkdtemp(prefix="pyaction-refcount-"))
    folder.chmod(0o755)  # started as root, the function is another user
    server = None
    try:
        server = Server(executable, folder, kind)
        source = bodies(kind)
        counts = []
        for number in range(WARM_UP + activations):
            body = BROKEN[number % len(BROKEN)] if broken else next(source)
            status, answer = server.post(body)
            if status not in ((400, 502) if broken else kind.statuses):
                raise RuntimeError(f"{kind.name}: {status} {answer[:300]!r}: {(folder / 'log').read_text()[-2000:]}")
            # The first count is a warm-up of counting itself.
            if number in (WARM_UP // 2, WARM_UP + activations // 2, WARM_UP + activations - 1):
                counts.append(server.count())
        return counts[2] - counts[1]
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


def main() -> int:
    """Prints a line for each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pyaction")
    parser.add_argument("--activations", type=int, default=10_000, help="in all")
    options = parser.parse_args()
    tries = [(kind, False) for kind in KINDS] + [(KINDS[0]._replace(name="refused bodies"), True)]
    each = -(-options.activations // len(tries))
    fine = True
    for kind, broken in tries:
        grown = measure(options.pyaction, kind, each, broken)
        leaks = abs(grown) > ALLOWED
        fine = fine and not leaks
        print(f"{kind.name:<26} {each:6} activations, {grown:+5} references{'   LEAK' if leaks else ''}", flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
