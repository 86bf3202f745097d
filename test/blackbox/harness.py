"""Start a built pyaction, talk to it over raw sockets, and prove that it left nothing behind.

Nothing here knows how the server works inside.  Whatever waits, waits for an
event with a time limit (wait_until), never for an amount of time.
"""

import base64
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import errno
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXECUTABLE = pathlib.Path(os.environ.get("PYACTION_BIN", ROOT / "build" / "pyaction")).resolve()
PYTHON = "/usr/bin/python3"

#: Sanitizers make everything slower; they must not make tests wrong.
SANITIZED = os.environ.get("PYACTION_SANITIZED") == "1"
#: Whether its processes write files when they end, to count branches.
COUNTED = os.environ.get("PYACTION_UNHARDENED") == "1"
#: What sanitizers say that is no finding: that malloc() returns NULL, and of a thread that somebody else traces.
REMARKS = rb"==\d+==(WARNING: AddressSanitizer failed to allocate \S+ bytes|Running thread \d+ was not suspended\..*)\n"
#: Seconds from SIGTERM to the exit of the server.  Source: issue "stops within a second".
STOP_SECONDS = 3.0 if SANITIZED else 1.0
#: Seconds after which any single wait counts as a hang.
PATIENCE = 60.0 if SANITIZED else 20.0

#: One line on each log stream ends an activation.  Source: facts on the OpenWhisk action interface.
MARKER = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
TCP_LISTEN = "0A"  # state column of /proc/net/tcp

#: Where AWS's Invoke API takes events, and Tencent's custom images do.
LAMBDA_PATH = "/2015-03-31/functions/function/invocations"
SCF_PATH = "/event-invoke"

#: A JSON value, or the absence of a key.
ABSENT: Any = object()


def adopt_orphans() -> None:
    """Become the parent of every orphan below this process, so that a leaked one is found.

    Raises OSError when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def wait_until(happened: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value of happened(); AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = happened()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.002)


# --- processes ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Process:
    """A line of the process table; `state` is the letter of /proc/PID/stat (Z is a zombie)."""

    pid: int
    parent: int
    state: str
    name: str


def processes() -> Dict[int, Process]:
    """Every process of the machine by process id, those that vanish meanwhile left out."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = pathlib.Path("/proc", entry, "stat").read_text(errors="replace")
            name, _, rest = text.partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            table[int(entry)] = Process(int(entry), int(parent), state, name)
    return table


def children(pid: int) -> List[Process]:
    """The direct children of a process, zombies included."""
    return [process for process in processes().values() if process.parent == pid]


def descendants(pid: int) -> List[Process]:
    """All processes below a process, zombies included."""
    table, found, parents = processes(), [], [pid]
    while parents:
        below = [process for process in table.values() if process.parent in parents]
        found += below
        parents = [process.pid for process in below]
    return found


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    process = processes().get(pid)
    return process is not None and process.state not in "ZX"


def _lasting_sockets() -> Set[str]:
    """The inodes of all sockets that are no TCP connections: Unix ones and listening ones."""
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]
    inodes = {line.split()[6] for line in lines}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{table}", encoding="ascii") as file:
            next(file)
            # The kernel lists the listening ones first, and thousands in TIME_WAIT after them.
            for fields in map(str.split, file):
                if fields[3] != TCP_LISTEN:
                    break
                inodes.add(fields[9])
    return inodes


def may_watch(become: Sequence[str]) -> bool:
    """Whether the open files of a process started with these words before it can be listed: root in a container
    may often not look into another user's processes (ptrace(2), access mode checks)."""
    probe = subprocess.Popen([*become, "sleep", "60"])
    try:
        wait_until(lambda: pathlib.Path(f"/proc/{probe.pid}/comm").read_text() == "sleep\n", "the probe runs")
        os.readlink(f"/proc/{probe.pid}/exe")
        os.readlink(f"/proc/{probe.pid}/fd/0")
    except PermissionError:
        return False
    finally:
        probe.kill()
        probe.wait()
    return True


def open_files(pid: int) -> List[str]:
    """What each open file descriptor of a process leads to, sorted; client connections left out."""
    lasting = _lasting_sockets()
    return sorted(target for target in _descriptor_targets(pid) if not _is_connection(target, lasting))


def connections(port: int) -> int:
    """How many clients a server on this port has accepted and not closed. Those in the backlog, and those that the
    server has closed, have no inode. Not from its descriptors: not every test may list those."""
    return sum(1 for fields in _tcp_sockets(port) if fields[9] != "0")


def unread(port: int) -> int:
    """Bytes that clients have sent to a server on this port and that it has not read."""
    return sum(int(fields[4].partition(":")[2], 16) for fields in _tcp_sockets(port))


def _tcp_sockets(port: int) -> Iterator[List[str]]:
    """The rows of /proc/net/tcp of a server's ends of connections, split."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        next(file)
        for fields in map(str.split, file):
            if int(fields[1].partition(":")[2], 16) == port and fields[3] != TCP_LISTEN:
                yield fields


def _descriptor_targets(pid: int) -> List[str]:
    targets = []
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        # A server that is the function's user keeps its descriptors to itself. Linux 6.2 tells their number.
        return ["?"] * os.stat(f"/proc/{pid}/fd").st_size
    for number in numbers:
        with contextlib.suppress(FileNotFoundError):
            try:
                targets.append(os.readlink(f"/proc/{pid}/fd/{number}"))
            except PermissionError:  # root in a container may list them, and not look where they lead
                targets.append("?")
    return targets


def _is_connection(target: str, lasting: Set[str]) -> bool:
    match = re.fullmatch(r"socket:\[(\d+)\]", target)
    return match is not None and match.group(1) not in lasting


# --- HTTP --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Answer:
    """One HTTP response; header names are in lower case."""

    status: int
    headers: Dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, strictly: ValueError for NaN, Infinity or bytes that are not UTF-8."""
        return json.loads(self.body.decode("utf-8"), parse_constant=_refuse_constant)

    @property
    def error(self) -> str:
        """The text of an `{"error": text}` body, which must have no other key."""
        document = self.json
        assert isinstance(document, dict) and list(document) == ["error"], document
        assert isinstance(document["error"], str), document
        return document["error"]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def http_request(
    method: str,
    path: str,
    body: Optional[bytes] = None,
    headers: Sequence[Tuple[str, str]] = (),
) -> bytes:
    """The bytes of an HTTP/1.1 request; Content-Length is added when there is a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


class Client:
    """One TCP connection to the server."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def close(self) -> None:
        """Close the connection; may be repeated."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def request(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Sequence[Tuple[str, str]] = (),
    ) -> Answer:
        """Send a request and return its answer."""
        self.send(http_request(method, path, body, headers))
        return self.read_answer(head=method == "HEAD")

    def read_answer(self, head: bool = False) -> Answer:
        """The next answer on this connection.

        Every final answer must carry Content-Length, and must be neither
        chunked nor compressed: the OpenWhisk invoker takes anything else for
        no answer at all.
        """
        status_line, headers = self._read_head()
        status = int(status_line.split()[1])
        if status < 200:
            return Answer(status, headers, b"")
        # 204 No Content must have none (RFC 9110, 8.6).
        assert ("content-length" in headers) == (status != 204), f"{status_line}: Content-Length in {headers}"
        assert "transfer-encoding" not in headers, headers
        assert "content-encoding" not in headers, headers
        length = 0 if head or status == 204 else int(headers["content-length"])
        while len(self._buffer) < length:
            self._receive(f"{length - len(self._buffer)} more bytes of the body")
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(status, headers, body)

    def _read_head(self) -> Tuple[str, Dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            self._receive("an answer")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"repeated header: {line}"
            headers[name.lower()] = value.strip()
        return status_line, headers

    def _receive(self, awaited: str) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionResetError(f"closed by the server while waiting for {awaited}")
        self._buffer += data

    def ended(self) -> bool:
        """Wait for the server to close; False if it sent something instead."""
        try:
            return self._buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


# --- logs --------------------------------------------------------------------


class Log:
    """What the server wrote to one of its streams so far."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def content(self) -> bytes:
        """Everything, markers included."""
        return self.path.read_bytes()

    def text(self) -> str:
        """Everything as strict UTF-8."""
        return self.content().decode("utf-8")

    def activations(self) -> List[bytes]:
        """The output before each marker; the last element is what follows the last marker.

        Raises AssertionError if a marker is not on a line of its own.
        """
        data = self.content()
        assert data.count(MARKER.strip()) == len(re.findall(rb"(?m)^" + MARKER, data)), data
        return data.split(MARKER)

    def markers(self) -> int:
        """The number of end-of-activation markers."""
        return len(self.activations()) - 1


# --- the server --------------------------------------------------------------


def free_port() -> int:
    """A TCP port that nothing listened on a moment ago, and that no client of another test is given meanwhile:
    it is below the range from which the kernel takes those of outgoing connections."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def sanitizer_options(*options: str) -> Dict[str, str]:
    """Variables of a server for these options of AddressSanitizer, beside those it has anyway."""
    return {"ASAN_OPTIONS": ":".join([os.environ["ASAN_OPTIONS"], *options])} if SANITIZED else {}


def base_environment() -> Dict[str, str]:
    """A bare environment: no locale, nothing of the caller's but sanitizer options."""
    kept = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", **kept}


@dataclasses.dataclass
class Settings:
    """How a server is started and what its end must look like.

    options: further command line words.
    env: further environment variables of the server.
    stdout, stderr: "file" (its own), "pipe" (Server.process.stdout/stderr), "stdout" (for
        stderr: the same file as stdout) or a path that is opened for writing.
    port: to listen on, 0 for a free one.
    wrapper: words put before the executable, which must run it in their place or as their child.
    exit_status: of the server after SIGTERM.
    ends_itself: whether it ends without having been asked to.
    check_files: whether the proxy must end with as many open files as it began with.
    sanitizer_text: whether a sanitizer report in the log is the function's own doing.
    """

    options: Sequence[str] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stdout: str = "file"
    stderr: str = "file"
    port: int = 0
    wrapper: Sequence[str] = ()
    exit_status: int = 0
    ends_itself: bool = False
    check_files: bool = True
    sanitizer_text: bool = False


class Server:
    """A running pyaction on a free port of 127.0.0.1, with a work directory of its own."""

    folder: pathlib.Path  # of the code that was there at the start (fixture function)

    def __init__(self, directory: pathlib.Path, settings: Settings) -> None:
        self.settings = settings
        self.directory = directory
        self.port = settings.port or free_port()
        self.work_dir = directory / "work"
        self.temp_dir = directory / "tmp"
        self.work_dir.mkdir()
        self.temp_dir.mkdir()
        for place in (self.work_dir, self.temp_dir):
            place.chmod(0o1777)  # as /tmp: the function may be another user
        self.out = Log(directory / "stdout")
        same = settings.stderr == "stdout"
        self.err = self.out if same else Log(directory / "stderr")
        self._clients: List[Client] = []
        self._signalled = False
        self._threads = concurrent.futures.ThreadPoolExecutor(max_workers=64)
        self.process = self._spawn()
        try:
            self.pid = self._find_executable()
            self._wait_for_port()
            self._files = self._settled_files()
        except BaseException:
            self._threads.shutdown()
            self._kill_everything()
            raise

    def _spawn(self) -> "subprocess.Popen[bytes]":
        """Start the executable; its log streams are where the settings say."""
        command = [*self.settings.wrapper, str(EXECUTABLE), "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--work-dir", str(self.work_dir)]
        env = {**base_environment(), "TMPDIR": str(self.temp_dir), **self.settings.env}
        with contextlib.ExitStack() as files:
            streams: Dict[str, Any] = {}
            for name, log in (("stdout", self.out), ("stderr", self.err)):
                streams[name] = self._open_stream(name, log, files)
            process = subprocess.Popen(
                [*command, *self.settings.options],
                stdin=subprocess.DEVNULL,
                env=env,
                cwd=self.directory,
                bufsize=0,
                start_new_session=True,
                **streams,
            )
        _waited_for.add(process.pid)
        return process

    def _open_stream(self, name: str, log: Log, files: contextlib.ExitStack) -> Any:
        """The Popen argument for one log stream."""
        kind = getattr(self.settings, name)
        if kind == "pipe":
            return subprocess.PIPE
        if kind == "stdout":
            return subprocess.STDOUT
        path = log.path if kind == "file" else pathlib.Path(kind)
        return files.enter_context(open(path, "ab"))

    def _find_executable(self) -> int:
        """The process id of the server itself, below the wrapper if there is one."""
        if not self.settings.wrapper:
            return self.process.pid

        def found() -> int:
            assert self.process.poll() is None, f"exited {self.process.returncode}: {self._tail()}"
            for pid in [self.process.pid, *(process.pid for process in children(self.process.pid))]:
                # Not /proc/PID/exe: root in a container may not look at another user's.
                with contextlib.suppress(OSError):
                    if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == EXECUTABLE.name[:15]:
                        return pid
            return 0

        return int(wait_until(found, "the wrapper starts the server"))

    def _wait_for_port(self) -> None:
        def connected() -> bool:
            assert self.process.poll() is None, (
                f"the server exited {self.process.returncode} at start: {self._tail()}"
            )
            # It is closed by a server that serves; one that only listens has not opened all its files yet.
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as probe:
                    probe.shutdown(socket.SHUT_WR)
                    return probe.recv(1) == b""
            except (ConnectionRefusedError, ConnectionResetError):
                return False

        wait_until(connected, "the server listens")

    def _settled_files(self) -> List[str]:
        """The open files of the idle server with its runner started and no client."""
        wait_until(lambda: self.runners(), "the server starts its runner")
        wait_until(lambda: connections(self.port) == 0, "the first connection is closed")
        return open_files(self.pid)

    def _tail(self) -> str:
        tails = []
        for log in {self.out, self.err}:
            if log.path.exists():
                tails.append(log.content()[-2000:].decode("utf-8", "replace"))
        return " | ".join(tails)

    # --- processes

    def runners(self) -> List[int]:
        """Process ids of the live children of the server that execute another program.

        By their names, for root in a container may not look at another user's /proc/PID/exe.
        """
        own = EXECUTABLE.name[:15]
        return [process.pid for process in children(self.pid) if process.state not in "ZX" and process.name != own]

    def zombies(self) -> List[Process]:
        """Children of the server that ended and were not waited for."""
        return [process for process in children(self.pid) if process.state == "Z"]

    def signal(self, number: int) -> None:
        """Send a signal to the server itself."""
        self._signalled = True
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status of the server, at most `seconds` from now."""
        return self.process.wait(timeout=seconds)

    # --- HTTP

    def connect(self) -> Client:
        """A new connection, closed at the end of the test at the latest."""
        client = Client(self.port)
        self._clients.append(client)
        return client

    def request(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Sequence[Tuple[str, str]] = (),
        client: Optional[Client] = None,
        port: int = 0,
    ) -> Answer:
        """One request on `client`, or on a connection of its own as the OpenWhisk invoker does.

        port: the one to connect to, 0 for that of `--port`.
        """
        if client is not None:
            return client.request(method, path, body, headers)
        with contextlib.closing(Client(port or self.port)) as fresh:
            return fresh.request(method, path, body, headers)

    def post(self, path: str, document: Any, client: Optional[Client] = None, **keywords: Any) -> Answer:
        """POST bytes as they are, anything else as JSON. keywords: those of request()."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", path, body, client=client, **keywords)

    def invoke(self, event: Any = ABSENT, path: str = LAMBDA_PATH, **headers: str) -> Answer:
        """POST an event to the Lambda door: bytes as they are, nothing for ABSENT, anything else as JSON.

        headers: of the request, with _ for -.
        """
        words = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return self.post(path, b"" if event is ABSENT else event, headers=words)

    def event_invoke(self, event: Any = ABSENT, **headers: str) -> Answer:
        """The same to the SCF door."""
        return self.invoke(event, SCF_PATH, **headers)

    def init(self, code: Union[str, bytes], **keys: Any) -> Answer:
        """POST /init of a source (str) or of base64 bytes (bytes; `binary` is then true).

        keys: further members of `value`; one that is ABSENT is left out.
        """
        return self.post("/init", init_body(code, **keys))

    def run(self, value: Any = ABSENT, client: Optional[Client] = None, **metadata: Any) -> Answer:
        """POST /run of a value with the activation's metadata as further keys."""
        document = metadata if value is ABSENT else {"value": value, **metadata}
        return self.post("/run", document, client=client)

    def result(self, value: Any = ABSENT, **metadata: Any) -> Any:
        """The JSON of a run that must succeed."""
        answer = self.run(value, **metadata)
        assert answer.status == 200, (answer, self._tail())
        return answer.json

    def background(self, call: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Start a call in a thread and return its concurrent.futures.Future."""
        return self._threads.submit(call, *args, **keywords)

    # --- the end

    def finish(self) -> None:
        """Stop the server with SIGTERM and check that it leaves nothing behind."""
        for client in self._clients:
            client.close()
        problems: List[str] = []
        try:
            if self.process.poll() is None:
                problems += self._idle_problems()
                problems += self._stop_problems()
            elif self.process.returncode != self.settings.exit_status or not self._may_end():
                asked = "" if self._may_end() else " without having been asked to"
                problems.append(f"the server exited {self.process.returncode}{asked}: {self._tail()}")
            problems += self._remains()
        finally:
            self._kill_everything()
            _waited_for.discard(self.process.pid)
            self._threads.shutdown()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        assert not problems, "; ".join(problems)

    def _may_end(self) -> bool:
        return self._signalled or self.settings.ends_itself

    def _idle_problems(self) -> List[str]:
        """Zombies and open files that the requests of the test left in the server."""
        problems: List[str] = []
        with _collected(problems):
            wait_until(lambda: not self.zombies(), "the server reaps its children", 2)
        with _collected(problems):
            wait_until(lambda: connections(self.port) == 0, "the server closes connections", 2)
        if self.settings.check_files:
            with _collected(problems):
                wait_until(
                    lambda: len(open_files(self.pid)) <= len(self._files),
                    f"open files as at the start ({self._files}), now {open_files(self.pid)}",
                    2,
                )
        return problems

    def _stop_problems(self) -> List[str]:
        """SIGTERM must end the server in time and with the right status."""
        self.signal(signal.SIGTERM)
        try:
            status = self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"the server did not stop within {STOP_SECONDS:g} s of SIGTERM"]
        if status != self.settings.exit_status:
            return [f"the server exited {status} after SIGTERM: {self._tail()}"]
        return []

    def _remains(self) -> List[str]:
        """Processes, files and sanitizer reports that outlive the server."""
        problems: List[str] = []
        with _collected(problems):
            wait_until(lambda: not orphans(), f"the end of processes left over: {orphans()}", 1)
        for directory in (self.work_dir, self.temp_dir):
            left = sorted(path.name for path in directory.iterdir())
            if left:
                problems.append(f"left in the {directory.name} directory: {left}")
        if not self.settings.sanitizer_text:
            for log in {self.out, self.err}:
                data = log.content() if log.path.exists() else b""
                data = re.sub(REMARKS, b"", data)
                if b"Sanitizer" in data or b"runtime error:" in data:
                    problems.append(f"sanitizer report: {data[-4000:].decode(errors='replace')}")
        return problems

    def _kill_everything(self) -> None:
        """Leave nothing of this server for the next test, whatever happened."""
        below = [process.pid for process in descendants(self.process.pid)]
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in [*below, *(process.pid for process in orphans())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not orphans(), "the end of killed processes")


@contextlib.contextmanager
def _collected(problems: List[str]) -> Iterator[None]:
    """Note an AssertionError as a problem and go on."""
    try:
        yield
    except AssertionError as error:
        problems.append(str(error))


#: Processes that subprocess waits for itself.
_waited_for: Set[int] = set()


def orphans() -> List[Process]:
    """Live processes that lost their parent and fell to this one; dead ones are reaped here."""
    living = []
    for process in children(os.getpid()):
        if process.pid in _waited_for:
            continue
        if process.state == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        else:
            living.append(process)
    return living


# --- places ------------------------------------------------------------------


@contextlib.contextmanager
def shared_directory() -> Iterator[pathlib.Path]:
    """A fresh directory that the function's user can reach and write to, whoever that is; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pyaction-test-") as name:
        path = pathlib.Path(name).resolve()
        if os.geteuid() == 0:
            path.chmod(0o1777)
        yield path


# --- code and bodies ---------------------------------------------------------


def init_body(code: Union[str, bytes], **keys: Any) -> bytes:
    """The body of an /init: a source (str) or base64 of bytes with `binary` true.

    keys: further members of `value`; one that is ABSENT is left out.
    """
    value: Dict[str, Any] = {"name": "hello", "main": "main", "binary": False, "env": {}}
    if isinstance(code, bytes):
        value.update(code=base64.b64encode(code).decode(), binary=True)
    else:
        value["code"] = code
    value.update(keys)
    return json.dumps({"value": {k: v for k, v in value.items() if v is not ABSENT}}).encode()


def write_files(folder: pathlib.Path, files: Mapping[str, Union[str, bytes]]) -> pathlib.Path:
    """Make a folder with these files, by their paths in it, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def tree(folder: pathlib.Path) -> Dict[str, Tuple[int, int, bytes]]:
    """Everything below a folder: mode, time of the last change in ns, and content (empty for folders) by path."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


class Gate:
    """Holds a function in the middle of its run: it reads the named pipe `path` to its end."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._writer = -1

    def wait_entered(self) -> None:
        """Return once the function has come to the gate."""

        def opened() -> bool:
            try:
                self._writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return False
            return True

        wait_until(opened, "the function comes to the gate")

    def release(self) -> None:
        """Let the function go on."""
        os.close(self._writer)
        self._writer = -1
