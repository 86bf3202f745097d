"""An SCF function in an interpreter of its own, spoken to as the proxy does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from conftest import BOOT, FOLDER

# What pyrunner's main.c does: decodes each line, calls, and writes the reply, here to the descriptor argv[1].
DRIVER = BOOT + """
import os
import _pyaction
del os.environ["PYTHONPATH"]  # only the way to _pyaction
exec(sys.argv[2])
from pyaction_bootstrap import handle
for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
    status, payload = handle.handle(_pyaction.decode(line), None)
    assert b"\\n" not in payload
    os.write(int(sys.argv[1]), status.strip() + b"\\n" + payload + b"\\n")
os._exit(0)
"""
ROOT = "/var/user"  # stands for the folder of the code in all that comes back
ID = "fc3a6ccf-5f4b-4c5e-9d23-8f1b3b6e2d11"


class Conversation(NamedTuple):
    """replies: status and payload of each message until the end, those of the init message first. status: of the
    process."""

    replies: List[Tuple[str, str]]
    out: str
    err: str
    status: int


def talk(folder: Path, files: Dict[str, Any], *messages: Any, init: Optional[Dict[str, Any]] = None,
         env: Optional[Dict[str, str]] = None, first_of_all: str = "") -> Conversation:
    """Writes files, {path: content}, and sends an init message and then the given ones.

    Args:
        folder: where the folder of the code is made
        init: members of the init message that differ from the usual ones
        env: added to the bare environment of the process
        first_of_all: source to be run in it before the bootstrap is used
    """
    root = folder / "code"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    message = {"path": str(root), "handler": "index.main_handler", "source": False, "env": {}, "owned": True,
               "packages": str(folder), "convention": "scf", **(init or {})}
    sent = b"".join(json.dumps(sent).encode() + b"\n" for sent in (message, *messages))
    with open(folder / "replies", "wb") as file:
        done = subprocess.run(
            [sys.executable, "-S", "-c", DRIVER, str(file.fileno()), first_of_all], input=sent,
            pass_fds=[file.fileno()], timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            env={"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})

    def text_of(data: bytes) -> str:
        return data.decode("utf-8").replace(str(root), ROOT)

    lines = text_of((folder / "replies").read_bytes()).split("\n")
    assert lines.pop() == "" and len(lines) % 2 == 0
    replies = list(zip(lines[::2], lines[1::2]))
    return Conversation(replies, text_of(done.stdout), text_of(done.stderr), done.returncode)


def expand(source: str) -> str:
    """The source of a vector: a line "H statement" is the handler."""
    return "".join("def main_handler(event, context):\n    " + line[2:] + "\n" if line.startswith("H ") else line + "\n"
                   for line in source.split("\n"))


def compact(document: Dict[str, Any]) -> str:
    """JSON as the platform's documents have it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def e430(trace: str, error_code: int = 1, request_id: str = ID) -> str:
    """The document of an uncaught exception."""
    return compact({"errorCode": error_code, "errorMessage": "user code exception caught", "requestId": request_id,
                    "stackTrace": trace, "statusCode": 430})


def e443(message: str, error_code: int = 1) -> str:
    """The document of a function that cannot be loaded."""
    return compact({"errorCode": error_code, "errorMessage": message, "requestId": "", "statusCode": 443})
