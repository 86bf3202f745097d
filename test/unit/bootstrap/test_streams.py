"""streams.py and _pyaction.write: sys.stdout and sys.stderr of a function, in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Callable

import pytest

from conftest import BOOT, FOLDER

INSTALL = BOOT + "import sys, os\nfrom pyaction_bootstrap import streams\n"  # which handle.py has installed


def test_nothing_is_kept_back(python: Callable[..., Any]) -> None:
    """A crash loses nothing, and what others write to the descriptor has its place."""
    done = python(INSTALL + "print('a', end='')\nos.write(1, b'b')\nsys.stdout.write('c')\nos.system('printf d')\n"
                            "print('e', file=sys.stderr, end='')\nos.kill(os.getpid(), 9)")
    assert (done.stdout, done.stderr, done.returncode) == ("abcd", "e", -9)


def test_what_they_are(python: Callable[..., Any]) -> None:
    done = python(INSTALL + "for stream in (sys.stdout, sys.stderr):\n"
                  " print(stream.fileno(), stream.name, stream.mode, stream.encoding, stream.errors, stream.writable(),"
                  " stream.isatty(), stream.closed)\nprint(sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)")
    assert done.stdout.splitlines() == ["1 <stdout> w utf-8 backslashreplace True False False",
                                        "2 <stderr> w utf-8 backslashreplace True False False",
                                        "True True"], done.stderr


def test_text_that_utf8_cannot_hold(python: Callable[..., Any]) -> None:
    done = python(INSTALL + r"print('\xe9\U0001f600 \ud800|')", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert (done.stdout, done.stderr) == ("é😀 \\ud800|\n", "")


def test_buffer(python: Callable[..., Any]) -> None:
    done = python(INSTALL + "n = sys.stdout.buffer.write(b'bytes\\xff')\nsys.stdout.buffer.flush()\nprint(n)\n"
                            "sys.stdout.buffer.write(memoryview(b'view'))\n"
                            "sys.stdout.buffer.write(bytearray(b'array'))",
                  errors="backslashreplace")
    assert done.stdout == "bytes\\xff6\nviewarray"


def test_large_output(python: Callable[..., Any]) -> None:
    done = python(INSTALL + "print('x' * 3_000_000)\nprint('end')")
    assert done.stdout == "x" * 3_000_000 + "\nend\n"


def test_lines_of_threads_stay_whole(python: Callable[..., Any]) -> None:
    done = python(INSTALL + "import threading\n"
                  "def talk(letter):\n for _ in range(500): print(letter * 50)\n"
                  "threads = [threading.Thread(target=talk, args=(letter,)) for letter in 'abcd']\n"
                  "[thread.start() for thread in threads]\n[thread.join() for thread in threads]")
    lines = done.stdout.splitlines()
    assert len(lines) == 2000 and all(len(line) == 50 and len(set(line)) == 1 for line in lines)


def test_closed_and_broken(python: Callable[..., Any]) -> None:
    done = python(INSTALL + "os.close(1)\n"
                  "try: print('x')\nexcept OSError as error: sys.stderr.write(f'{error.errno}\\n')\n"
                  "sys.stdout.close()\n"
                  "try: print('x')\nexcept ValueError as error: sys.stderr.write(f'{error}\\n')")
    assert done.stderr.splitlines()[0] == "9" and "closed file" in done.stderr.splitlines()[1]


def test_reader_that_has_gone(python: Callable[..., Any]) -> None:
    done = python("import subprocess\n" + INSTALL + "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
                  "read, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\n"
                  "try: print('x')\nexcept BrokenPipeError: sys.stderr.write('broken')")
    assert done.stderr == "broken"


PRINTS = r"""
class Text(str):
    def __str__(self): return "other"
class Mute:
    def __str__(self): raise ValueError("no text")
class Odd:
    def __str__(self): return 5
def tried(*objects, **keywords):
    try:
        result = print(*objects, **keywords)
        assert result is None
    except Exception as error:
        print(type(error).__name__, str(error).replace("print_text", "print"))
tried()
tried("a", 1, None, 2.5, [1, "x"], {"k": b"v"}, True)
tried("\xe9", "\U0001f600", "\ud800", "\x00", "\r", "two\nlines")
tried("a", "b", sep="")
tried("a", "b", sep=None, end=None)
tried("a", "b", sep=", ", end="|\n")
tried("a", "b", sep="\xe9\ud800", end="\U0001f600\n")
tried(sep="-")
tried(end="")
tried("x", flush=True)
tried("x", flush=False, end="\n\n")
tried("a", sep=5)
tried("a", end=b"")
tried("a", "b", sep=Text("-"))
tried("a", end=Text("!\n"))
tried("a", nonsense=1)
tried("a", file=sys.stdout)
tried("a", file=None)
tried("a", file=5)
tried(Text("subclass"), Text("again"))
tried(Mute())
tried(Odd())
import io, contextlib
buffer = io.StringIO()
tried("to a buffer", file=buffer)
with contextlib.redirect_stdout(buffer):
    print("redirected", 5)
print(repr(buffer.getvalue()))
print("x" * 100_000)
sys.stdout.write("write, ")
sys.stdout.flush()
print("print")
"""


def test_print_is_as_python_has_it(python: Callable[..., Any]) -> None:
    """The same calls, with the bootstrap's print and with Python's own."""
    own = python(INSTALL + PRINTS)
    plain = python("import sys\nsys.stdout.reconfigure(errors='backslashreplace')\n" + PRINTS)
    assert (own.stdout, own.stderr) == (plain.stdout, plain.stderr)
    assert own.stdout.count("\n") > 20


def test_print_is_one_write(python: Callable[..., Any]) -> None:
    done = python(INSTALL + """
import socket
reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.dup2(writing.fileno(), 1)
print("a", 1, None, sep="-")
print()
sys.stderr.write(f"{reading.recv(100)} {reading.recv(100)}")
""")
    assert done.stderr == r"b'a-1-None\n' b'\n'"


def test_print_to_a_stream_that_was_changed(python: Callable[..., Any]) -> None:
    done = python(INSTALL + """
sys.stdout.reconfigure(encoding="latin-1")
print("\\xe9")
sys.stdout.reconfigure(encoding="utf-8", newline="\\r\\n")
print("x")
stream = sys.stdout.detach()
stream.write(b"raw\\n")
try:
    print("y")
except ValueError as error:
    sys.stderr.write(str(error))
""", errors="backslashreplace")
    assert done.stdout == "\\xe9\nx\r\nraw\n" and "detached" in done.stderr


def test_print_is_described(python: Callable[..., Any]) -> None:
    done = python(INSTALL + """
import builtins, inspect
print(print is builtins.print, print.__name__, inspect.signature(print), callable(print))
""")
    assert done.stdout.startswith("True print (*args, sep=' ', end='\\n', file=None, flush=False) True"), done.stderr


def test_print_can_be_pickled(python: Callable[..., Any]) -> None:
    """For another Python, where it is the ordinary one: multiprocessing that spawns has its target so."""
    text = "import multiprocessing, pickle\nif __name__ == '__main__':\n "
    done = python(INSTALL + text + "print(b'builtins' in pickle.dumps(print), print.__module__, repr(print))\n "
                  "child = multiprocessing.get_context('spawn').Process(target=print, args=('from the child',))\n "
                  "child.start(); child.join()\n print(child.exitcode)")
    assert done.stderr == ""
    assert done.stdout == "True builtins <built-in function print>\nfrom the child\n0\n"


def test_flush(python: Callable[..., Any]) -> None:
    """What the function has put in their place is flushed, whatever it is."""
    done = python(INSTALL + "sys.stdout = open(1, 'w', buffering=4096, closefd=False)\nprint('buffered')\n"
                            "class Stream:\n def write(self, text): pass\n def flush(self): raise RuntimeError\n"
                            "sys.stderr = Stream()\nstreams.flush()\nsys.stderr = None\nstreams.flush()\n"
                            "sys.stderr = object()\nstreams.flush()\nos.kill(os.getpid(), 9)")
    assert done.stdout == "buffered\n" and done.returncode == -9


def test_write_interrupted_by_a_signal(python: Callable[..., Any]) -> None:
    """A signal handler runs while a write waits for a full pipe, and the write goes on."""
    done = python(INSTALL + "import signal, threading\n"
                  "read, write = os.pipe()\nos.dup2(write, 1)\ncalls = []\n"
                  "signal.signal(signal.SIGALRM, lambda *_: calls.append(1))\n"
                  "signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)\n"
                  "total = 1_000_000\n"
                  "def drain():\n left = total\n while len(calls) < 2: pass\n"
                  " while left > 0: left -= len(os.read(read, 65536))\n"
                  "thread = threading.Thread(target=drain)\nthread.start()\n"
                  "count = sys.stdout.buffer.write(b'x' * total)\nthread.join()\n"
                  "signal.setitimer(signal.ITIMER_REAL, 0)\n"
                  "sys.stderr.write(f'{count} {len(calls) >= 2}')")
    assert done.stderr == "1000000 True"


#: Terminals cannot say that a write would block, other than by poll(2): after one, the module asks that of all.
AFTER_A_TERMINAL = """
main, terminal = os.openpty()
log = os.dup(1)
os.dup2(terminal, 1)
print("to the terminal")
os.dup2(log, 1)
print(os.read(main, 100))
"""

FULL_PIPE = """
import fcntl, threading
reading, writing = os.pipe()
fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
os.dup2(writing, 1)
os.write(1, b"x" * 4096)
other = threading.Thread(target=print, args=("waits until there is room",))
other.start()
text = b""
while not text.endswith(b"\\n"):  # it has given up the interpreter's lock, or nothing here would run
    text += os.read(reading, 4096)
sys.stderr.write(text.decode().lstrip("x"))
"""


@pytest.mark.parametrize("before", ["", AFTER_A_TERMINAL], ids=["told", "asked"])
def test_pipe_that_is_full(python: Callable[..., Any], before: str) -> None:
    done = python(INSTALL + before + FULL_PIPE)
    assert done.stderr == "waits until there is room\n"
    assert done.stdout == ("b'to the terminal\\r\\n'\n" if before else "")


def test_write_of_the_module(tmp_path: Any) -> None:
    import _pyaction

    path = tmp_path / "file"
    with open(path, "wb") as file:
        assert _pyaction.write(file.fileno(), b"abc") == 3
        assert _pyaction.write(file.fileno(), bytearray(b"")) == 0
        assert _pyaction.write(file.fileno(), memoryview(b"xdefx")[1:4]) == 3
        fd = file.fileno()
    assert path.read_bytes() == b"abcdef"
    with pytest.raises(OSError):
        _pyaction.write(fd if fd > 2 else 99, b"x")
    for wrong in (("1", b"x"), (1, "text"), (1,)):
        with pytest.raises(TypeError):
            _pyaction.write(*wrong)


def test_without_stdout() -> None:
    """The runner always has one; an interpreter that has none must not break while it is set up."""
    done = subprocess.run([sys.executable, "-c", "import os\nos.close(1)\n" + INSTALL + "sys.stderr.write('up')"],
                          stderr=subprocess.PIPE, check=False,
                          env=dict(os.environ, PYTHONPATH=str(FOLDER)))
    assert done.stderr == b"up"
