"""What fuzz_activation.c checks: any message is answered, by every convention, with a reply the proxy understands."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from pyaction_bootstrap import environment, handle

CONVENTIONS = {"openwhisk": "main", "lambda": "lambda_handler", "scf": "main_handler"}
STATUSES = {"success", "success_bytes", "application_error", "function_error", "bad_request"}

# A function that does what its event says, and looks at all that its context has.
SOURCE = '''
class Odd(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.__cause__ = ValueError(text)

    def __str__(self):
        return self.args[0]


def look_at(context):
    found = []
    for name in dir(context):
        if not name.startswith("__"):
            value = getattr(context, name)
            found.append([name, repr(value() if name.startswith("get_") else value)])
    return found


def main(event, context):
    if not isinstance(event, dict):
        return event
    if "raise" in event:
        raise (Odd, KeyError, UnicodeError)[len(event) % 3](event["raise"])
    if "bytes" in event:
        return str(event["bytes"]).encode("utf-8", "surrogatepass")
    if "context" in event:
        return {"context": look_at(context)}
    if "object" in event:
        return {"object": object(), **event}
    if "nan" in event:
        return [float("nan"), event]
    return event


lambda_handler = main_handler = main
'''


def load_functions() -> List[Any]:
    """The function, loaded by each convention, as the runner does for an init message. Leaves no file."""
    folder = tempfile.mkdtemp(prefix="pyaction-fuzz-")
    with open(os.path.join(folder, "victim.py"), "w") as file:
        file.write(SOURCE)
    loaded: List[Any] = []
    for convention, name in CONVENTIONS.items():
        handle._function = None
        status, payload = handle.handle(
            {
                "path": folder, "packages": folder, "handler": f"victim.{name}", "source": False, "env": {},
                "convention": convention, "timeout_ms": 0, "memory_mb": 0, "owned": True,
            },
            None,
        )
        assert status == b"initialized", payload
        loaded.append(handle._function)
    os.chdir("/")
    shutil.rmtree(folder)
    return loaded


_functions = load_functions()
_null = os.open("/dev/null", os.O_WRONLY)
_own = [os.dup(1), os.dup(2)]


def answer(message: Any, error: Optional[BaseException]) -> Tuple[bytes, bytes]:
    """handle(), with the function's output out of the way."""
    os.dup2(_null, 1)
    os.dup2(_null, 2)
    try:
        status, payload = handle.handle(message, error)
        return status, payload
    finally:
        os.dup2(_own[0], 1)
        os.dup2(_own[1], 2)


def is_echo(message: Dict[str, Any]) -> bool:
    """Whether the function returns its event, and the event is the message's value."""
    event = message.get("value")
    if not isinstance(event, dict):
        return event is not None
    return not {"raise", "bytes", "context", "object", "nan"} & event.keys()


def check(choice: int, message: Any, error: Optional[BaseException]) -> None:
    """choice: of the convention. message: a line from the proxy; or error, why it could not be decoded."""
    convention = choice % len(_functions)
    handle._function = _functions[convention]
    before = dict(os.environ)
    status, payload = answer(message, error)
    environment.apply_activation({})
    assert status.decode() in STATUSES, status
    assert type(payload) is bytes and b"\n" not in payload and b"\0" not in payload, payload
    if status == b"success_bytes":
        base64.b64decode(payload, validate=True)
        return
    result = json.loads(payload.decode("utf-8"))
    if status == b"function_error":
        assert isinstance(result, dict), payload
    if error is not None or not isinstance(message, dict):
        assert status == b"bad_request", status
    elif status == b"success" and is_echo(message) and "pyaction" not in message:
        assert repr(result) == repr(message["value"]), payload
    if convention == 0:
        assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
