"""The function that is tortured.  It tells where it is, and what it has printed, in memory that outlives it.

The file that the variable TORTURE_WITNESS names is mapped: the phase and the number of the activation at its
begin, then for each activation how many lines it has printed to stdout and stderr for certain.  witness.py reads it.
"""

import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, List

PHASE_IMPORT, PHASE_HANDLER, PHASE_RETURN = 1, 2, 3
HEADER = struct.Struct("<II")
LINES = struct.Struct("<II")
FIRST = 64  # where the first activation's counts stand

if "TORTURE_WITNESS" in os.environ:  # else it is the harness that imports this, for the numbers above
    with open(os.environ["TORTURE_WITNESS"], "r+b") as _file:
        witness = mmap.mmap(_file.fileno(), 0)
    HEADER.pack_into(witness, 0, PHASE_IMPORT, 0)
    time.sleep(float(os.environ.get("TORTURE_IMPORT_MS", "0")) / 1000)

kept: List[Any] = []  # what an activation leaves behind on purpose


def exhaust_memory(event: Dict[str, Any]) -> None:
    """Take all memory up to a limit of its own: a MemoryError, which the process survives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), hard))
    blocks = []
    try:
        while True:
            blocks.append(bytearray(event["block"]))
    except MemoryError:
        blocks.clear()
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def pass_memory(_event: Dict[str, Any]) -> None:
    """Take more than the server's --memory: the proxy kills it."""
    block = bytearray(1 << 30)
    for offset in range(0, len(block), 4096):
        block[offset] = 1
    time.sleep(60)


def exhaust_descriptors(event: Dict[str, Any]) -> None:
    """Open files up to a limit, and answer without closing them; they are closed by the next activation."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (event["limit"], hard))
    try:
        while True:
            files.append(open("/dev/null", "rb"))
    except OSError:
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    kept.append(files)


def fork_bomb(event: Dict[str, Any]) -> None:
    """Fork up to a limit.  They stay, in the process group, and die with this process."""
    for _ in range(event["limit"]):
        try:
            if os.fork() == 0:
                while True:
                    signal.pause()
        except OSError:
            break


def leave_threads(_event: Dict[str, Any]) -> None:
    """Threads that go on after the answer."""
    for _ in range(5):
        threading.Thread(target=time.sleep, args=(0.05,)).start()


def child_at_work(_event: Dict[str, Any]) -> None:
    """A child that holds the log streams and outlives the activation by a little."""
    kept.append(subprocess.Popen(["/bin/sleep", "0.1"]))


def close_everything(_event: Dict[str, Any]) -> None:
    """Close all descriptors, the channel among them."""
    os.closerange(0, 4096)


def close_streams(_event: Dict[str, Any]) -> None:
    """Close stdout and stderr, and end: nobody can write the traceback of what follows."""
    os.close(1)
    os.close(2)
    os.kill(os.getpid(), signal.SIGKILL)


def speak_on_channel(event: Dict[str, Any]) -> None:
    """Write something of one's own into every pipe there is but the log's: a reply that is none."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                os.write(int(name), event["text"].encode())
        except OSError:  # the descriptor of the listing itself, or a read end
            pass


def speak_late(event: Dict[str, Any]) -> None:
    """The same when nobody expects it, or somebody else's answer."""
    threading.Timer(event["ms"] / 1000, speak_on_channel, (event,)).start()


def leave_orphans(_event: Dict[str, Any]) -> None:
    """Processes whose parents have gone: the proxy gets them, and they end all at once."""
    for _ in range(50):
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                time.sleep(0.01)
            os._exit(0)
        os.waitpid(child, 0)


def write_unfinished(event: Dict[str, Any]) -> None:
    """Output without a newline at its end, and bytes that are no text; then perhaps the end of the process."""
    for stream in (sys.stdout, sys.stderr):
        stream.buffer.write(b"\xff\0unfinished")
        stream.flush()
    if event["status"] % 2:
        os._exit(1)


def fill_disk(_event: Dict[str, Any]) -> None:
    """Write into the code's directory until it is full, and remove it again."""
    try:
        with open("filling", "wb", buffering=0) as file:
            for _ in range(1024):
                file.write(b"x" * 65536)
    except OSError:
        pass
    if os.path.exists("filling"):
        os.unlink("filling")


def recurse(event: Dict[str, Any]) -> None:
    """A RecursionError."""
    recurse(event)


def raise_error(event: Dict[str, Any]) -> None:
    """An ordinary exception."""
    raise ValueError(f"on purpose {event['number']}")


def kill_group(event: Dict[str, Any]) -> None:
    """A signal to the whole process group."""
    os.kill(0, event["signal"])
    time.sleep(1)


def exit_in_thread(_event: Dict[str, Any]) -> None:
    """The end of the process comes from elsewhere."""
    threading.Thread(target=os._exit, args=(9,)).start()
    time.sleep(10)


def become_another(_event: Dict[str, Any]) -> None:
    """Another program takes the place of the runner, and its channel has gone."""
    os.execv("/bin/sleep", ["sleep", "60"])


ACTS: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "exhaust_memory": exhaust_memory,
    "pass_memory": pass_memory,
    "exhaust_descriptors": exhaust_descriptors,
    "fork_bomb": fork_bomb,
    "leave_threads": leave_threads,
    "child_at_work": child_at_work,
    "close_everything": close_everything,
    "close_streams": close_streams,
    "speak_on_channel": speak_on_channel,
    "speak_late": speak_late,
    "leave_orphans": leave_orphans,
    "write_unfinished": write_unfinished,
    "become_another": become_another,
    "close_channel": lambda event: os.closerange(3, 4096),
    "sit": lambda event: time.sleep(60),
    "fill_disk": fill_disk,
    "recurse": recurse,
    "raise_error": raise_error,
    "kill_group": kill_group,
    "sys_exit": lambda event: sys.exit(event["status"]),
    "os_exit": lambda event: os._exit(event["status"]),
    "abort": lambda event: os.abort(),
    "segfault": lambda event: os.kill(os.getpid(), signal.SIGSEGV),
    "exit_in_thread": exit_in_thread,
    "exit_after_answer": lambda event: threading.Timer(event["ms"] / 1000, os._exit, (9,)).start(),
}


def main(event: Dict[str, Any]) -> Dict[str, Any]:
    """Print `lines` lines, do what `do` says, take `ms`, and return the token with `out` bytes of padding."""
    number = event["number"]
    HEADER.pack_into(witness, 0, PHASE_HANDLER, number)
    for files in [one for one in kept if isinstance(one, list)]:
        for file in files:
            file.close()
        kept.remove(files)
    padding = "x" * event["width"]
    for index in range(event["lines"]):
        print(f"#{number} o {index} {event['width']} {padding}")
        LINES.pack_into(witness, FIRST + LINES.size * number, index + 1, index)
        print(f"#{number} e {index} {event['width']} {padding}", file=sys.stderr)
        LINES.pack_into(witness, FIRST + LINES.size * number, index + 1, index + 1)
    if "do" in event:
        ACTS[event["do"]](event)
    if event["sleep_ms"]:
        time.sleep(event["sleep_ms"] / 1000)
    HEADER.pack_into(witness, 0, PHASE_RETURN, number)
    return {"token": event["token"], "in": len(event["in"]), "padding": "y" * event["out"]}
