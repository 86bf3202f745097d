"""Processes, limits and file systems: what a fault is made of."""

import contextlib
import ctypes
import errno
import itertools
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
from typing import Dict, List, Optional, Tuple

from blackbox.harness import may_watch

CLONE_NEWNS = 0x00020000  # <sched.h>
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
MS_REC, MS_PRIVATE = 0x4000, 1 << 18  # <sys/mount.h>


#: The name for prlimit(1), and in /proc/PID/limits.
LIMIT_NAMES = {
    resource.RLIMIT_NOFILE: ("nofile", "Max open files"),
    resource.RLIMIT_AS: ("as", "Max address space"),
    resource.RLIMIT_NPROC: ("nproc", "Max processes"),
    resource.RLIMIT_FSIZE: ("fsize", "Max file size"),
}


def children(pid: int) -> List[int]:
    """The children of a process, zombies included; none if it is gone."""
    with contextlib.suppress(OSError):
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def stat_fields(pid: int) -> Optional[Tuple[str, List[str]]]:
    """Name and the fields from `state` on of /proc/PID/stat; None if the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    found = stat_fields(pid)
    return found is not None and found[1][0] not in "ZX"


def has_taken(pid: int, number: int) -> bool:
    """Whether a signal that was sent to a process is no longer on its way; a deadly one is while it dies."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    bits = (1 << (number - 1)) | (1 << (signal.SIGKILL - 1))
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return not is_alive(pid) or not any(mask & bits for mask in masks)


def runner_of(server: int) -> int:
    """The live process that runs the function for this proxy, 0 while there is none.

    It leads a session of its own and was executed; what a function leaves behind was only forked (PF_FORKNOEXEC).
    """
    for pid in children(server):
        found = stat_fields(pid)
        if found is None:
            continue
        name, (state, _parent, _group, session, _terminal, _foreground, flags, *_rest) = found
        if name == "pyrunner" and state not in "ZX" and int(session) == pid and not int(flags) & 0x40:
            return pid
    return 0


def memory_kb(pid: int) -> Dict[str, int]:
    """`VmRSS` and `RssAnon` of /proc/PID/status in KB; that can be read of another user's process, too."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        words = line.split()
        if words[0] in ("VmRSS:", "RssAnon:"):
            found[words[0].rstrip(":")] = int(words[1])
    return found


def address_space(pid: int) -> int:
    """Bytes of address space that a process has."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def open_count(pid: int) -> int:
    """How many descriptors a process has; of one that keeps them to itself Linux 6.2 tells only that."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return os.stat(f"/proc/{pid}/fd").st_size


def soft_limit(pid: int, kind: int) -> int:
    """The soft limit of another process. Raises FileNotFoundError if it is gone."""
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(LIMIT_NAMES[kind][1]):
            word = line[len(LIMIT_NAMES[kind][1]):].split()[0]
            return resource.RLIM_INFINITY if word == "unlimited" else int(word)
    raise AssertionError(f"no limit {kind} in /proc")


def set_limit(pid: int, kind: int, soft: int) -> None:
    """Change the soft limit of another process; nothing if it is gone."""
    try:
        resource.prlimit(pid, kind, (soft, resource.prlimit(pid, kind)[1]))
    except ProcessLookupError:
        pass
    except PermissionError:  # another user's, and no CAP_SYS_RESOURCE: that user may
        with contextlib.suppress(FileNotFoundError):
            user = os.stat(f"/proc/{pid}").st_uid
            value = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
            subprocess.run([*become(user), "prlimit", f"--pid={pid}", f"--{LIMIT_NAMES[kind][0]}={value}:"],
                           capture_output=True, check=False)


def tree(pid: int) -> List[int]:
    """A process and all below it."""
    found = [pid]
    for child in found:
        found += children(child)
    return found


def end_with_parent() -> None:
    """SIGTERM for this process when its parent ends, and an orderly end by SIGTERM."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def kill_tree(pid: int) -> None:
    """Kill a process and all below it."""
    for one in tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def can_mount() -> bool:
    """Whether small file systems can be mounted, out of sight of all other processes; from now on in this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return False
    return libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0  # type: ignore[no-any-return]


def mount_memory(path: pathlib.Path, size: int) -> bool:
    """Mount a file system of this many bytes."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "none", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(path: pathlib.Path) -> None:
    """Undo mount_memory(); what still uses it keeps it until it ends."""
    subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)


class MemoryGroup:
    """A control group: its processes may take so much memory together, from now on, or the kernel kills one."""

    _numbers = itertools.count()

    def __init__(self, limit: int) -> None:
        """limit: bytes. Raises OSError where there is no such group to be had."""
        legacy = pathlib.Path("/sys/fs/cgroup/memory")
        base = legacy if legacy.is_dir() else legacy.parent
        self._path = base / f"pyaction-torture-{os.getpid()}-{next(self._numbers)}"
        self._before: Dict[int, pathlib.Path] = {}
        self._base = base
        self._path.mkdir()
        try:
            name = "memory.limit_in_bytes" if base == legacy else "memory.max"
            with open(self._path / name, "r+", encoding="ascii") as file:  # not made where it is not there
                file.write(str(limit))
        except OSError:
            self._path.rmdir()
            raise

    def take(self, pid: int) -> None:
        """Put a process into it; what that starts will be there, too."""
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == ("memory" if self._base.name == "memory" else ""):
                self._before[pid] = self._base / path.lstrip("/")
        (self._path / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How many processes the kernel has killed for it."""
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(FileNotFoundError):
                words = (self._path / name).read_text().split()
                return int(words[words.index("oom_kill") + 1])
        return 0

    def close(self) -> None:
        """Put what is in it to where the first was that was taken, and remove it."""
        home = next(iter(self._before.values()), self._base)
        while True:
            pids = (self._path / "cgroup.procs").read_text().split()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    (home / "cgroup.procs").write_text(pid)
            try:
                self._path.rmdir()
                return
            except OSError as error:  # one has come meanwhile, or is not quite gone
                if error.errno != errno.EBUSY:
                    raise


def can_limit_memory() -> bool:
    """Whether there is a MemoryGroup to be had."""
    try:
        MemoryGroup(1 << 30).close()
    except OSError:
        return False
    return True


class FullDisk:
    """Fills the file system of a directory, to the last byte or nearly, until empty()."""

    def __init__(self, directory: pathlib.Path, leave: int) -> None:
        self._path = directory / ".full"
        with open(self._path, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * (1 << 16))
        with contextlib.suppress(OSError):
            os.truncate(self._path, max(0, self._path.stat().st_size - leave))

    def empty(self) -> None:
        """Make room again."""
        self._path.unlink()


def other_user() -> Optional[int]:
    """A user id with no processes but those that get it here; None where it cannot be had."""
    user = 50000 + os.getpid() % 10000
    if os.getuid() != 0 or shutil.which("setpriv") is None or not may_watch(become(user)):
        return None
    return user


def counts_processes(user: Optional[int]) -> bool:
    """Whether RLIMIT_NPROC holds for a server that runs as this user, None for the present one: not for root."""
    return (os.getuid() if user is None else user) != 0


def become(user: int) -> List[str]:
    """Words before a command that make another user run it."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
