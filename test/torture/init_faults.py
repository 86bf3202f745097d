"""Faults while the code is loaded: a new server for each, since a server takes its code once."""

import asyncio
import pathlib
import random
import resource
import signal
import time
from typing import Awaitable, Callable, Dict, List, NamedTuple, Optional, Tuple

from blackbox.harness import SANITIZED

from . import machine
from .faults import HARMLESS, SIGNALS, STOPS, pause, restore, send
from .life import Life, Plan
from .load import Closed, Connection

KB, MB = 1 << 10, 1 << 20


def helpers(life: Life) -> List[int]:
    """The unpacker and the precompiler, where they run."""
    return [pid for pid in machine.children(life.pid)
            if machine.is_alive(pid) and pid != machine.runner_of(life.pid)]


async def signal_runner(life: Life) -> str:
    """Any signal to the process that imports the code."""
    number = life.rng.choice(SIGNALS)
    await pause(life.rng, 60)
    pid = machine.runner_of(life.pid)
    if pid:
        send(pid, number)
    if pid and number in STOPS:
        await pause(life.rng, 30)
        send(pid, signal.SIGCONT)
    elif pid and number not in HARMLESS and number != signal.SIGINT:
        # A process that is being hit may take one more message with it.
        await life.wait_for(lambda: not machine.is_alive(pid), f"signal {number} ends the process")
    elif pid:
        await life.wait_for(lambda: machine.has_taken(pid, number), f"signal {number} arrives")
    return "import"


async def signal_helper(life: Life) -> str:
    """Any signal to a process that unpacks or compiles."""
    number = life.rng.choice([number for number in SIGNALS if number not in HARMLESS])
    deadline = time.monotonic() + life.rng.random() * 0.06
    while time.monotonic() < deadline:
        await asyncio.sleep(0.0003)
        found = helpers(life)
        if found and life.rng.random() < 0.2:
            pid = life.rng.choice(found)
            send(pid, number)
            if number in STOPS:
                await pause(life.rng, 30)
                send(pid, signal.SIGCONT)
            return "unpack, compile"
    return "none met"


async def stop_runner(life: Life) -> str:
    """It stands still for a while."""
    await pause(life.rng, 30)
    pid = machine.runner_of(life.pid)
    if pid:
        send(pid, signal.SIGSTOP)
        await pause(life.rng, 100)
        send(pid, signal.SIGCONT)
    return "import"


async def full_disk(life: Life) -> str:
    """There is no space for the code, or for a part of it only."""
    assert life.disk is not None
    disk = machine.FullDisk(life.disk, life.rng.choice([0, 4 * KB, 40 * KB, 200 * KB]))
    await pause(life.rng, 60)
    disk.empty()
    return "unpack"


async def no_large_files(life: Life) -> str:
    """RLIMIT_FSIZE for all processes."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_FSIZE)
    for pid in machine.tree(life.pid):
        machine.set_limit(pid, resource.RLIMIT_FSIZE, life.rng.choice([0, 4 * KB, 40 * KB]))
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_FSIZE: before})
    return "unpack"


async def few_descriptors(life: Life) -> str:
    """No more files can be opened by the proxy."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_NOFILE)
    used = machine.open_count(life.pid)
    machine.set_limit(life.pid, resource.RLIMIT_NOFILE, used + life.rng.randrange(5))
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_NOFILE: before})
    return "unpack, start"


async def little_memory(life: Life) -> str:
    """The proxy gets no more memory."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_AS)
    machine.set_limit(life.pid, resource.RLIMIT_AS, machine.address_space(life.pid) + life.rng.randrange(MB))
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_AS: before})
    return "request, unpack"


async def few_processes(life: Life) -> str:
    """No more processes can be started."""
    before = machine.soft_limit(life.pid, resource.RLIMIT_NPROC)
    machine.set_limit(life.pid, resource.RLIMIT_NPROC, 1)
    await pause(life.rng, 60)
    await restore(life, {resource.RLIMIT_NPROC: before})
    return "unpack, compile"


async def nothing(_life: Life) -> str:
    """What happens is the client's doing."""
    return "import"


class InitFault(NamedTuple):
    """inject disturbs an /init that is under way. early: it begins before that. leaves: the client goes."""

    inject: Callable[[Life], Awaitable[str]]
    weight: float
    early: bool = False
    leaves: bool = False
    needs: str = ""  # "disk" or "user"


INIT: Dict[str, InitFault] = {
    "init: signal": InitFault(signal_runner, 10),
    "init: helper": InitFault(signal_helper, 6),
    "init: stop and continue": InitFault(stop_runner, 2),
    "init: client leaves": InitFault(nothing, 2, leaves=True),
    "init: full disk": InitFault(full_disk, 3, early=True, needs="disk"),
    "init: file size": InitFault(no_large_files, 1, early=True),
    "init: few descriptors": InitFault(few_descriptors, 2, early=True),
    "init: little memory": InitFault(little_memory, 2, early=True),
    "init: few processes": InitFault(few_processes, 2, early=True, needs="user"),
    "init: stop server": InitFault(nothing, 3),
}


def init_plan(name: str, rng: random.Random, user: Optional[int], can_mount: bool) -> Optional[Plan]:
    """A server for this fault, or None where it is not possible here."""
    fault = INIT[name]
    if SANITIZED and fault.inject is little_memory:
        return None
    if fault.needs == "disk" and not can_mount or fault.needs == "user" and not machine.counts_processes(user):
        return None
    code = "zip" if name == "init: helper" else rng.choice(["source", "zip"])
    return Plan(code=code, merged=rng.random() < 0.2, disk=MB if fault.needs == "disk" else 0,
                user=user if fault.needs == "user" else None)


async def disturb_init(directory: pathlib.Path, name: str, plan: Plan, rng: random.Random
                       ) -> Tuple[str, List[str], float, List[str]]:
    """A life of one disturbed /init. Returns its moment, labels of answers, seconds to recover, and problems."""
    life = Life(directory, plan, rng)
    await life.read_logs()
    if name == "init: stop server":
        return await _stop_in_init(life)
    fault, labels = INIT[name], []
    connection = Connection(life.server.port)
    await connection.open()
    request = life.init_request(import_ms=rng.choice([0, 20]))
    disturbance = asyncio.ensure_future(fault.inject(life)) if fault.early else None
    if fault.early:
        await asyncio.sleep(0)
    await connection.send(request)
    if fault.leaves:
        await pause(rng, 60)
        connection.close(rng.random() < 0.5)
    moment = await (disturbance or fault.inject(life))
    if not fault.leaves:
        try:
            status, body = life.count_init(*await connection.read_answer())
            labels.append(f"{status}")
            if status not in (200, 400, 500, 502) or status == 400 and not fault.early:
                life.problem(f"a disturbed /init was answered {status} {body[:300]!r}")
        except Closed as closed:
            labels.append("closed")
            if name not in ("init: little memory", "init: few descriptors"):
                life.problem(f"a disturbed /init was not answered: {closed}")
    connection.close()
    recovery = await _recover(life, labels[-1:] == ["200"], fault.leaves)
    await life.finish()
    return moment, labels, recovery, life.problems


async def _recover(life: Life, initialized: bool, unknown: bool) -> float:
    """After the fault: /init if it has failed, and a run. Returns the seconds until then."""
    begin = time.monotonic()
    life.lethal += 1  # the process may have been hit after its import
    life.interrupts += 1
    if not initialized:
        status, body = await life.init()
        if status != 200 and not (unknown and status == 403):
            life.problem(f"the /init after the fault: {status} {body[:300]!r}")
    await life.probe()
    return time.monotonic() - begin


async def _stop_in_init(life: Life) -> Tuple[str, List[str], float, List[str]]:
    """SIGTERM while the code is loaded."""
    connection = Connection(life.server.port)
    await connection.open()
    await connection.send(life.init_request(import_ms=life.rng.choice([0, 20, 2000])))
    await pause(life.rng, 60)
    begin = time.monotonic()
    name = await life.stop_under_load()
    recovery = time.monotonic() - begin
    try:
        status, _body = life.count_init(*await connection.read_answer())
    except Closed as closed:
        status = 0
        life.problem(f"an /init was not answered when the server was stopped: {closed}")
    if status not in (200, 502, 503):
        life.problem(f"an /init was answered {status} when the server was stopped")
    connection.close()
    await life.finish()
    return name, [f"{status}"], recovery, life.problems
