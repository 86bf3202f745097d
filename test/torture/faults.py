"""What is done to a server under load.  Each fault ends with everything as it was, but for what it has killed."""

import asyncio
import contextlib
import os
import random
import resource
import signal
import time
from typing import Awaitable, Callable, Dict, NamedTuple, Optional, Tuple

from blackbox.harness import SANITIZED

from . import machine, victim
from .life import LOST_AFTER, Life
from .load import Closed, Connection, Request, Shape

#: Those that can be sent; the C library keeps 32 and 33 for itself, and sends them all the same.
SIGNALS = [number for number in range(1, 65)]
STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
#: Ignored by default, by Python once it has started, or by the C library once there has been a thread.
HARMLESS = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ, 32, 33)

#: Those that a proxy that was started by anybody has to ignore.
MEANINGLESS = [number for number in SIGNALS if number not in (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGILL,
    signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS)]

#: --timeout of servers that have one.
TIMEOUT_S = 12 if SANITIZED else 4

KB, MB = 1 << 10, 1 << 20


def send(pid: int, number: int) -> None:
    """A signal, if the process is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def pause(rng: random.Random, most_ms: float) -> None:
    """Some time."""
    await asyncio.sleep(rng.random() * most_ms / 1000)


# --- signals


class Moment(NamedTuple):
    """When a fault happens: in a request of this shape, when it has come to the phase, and up to jitter_ms later."""

    shape: Callable[[random.Random], Shape]
    phase: int
    jitter_ms: float


MOMENTS: Dict[str, Moment] = {
    "request": Moment(lambda rng: Shape(size=rng.randrange(8 * MB)), 0, 15),
    "handler": Moment(lambda rng: Shape(sleep_ms=rng.random() * 20), victim.PHASE_HANDLER, 20),
    "print": Moment(lambda rng: Shape(lines=rng.randrange(1500), width=rng.randrange(2000)),
                    victim.PHASE_HANDLER, 10),
    "reply": Moment(lambda rng: Shape(out=rng.randrange(8 * MB)), victim.PHASE_RETURN, 10),
    "log flush": Moment(lambda rng: Shape(lines=rng.randrange(300), width=rng.randrange(8000)),
                        victim.PHASE_RETURN, 3),
}


async def at_moment(life: Life, name: str) -> Optional["asyncio.Task[Request]"]:
    """Return when the moment has come; with the request that belongs to it, if one does."""
    rng = life.rng
    if name == "any":
        await pause(rng, 5)
        return None
    if name in ("start", "reload"):
        victim_pid = await life.runner()
        life.lethal += 1
        send(victim_pid, signal.SIGKILL)
        await life.wait_for(lambda: set(machine.children(life.pid)) - {victim_pid}, "another process is started")
        await pause(rng, 1 if name == "start" else 40)
        return None
    moment = MOMENTS[name]
    request = life.ledger.new(moment.shape(rng))
    task = asyncio.ensure_future(life.carry_out(request))
    if moment.phase:
        await life.reaches(request, task, moment.phase)
    await pause(rng, moment.jitter_ms)
    return task


async def finish_task(life: Life, task: Optional["asyncio.Task[Request]"]) -> None:
    """Wait for the request of a moment."""
    if task is None:
        return
    try:
        await asyncio.wait_for(task, LOST_AFTER)
    except asyncio.TimeoutError:
        life.problem(f"no answer within {LOST_AFTER:g} s of a fault")


def some_moment(life: Life) -> str:
    """The name of one."""
    return life.rng.choice(["any", "start", "reload", *MOMENTS])


async def send_signal(life: Life) -> str:
    """A signal to the runner."""
    number, moment = life.rng.choice(SIGNALS), some_moment(life)
    task = await at_moment(life, moment)
    pid = await life.runner()
    life.lethal += 1
    life.interrupts += number == signal.SIGINT
    send(pid, number)
    if number in STOPS:
        await pause(life.rng, 50)
        send(pid, signal.SIGCONT)
    elif number not in HARMLESS and number != signal.SIGINT:
        await life.wait_for(lambda: not machine.is_alive(pid), f"signal {number} ends the process")
    else:  # a process that is being hit may take one more message with it
        await life.wait_for(lambda: machine.has_taken(pid, number), f"signal {number} arrives")
    await finish_task(life, task)
    return moment


async def send_two_signals(life: Life) -> str:
    """Two of them, one on the heels of the other: also to the process that replaces the first."""
    moment = some_moment(life)
    task = await at_moment(life, moment)
    for _ in range(2):
        number = life.rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT, signal.SIGINT])
        life.lethal += 1
        life.interrupts += number == signal.SIGINT
        send(await life.runner(), number)
        await pause(life.rng, 5)
    await finish_task(life, task)
    return moment


async def stop_and_continue(life: Life) -> str:
    """The runner stands still for a while."""
    moment = some_moment(life)
    task = await at_moment(life, moment)
    pid = await life.runner()
    send(pid, signal.SIGSTOP)
    await pause(life.rng, 200)
    if life.rng.random() < 0.3:
        life.lethal += 1
        send(pid, signal.SIGKILL)
    send(pid, signal.SIGCONT)
    await finish_task(life, task)
    return moment


async def stop_proxy(life: Life) -> str:
    """The proxy stands still for a while, and the runner may die meanwhile."""
    moment = some_moment(life)
    task = await at_moment(life, moment)
    os.kill(life.pid, signal.SIGSTOP)
    await pause(life.rng, 40)
    if life.rng.random() < 0.5:
        life.lethal += 1
        send(machine.runner_of(life.pid), signal.SIGKILL)
        await pause(life.rng, 20)
    os.kill(life.pid, signal.SIGCONT)
    await finish_task(life, task)
    return moment


async def signal_proxy(life: Life) -> str:
    """Signals that mean nothing to the proxy, many at a time."""
    moment = some_moment(life)
    task = await at_moment(life, moment)
    for _ in range(life.rng.randrange(1, 200)):
        os.kill(life.pid, life.rng.choice(MEANINGLESS))
    await finish_task(life, task)
    return moment


# --- clients


async def break_off(life: Life) -> str:
    """A client that ends its connection in the middle."""
    rng = life.rng
    where, reset = rng.choice(["head", "body", "sent", "answer"]), rng.random() < 0.5
    request = life.ledger.new(Shape(size=rng.choice([10, 100 * KB, 3 * MB]), out=rng.choice([10, 4 * MB]), lines=2))
    request.abandoned = True
    data = request.http()
    head = data.index(b"\r\n\r\n") + 4
    if where == "head":
        data = data[:rng.randrange(head)]
    elif where == "body":
        data = data[:rng.randrange(head, len(data))]
    connection = Connection(life.server.port)
    await connection.open(4096 if where == "answer" else 0)
    await connection.send(data)
    request.sent = time.monotonic() if where in ("sent", "answer") else 0
    if where == "answer":
        await connection.receive(rng.randrange(1, 4096))
    elif rng.random() < 0.5:
        await pause(rng, 20)
    connection.close(reset)
    return where


async def half_close(life: Life) -> str:
    """A client that says at once that it will send no more, and waits for its answer."""
    request = life.ledger.new(Shape(size=life.rng.choice([10, 100 * KB, MB]), out=100 * KB, sleep_ms=3))
    connection = Connection(life.server.port)
    await connection.open()
    await connection.send(request.http())
    connection.end_sending()
    request.sent = time.monotonic()
    try:
        request.judge(*await connection.read_answer())
        life.explain(request)
    except Closed as closed:
        life.problem(f"a client that had only ended its side got no answer: {closed}")
    connection.close()
    return "sent"


async def pipeline(life: Life) -> str:
    """Several requests at once; some of the answers are read."""
    rng = life.rng
    requests = [life.ledger.new(Shape(size=rng.randrange(2000), out=rng.randrange(2000)))
                for _ in range(rng.randrange(2, 20))]
    wanted = rng.randrange(len(requests) + 1)
    connection = Connection(life.server.port)
    await connection.open()
    for request in requests:
        request.sent, request.abandoned = time.monotonic(), True
    await connection.send(b"".join(request.http() for request in requests))
    for request in requests[:wanted]:
        try:
            status, body = await connection.read_answer()
        except Closed as closed:
            life.problem(f"a pipelined request got no answer: {closed}")
            break
        request.judge(status, body)
        request.abandoned = False
        life.explain(request)
    connection.close(rng.random() < 0.5)
    return "sent"


async def slow_client(life: Life) -> str:
    """One that takes a large answer in small pieces, and sends its request so; the others are served meanwhile."""
    rng = life.rng
    request = life.ledger.new(Shape(size=100 * KB, out=2 * MB))
    connection = Connection(life.server.port)
    await connection.open(4096)
    data = request.http()
    for offset in range(0, len(data), 20 * KB):
        await connection.send(data[offset:offset + 20 * KB])
        await pause(rng, 2)
    request.sent = time.monotonic()
    others = await life.request(Shape())
    if others.label != "200":
        life.problem(f"beside a slow client: {others.label}")
    request.judge(*await connection.read_answer())
    life.explain(request)
    connection.close()
    return "answer"


#: Refused by the proxy at once, and by what has to wait for its turn.
REFUSED_AT_ONCE = [
    (b"GET /run HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 404),
    (b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 413),
]
REFUSED_IN_TURN = [
    (b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n[1,2]", 400),
    (b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{\"a\":", 400),
    (b"POST /init HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 403),
]


async def refused(life: Life) -> str:
    """Requests that are."""
    return await refuse(life, life.rng.choice(REFUSED_AT_ONCE + REFUSED_IN_TURN))


async def refuse(life: Life, case: Tuple[bytes, int]) -> str:
    """One of them, and the status that it must get."""
    data, expected = case
    connection = Connection(life.server.port)
    await connection.open()
    await connection.send(data)
    status, body = await connection.read_answer()
    if status != expected:
        life.problem(f"{data!r} was answered {status} {body[:200]!r}")
    connection.close()
    return f"{expected}"


async def crowd(life: Life) -> str:
    """More requests than may wait for their turn."""
    pid, life.crowded = await life.runner(), True
    send(pid, signal.SIGSTOP)
    tasks = [asyncio.ensure_future(life.request(Shape())) for _ in range(4096 + 100)]
    await life.wait_for(lambda: sum(task.done() for task in tasks) >= 100, "what is too much is refused", LOST_AFTER)
    send(pid, signal.SIGCONT)
    labels = [request.label for request in await asyncio.gather(*tasks)]
    life.crowded = False
    if set(labels) - {"200", "429"} or labels.count("200") < 4000:
        life.problem(f"of a crowd: {[(label, labels.count(label)) for label in set(labels)]}")
    return "queue"


# --- the log's reader


async def stall_reader(life: Life) -> str:
    """Nobody reads the log for a while: that holds up the activation whose output does not fit, and no answer that
    needs none."""
    rng = life.rng
    stalled = life.readers if rng.random() < 0.5 else [rng.choice(life.readers)]
    for reader in stalled:
        reader.stall()
    request = life.ledger.new(Shape(lines=rng.randrange(1000), width=rng.randrange(4000)))
    task = asyncio.ensure_future(life.carry_out(request))
    await pause(rng, 100)
    await refuse(life, rng.choice(REFUSED_AT_ONCE))
    moment = "print"
    if rng.random() < 0.3:
        moment, pid = "print, killed", await life.runner()
        life.lethal += 1
        send(pid, signal.SIGKILL)
        await pause(rng, 20)
    for reader in stalled:
        reader.go_on()
    await finish_task(life, task)
    return moment


async def flood(life: Life) -> str:
    """Megabytes of log of one activation."""
    shape = Shape(lines=life.rng.randrange(500), width=life.rng.randrange(20_000))
    if life.rng.random() < 0.02:
        shape = Shape(lines=2000, width=25_000)  # 50 MB to each stream
    await life.request(shape)
    return "print"


# --- the function


DEADLY = ["sys_exit", "os_exit", "abort", "segfault", "close_everything", "close_streams", "kill_group",
          "exit_in_thread", "become_another", "close_channel"]
HARMLESS_ACTS = ["raise_error", "recurse", "leave_threads", "child_at_work", "exhaust_descriptors", "exhaust_memory",
                 "leave_orphans"]


async def act(life: Life) -> str:
    """The function does something to itself."""
    rng = life.rng
    name = rng.choice([*DEADLY, *HARMLESS_ACTS, "exit_after_answer", "write_unfinished"])
    if SANITIZED and name == "exhaust_memory":
        name = "recurse"
    more = {"status": rng.randrange(256), "signal": rng.choice([2, 9, 11, 15]), "limit": 60,
            "block": rng.choice([1 * MB, 16 * MB]), "ms": rng.random() * 10}
    life.lethal += name == "exit_after_answer"
    request = await life.request(Shape(do=name, more=more))
    if name in DEADLY and request.label == "200":
        life.problem(f"an activation that ended its process by {name} succeeded")
    if name in HARMLESS_ACTS and request.label not in ("200", "502 exception", "502 MemoryError"):
        # The process may have died of another fault's doing only.
        life.problem(f"{name}: {request.label}")
    if name == "exit_after_answer":
        await asyncio.sleep(more["ms"] / 1000 + 0.005)
    return name


async def speak(life: Life) -> str:
    """The function writes into the channel of its replies, in its own activation or when nobody asks.

    It could answer what it likes there, whole results too, for it is its own process; these are none. What follows is
    a fresh process's.
    """
    rng, pid = life.rng, await life.runner()
    name = rng.choice(["speak_on_channel", "speak_late"])
    text = rng.choice(["\n", "nonsense\n", '{"status":"success"', "{" * 2000])
    life.lethal += 1
    life.forging = True
    await life.request(Shape(do=name, more={"text": text, "ms": rng.random() * 10}))
    await life.wait_for(lambda: machine.runner_of(life.pid) not in (0, pid), "the forger is replaced")
    await life.request(Shape())
    life.forging = False
    return name


async def exhaust_processes(life: Life) -> str:
    """The function forks as often as it may; none of these processes is left when it dies."""
    pid = await life.runner()
    request = await life.request(Shape(do="fork_bomb", more={"limit": 30}))
    crowd = len(machine.tree(pid))
    life.lethal += 1
    send(pid, signal.SIGKILL)
    await life.wait_for(lambda: len(machine.tree(life.pid)) < 10, "the end of a fork bomb")
    return f"{'crowd' if crowd > 20 else request.label}"


async def pass_time_limit(life: Life) -> str:
    """An activation takes longer than --timeout allows: it sits there, its process is stopped, or nobody reads what it
    prints."""
    moment = life.rng.choice(["handler", "stopped", "print"])
    shape = Shape(do="sit")
    if moment == "print":
        for reader in life.readers:
            reader.stall()
        shape = Shape(do="sit", lines=3000, width=3000)
    request = life.ledger.new(shape)
    task = asyncio.ensure_future(life.carry_out(request))
    if moment == "stopped":
        await life.reaches(request, task, victim.PHASE_HANDLER)
        send(await life.runner(), signal.SIGSTOP)
    if moment == "print":
        await asyncio.sleep(TIMEOUT_S + 0.2)
        for reader in life.readers:
            reader.go_on()
    await finish_task(life, task)
    if request.label != "502 time":
        life.problem(f"an activation that passed its time ({moment}): {request.label}")
    return moment


async def pass_memory_limit(life: Life) -> str:
    """The function takes more memory than --memory allows."""
    request = await life.request(Shape(do="pass_memory"))
    if request.label != "502 memory":
        life.problem(f"an activation that passed its memory: {request.label}")
    return "handler"


async def exhaust_container(life: Life) -> str:
    """The function takes all the memory that its container has: the kernel kills the process that has most."""
    moment = life.rng.choice(["process", "server"])
    group = machine.MemoryGroup(64 * MB)
    try:
        pids = [await life.runner()]
        if moment == "server":
            pids.insert(0, life.pid)
        with contextlib.suppress(ProcessLookupError):
            for pid in pids:
                group.take(pid)
        request = await life.request(Shape(do="pass_memory"))
        kills = group.kills()
    finally:
        group.close()
    if (request.label, kills) != ("400 exited", 1):
        life.problem(f"an activation that took all memory of a container: {request.label}, {kills} processes killed")
    return moment


# --- shortage


async def restore(life: Life, limits: Dict[int, int]) -> None:
    """Give the proxy, and what it has started meanwhile, the soft limits that it had."""
    for pid in machine.tree(life.pid):
        for kind, soft in limits.items():
            machine.set_limit(pid, kind, soft)


async def few_descriptors(life: Life) -> str:
    """The proxy can open no more files: not for connections, not for a runner."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_NOFILE)
    shortage = life.short()
    used = machine.open_count(life.pid)
    machine.set_limit(life.pid, resource.RLIMIT_NOFILE, used + life.rng.randrange(4))
    moment = "connect"
    if life.rng.random() < 0.7:
        moment = "new runner"
        life.lethal += 1
        send(machine.runner_of(life.pid), signal.SIGKILL)
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_NOFILE: before})
    await crowd_out(life)
    life.long_again(shortage)
    return moment


async def little_memory(life: Life) -> str:
    """The proxy gets no more memory."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_AS)
    shortage = life.short()
    machine.set_limit(life.pid, resource.RLIMIT_AS, machine.address_space(life.pid) + life.rng.randrange(2 * MB))
    moment = "request"
    task = asyncio.ensure_future(life.request(Shape(size=life.rng.randrange(6 * MB))))
    if life.rng.random() < 0.5:
        moment = "new runner"
        life.lethal += 1
        send(machine.runner_of(life.pid), signal.SIGKILL)
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_AS: before})
    await finish_task(life, task)
    await crowd_out(life)
    life.long_again(shortage)
    return moment


async def runner_without_memory(life: Life) -> str:
    """The runner gets no more memory."""
    pid = await life.runner()
    before = machine.soft_limit(pid, resource.RLIMIT_AS)
    shortage = life.short()
    machine.set_limit(pid, resource.RLIMIT_AS, machine.address_space(pid) + life.rng.randrange(4 * MB))
    await life.request(Shape(size=life.rng.randrange(6 * MB), out=life.rng.randrange(6 * MB)))
    machine.set_limit(pid, resource.RLIMIT_AS, before)
    await crowd_out(life)
    life.long_again(shortage)
    return "request, reply"


async def runner_without_descriptors(life: Life) -> str:
    """The runner can open no more files."""
    pid = await life.runner()
    before = machine.soft_limit(pid, resource.RLIMIT_NOFILE)
    machine.set_limit(pid, resource.RLIMIT_NOFILE, life.rng.randrange(6))
    await life.request(Shape(size=10))
    machine.set_limit(pid, resource.RLIMIT_NOFILE, before)
    return "request"


async def few_processes(life: Life) -> str:
    """The proxy's user can have no more processes."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_NPROC)
    shortage = life.short()
    machine.set_limit(life.pid, resource.RLIMIT_NPROC, 1)
    life.lethal += 1
    send(machine.runner_of(life.pid), signal.SIGKILL)
    request = await life.request(Shape())
    if request.label not in ("500 start", "502 init", "400 exited"):
        life.problem(f"without processes: {request.label}")
    await pause(life.rng, 30)
    await restore(life, {resource.RLIMIT_NPROC: before})
    await crowd_out(life)
    life.long_again(shortage)
    return "new runner"


async def full_disk(life: Life) -> str:
    """No space where the code is."""
    assert life.disk is not None
    disk = machine.FullDisk(life.disk, life.rng.choice([0, 0, 100, 5000]))
    moment = "handler"
    try:
        await life.request(Shape(do="fill_disk"))
        if life.rng.random() < 0.5:
            moment = "reload"
            life.lethal += 1
            send(await life.runner(), signal.SIGKILL)
            await pause(life.rng, 20)
        request = await life.request(Shape())
        if request.label != "200":
            life.problem(f"a full disk: {request.label}")
    finally:
        disk.empty()
    return moment


def has_memory_limit(life: Life) -> bool:
    """Of the server, that a process of the victim keeps to; not with the memory that a sanitizer takes."""
    return "300" in life.plan.options and not SANITIZED


def has_time_limit(life: Life) -> bool:
    """Of the server, that can be waited for."""
    return str(TIMEOUT_S) in life.plan.options


def has_address_limit(_life: Life) -> bool:
    """A sanitizer reserves terabytes of address space."""
    return not SANITIZED


async def crowd_out(life: Life) -> None:
    """A request, whatever becomes of it: what was begun while something was short has its end before the probe."""
    await life.request(Shape())


# --- the catalogue


class Fault(NamedTuple):
    """inject does it and returns its moment; weight says how often; possible, with which servers."""

    inject: Callable[[Life], Awaitable[str]]
    weight: float
    possible: Callable[[Life], bool] = lambda life: True


SERVING: Dict[str, Fault] = {
    "signal": Fault(send_signal, 50),
    "two signals": Fault(send_two_signals, 5),
    "stop and continue": Fault(stop_and_continue, 3),
    "stop the proxy": Fault(stop_proxy, 3),
    "signals to the proxy": Fault(signal_proxy, 3),
    "client breaks off": Fault(break_off, 15),
    "client half-closes": Fault(half_close, 2),
    "client pipelines": Fault(pipeline, 3),
    "slow client": Fault(slow_client, 1),
    "refused request": Fault(refused, 3),
    "crowd": Fault(crowd, 0.1, lambda life: not has_time_limit(life)),
    "log reader stalls": Fault(stall_reader, 3, lambda life: bool(life.readers)),
    "log flood": Fault(flood, 3),
    "function": Fault(act, 12),
    "forged reply": Fault(speak, 2),
    "fork bomb": Fault(exhaust_processes, 1),
    "container's memory": Fault(exhaust_container, 1, lambda life: machine.can_limit_memory()),
    "memory limit": Fault(pass_memory_limit, 0.5, has_memory_limit),
    "time limit": Fault(pass_time_limit, 0.3, has_time_limit),
    "few descriptors": Fault(few_descriptors, 3),
    "little memory": Fault(little_memory, 3, has_address_limit),
    "runner: no memory": Fault(runner_without_memory, 2, has_address_limit),
    "runner: no descriptors": Fault(runner_without_descriptors, 1),
    "few processes": Fault(few_processes, 4, lambda life: machine.counts_processes(life.plan.user)),
    "full disk": Fault(full_disk, 4, lambda life: life.plan.disk > 0),
}
