"""A server under measurement: one process tree, started, watched through /proc and always ended."""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import Dict, List, Optional, Tuple

MARKER = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"
_READY_TIMEOUT_S = 10.0
_LOG_TIMEOUT_S = 5.0
_READ_SIZE = 1 << 20
_CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BenchError(Exception):
    """A server that cannot be measured, or that answered wrongly. The text says what happened."""


class Log:
    """One output stream of a server, drained by a thread so that the server never waits for its reader."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = bytearray()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while True:
            chunk = os.read(self._fd, _READ_SIZE)
            with self._changed:
                self._data += chunk
                self._changed.notify_all()
            if not chunk:
                break

    def count(self, text: bytes) -> int:
        """How often a text has come since the last take()."""
        with self._changed:
            return self._data.count(text)

    def take(self, markers: int = 0) -> bytes:
        """Waits for that many end-of-activation markers; returns what has come since the last call and forgets it."""
        deadline = time.monotonic() + _LOG_TIMEOUT_S
        with self._changed:
            while self._data.count(MARKER) < markers and self._changed.wait(deadline - time.monotonic()):
                pass
            data = bytes(self._data)
            self._data.clear()
        return data

    def close(self) -> None:
        """Waits for the end of the stream. The server has been ended before."""
        self._thread.join(_LOG_TIMEOUT_S)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _parents() -> Dict[int, int]:
    """The parent of every process."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text("utf-8", "replace")
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def descendants(pid: int) -> List[int]:
    """The processes that descend from this one, children before grandchildren."""
    parents = _parents()
    found = [pid]
    for ancestor in found:  # grows while it is read
        found.extend(child for child, parent in parents.items() if parent == ancestor)
    return found[1:]


def end_descendants(pid: int) -> None:
    """Kills all processes that descend from this one."""
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none starts another meanwhile
        for descendant in descendants(pid):
            try:
                os.kill(descendant, number)
            except ProcessLookupError:
                pass


def _resolve(command: List[str]) -> List[str]:
    """The command with a program that is found from any working directory."""
    program = shutil.which(command[0])
    if program is None:
        raise BenchError(f"{command[0]} is not an executable program")
    return [os.path.abspath(program)] + command[1:]


def make_directory(parent: pathlib.Path, prefix: str = "") -> str:
    """A new directory below one, also for servers that run functions as another user."""
    directory = tempfile.mkdtemp(prefix=prefix, dir=parent)
    os.chmod(directory, 0o755)
    return directory


class Container:
    """A server process in an empty directory, with a clean environment, a free port and its output drained.

    Use it in a `with` statement: leaving that ends the process tree, whatever happened.

    Args:
        command: the command line of the server; `{port}` in it stands for the port
        parent: where to make the directory
        port: the port to give it, or None for a free one
    """

    def __init__(self, command: str, parent: pathlib.Path, port: Optional[int] = None) -> None:
        self.port = port or free_port()
        self._command = _resolve(shlex.split(command.replace("{port}", str(self.port))))
        self._directory = make_directory(parent)
        # What a container image sets, and no PYTHON* variable of the developer's shell.
        environment = {"PATH": _CONTAINER_PATH, "HOME": self._directory, "TMPDIR": self._directory, "LANG": "C.UTF-8"}
        self.started_ns = time.monotonic_ns()
        try:
            self._process = subprocess.Popen(
                self._command, cwd=self._directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(self._directory)
            raise BenchError(f"{self._command[0]} cannot be started: {error.strerror}") from None
        assert self._process.stdout and self._process.stderr
        self.stdout = Log(self._process.stdout.fileno())
        self.stderr = Log(self._process.stderr.fileno())

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGSTOP)
        end_descendants(self._process.pid)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # itself, and those of its group whose parent has gone
        except ProcessLookupError:
            pass
        self._process.wait()
        for log, stream in ((self.stdout, self._process.stdout), (self.stderr, self._process.stderr)):
            log.close()
            if stream:
                stream.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def wait_ready(self) -> None:
        """Returns when the port accepts connections."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"port {self.port} does not accept connections; {self.complaint()}") from None
                time.sleep(0.001)

    def wait_for_output(self, text: bytes, count: int) -> None:
        """Returns when a text has come that often on the two streams together, or after a while."""
        deadline = time.monotonic() + _LOG_TIMEOUT_S
        while self.stdout.count(text) + self.stderr.count(text) < count and time.monotonic() < deadline:
            time.sleep(0.001)

    def complaint(self) -> str:
        """How the server is, and the end of what it wrote to its standard error."""
        status = self._process.poll()
        state = "the server runs" if status is None else f"the server ended with status {status}"
        return f"{state}; on its standard error: {self.stderr.take(0)[-1000:].decode('utf-8', 'replace').strip()!r}"

    def tree(self) -> List[int]:
        """The server's process and all that descend from it."""
        return [self._process.pid, *descendants(self._process.pid)]

    def memory_mb(self) -> Tuple[float, float]:
        """Resident and proportional set of the tree, in MB of 10^6 bytes.

        The resident set counts a page that two processes share twice, the proportional set divides it between them.
        """
        totals = {"Rss": 0, "Pss": 0}
        for pid in self.tree():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
                name, _, rest = line.partition(":")
                if name in totals:
                    totals[name] += int(rest.split()[0]) * 1024
        return totals["Rss"] / 1e6, totals["Pss"] / 1e6

    def cpu_ns(self) -> int:
        """CPU time that the processes of the tree have used so far, all their threads, user and system.

        Read from each process's CPU clock, whose id is made of the process id as clock_getcpuclockid(3) does it (in
        Linux: ~pid * 8 + 2), because the times in /proc/PID/stat are in ticks of 10 ms.
        """
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.tree())

    def context_switches(self) -> int:
        """Voluntary and forced context switches so far of all threads of the tree."""
        total = 0
        for pid in self.tree():
            for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
                for line in status.read_text("utf-8", "replace").splitlines():
                    if "ctxt_switches" in line:
                        total += int(line.split()[1])
        return total
