"""handle.py: a message in, two lines out, in an interpreter of its own as the runner has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional

import pytest
from conftest import BOOT, FOLDER

# What pyrunner's main.c does: decodes each line, calls, and writes the reply to the descriptor argv[1].
DRIVER = BOOT + """
import os
import _pyaction
from pyaction_bootstrap import handle
for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
    message = error = None
    try:
        message = _pyaction.decode(line)
    except BaseException as caught:
        error = caught
    status, payload = handle.handle(message, error)
    assert type(status) is bytes and type(payload) is bytes
    os.write(int(sys.argv[1]), status + b"\\n" + payload + b"\\n")
os._exit(0)
"""


class Conversation(NamedTuple):
    """replies: status and payload, parsed, of each message until the end. status: of the process."""

    replies: List[Any]
    out: str
    err: str
    status: int


def send(lines: List[bytes], replies: Path) -> Conversation:
    """Starts the driver and gives it lines. replies: a file for what it answers."""
    with open(replies, "wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(file.fileno())], input=b"".join(line + b"\n" for line in lines),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[file.fileno()], check=False, timeout=60,
            env={"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"})
    got = replies.read_bytes().split(b"\n")
    assert got.pop() == b"" and len(got) % 2 == 0
    pairs = [(got[i].decode(), json.loads(got[i + 1])) for i in range(0, len(got), 2)]
    return Conversation(pairs, done.stdout.decode(), done.stderr.decode(), done.returncode)


@pytest.fixture
def talk(tmp_path: Path) -> Callable[..., Conversation]:
    """Returns a function that writes source, or files, and sends an init message and then the given ones: a bytes
    line, or an object."""
    root = tmp_path / "code"
    root.mkdir()

    def do(source: Optional[str], *messages: Any, handler: str = "main", env: Any = None, files: Any = None,
           init: bool = True, is_source: bool = True) -> Conversation:
        for name, text in {**({} if source is None else {"__main__.py": source}), **(files or {})}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        first = {"path": str(root), "handler": handler, "source": is_source, "env": env or {}, "owned": True,
                 "packages": str(root), "convention": "openwhisk", "timeout_ms": 0, "memory_mb": 0}
        lines = [*([first] if init else []), *messages]
        return send([line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines],
                    tmp_path / "replies")

    return do


READY = ("initialized", {"ok": True})


def test_init_and_runs(talk: Callable[..., Conversation]) -> None:
    got = talk("""
count = 0

def main(event):
    global count
    count += 1
    return {"event": event, "count": count}
""", {"value": {"a": 1}}, {"value": [1]}, {}, {"value": None})
    assert got.replies == [READY, ("success", {"event": {"a": 1}, "count": 1}), ("success", {"event": [1], "count": 2}),
                           ("success", {"event": {}, "count": 3}), ("success", {"event": None, "count": 4})]
    assert (got.out, got.err, got.status) == ("", "", 0)


def test_init_message(talk: Callable[..., Conversation]) -> None:
    """Working directory, sys.path, environment before the import, handler."""
    got = talk("""
import os, sys, beside
seen = os.environ["A"], os.getcwd() == sys.path[0], beside.value

def other():
    return {"seen": seen, "A": os.environ["A"], "data": open("data.txt").read()}
""", {}, handler="other", env={"A": 5}, files={"beside.py": "value = 1", "data.txt": "data"}, is_source=False)
    assert got.replies == [READY, ("success", {"seen": ["5", True, 1], "A": "5", "data": "data"})]


def test_virtualenv(talk: Callable[..., Conversation]) -> None:
    site = f"virtualenv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    got = talk("import packaged\ndef main(): return {'v': packaged.v}", {},
               files={f"{site}/packaged.py": "v = 1"}, is_source=False)
    assert got.replies == [READY, ("success", {"v": 1})]


def test_context_and_variables(talk: Callable[..., Conversation]) -> None:
    got = talk("""
import os

def main(event, context):
    return {"id": context.activation_id, "variable": os.environ.get("__OW_ACTIVATION_ID")}
""", {"activation_id": "one"}, {"value": {}}, {"activation_id": "two"})
    assert got.replies[1:] == [("success", {"id": "one", "variable": "one"}), ("success", {"id": "", "variable": None}),
                               ("success", {"id": "two", "variable": "two"})]


@pytest.mark.parametrize("line", [
    b"", b" ", b"nope", b"{", b'{"a":1,}', b'{"a" 1}', b"[1 2]", b'{"a":"\t"}', b'{"a":"\\x"}', b"\xff",
    b'{"a":"\xff"}', b"{}{}", b"\xef\xbb\xbf{}", b'{"a":NaN}', b"[" * 100_000, b"\0",
    # Python 3.9.2 knows no limit.
    *([b'{"a":' + b"9" * 5000 + b"}"] if hasattr(sys, "set_int_max_str_digits") else []),
], ids=lambda line: ascii(line)[2:20])
def test_no_json(talk: Callable[..., Conversation], line: bytes) -> None:
    got = talk("def main(): return {}", line, {})
    (status, payload), last = got.replies[1:]
    assert status == "bad_request" and payload["error"].startswith("The request body is not JSON: ")
    assert last == ("success", {}) and got.err == ""


@pytest.mark.parametrize("line", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_no_object(talk: Callable[..., Conversation], line: bytes) -> None:
    got = talk("def main(): return {}", line)
    assert got.replies[1:] == [("bad_request", {"error": "The request body is not a JSON object."})] and got.err == ""


def test_a_bad_first_line_does_not_count(talk: Callable[..., Conversation], tmp_path: Path) -> None:
    root = str(tmp_path / "code")
    init = {"path": root, "handler": "main", "source": True, "env": {}, "owned": True, "packages": root,
            "convention": "openwhisk"}
    got = talk("def main(): return {}", b"nope", init, {}, init=False)
    assert [status for status, _ in got.replies] == ["bad_request", "initialized", "success"]


def test_big_numbers_and_odd_texts(talk: Callable[..., Conversation]) -> None:
    got = talk("def main(event): return event", b'{"value":{"n":9007199254740993,"f":1e400,"s":"\\ud800"}}',
               b'{"value":{"n":[9007199254740993,0.1,-0.0],"s":"\\u0000\\u2028\xc3\xa9"}}')
    assert got.replies[1][0] == "function_error" and "result['f'] is the float inf" in got.replies[1][1]["error"]
    assert got.replies[2] == ("success", {"n": [9007199254740993, 0.1, -0.0], "s": "\0\u2028é"})


def test_variables_that_cannot_be_set_do_no_harm(talk: Callable[..., Conversation]) -> None:
    got = talk("def main(): return {}", b'{"x":1e999}', b'{"x":["\\ud800"]}', b'{"\\ud800":"a"}',
               b'{"a":"\\u0000","b=":"c"}', {})
    assert got.replies[1:] == [("success", {})] * 5 and got.err == ""


# --- code that does not load


def test_error_in_the_code(talk: Callable[..., Conversation]) -> None:
    got = talk("def f():\n    1 / 0\nf()")
    assert got.replies == [("init_failed", {
        "error": "Cannot start action. Check logs for details. (ZeroDivisionError: division by zero)"})]
    lines = got.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and "__main__.py" in lines[1] and "line 3" in lines[1]
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("source", [
    "async def inner():\n    raise ValueError('mine')\n\nasync def main():\n    await inner()\n",
    "import asyncio\n\nasync def main():\n    raise asyncio.CancelledError('mine')\n",
    "import asyncio\n\nasync def inner():\n    await asyncio.sleep(0)\n    raise ValueError('mine')\n\n"
    "async def main():\n    await asyncio.gather(inner())\n",
], ids=["function", "cancelled", "task"])
def test_traceback_of_an_async_handler(talk: Callable[..., Conversation], source: str) -> None:
    """Like any other's: neither what awaits it nor the event loop is in it."""
    got = talk(source, {})
    assert got.replies[1] == ("function_error", {"error": "mine"})
    lines = got.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and "__main__.py" in lines[1] and "main" in lines[1]
    assert lines[-1].endswith("Error: mine")
    assert "asyncio/" not in got.err and "<pyaction>" not in got.err


def test_no_handler(talk: Callable[..., Conversation]) -> None:
    got = talk("x = 1")
    text = "Cannot start action. There is no function 'main' in __main__.py."
    assert got.replies == [("init_failed", {"error": text})]
    assert got.err == ("Traceback (most recent call last):\n"  # as of any other error in the code
                       f"AttributeError: module 'main__' has no attribute 'main'\n{text}\n")


def test_invalid_virtualenv(talk: Callable[..., Conversation]) -> None:
    (status, payload), = talk("def main(): pass", files={"virtualenv/x": ""}, is_source=False).replies
    assert status == "init_failed" and "Invalid virtualenv" in payload["error"]


def test_environment_that_cannot_be_set(talk: Callable[..., Conversation]) -> None:
    (status, payload), = talk("def main(): pass", env={"A": "\ud800"}).replies
    assert status == "init_failed" and "the environment variable 'A' cannot be set" in payload["error"]


def test_interrupted_while_loading(talk: Callable[..., Conversation]) -> None:
    got = talk("raise KeyboardInterrupt")
    assert got.replies[0][0] == "init_failed" and "KeyboardInterrupt" in got.err


# --- ends


@pytest.mark.parametrize(("statement", "status", "err"), [
    ("sys.exit()", 0, ""), ("sys.exit(3)", 3, ""), ("sys.exit('text')", 1, "text\n"), ("sys.exit(-1)", 255, ""),
    ("sys.exit(256)", 0, ""), ("sys.exit(True)", 1, ""), ("sys.exit(None)", 0, ""), ("sys.exit(2.5)", 1, "2.5\n"),
    ("raise SystemExit", 0, ""), ("os._exit(4)", 4, ""),
])
def test_exit(talk: Callable[..., Conversation], statement: str, status: int, err: str) -> None:
    got = talk(f"import os, sys\ndef main():\n print('before')\n {statement}", {}, {})
    assert got == Conversation([READY], "before\n", err, status)


def test_exit_while_loading(talk: Callable[..., Conversation]) -> None:
    assert talk("print('loading')\nraise SystemExit(5)", {}) == Conversation([], "loading\n", "", 5)


def test_exit_handlers_run_and_threads_are_not_waited_for(talk: Callable[..., Conversation]) -> None:
    got = talk("""
import atexit, sys, threading
atexit.register(print, "at exit")
threading.Thread(target=threading.Event().wait).start()

def main():
    sys.exit(6)
""", {})
    assert (got.out, got.status) == ("at exit\n", 6)


def test_killed(talk: Callable[..., Conversation]) -> None:
    got = talk("import os\ndef main():\n print('last words', end='')\n os.kill(os.getpid(), 9)", {})
    assert got == Conversation([READY], "last words", "", -9)


def test_a_forked_child_that_comes_back_does_not_answer(talk: Callable[..., Conversation]) -> None:
    got = talk("""
import os

def main():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    print("parent" if pid else "child")
    return {"parent": bool(pid)}
""", {}, {})
    assert got.replies == [READY, ("success", {"parent": True}), ("success", {"parent": True})]
    assert got.out == "child\nparent\n" * 2 and got.status == 0


# --- what a function does to the interpreter


def test_output_is_flushed_before_the_reply(talk: Callable[..., Conversation]) -> None:
    got = talk("""
import os, sys

class Log:
    def write(self, text):
        os.write(2, text.encode())

    def flush(self):
        os.write(2, b"flushed\\n")

def main():
    print("text")
    return {}

sys.stdout = open(1, "w", closefd=False)
sys.stderr = Log()
""", {})
    assert got.replies[1] == ("success", {}) and got.out == "text\n" and got.err == "flushed\n" * 2


@pytest.mark.parametrize("statement", [
    "sys.stdout.close()", "sys.stderr.close()", "sys.stdout = None", "sys.stderr = None", "os.close(1)", "os.close(2)",
    "sys.modules.clear()", "os.environ.clear()", "os.chdir('/')", "sys.path.clear()", "sys.setrecursionlimit(60)",
    "os.getpid = None", "import json; json.dumps = None", "import builtins; del builtins.print",
    "sys.excepthook = None", "import gc; gc.disable()", "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "threading.Thread(target=lambda: 1 / 0).start()", "warnings.simplefilter('error')",
    "locale.setlocale(locale.LC_ALL, 'C')",
])
def test_a_function_that_breaks_things_still_answers(talk: Callable[..., Conversation], statement: str) -> None:
    got = talk(f"""
import os, sys, signal, threading, warnings, locale

def main(event):
    {statement}
    return {{"n": event["n"]}}
""", {"value": {"n": 1}})
    assert got.replies == [READY, ("success", {"n": 1})]


def test_results_of_each_kind(talk: Callable[..., Conversation]) -> None:
    got = talk("""
import asyncio
results = {"none": None, "list": [1], "text": "x", "set": {"a": {1}}, "error": {"error": 1}}

async def main(event):
    if event["r"] == "raise":
        raise ValueError("é\\ud800")
    await asyncio.sleep(0)
    return results[event["r"]]
""", *({"value": {"r": name}} for name in ("none", "list", "text", "set", "error", "raise", "none")))
    assert got.replies[1:] == [
        ("success", {}), ("success", [1]),
        ("function_error", {"error": "The action did not return a dictionary or array."}),
        ("function_error", {"error": "The result cannot be converted to JSON: result['a'] is of type set"}),
        ("application_error", {"error": 1}), ("function_error", {"error": "é\\ud800"}), ("success", {})]


def test_hostile_results(talk: Callable[..., Conversation]) -> None:
    got = talk("""
class Interrupts(dict):
    def items(self):
        raise KeyboardInterrupt

class Exhausts(dict):
    def items(self):
        raise MemoryError

def main(event):
    return {"x": (Interrupts if event["n"] else Exhausts)(a=1)}
""", {"value": {"n": 1}}, {"value": {"n": 0}})
    assert [status for status, _ in got.replies] == ["initialized", "function_error", "function_error"]
    assert got.status == 0


def test_signal_between_activations(python: Callable[..., Any]) -> None:
    done = python(BOOT + """
from pyaction_bootstrap import handle
try:
    1 / 0
except ZeroDivisionError as error:
    handle.after_signal(error)
handle.after_signal(SystemExit(7))
""")
    assert done.returncode == 7 and "ZeroDivisionError" in done.stderr


def test_out_of_memory_while_a_line_is_decoded(python: Callable[..., Any]) -> None:
    done = python(BOOT + """
import os
from pyaction_bootstrap import handle
os.write(1, b"".join(handle.handle(None, MemoryError())))
""")
    assert done.stdout == 'function_error{"error": "MemoryError"}' and done.returncode == 0


def test_nothing_large_is_imported(python: Callable[..., Any]) -> None:
    """The price of a cold start."""
    done = python("import marshal, sys\nbefore = set(sys.modules)\n" + BOOT + "print(set(sys.modules) - before)")
    loaded = {name for name in eval(done.stdout) if not name.startswith(("pyaction", "_pyaction"))}
    assert loaded <= {"__future__", "importlib", "importlib._bootstrap", "importlib._bootstrap_external",
                      "importlib.machinery", "warnings", "_signal"}
