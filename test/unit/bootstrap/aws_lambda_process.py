"""Runs a Lambda function as the runner does, in an interpreter of its own: for the tests of the Lambda convention."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Union

import _pyaction
from conftest import BOOT, FOLDER

HANDLER = "lambda_function.lambda_handler"

# What pyrunner's main.c does. argv: descriptor for the replies.
DRIVER = BOOT + """
import os
import _pyaction
from pyaction_bootstrap import handle
for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
    status, payload = handle.handle(_pyaction.decode(line), None)
    assert type(status) is bytes and type(payload) is bytes and b"\\n" not in payload
    os.write(int(sys.argv[1]), status + b"\\n" + payload + b"\\n")
os._exit(0)
"""
#: Put before it, these keep simplejson from being found.
WITHOUT_SIMPLEJSON = "import sys\nsys.modules['simplejson'] = None\n"


class Invocation(NamedTuple):
    """replies: status and payload of each message, that of the init message first. status: of the process."""

    replies: List[Any]
    out: str
    err: str
    status: int

    @property
    def result(self) -> Any:
        """The payload of the one successful invocation, as text."""
        (status, payload), = self.replies[1:]
        assert status == "success", payload
        return payload.decode("utf-8")

    @property
    def error(self) -> Dict[str, Any]:
        """The error document of the one reply that is one."""
        status, payload = self.replies[-1]
        assert status in ("function_error", "init_failed"), payload
        document = json.loads(payload)
        assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
        return document  # type: ignore[no-any-return]


def message(body: Union[bytes, str] = b"{}", *, request_id: Optional[str] = "the-request", deadline: Any = None,
            **extra: Any) -> bytes:
    """An activation message as the proxy makes it from a request's body: with the value if that is plain JSON.

    extra: members of "pyaction".
    """
    body = body.encode() if isinstance(body, str) else body
    members: Dict[str, Any] = {}
    value = b""
    try:
        _pyaction.decode(body)
        value = b'"value":' + body.replace(b"\n", b"\r") + b","
    except ValueError:
        extra["body"] = base64.b64encode(body).decode()
    if "content_type" in extra:
        value, extra["body"] = b"", base64.b64encode(body).decode()
    if request_id is not None:
        members["activation_id"] = request_id
    if deadline is not None:
        members["deadline"] = deadline
    members["pyaction"] = extra
    return b"{" + value + json.dumps(members).encode()[1:]


def run(folder: Path, *messages: bytes, source: Optional[str] = None, files: Optional[Dict[str, str]] = None,
        handler: str = HANDLER, env: Optional[Dict[str, Optional[str]]] = None, is_source: bool = False,
        process_env: Optional[Dict[str, str]] = None, before: str = "", invoke: bool = True, **init: Any) -> Invocation:
    """Writes source as lambda_function.py, and files, into folder/task; sends an init message and then messages, by
    default one.

    env: of the init message, None for what is not to be there; AWS_EXECUTION_ENV is by default that of Python 3.12.
    process_env: of the process. invoke: False for the init message alone.
    before: Python source to run first. init: other members of the init message.
    """
    root = folder / "task"
    root.mkdir(exist_ok=True)
    for name, text in {**({} if source is None else {"lambda_function.py": source}), **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    variables = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12", **(env or {})}
    first = {"path": str(root), "handler": handler, "source": is_source, "convention": "lambda", "timeout_ms": 0,
             "env": {name: text for name, text in variables.items() if text is not None}, "memory_mb": 0,
             "owned": True, "packages": str(root), **init}
    lines = [json.dumps(first).encode(), *(messages or (message(),) if invoke else ())]
    with open(folder / "replies", "wb") as replies:
        done = subprocess.run(
            [sys.executable, "-c", before + DRIVER, str(replies.fileno())],
            input=b"".join(line + b"\n" for line in lines), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=[replies.fileno()], check=False, timeout=60, env={
                "PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONUTF8": "1", **(process_env or {})})
    got = (folder / "replies").read_bytes().split(b"\n")
    assert got.pop() == b"" and len(got) % 2 == 0
    pairs = [(got[i].decode(), got[i + 1]) for i in range(0, len(got), 2)]
    return Invocation(pairs, done.stdout.decode(), done.stderr.decode(), done.returncode)
