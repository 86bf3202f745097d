"""What a function, its child processes and its code can do to the server: what SECURITY.md promises.

As root, the server runs the function as another user; as any other user, as itself. Where a promise holds in both
cases, so does its test (`everywhere`).
"""

import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import time

import pytest

from . import harness
from .archives import file_entry, zip_of, zip_of_entries
from .harness import MARKER, PATIENCE, STOP_SECONDS, base_environment, free_port, wait_until
from .test_process import _init_cut_off, in_a_namespace, in_flight
from .test_tar import entry as tar_entry
from .test_tar import tar_of

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only a server that is started as root drops rights")

#: What a process is, from its status file (proc(5)).
STATE = """
import os
def state():
    lines = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
    numbers = lambda name: sorted({int(n) for n in lines[name].split()})
    return {"uids": numbers("Uid"), "gids": numbers("Gid"), "groups": numbers("Groups"),
            "new": int(lines["NoNewPrivs"]),
            "capabilities": {name: int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}}
"""
UNPRIVILEGED = {
    "groups": [], "new": 1,
    "capabilities": {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0},
}


def identity(uid, gid=None):
    """The state of an unprivileged process of that user; of the group with the same number unless gid is given."""
    return {"uids": [uid], "gids": [uid if gid is None else gid], **UNPRIVILEGED}


def command(*words, wrapper=(), env=None):
    """Run pyaction to its end, which must come by itself."""
    return subprocess.run(
        [*wrapper, str(harness.EXECUTABLE), "--host", "127.0.0.1", "--port", str(free_port()), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**base_environment(), **(env or {})},
        timeout=PATIENCE, check=False)


# --- the user that the function runs as


@as_root
def test_function_is_nobody(action):
    """From the import on, and so is what it starts. The server itself stays root."""
    code = STATE + (
        "import json, subprocess, sys\n"
        "at_import = state()\n"
        "SOURCE = " + repr(STATE + "import json\nprint(json.dumps(state()))\n") + "\n"
        "def main():\n"
        "    child = subprocess.run([sys.executable, '-c', SOURCE], stdout=subprocess.PIPE, check=True)\n"
        "    return {'import': at_import, 'run': state(), 'child': json.loads(child.stdout)}\n"
    )
    one = action(code, settings={"wrapper": ["setpriv", "--groups=4,27"]})
    assert one.result() == dict.fromkeys(("import", "run", "child"), identity(NOBODY))
    assert os.stat(f"/proc/{one.pid}").st_uid == 0


@as_root
@pytest.mark.parametrize("words, env, expected", [
    (["--user", "nobody"], {}, identity(NOBODY)),
    (["--user", "12345"], {}, identity(12345)),
    (["--user", "12345:23456"], {}, identity(12345, 23456)),
    (["--user", "nobody:daemon"], {}, identity(NOBODY, 1)),
    (["--user", "daemon"], {}, identity(1)),
    (["--user", "1"], {}, identity(1)),
    ([], {"PYACTION_USER": "12345:23456"}, identity(12345, 23456)),
    ([], {"PYACTION_USER": ""}, identity(NOBODY)),
    (["--user", "12345"], {"PYACTION_USER": "root"}, identity(12345)),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_user_option(server, words, env, expected):
    one = server(options=words, env=env)
    assert one.init(STATE + "def main():\n    return state()\n").status == 200
    assert one.result() == expected


@as_root
@pytest.mark.parametrize("user", ["root", "0", "0:0", "root:root"])
def test_root_is_root_where_it_is_asked_for(server, user):
    """With the capabilities that the server was given, but not with those that set-user-ID programs would give."""
    one = server(options=["--user", user])
    assert one.init(STATE + "def main():\n    return state()\n").status == 200
    state = one.result()
    assert (state["uids"], state["gids"], state["new"]) == ([0], [0], 1)
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (effective,) = (line.split()[1] for line in lines if line.startswith("CapEff:"))
    assert state["capabilities"]["CapEff"] == int(effective, 16)
    assert one.err.content() == MARKER


@as_root
@pytest.mark.parametrize("value, text", [
    ("no-such-user", "there is no user 'no-such-user'"),
    ("nobody:no-such-group", "there is no group 'no-such-group'"),
    ("nobody:", "there is no group ''"),
    (":1", "is ':1', but must be a user, like nobody, 1000 or 1000:1000"),
    ("-1", "there is no user '-1'"),
    ("4294967295", "there is no user '4294967295'"),
    ("12345678901234567890", "there is no user '12345678901234567890'"),
    ("x" * 100, "but must be a user"),
])
def test_user_that_cannot_be(value, text):
    done = command(f"--user={value}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pyaction: --user (PYACTION_USER)") and text in done.stderr, done.stderr


@as_root
@pytest.mark.parametrize("variables, expected", [
    ({"HOME": "/root", "USER": "root", "LOGNAME": "root"}, {"USER": "nobody", "LOGNAME": "nobody"}),
    ({"HOME": "/root"}, {}),
    ({"HOME": "/usr"}, {"HOME": "/usr"}),
    ({"HOME": "/nonexistent", "MAIL": "x"}, {"HOME": "/nonexistent", "MAIL": "x"}),
], ids=["root's", "home-alone", "enterable", "none"])
def test_home_and_user(server, variables, expected):
    """What is root's becomes the other user's, or a place it can write to; what an operator has chosen stays."""
    root_home = stat.S_IMODE(os.stat("/root").st_mode)
    if variables["HOME"] == "/root" and root_home & 0o001:
        pytest.skip("others may enter /root here")
    one = server(env=variables)
    code = ("import os\ndef main():\n    names = ('HOME', 'USER', 'LOGNAME', 'MAIL')\n"
            "    return {name: os.environ[name] for name in names if name in os.environ}\n")
    assert one.init(code).status == 200
    assert one.result() == {"HOME": str(one.temp_dir), **expected}


@as_root
def test_home_of_a_named_user(server):
    if stat.S_IMODE(os.stat("/root").st_mode) & 0o001:
        pytest.skip("others may enter /root here")
    one = server(options=["--user", "daemon"], env={"HOME": "/root", "USER": "root"})
    assert one.init("import os\ndef main():\n    return {n: os.environ[n] for n in ('HOME', 'USER')}\n").status == 200
    assert one.result() == {"HOME": "/usr/sbin", "USER": "daemon"}, "as /etc/passwd has it"


@as_root
def test_set_user_id_programs_give_nothing(action, tmp_path):
    """no_new_privs, which every process below the server inherits."""
    program = tmp_path / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o6755)
    before = subprocess.run([*AS_NOBODY, str(program), "-u"], capture_output=True, text=True, check=True)
    if before.stdout.strip() != "0":
        pytest.skip("the file system of the tests does not know set-user-ID programs")
    one = action(
        "import subprocess\ndef main(event):\n"
        "    return {'uid': subprocess.run([event['program'], '-u'], stdout=subprocess.PIPE).stdout.decode()}\n")
    assert one.result({"program": str(program)}) == {"uid": f"{NOBODY}\n"}


def test_no_new_privileges_everywhere(action):
    assert action(STATE + "def main():\n    return state()\n").result()["new"] == 1


# --- everything that touches what a client sent is that user's

OWNER = (
    "import os\ndef main(event):\n"
    "    found = {}\n"
    "    for folder, folders, files in os.walk('.'):\n"
    "        for name in folders + files + ['.']:\n"
    "            status = os.lstat(os.path.join(folder, name))\n"
    "            found.setdefault('%d:%d' % (status.st_uid, status.st_gid), []).append(name)\n"
    "    open('written', 'w').close()\n"
    "    open(event['own'], 'a').close()\n"
    "    return {'owners': sorted(found), 'names': sorted(set(sum(found.values(), [])))}\n"
)


@as_root
@pytest.mark.parametrize("kind", ["source", "zip", "tar"])
def test_code_belongs_to_the_function(action, kind):
    """It may write to its folder and its files, as anybody may whose server is not root."""
    files = {"__main__.py": OWNER, "package/data": "x"}
    tar = tar_of(*(tar_entry(name, text) for name, text in files.items()))
    one = action({"source": OWNER, "zip": zip_of(files), "tar": tar}[kind])
    result = one.result({"own": "__main__.py"})
    assert result["owners"] == [f"{NOBODY}:{NOBODY}"]
    (folder,) = one.work_dir.iterdir()
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (NOBODY, 0o700)


@as_root
def test_program_is_not_root(action):
    """An archive with an `exec`, started by the ActionLoop protocol."""
    program = (
        "#!/bin/sh\necho '{\"ok\":true}' >&3\n"
        "while read line; do echo \"{\\\"uid\\\": $(id -u), \\\"groups\\\": \\\"$(id -G)\\\"}\" >&3; done\n")
    one = action(zip_of_entries([file_entry("exec", program, 0o755)]))
    assert one.result() == {"uid": NOBODY, "groups": str(NOBODY)}


@as_root
def test_compiler_is_not_root(tmp_path):
    """`pyaction -compile` runs pip, and pip what packages bring."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "setup.py").write_text("import os, sys\nsys.exit('uid %d' % os.getuid())\n")
    done = subprocess.run(
        [str(harness.EXECUTABLE), "-compile", "main"],
        input=zip_of({"__main__.py": "def main():\n    pass\n", "requirements.txt": str(package) + "\n"}),
        capture_output=True, env={**base_environment(), "TMPDIR": str(tmp_path)}, timeout=6 * PATIENCE, check=False)
    assert done.returncode == 1
    text = done.stderr.decode()
    if "uid" not in text:
        pytest.skip(f"pip builds no packages here: {text[-300:]}")
    assert f"uid {NOBODY}" in text and "uid 0" not in text


# --- where it cannot be


NOTICE = "pyaction: the function runs as root, without capabilities, not as nobody: "


@as_root
@pytest.mark.parametrize("capability", ["setuid", "setgid", "kill", "chown", "setuid,-setpcap", "all"])
def test_without_capabilities(server, capability):
    """Root in name only, as in a container with --cap-drop: the function has no capabilities, and the log says so.
    Also where they cannot be taken out of the bounding set."""
    one = server(wrapper=["setpriv", f"--bounding-set=-{capability}"])
    assert one.init(STATE + "def main():\n    return state()\n").status == 200
    state = one.result()
    assert state["uids"] == [0] and state["new"] == 1
    assert {state["capabilities"][name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    notice, rest = one.err.text().split("\n", 1)
    name = "CAP_SETUID" if capability in ("all", "setuid,-setpcap") else f"CAP_{capability.upper()}"
    assert notice == f"{NOTICE}that takes {name}, which pyaction has not got (--user (PYACTION_USER))"
    assert rest == MARKER.decode()


@as_root
def test_user_that_was_asked_for_without_capabilities():
    done = command("--user", "nobody", wrapper=["setpriv", "--bounding-set=-setuid"])
    assert done.returncode == 1
    assert done.stderr == (
        "pyaction: cannot run the function as the user 'nobody' (--user (PYACTION_USER)): that takes CAP_SETUID, which "
        "pyaction has not got\n")


def test_user_namespace_without_nobody(server):
    """As rootless containers may have it: root, and nobody else."""
    wrapper = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    one = server(wrapper=wrapper)
    assert one.init(STATE + "def main():\n    return state()\n").status == 200
    assert one.result()["uids"] == [0]
    assert one.err.text().startswith(NOTICE + "there is no such user in this user namespace")


@as_root
def test_programs_that_nobody_reaches(server, tmp_path):
    """As those of a checkout in root's home."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    runner = folder / "pyrunner"
    beside, installed = harness.EXECUTABLE.parent, harness.EXECUTABLE.parents[1] / "libexec" / "pyaction"
    runner.symlink_to((beside if (beside / "pyrunner").exists() else installed) / "pyrunner")
    one = server(options=["--runner", str(runner)])
    assert one.init(STATE + "def main():\n    return state()\n").status == 200
    assert one.result()["uids"] == [0]
    assert one.err.text().startswith(f"{NOTICE}it cannot reach '{runner}': Permission denied")


@as_root
def test_folder_that_only_root_can_read(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "__main__.py").write_text("def main():\n    pass\n")
    done = command("--code", str(folder))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "pyaction: --code (PYACTION_CODE): the user 'nobody', who runs the function (--user root would be root), "
        f"cannot read the folder '{folder}': Permission denied\n")


@as_root
def test_work_dir_that_only_root_can_reach(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    done = command("--work-dir", str(folder))
    assert done.returncode == 1
    assert done.stderr == (
        "pyaction: the user 'nobody', who runs the function (--user), cannot reach --work-dir (PYACTION_WORK_DIR) "
        f"'{folder}': Permission denied\n")


@as_root
def test_work_dir_that_only_root_can_write_to(server, tmp_path):
    """What the function gets there is its own, and is removed."""
    folder = tmp_path / "root-s"
    folder.mkdir(mode=0o755)
    one = server(options=["--work-dir", str(folder)])
    assert one.init("def main():\n    open('file', 'w').close()\n    return {}\n").status == 200
    assert one.result() == {}
    one.finish()
    assert list(folder.iterdir()) == []


@as_root
def test_another_user_without_being_root():
    done = command("--user", "daemon", wrapper=AS_NOBODY)
    assert done.returncode == 1
    assert "cannot run the function as the user 'daemon'" in done.stderr
    assert "pyaction was not started as root" in done.stderr


# --- child processes and the channel

#: A server for each way to be started: as root, where the function is nobody; as nobody, where it is the same user.
everywhere = pytest.mark.parametrize("wrapper", [
    pytest.param((), id="started-as-is"),
    pytest.param(AS_NOBODY, id="started-as-nobody", marks=as_root),
])


@pytest.fixture
def started(server):
    """Return a function that starts a server below a wrapper, and initialises it unless the code is None."""

    def start(code, wrapper=(), **settings):
        one = server(wrapper=wrapper, **settings)
        if code is not None:
            assert one.init(code).status == 200
        return one

    return start


#: Tried by a child process on another process: what gets through. The system calls that Python has no function for
#: are made by number, the same on every architecture for pidfd_open and pidfd_getfd.
ATTACK = r"""
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, SYS_pidfd_open, SYS_pidfd_getfd = 0x4206, 434, 438
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

def outcome(attempt, *words):
    try:
        attempt(*words)
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result

def seize(pid):
    check(libc.ptrace(PTRACE_SEIZE, pid, None, None))

def read_memory(pid):
    buffer = ctypes.create_string_buffer(8)
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    here = Vector(ctypes.addressof(buffer), 8)
    there = Vector(id(None), 8)  # some address that the runner and this interpreter may share
    check(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))

def take_descriptor(pid, number):
    pidfd = check(libc.syscall(SYS_pidfd_open, pid, 0))
    try:
        os.close(check(libc.syscall(SYS_pidfd_getfd, pidfd, number, 0)))
    finally:
        os.close(pidfd)

def look(pid):
    found = {
        "list": outcome(os.listdir, f"/proc/{pid}/fd"),
        "memory": outcome(os.open, f"/proc/{pid}/mem", os.O_RDWR),
        "environment": outcome(os.open, f"/proc/{pid}/environ", os.O_RDONLY),
        "trace": outcome(seize, pid),
        "read": outcome(read_memory, pid),
    }
    for number in list(range(12)) + list(range(990, 1020)):
        for flags in os.O_RDONLY, os.O_WRONLY:
            found[f"open {number} {flags}"] = outcome(os.open, f"/proc/{pid}/fd/{number}", flags | os.O_NONBLOCK)
        found[f"take {number}"] = outcome(take_descriptor, pid, number)
    return found

print(json.dumps([look(int(pid)) for pid in sys.argv[1:]]))
"""


@everywhere
def test_children_do_not_reach_the_channel(started, wrapper):
    """Neither the runner nor the server can be traced, read, or have a descriptor taken or opened again."""
    one = started(
        "import os, subprocess, sys\n"
        "def main(event):\n"
        "    words = [sys.executable, '-c', event['attack'], str(os.getpid()), str(os.getppid())]\n"
        "    return {'found': subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()}\n",
        wrapper)
    for found in json.loads(one.result({"attack": ATTACK})["found"]):
        assert len(found) == 5 + 42 * 3
        assert {key: value for key, value in found.items() if value not in ("EACCES", "EPERM")} == {}
    one.result({"attack": "print('[]')"})


#: Children of the function that do not end as they should, or go on where they should not.
CHILDREN = {
    "returns": "if os.fork() == 0:\n        return {'forged': 1}",
    "raises": "if os.fork() == 0:\n        raise ValueError('forged')",
    "exits": "if os.fork() == 0:\n        sys.exit(3)",
    "returns-later": "if os.fork() == 0:\n        time.sleep(0.2)\n        return {'forged': 1}",
    "daemon": "if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            return {'forged': 1}\n"
              "        os._exit(0)",
    "thread": "def child():\n        if os.fork() == 0:\n            raise SystemExit\n"
              "    thread = threading.Thread(target=child)\n    thread.start()\n    thread.join()",
    "writes": "if os.fork() == 0:\n        write_everywhere()\n        os._exit(0)",
    "reads": "if os.fork() == 0:\n        read_everywhere()\n        os._exit(0)",
    "writes-executed": "subprocess.run([sys.executable, '-c', WRITE], close_fds=False)",
    "writes-spawned": "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', WRITE], os.environ), 0)",
    "pool": "context = multiprocessing.get_context('fork')\n"
            "    process = context.Process(target=write_everywhere)\n    process.start()\n    process.join()",
}
CHILD_CODE = """
import multiprocessing, os, subprocess, sys, threading, time
WRITE = '''
import os
def write_everywhere():
    forged = b'{"status":"success","peak_kb":1}\\\\n{"forged":1}\\\\n'
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (1, 2):
            try:
                os.write(int(name), forged)
            except OSError:
                pass
write_everywhere()
'''
exec(WRITE.replace('\\nwrite_everywhere()', ''))
def read_everywhere():
    for name in os.listdir("/proc/self/fd"):
        try:
            os.set_blocking(int(name), False)
            while os.read(int(name), 65536):
                pass
        except OSError:
            pass
def main(event):
    own = os.getpid()
    if event.get('child'):
        BODY
    return {'nonce': event['nonce']}
"""


@everywhere
@pytest.mark.parametrize("kind", sorted(CHILDREN))
def test_children_do_not_answer(started, wrapper, kind):
    """Each activation has the answer of the function itself, in the same process; nothing is out of step later."""
    one = started(CHILD_CODE.replace("BODY", CHILDREN[kind].replace("\n    ", "\n        ")), wrapper)
    runners = one.runners()
    for nonce in range(3):
        assert one.result({"child": True, "nonce": nonce}) == {"nonce": nonce}
    for nonce in range(3, 13):
        assert one.result({"nonce": nonce}) == {"nonce": nonce}
    assert one.runners()[:1] == runners, "it is the process of the beginning"
    wait_until(lambda: one.runners() == runners, "the children end")
    assert b"forged" not in one.out.content()


@everywhere
def test_output_can_be_written_again_but_not_read(started, wrapper):
    """/dev/stdout and /dev/stderr work, as programs expect; of what others write there nothing can be read."""
    one = started(
        "import subprocess\n"
        "def main(event):\n"
        "    with open('/dev/stdout', 'w') as out, open('/dev/stderr', 'a') as err:\n"
        "        out.write('to stdout\\n')\n"
        "        err.write('to stderr\\n')\n"
        "    subprocess.run('echo child >/dev/stdout; echo child >/dev/stderr', shell=True, check=True)\n"
        "    try:\n"
        "        open('/dev/stdout', 'rb')\n"
        "    except PermissionError:\n"
        "        return {'readable': False}\n", wrapper)
    assert one.result({}) == {"readable": False}
    assert one.out.content() == b"to stdout\nchild\n" + MARKER
    assert one.err.content() == b"to stderr\nchild\n" + MARKER


@everywhere
def test_function_has_no_terminal(started, wrapper):
    """It can type nothing into the shell that has started the server: it leads a session without one."""
    one = started(
        "import os\ndef main():\n"
        "    try:\n        os.open('/dev/tty', os.O_RDWR)\n    except OSError as error:\n"
        "        return {'leads': os.getsid(0) == os.getpid(), 'error': error.errno}\n", wrapper)
    assert one.result() == {"leads": True, "error": 6}, "ENXIO"


# --- the end of the server


def contained(*words):
    """A wrapper that makes the server PID 1 of its own namespace, started by these words."""
    return [*in_a_namespace(), *words]


KILLS = (
    "import os, signal\n"
    "def main(event):\n"
    "    found = {}\n"
    "    for number in event['signals']:\n"
    "        try:\n"
    "            os.kill(os.getppid(), number)\n"
    "            found[number] = 'sent'\n"
    "        except PermissionError:\n"
    "            found[number] = 'refused'\n"
    "    return found\n"
)
HARMFUL = [int(number) for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT)]


@as_root
def test_another_user_cannot_signal_the_server(started):
    assert started(KILLS).result({"signals": HARMFUL}) == {str(number): "refused" for number in HARMFUL}


@as_root
def test_the_same_user_cannot_kill_or_stop_pid_1(started):
    """The kernel keeps SIGKILL and SIGSTOP of the container's processes from its PID 1."""
    one = started(KILLS, contained(*AS_NOBODY))
    numbers = [int(signal.SIGKILL), int(signal.SIGSTOP)]
    assert one.result({"signals": numbers}) == {str(number): "sent" for number in numbers}
    assert one.result({"signals": []}) == {}


@as_root
@pytest.mark.parametrize("user", [(), AS_NOBODY], ids=["root", "nobody"])
def test_kill_of_everything(started, user):
    """kill(-1) of the function takes its children along, and not the server."""
    one = started(
        "import os, subprocess\ndef main():\n"
        "    child = subprocess.Popen(['sleep', '1000'])\n    os.kill(-1, 9)\n    return {'child': child.wait()}\n",
        contained(*user))
    for _ in range(2):
        assert one.result() == {"child": -9}


#: What a function may leave running, or do while the server stops.
STUBBORN = {
    "own-sessions": "for _ in range(5):\n        fork(lambda: time.sleep(1000))",
    "daemons": "for _ in range(5):\n        fork(lambda: (fork(lambda: time.sleep(1000)), os._exit(0)))",
    "hold-the-output": "fork(lambda: [os.write(1, b'x' * 4096) for _ in iter(int, 1)])",
    "stopped": "fork(lambda: os.kill(os.getpid(), signal.SIGSTOP))",
    "threads": "fork(lambda: [threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(50)])",
    "fill-the-folder": "fork(fill)",
    "trace-each-other": "fork(lambda: trace(fork(lambda: time.sleep(1000))))",
    "waits-for-its-child": "fork(lambda: os.waitpid(fork(lambda: time.sleep(1000)), 0))",
}
STUBBORN_CODE = """
import ctypes, os, signal, threading, time
def fork(body):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        body()
        time.sleep(1000)
    return pid
def fill():
    number = 0
    while True:
        number = (number + 1) % 5000
        open('file%d' % number, 'w').close()
def trace(pid):
    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace(0x4206, pid, None, None)  # PTRACE_SEIZE
def main(event):
    BODY
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(event['gate']).read()
    time.sleep(1000)
"""


@everywhere
@pytest.mark.parametrize("kind", sorted(STUBBORN))
def test_stop_with_stubborn_processes(started, wrapper, gate, kind):
    """In time, with exit status 0, and nothing is left: no process, and no file where the code was."""
    os.chmod(gate.path, 0o644)
    one = started(STUBBORN_CODE.replace("BODY", STUBBORN[kind]), wrapper, stdout="/dev/null")
    pending = one.background(in_flight, one, {"gate": gate.path})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    pending.result()
    assert list(one.work_dir.iterdir()) == []


@as_root
@pytest.mark.parametrize("user", [(), AS_NOBODY], ids=["root", "nobody"])
@pytest.mark.parametrize("kind", ["bush", "rabbit"])
def test_stop_with_a_fork_bomb(started, gate, user, kind):
    """As PID 1. A bush: all processes there may be, each forking; a rabbit: one that is another each moment."""
    bombs = {
        "bush": "while True:\n            try:\n                os.fork()\n"
                "            except OSError:\n                pass",
        "rabbit": "while True:\n            if os.fork():\n                os._exit(0)\n            os.setsid()\n"
                  "            open('file%d' % os.getpid(), 'w').close()",
    }
    os.chmod(gate.path, 0o644)
    number = "23457"  # a user of its own: the limit is one on all processes of a user
    words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"] if user else []
    options = [] if user else ["--user", number]
    code = ("import os\ndef main(event):\n    if os.fork() == 0:\n        os.setsid()\n        "
            + bombs[kind] + "\n    open(event['gate']).read()\n    while True: pass\n")
    one = started(code, contained("prlimit", "--nproc=150", *words), options=options)
    pending = one.background(in_flight, one, {"gate": gate.path})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait(4 * STOP_SECONDS) == 0
    pending.result()
    assert list(one.work_dir.iterdir()) == []


@everywhere
def test_processes_of_a_failed_init_end_with_it(started, wrapper):
    """They do not meet the code that comes next, in whatever session they are."""
    code = ("import os, time\n"
            "if os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\n    os._exit(0)\n"
            "raise ValueError('no such luck')\n")
    one = started(None, wrapper)
    assert one.init(code).status == 502
    assert len(one.runners()) <= 1
    assert one.init("def main():\n    return {'a': 1}\n").status == 200
    assert one.result() == {"a": 1}
    assert len(one.runners()) == 1


def test_stop_during_an_import_that_has_left_a_process(started, gate):
    """One that fills the folder which is to be removed, and holds the process that compiles beside the import: a
    process that is traced cannot be waited for by its parent."""
    random_text = "".join(f"x{n} = '{os.urandom(40).hex()}'\n" for n in range(1000))
    modules = {f"m{n}.py": random_text for n in range(6)}
    main = (
        "import ctypes, os, time\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n"
        "proxy, runner = os.getppid(), os.getpid()\n"
        "def hold():\n"
        "    for name in os.listdir('/proc'):\n"
        "        try:\n"
        "            parent = open(f'/proc/{name}/stat').read().rpartition(')')[2].split()[1]\n"
        "        except OSError:\n"
        "            continue\n"
        "        if int(parent) == proxy and name != str(runner):\n"
        "            libc.ptrace(0x4206, int(name), None, None)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    hold()\n"
        "    number = 0\n"
        "    while True:\n"
        "        number = number % 2000 + 1\n"  # more might not be removed in time
        "        open('file%d' % number, 'w').close()\n"
        "        os.makedirs('folder%d' % number, exist_ok=True)\n"
        f"open({gate.path!r}).read()\n")
    one = started(None)
    pending = one.background(_init_cut_off, one, zip_of({"__main__.py": main, **modules}))
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS + 2) == 0
    pending.result()
    assert list(one.work_dir.iterdir()) == []


# --- the folder of the code


def belongs_to_function(folder: pathlib.Path) -> None:
    os.chown(folder, NOBODY, NOBODY)


def in_its_group(folder: pathlib.Path) -> None:
    os.chown(folder, 0, NOBODY)
    folder.chmod(0o770)


def open_to_all(folder: pathlib.Path) -> None:
    folder.chmod(0o777)


def like_tmp(folder: pathlib.Path) -> None:
    folder.chmod(0o1777)


@pytest.fixture
def folders(tmp_path):
    """safe/, which nobody but root may write to; open/, for a test to open; open/below/; links between them."""
    tmp_path.chmod(0o755)
    for name in ("safe", "open", "open/below"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "safe")
    (tmp_path / "safe" / "link").symlink_to("../open")
    (tmp_path / "open" / "to-file").symlink_to("../safe/log")
    (tmp_path / "safe" / "to-file").symlink_to("log")
    return tmp_path


@as_root
@pytest.mark.parametrize("access", [belongs_to_function, in_its_group, open_to_all])
@pytest.mark.parametrize("path", ["open/log", "open/below/log", "open/link/log", "safe/link/log", "open/to-file",
                                  "safe/../open/log", "open/below/../../safe/log"])
def test_log_file_that_the_function_could_replace(folders, access, path):
    """Refused before it is made."""
    access(folders / "open")
    done = command("--log-file", str(folders / path))
    assert done.returncode == 1
    assert done.stderr.startswith("pyaction: --log-file (PYACTION_LOG_FILE): the user 'nobody', who runs the function")
    assert f"it may write to '{folders / 'open'}'" in done.stderr
    assert not list(folders.rglob("log"))


@as_root
@pytest.mark.parametrize("path", ["safe/log", "safe/to-file", "open/log", "open/below/log"])
def test_log_file_in_a_folder_like_tmp(server, folders, path):
    """What others may not replace there is good enough, and so are an operator's links."""
    like_tmp(folders / "open")
    server(options=["--log-file", path], wrapper=["env", "-C", str(folders)]).finish()
    assert "server_stopped" in (folders / path).read_text()
    belonging = folders / "open" / "own"
    belonging.touch()
    os.chown(belonging, NOBODY, NOBODY)
    assert command("--log-file", str(belonging)).returncode == 1


@as_root
def test_log_file_that_the_function_replaces(server, folders):
    """Its folder is the function's from some moment on: the server goes on with the file that it has."""
    log, moved, victim = folders / "open" / "log", folders / "open" / "moved", folders / "safe" / "victim"
    victim.touch()
    one = server(options=["--log-file", str(log)])
    code = "import os\ndef main(event):\n    os.rename(event['log'], event['moved'])\n" \
           "    os.symlink(event['victim'], event['log'])\n    return {}\n"
    assert one.init(code).status == 200
    belongs_to_function(folders / "open")
    assert one.run({"log": str(log), "moved": str(moved), "victim": str(victim)}).json == {}
    assert log.is_symlink()
    time.sleep(2)  # it looks once a second
    assert one.run({}).status == 502
    assert victim.read_text() == ""
    assert moved.read_text().count("activation_ended") == 2


@as_root
def test_work_dir_that_the_function_could_replace(folders):
    belongs_to_function(folders / "open")
    done = command("--work-dir", str(folders / "open" / "below"))
    assert done.returncode == 1
    assert done.stderr.startswith("pyaction: --work-dir (PYACTION_WORK_DIR): the user 'nobody', who runs the function")


@as_root
def test_server_does_not_follow_what_replaces_the_folder(action, tmp_path):
    """A function that puts a link to somebody else's folder in the place of its own: the link goes, the folder
    stays."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (victim / "folder").mkdir(mode=0o700)
    one = action(
        "import os\ndef main(event):\n"
        "    own = os.getcwd()\n"
        "    os.rename(own, own + '-moved')\n"
        "    os.symlink(event['victim'], own)\n"
        "    os.symlink(event['victim'], own + '-moved/link')\n"
        "    return {'moved': own + '-moved'}\n")
    moved = pathlib.Path(one.result({"victim": str(victim)})["moved"])
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert sorted(path.name for path in victim.iterdir()) == ["file", "folder"]
    assert (victim / "file").read_text() == "precious"
    assert stat.S_IMODE((victim / "folder").stat().st_mode) == 0o700
    assert list(one.work_dir.iterdir()) == [moved], "what it has moved is its own affair"
    shutil.rmtree(moved)


@as_root
def test_folders_of_others_below_the_code_stay(action):
    """What is removed is removed with the function's rights, not with root's: here a folder of another user, which root
    has put there."""
    one = action("import os\ndef main():\n    os.mkdir('own')\n    return {'folder': os.getcwd()}\n")
    folder = pathlib.Path(one.result()["folder"])
    foreign = folder / "own" / "foreign"
    foreign.mkdir(mode=0o700)
    (foreign / "file").write_text("precious")
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    (left,) = one.work_dir.rglob("file")
    assert left.read_text() == "precious"
    shutil.rmtree(folder)


@everywhere
def test_folder_is_removed_however_it_was_left(started, wrapper):
    """Modes that keep everybody out, sticky directories, deep ones, names of all kinds."""
    one = started(
        "import os\ndef main():\n"
        "    os.makedirs('closed/inner/more')\n    open('closed/inner/file', 'w').close()\n"
        "    os.mkdir('sticky')\n    open('sticky/file', 'w').close()\n    os.chmod('sticky', 0o1777)\n"
        "    os.mkfifo('pipe')\n    os.symlink('/', 'root')\n    open(b'\\xff\\n', 'w').close()\n"
        "    for _ in range(3000):\n        os.mkdir('d')\n        os.chdir('d')\n"
        "    os.chdir('/')\n"
        "    for name in ('closed/inner', 'closed', ''):\n        os.chmod(os.path.join(event_root, name), 0)\n"
        "    return {}\nevent_root = os.getcwd()\n", wrapper)
    assert one.result() == {}
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert list(one.work_dir.iterdir()) == []
