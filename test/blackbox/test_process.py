"""The server as a process: command line, start, stop, signals, PID 1."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from .harness import (
    EXECUTABLE,
    PATIENCE,
    STOP_SECONDS,
    Client,
    Gate,
    alive,
    base_environment,
    children,
    free_port,
    init_body,
    processes,
    wait_until,
)

ECHO = "def main(event):\n    return event\n"


def command(*words, env=None):
    """Run pyaction to its end, which must come by itself."""
    return subprocess.run(
        [str(EXECUTABLE), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**base_environment(), **(env or {})},
        timeout=PATIENCE,
        check=False,
    )


# --- the command line


def test_help():
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--host", "--port", "--max-body", "--runner", "--work-dir", "--help", "--version"):
        assert option in done.stdout
    for twin in ("PYACTION_HOST", "PYACTION_PORT", "PYACTION_MAX_BODY", "PYACTION_RUNNER", "PYACTION_WORK_DIR"):
        assert twin in done.stdout
    assert "8080" in done.stdout


def test_version():
    done = command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\bpyaction\b.*\d+\.\d+", done.stdout)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["--bogus"], "--bogus", id="unknown"),
        pytest.param(["-Z"], "Z", id="unknown-short"),
        pytest.param(["--port"], "--port", id="value-missing"),
        pytest.param(["--port", "abc"], "--port", id="port-text"),
        pytest.param(["--port", ""], "--port", id="port-empty"),
        pytest.param(["--port", "80a"], "--port", id="port-tail"),
        pytest.param(["--port", " 80"], "--port", id="port-blank"),
        pytest.param(["--port", "-1"], "--port", id="port-negative"),
        pytest.param(["--port", "65536"], "--port", id="port-too-big"),
        pytest.param(["--port", "99999999999999999999"], "--port", id="port-overflow"),
        pytest.param(["--max-body", "much"], "--max-body", id="max-body-text"),
        pytest.param(["--max-body", "-5"], "--max-body", id="max-body-negative"),
        pytest.param(["--host", "no.such.host.invalid"], "no.such.host.invalid", id="host-unknown"),
        pytest.param(["--host", "999.1.1.1"], "999.1.1.1", id="host-malformed"),
        pytest.param(["--work-dir", "/nonexistent/dir"], "/nonexistent/dir", id="work-dir-missing"),
    ],
)
def test_bad_option_is_named(words, named):
    port = [] if "--port" in words else ["--port", str(free_port())]
    done = command(*port, *words)
    assert done.returncode not in (0, None) and done.returncode > 0
    assert named in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 3, "a message, not a manual"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PYACTION_PORT", "abc"), ("PYACTION_PORT", "65536"), ("PYACTION_MAX_BODY", "much")],
)
def test_bad_environment_twin_is_named(name, value):
    port = [] if name == "PYACTION_PORT" else ["--port", str(free_port())]
    done = command(*port, env={name: value})
    assert done.returncode > 0
    assert name in done.stderr and value in done.stderr


def test_runner_that_does_not_exist():
    done = command("--port", str(free_port()), "--host", "127.0.0.1", "--runner", "/nonexistent/runner")
    assert done.returncode > 0
    assert "--runner" in done.stderr and "PYACTION_RUNNER" in done.stderr and "/nonexistent/runner" in done.stderr


def test_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command("--host", "127.0.0.1", "--port", port)
    assert done.returncode > 0
    assert port in done.stderr
    assert "in use" in done.stderr.lower()
    assert done.stdout == ""


def test_environment_twins(tmp_path):
    """Everything from the environment, nothing from the command line."""
    port = free_port()
    env = {
        "PYACTION_HOST": "127.0.0.1",
        "PYACTION_PORT": str(port),
        "PYACTION_WORK_DIR": str(tmp_path),
        **base_environment(),
    }
    with subprocess.Popen([str(EXECUTABLE)], env=env, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: connects(port), "the server listens where the environment says")
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def connects(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("host", ["localhost", "::1", "0.0.0.0", "::"])
def test_host(tmp_path, host):
    """A name, or an address of either kind; `::` and 0.0.0.0 are all interfaces."""
    client_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        family = socket.getaddrinfo(client_host, None)[0][0]
        with socket.socket(family) as probe:
            probe.bind((client_host, 0))
    except OSError:
        pytest.skip("no such address here")
    port = free_port()
    words = [str(EXECUTABLE), "--host", host, "--port", str(port), "--work-dir", str(tmp_path)]
    with subprocess.Popen(words, env=base_environment(), stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: connects(port, client_host), "the server listens")
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_option_beats_its_environment_twin(server):
    one = server(env={"PYACTION_PORT": "1", "PYACTION_WORK_DIR": "/nonexistent"})
    assert one.init(ECHO).status == 200


def test_restart_on_the_same_port_at_once(server):
    """Connections of the first in TIME_WAIT do not keep the second from listening."""
    first = server()
    assert first.init(ECHO).status == 200
    client = first.connect()
    assert first.run({"n": 1}, client=client).json == {"n": 1}
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    client.close()
    second = server(port=first.port)
    assert second.init(ECHO).status == 200


def test_work_dir_is_used_and_emptied(action):
    one = action("import os\ndef main():\n    return {'cwd': os.getcwd()}\n")
    cwd = one.result()["cwd"]
    assert os.path.dirname(os.path.realpath(cwd)).startswith(str(one.work_dir))
    one.finish()
    assert list(one.work_dir.iterdir()) == []


def test_work_dir_default_is_tmpdir(tmp_path):
    """Without the option the code is unpacked below $TMPDIR."""
    port = free_port()
    env = {**base_environment(), "TMPDIR": str(tmp_path)}
    words = [str(EXECUTABLE), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: connects(port), "the server listens")
            with contextlib.closing(Client(port)) as client:
                assert client.request("POST", "/init", init_body(ECHO)).status == 200
            assert list(tmp_path.iterdir()) != []
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
    assert list(tmp_path.iterdir()) == []


def test_code_is_private_to_the_user(action):
    """Nobody else on the machine can read or plant code in the work directory."""
    one = action(ECHO)
    (folder,) = [path for path in one.work_dir.iterdir() if path.is_dir()]
    assert folder.stat().st_mode & 0o077 == 0


# --- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_when_idle(action, number):
    one = action(ECHO)
    one.result({"n": 1})
    one.signal(number)
    assert one.wait(STOP_SECONDS) in ((0,) if number == signal.SIGTERM else (0, 130))
    one.settings.exit_status = one.process.returncode


def test_stop_before_init(server):
    server()


def test_stop_with_open_connections(action):
    one = action(ECHO)
    clients = [one.connect() for _ in range(20)]
    one.run({"n": 1}, client=clients[0])
    clients[1].send(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    for client in clients[2:]:
        assert client.ended()


def in_flight(one, value):
    """A run whose connection may be cut by the stop: its answer, or None."""
    try:
        return one.run(value)
    except ConnectionError:
        return None


BUSY = {
    "waits": "open(event['gate']).read()",
    "sleeps": "os.open(event['gate'], os.O_RDONLY); time.sleep(1000)",
    "spins": "os.open(event['gate'], os.O_RDONLY)\n    while True: pass",
    "ignores-sigterm": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.open(event['gate'], os.O_RDONLY)\n"
        "    time.sleep(1000)"
    ),
    "child-ignores-sigterm": (
        "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; exec sleep 1000'])\n"
        "    os.open(event['gate'], os.O_RDONLY); time.sleep(1000)"
    ),
    "child-in-new-session-ignores-sigterm": (
        "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; exec sleep 1000'], start_new_session=True)\n"
        "    os.open(event['gate'], os.O_RDONLY); time.sleep(1000)"
    ),
    "stops-itself": "os.open(event['gate'], os.O_RDONLY); os.kill(os.getpid(), signal.SIGSTOP)",
    "blocks-all-signals": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "    os.open(event['gate'], os.O_RDONLY); time.sleep(1000)"
    ),
    "many-children": (
        "[subprocess.Popen(['sleep', '1000']) for _ in range(20)]\n"
        "    os.open(event['gate'], os.O_RDONLY); time.sleep(1000)"
    ),
}


@pytest.mark.parametrize("kind", sorted(BUSY))
def test_stop_during_a_run(action, gate: Gate, kind):
    one = action(
        "import os, signal, subprocess, time\n"
        f"def main(event):\n    {BUSY[kind]}\n    return {{}}\n"
    )
    pending = one.background(in_flight, one, {"gate": gate.path})
    gate.wait_entered()
    begun = time.monotonic()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    assert time.monotonic() - begun < STOP_SECONDS
    answer = pending.result()
    assert answer is None or answer.status in (200, 400, 503)


def test_stop_with_runs_waiting(action, gate: Gate):
    one = action("def main(event):\n    open(event['gate']).read()\n    return {}\n")
    pending = [one.background(in_flight, one, {"gate": gate.path}) for _ in range(10)]
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    for future in pending:
        answer = future.result()
        assert answer is None or answer.status in (200, 400, 503)


def test_stop_during_init(server, gate: Gate):
    one = server()
    pending = one.background(_init_cut_off, one, f"open({gate.path!r}).read()\n" + ECHO)
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    pending.result()


def _init_cut_off(one, code):
    try:
        return one.init(code)
    except ConnectionError:
        return None


#: What takes long to be removed: deeper than a path may be, many, in pieces that are freed one by one.
FULL = {
    "deep": "for _ in range(5000):\n        os.mkdir('d')\n        os.chdir('d')",
    "many": "for n in range(40000):\n        os.close(os.open(str(n), os.O_CREAT))",
    "pieces": "f = os.open('f', os.O_CREAT | os.O_RDWR)\n    for n in range(30000):\n"
              "        os.pwrite(f, b'x', n * 8192)\n    os.fsync(f)",
}


@pytest.mark.parametrize("kind", sorted(FULL))
def test_stop_with_a_full_folder(server, tmp_path, kind):
    """Whatever the function has put there: the stop is in time. What is left is told."""
    work_dir, log = tmp_path / "work", tmp_path / "log"
    work_dir.mkdir()
    one = server(options=["--work-dir", str(work_dir), "--log-file", str(log)])
    assert one.init(f"import os\ndef main(event):\n    {FULL[kind]}\n    return {{}}\n").status == 200
    assert one.run({}).status == 200
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    assert bool(list(work_dir.iterdir())) == (" folder_left: " in log.read_text())
    subprocess.run(["rm", "-rf", str(work_dir)], check=True)


def test_full_folder_of_code_that_does_not_load(server, tmp_path):
    """It is removed meanwhile: neither the next init nor the stop waits for it."""
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    one = server(options=["--work-dir", str(work_dir)])
    assert one.init(f"import os\nif True:\n    {FULL['many']}\nraise ValueError('no')\n").status == 502
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}
    wait_until(lambda: len(list(work_dir.iterdir())) == 1, "the folder is removed while the server works")


def test_second_sigterm_does_no_harm(action, gate: Gate):
    one = action("import time\ndef main(event):\n    open(event['gate']).read()\n    time.sleep(9)\n")
    pending = one.background(in_flight, one, {"gate": gate.path})
    gate.wait_entered()
    for _ in range(3):
        with contextlib.suppress(ProcessLookupError):
            one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    pending.result()


def test_function_learns_of_the_stop(action, tmp_path):
    """SIGTERM is passed on: a handler of the function may put things in order."""
    flag = tmp_path / "flag"
    code = (
        "import signal, sys\n"
        "def bye(*_):\n"
        f"    open({str(flag)!r}, 'w').close()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n" + ECHO
    )
    one = action(code)
    assert one.result({"n": 1}) == {"n": 1}
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    assert flag.exists()


def test_proxy_killed_hard_takes_its_runner_along(action):
    """SIGKILL leaves no time for order; the runner must not live on without its proxy."""
    one = action("import os\ndef main():\n    return {'pid': os.getpid()}\n")
    pid = one.result()["pid"]
    one.settings.exit_status = -signal.SIGKILL
    one.signal(signal.SIGKILL)
    one.wait()
    wait_until(lambda: not alive(pid), "the runner follows")
    for folder in one.work_dir.iterdir():
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD])
def test_other_signals(action, number):
    """Either ignored, or a stop like SIGTERM's: never a crash that leaves things behind."""
    one = action(ECHO)
    one.signal(number)
    if number in (signal.SIGPIPE, signal.SIGCHLD):
        assert one.result({"n": 1}) == {"n": 1}
        return
    with contextlib.suppress(ConnectionError, subprocess.TimeoutExpired):
        if one.process.poll() is None:
            one.wait(0.2)
    if one.process.poll() is None:
        assert one.result({"n": 1}) == {"n": 1}
    else:
        one.settings.exit_status = one.process.returncode
        assert one.process.returncode in (0, 128 + number, -number)


def test_signals_that_mean_nothing(action):
    """Also those that the C library keeps for itself."""
    one = action(ECHO)
    others = {signal.SIGUSR2, signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGIO, *range(32, 65)}
    for number in others:
        os.kill(one.pid, number)
    assert one.result({"n": 1}) == {"n": 1}


def test_stopped_and_continued(action):
    """A paused container is frozen and thawed; requests meanwhile wait."""
    one = action(ECHO)
    one.signal(signal.SIGSTOP)
    wait_until(lambda: processes()[one.pid].state == "T", "the server stops")
    pending = one.background(one.run, {"n": 1})
    one.signal(signal.SIGCONT)
    assert pending.result().json == {"n": 1}


# --- what the server gives its children


def test_signal_state_of_the_function_is_clean(action):
    """Nothing blocked, nothing ignored but SIGPIPE, which Python itself ignores."""
    code = (
        "def main():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return {l.split(':')[0]: int(l.split()[1], 16) for l in lines if l[:3] == 'Sig'\n"
        "            and l[3:6] in ('Blk', 'Ign')}\n"
    )
    state = action(code).result()
    assert state["SigBlk"] == 0
    ignored = {n for n in range(1, 65) if state["SigIgn"] >> (n - 1) & 1}
    assert ignored <= {signal.SIGPIPE, 25}, "25 is SIGXFSZ, which Python ignores too"


def test_function_is_not_in_the_group_of_the_server(action):
    code = "import os\ndef main():\n    return {'group': os.getpgid(0), 'pid': os.getpid()}\n"
    one = action(code)
    assert one.result()["group"] != os.getpgid(one.pid)


def test_idle_server_uses_no_cpu(action):
    """Waiting is done by the kernel: no ticks, no spinning, in neither process."""
    one = action("import os\ndef main():\n    return {'pid': os.getpid()}\n")
    runner = one.result()["pid"]
    before = {pid: wakeups(pid) for pid in (one.pid, runner)}
    time.sleep(0.3)  # The one wait for time: it is the length of the measurement.
    for pid, count in before.items():
        assert wakeups(pid) - count < 10


def wakeups(pid: int) -> int:
    """How often a process was switched to, of its own accord or not."""
    status = open(f"/proc/{pid}/status").read()
    return sum(int(n) for n in re.findall(r"ctxt_switches:\s*(\d+)", status))


# --- PID 1


def in_a_namespace() -> list:
    """The wrapper that makes the server PID 1, as a container does."""
    wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    probe = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no PID namespaces here: {probe.stderr.decode().strip()}")
    return wrapper


@pytest.fixture
def contained(server):
    """A server that is PID 1 of its own namespace."""
    return server(wrapper=in_a_namespace())


def test_pid_1_runs_functions(contained):
    code = "import os\ndef main():\n    return {'parent': os.getppid()}\n"
    assert contained.init(code).status == 200
    assert contained.result() == {"parent": 1}


def test_pid_1_reaps_orphans(contained):
    """Grandchildren whose parents ended first fall to PID 1 and must not stay as zombies."""
    code = (
        "import os, subprocess\n"
        "def main(event):\n"
        "    for n in range(20):\n"
        "        child = os.fork()\n"
        "        if child == 0:\n"
        "            if os.fork() == 0:\n                os._exit(n)\n"
        "            os._exit(0)\n"
        "        os.waitpid(child, 0)\n"
        "    subprocess.run(['sh', '-c', 'sleep 0.05 & sleep 0.1 & exit 0'])\n"
        "    return {}\n"
    )
    assert contained.init(code).status == 200
    (runner,) = contained.runners()
    for _ in range(3):
        contained.result({})
    wait_until(
        lambda: [process.pid for process in children(contained.pid)] == [runner],
        "only the runner is left of PID 1's children",
    )


def test_pid_1_notices_its_own_child_among_orphans(contained):
    """The end of an orphan is no crash, and the crash of the runner is one."""
    code = (
        "import os, subprocess\n"
        "def main(event):\n"
        "    subprocess.run(['sh', '-c', '(exit 3) & exit 0'])\n"
        "    if event.get('die'):\n        os._exit(7)\n"
        "    return event\n"
    )
    assert contained.init(code).status == 200
    for n in range(5):
        assert contained.result({"n": n}) == {"n": n}
        answer = contained.run({"die": True})
        assert answer.status == 400 and re.search(r"\b7\b", answer.error)


def test_pid_1_stops_on_sigterm(contained, gate: Gate):
    code = (
        "import os, subprocess, time\n"
        "def main(event):\n"
        "    subprocess.Popen(['sh', '-c', 'trap \"\" TERM; exec sleep 1000'], start_new_session=True)\n"
        "    os.open(event['gate'], os.O_RDONLY); time.sleep(1000)\n"
    )
    assert contained.init(code).status == 200
    pending = contained.background(in_flight, contained, {"gate": gate.path})
    gate.wait_entered()
    contained.signal(signal.SIGTERM)
    assert contained.wait(STOP_SECONDS) == 0
    pending.result()


def test_function_cannot_stop_pid_1_by_name(contained):
    """`kill(1, SIGKILL)` of the function has no effect on PID 1, or is refused to another user."""
    code = (
        "import os\ndef main():\n"
        "    try:\n        os.kill(1, 9)\n    except PermissionError:\n        pass\n"
        "    return {'ok': 1}\n"
    )
    assert contained.init(code).status == 200
    assert contained.result() == {"ok": 1}


# --- a limited machine


def limited(resource_limit: str) -> list:
    """The wrapper that lowers one limit of the server's process."""
    return ["sh", "-c", f'ulimit {resource_limit}; "$@"; exit $?', "sh"]


def test_out_of_file_descriptors(server):
    """More clients than descriptors: some wait, none brings the server down."""
    one = server(wrapper=limited("-n 40"))
    assert one.init(ECHO).status == 200
    clients = [one.connect() for _ in range(60)]
    for client in clients:
        client.close()
    assert one.result({"n": 1}) == {"n": 1}
