"""One server from its start to its end, under load: what it promised is checked while it lives and after."""

import asyncio
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from blackbox.archives import zip_of
from blackbox.harness import SANITIZED, Server, Settings, init_body, open_files

from . import machine
from .load import Closed, Connection, Ledger, Refused, Request, Shape, Violation, random_shape
from .logs import CLOUD_STREAMS, Reader, Segment, Stream
from .witness import Witness

VICTIM = pathlib.Path(__file__).with_name("victim.py")
CLIENTS = 12
ACTIVATIONS = 200_000  # that one witness has room for
#: Seconds after which a request without an answer counts as lost.
LOST_AFTER = 60.0
#: What the proxy's memory may have grown by at the end of a life, in KB, when large payloads have been given back.
GROWTH_KB = 2048
#: After which the memory that large payloads took has been given back: docs/architecture.md says 100 ms of idling.
TRIM_SECONDS = 0.3


#: Servers that have not been finished: not to be left behind when a run is broken off.
LIVING: Set[int] = set()


@dataclasses.dataclass
class Plan:
    """How a server is set up.

    code: "source", "zip" or "start" (there at the start). merged: both streams lead to one pipe. user: to run as,
    None for this one. disk: bytes of the file system that its work directory is in, 0 for an ordinary one. log: a
    file that both streams go to, in place of what is read here; "" for none. door: through which requests come,
    a key of load.PATHS.
    """

    code: str = "source"
    merged: bool = False
    user: Optional[int] = None
    disk: int = 0
    log: str = ""
    door: str = "openwhisk"
    options: Tuple[str, ...] = ()


class Life:
    """A server with its clients, its log readers, and what is known of both."""

    def __init__(self, directory: pathlib.Path, plan: Plan, rng: random.Random) -> None:
        self.plan = plan
        self.rng = rng
        self.directory = directory
        directory.mkdir()
        directory.chmod(0o755)
        self.witness = Witness(directory / "witness", ACTIVATIONS)
        self.ledger = Ledger(ACTIVATIONS, plan.door)
        self.growth_kb = 0
        self.disk: Optional[pathlib.Path] = None
        self.problems: List[str] = []
        self.pending: Set[int] = set()
        #: Deaths of the runner that have a cause, and interruptions: each explains one failed activation at most.
        self.lethal = 0
        self.interrupts = 0
        #: From when to when (None: still) something was short, which explains more.
        self.shortages: List[List[Optional[float]]] = []
        self.forging = False  # the function writes replies of its own, which may become part of anybody's
        self.killed = False  # and not given the time for it
        self.crowded = False  # more requests wait than may
        #: Whether the log cannot be read to its end.
        self.blind = bool(plan.log)
        self.stopped = 0.0  # when it was told to stop
        #: Labels of the requests in the order of their ends.
        self.outcomes: List[str] = []
        self.init_markers = 0
        self._load: List["asyncio.Task[None]"] = []
        self._loading = False
        self.server = Server(directory, self._settings())
        self.pid = self.server.pid
        LIVING.add(self.pid)
        self.streams: List[Stream] = []
        self.readers: List[Reader] = []
        self.baseline_kb = 0

    # --- beginning

    def _settings(self) -> Settings:
        plan = self.plan
        wrapper: List[str] = []
        options = list(plan.options)
        env = {"TORTURE_WITNESS": str(self.witness.path)} if plan.code == "start" else {}
        if plan.user is not None:
            wrapper = machine.become(plan.user)
        if plan.user is not None or plan.disk:
            self.disk = self.directory / "disk"
            self.disk.mkdir()
            if plan.disk:
                machine.mount_memory(self.disk, plan.disk)
            self.disk.chmod(0o777)
            options += ["--work-dir", str(self.disk)]
        if plan.code == "start":
            code = self.directory / "code"
            code.mkdir()
            (code / "__main__.py").write_bytes(VICTIM.read_bytes())
            options += ["--code", str(code)]
        stderr = "stdout" if plan.merged else "pipe"
        return Settings(options=options, env=env, stdout=plan.log or "pipe", stderr=plan.log or stderr, wrapper=wrapper)

    async def begin(self) -> None:
        """Read the logs, load the code, start the clients."""
        await self.read_logs()
        if self.plan.code != "start":
            status, body = await self.init()
            if (status, body) != (200, b'{"ok":true}'):
                self.problem(f"/init of an undisturbed server: {status} {body[:300]!r}")
        self.start_load()

    async def read_logs(self) -> None:
        """Begin to read what the server writes."""
        process = self.server.process
        if self.plan.log:
            return
        assert process.stdout is not None
        pipes = [("stdout", process.stdout)]
        if not self.plan.merged:
            assert process.stderr is not None
            pipes.append(("stderr", process.stderr))
        for name, pipe in pipes:
            markers = 2 if self.plan.merged else 1
            door = self.plan.door
            self.streams.append(CLOUD_STREAMS[door](name) if door in CLOUD_STREAMS else Stream(name, markers))
            # A copy: the harness closes its own as soon as the server has ended.
            copy = os.fdopen(os.dup(pipe.fileno()), "rb", buffering=0)
            self.readers.append(await Reader.start(copy, self.streams[-1]))

    def init_request(self, import_ms: float = 0) -> bytes:
        """An /init with the victim's code. import_ms: how long its import takes at least."""
        source = VICTIM.read_text()
        env = {"TORTURE_WITNESS": str(self.witness.path), "TORTURE_IMPORT_MS": str(import_ms)}
        if self.plan.code == "zip":
            # Large enough for the precompiler to be started.
            more = {f"module{n}.py": "\n".join(f"def f{i}(a):\n    return [a, {i}, '{self.rng.random()}']"
                                               for i in range(600)) for n in range(4)}
            imports = "import module0, module1, module2, module3\n"
            body = init_body(zip_of({"__main__.py": imports + source, **more}), env=env)
        else:
            body = init_body(source, env=env)
        return b"POST /init HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def init(self, import_ms: float = 0) -> Tuple[int, bytes]:
        """Send an /init on a connection of its own. Returns its status and body."""
        connection = Connection(self.server.port)
        await connection.open()
        try:
            await connection.send(self.init_request(import_ms))
            return self.count_init(*await connection.read_answer())
        finally:
            connection.close()

    def count_init(self, status: int, body: bytes) -> Tuple[int, bytes]:
        """Note whether this answer to an /init has markers in the log: docs/protocol.md, the table of /init."""
        if status == 502 or (status == 500 and b"unknown status" in body):
            self.init_markers += 1
        return status, body

    # --- load

    def start_load(self, clients: int = CLIENTS) -> None:
        """Let clients send requests until stop_load()."""
        self._loading = True
        self._load = [asyncio.ensure_future(self._client(random.Random(self.rng.random()))) for _ in range(clients)]

    async def stop_load(self) -> None:
        """Let each client finish what it does."""
        self._loading = False
        for task in self._load:
            try:
                await asyncio.wait_for(task, LOST_AFTER)
            except asyncio.TimeoutError:
                self.problem(f"no answer within {LOST_AFTER:g} s: requests {sorted(self.pending)[:20]}")
        self._load = []

    async def _client(self, rng: random.Random) -> None:
        connection = Connection(self.server.port)
        while self._loading and not self.ledger.is_full:
            # The OpenWhisk invoker makes a connection for each request, others keep theirs.
            if rng.random() < 0.3:
                connection.close()
            request = await self.request(random_shape(rng), connection)
            if self.stopped and request.label in ("closed", "refused"):
                break
            await asyncio.sleep(rng.random() * 0.01)
        connection.close()

    async def request(self, shape: Shape, connection: Optional[Connection] = None) -> Request:
        """One request from its begin to its end, whatever that is; what nothing explains is a problem."""
        request = self.ledger.new(shape)
        return await self.carry_out(request, connection)

    async def carry_out(self, request: Request, connection: Optional[Connection] = None) -> Request:
        """The same for a request that there is already. connection: one of its own if None."""
        own = connection or Connection(self.server.port)
        was_open = own.is_open
        self.pending.add(request.number)
        try:
            await own.ask(request)
        except Closed as closed:
            own.close()
            request.label = "refused" if isinstance(closed, Refused) else "closed"
            request.ended = time.monotonic()
            # A server that stops takes no more connections, and closes those on which nothing has come.
            late = self.stopped and (request.label == "refused" or self.killed or not 0 < request.sent < self.stopped)
            if not (late or self.is_short(request)):
                self.problem(f"request {request.number} got no answer: {closed} (kept connection: {was_open}, "
                             f"{request.shape}, sent {request.sent - self.stopped:.3f} s after the stop)")
        except Violation as violation:
            own.close()
            request.label = request.label or ("forged" if self.forging else "wrong")
            request.perhaps = self.forging
            if not self.forging:
                self.problem(str(violation))
        finally:
            self.pending.discard(request.number)
        if connection is None:
            own.close()
        self.explain(request)
        return request

    def is_short(self, request: Request) -> bool:
        """Whether something was short while the request was under way."""
        return any(begin is not None and begin <= request.ended and (end is None or request.started <= end)
                   for begin, end in self.shortages)

    def explain(self, request: Request) -> None:
        """A request has ended: a failure needs a cause. Deaths and interruptions are counted at the end."""
        self.outcomes.append(request.label)
        label = request.label
        if label in ("200", "closed", "refused", "wrong", "forged") or label.startswith(("400", "500 bad", "502 in")):
            return
        if label == "503" and self.stopped or label == "429" and self.crowded:
            return
        if not request.shape.do and not self.is_short(request):
            self.problem(f"request {request.number}: {label} for no reason ({request.shape})")

    @property
    def is_up(self) -> bool:
        """Whether the server has not ended."""
        return self.server.process.poll() is None

    def problem(self, text: str) -> None:
        """Note what must not be."""
        self.problems.append(text)

    # --- faults need

    def short(self) -> List[Optional[float]]:
        """Something is short from now on, until long_again() of what is returned."""
        self.shortages.append([time.monotonic(), None])
        return self.shortages[-1]

    @staticmethod
    def long_again(shortage: List[Optional[float]]) -> None:
        """It is not any more."""
        shortage[1] = time.monotonic()

    async def wait_for(self, happened: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """The first true value of happened(); after `seconds` a problem, and None."""
        deadline = time.monotonic() + seconds
        while True:
            value = happened()
            if value:
                return value
            if time.monotonic() > deadline:
                self.problem(f"not within {seconds:g} s: {what}")
                return None
            await asyncio.sleep(0.0005)

    async def runner(self) -> int:
        """The process that runs the function, waited for if there is none; 0 if none comes."""
        return await self.wait_for(lambda: machine.runner_of(self.pid), "there is a runner") or 0

    async def reaches(self, request: Request, task: "asyncio.Task[Request]", phase: int) -> None:
        """Return when the function is in this phase of the request, or the request has ended."""
        await self.wait_for(
            lambda: task.done() or self.witness.phase() == (phase, request.number), "the function gets there",
            LOST_AFTER)

    async def probe(self) -> float:
        """The request after a fault: it must succeed. Returns the seconds it took.

        Whatever was sent has arrived before, for a process that is being hit may take one more message with it.
        """
        await self.wait_for(lambda: all(machine.has_taken(pid, signal.SIGINT) for pid in machine.children(self.pid)),
                            "all signals have arrived", LOST_AFTER)
        begin = time.monotonic()
        request = await self.request(Shape(size=10, out=10))
        if request.label != "200":
            self.problem(f"the request after the fault failed: {request.label}")
        return time.monotonic() - begin

    # --- the end

    async def settle(self) -> None:
        """Without load: everything must be as at the start. The first call says what that is."""
        await self.stop_load()
        if not self.is_up:
            self.problem(f"the proxy has ended by itself: {self.server.process.returncode}")
            return
        await asyncio.sleep(TRIM_SECONDS)
        await self.wait_for(lambda: all(machine.is_alive(pid) for pid in machine.children(self.pid)),
                            "no zombie is left")
        await self.runner()
        kb = machine.memory_kb(self.pid)["RssAnon"]
        if not self.baseline_kb:
            self.baseline_kb = kb
            self.baseline_files = open_files(self.pid)
            return
        if kb > self.baseline_kb + GROWTH_KB and not SANITIZED:
            self.problem(f"the proxy has grown from {self.baseline_kb} to {kb} KB")
        self.growth_kb = kb - self.baseline_kb
        files = await self.wait_for(lambda: len(open_files(self.pid)) <= len(self.baseline_files),
                                    "open files as at the start", 5)
        if not files:
            self.problem(f"open files: {open_files(self.pid)}, at the start {self.baseline_files}")

    async def stop_under_load(self) -> str:
        """Tell the server to stop while clients send. Returns by which signal."""
        number = self.rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
        self.stopped = time.monotonic()
        self.server.signal(number)
        if await self.wait_for(lambda: not self.is_up, "the server stops") is None:
            os.kill(self.pid, signal.SIGKILL)
        return signal.Signals(number).name

    async def lose_readers(self) -> None:
        """Nobody takes the log any more; what follows cannot be checked in it."""
        for reader in self.readers:
            reader.leave()
        for pipe in (self.server.process.stdout, self.server.process.stderr):
            if pipe is not None:
                pipe.close()
        self.blind = True

    async def block_log(self) -> None:
        """An activation waits for the log, which nobody reads until the server has ended; it is lost."""
        self.blind = True
        for reader in self.readers:
            reader.stall()
        request = self.ledger.new(Shape(lines=3000, width=3000))
        self._load.append(asyncio.ensure_future(self._wait_in_vain(request)))
        await self.wait_for(lambda: self.witness.phase()[1] == request.number, "the function gets there")
        await asyncio.sleep(self.rng.random() * 0.1)

    async def _wait_in_vain(self, request: Request) -> None:
        await self.carry_out(request)
        if request.label != "503":
            self.problem(f"an activation whose log nobody took: {request.label}")

    async def kill_server(self) -> None:
        """The proxy dies of SIGKILL: its runner goes with it."""
        runner = await self.runner()
        self.stopped = time.monotonic()
        self.killed = self.blind = True
        self.server.settings.exit_status = -signal.SIGKILL
        self.server.signal(signal.SIGKILL)
        await self.wait_for(lambda: not self.is_up and not machine.is_alive(runner),
                            "the runner ends with its proxy")
        for place in (self.server.work_dir, self.disk):
            for left in place.iterdir() if place else ():
                shutil.rmtree(left)

    async def finish(self) -> None:
        """Stop the server, which must leave nothing, and audit its logs."""
        loop = asyncio.get_running_loop()
        self.stopped = self.stopped or time.monotonic()
        for reader in self.readers:
            reader.go_on()
        LIVING.discard(self.pid)
        try:
            await loop.run_in_executor(None, self.server.finish)
        except AssertionError as error:
            self.problem(f"at the end: {error}")
        for reader in self.readers:
            try:
                await asyncio.wait_for(reader.ended, 20)
            except asyncio.TimeoutError:
                self.problem(f"{reader.stream.name} stays open after the end")
        await self.stop_load()
        if self.disk and self.plan.disk:
            left = [path.name for path in self.disk.iterdir() if path.name != ".full"]
            if left:
                self.problem(f"left in the work directory: {left}")
            machine.unmount(self.disk)
        self.problems = [*audit(self), *self.problems]
        self.witness.close()


# --- the audit -------------------------------------------------------------------------------------------------------


def audit(life: Life) -> Iterator[str]:
    """What the logs and the answers together say that must not be."""
    tails = [stream.end() for stream in life.streams]
    for stream in life.streams:
        if stream.report or not life.blind:
            yield from stream.problems
    yield from _audit_deaths(life)
    if life.blind:
        return
    counts = [len(stream.segments) for stream in life.streams]
    if len(set(counts)) > 1:
        yield f"activations that end on stdout and on stderr: {counts}"
    yield from _audit_markers(life, min(counts))
    seen: Dict[int, Segment] = {}
    for index in range(min(counts)):
        parts = [stream.segments[index] for stream in life.streams]
        numbers = {part.number for part in parts if part.number is not None}
        if len(numbers) > 1:
            yield f"end {index} of the two streams belongs to different activations: {numbers}"
        for number in numbers:
            if number in seen:
                yield f"activation {number} was run twice"
            seen[number] = Segment(number, sum(part.out for part in parts), sum(part.err for part in parts),
                                   any(part.torn for part in parts))
    for tail in tails:
        if tail.number is not None and tail.number not in seen:
            seen[tail.number] = tail
    yield from _audit_lines(life, seen)


def _audit_deaths(life: Life) -> Iterator[str]:
    """Each cause explains at most one activation that failed of it."""
    died = [one for one in life.ledger.requests
            if one.label in ("400 exited", "400 protocol", "502 init", "500 bad reply")
            and not one.shape.do and not life.is_short(one)]
    interrupted = [one for one in life.ledger.requests if one.label == "502 interrupted" and not one.shape.do]
    if len(died) > life.lethal:
        yield f"{len(died)} activations died of {life.lethal} causes"
    if len(interrupted) > life.interrupts:
        yield f"{len(interrupted)} activations were interrupted by {life.interrupts} signals"


def _audit_markers(life: Life, markers: int) -> Iterator[str]:
    """As many as activations. Of a request that its client left, it is not known whether it came so far."""
    certain = life.init_markers + sum(one.activated for one in life.ledger.requests)
    possible = sum((one.abandoned and one.sent > 0) or one.perhaps or one.label == "closed"
                   for one in life.ledger.requests)
    if not certain <= markers <= certain + possible:
        yield f"{markers} markers for {certain} activations and at most {possible} more"


def _audit_lines(life: Life, seen: Dict[int, Segment]) -> Iterator[str]:
    """What was printed is there."""
    for request in life.ledger.requests:
        segment = seen.get(request.number, Segment())
        printed = life.witness.printed(request.number)
        lines = request.shape.lines
        if segment.out < printed[0] or segment.err < printed[1]:
            yield f"activation {request.number} printed {printed} lines, in the log are {segment.out, segment.err}"
        if request.label == "200" and (segment.out, segment.err, segment.torn) != (lines, lines, False):
            yield f"activation {request.number} of {lines} lines: in the log is {segment}"
        ran = request.activated or request.perhaps or request.abandoned or request.label in ("closed", "503")
        if request.number in seen and not ran:
            yield f"activation {request.number} was run, and answered {request.label}"
        if segment.torn and request.label == "200":
            yield f"activation {request.number} succeeded with a torn line"
