"""Functions that end, wound or occupy their process, and the activation after that."""

import os
import re
import signal

import pytest

from .harness import MARKER, PYTHON, SANITIZED, Gate, alive, wait_until

#: Runs the statements of the event; answers with the state of its process when there are none.
EXECUTE = """
import ctypes, os, signal, subprocess, sys, threading, time
runs = 0
kept = []
def main(event):
    global runs
    runs += 1
    if 'code' in event:
        scope = dict(globals(), event=event, result={'done': 1})
        exec(event['code'], scope)
        return scope['result']
    return {'pid': os.getpid(), 'runs': runs, 'nonce': event.get('nonce'),
            'env': os.environ.get('FROM_INIT')}
"""


@pytest.fixture
def victim(action):
    """An action whose process the events may ill-treat."""
    return action(EXECUTE, env={"FROM_INIT": "kept"})


def state(one, nonce=0):
    """The state of a run that must get its own answer."""
    result = one.result({"nonce": nonce})
    assert result["nonce"] == nonce
    assert result["env"] == "kept"
    return result


def assert_next_runs_are_right(one):
    """Several runs in a row, each with its own answer: nothing is out of step."""
    for nonce in range(100, 105):
        state(one, nonce)


# --- the end of the process

EXITS = {
    "sys.exit": ("sys.exit()", r"\b0\b"),
    "sys.exit-0": ("sys.exit(0)", r"\b0\b"),
    "sys.exit-3": ("sys.exit(3)", r"\b3\b"),
    "sys.exit-text": ("sys.exit('farewell')", r"\b1\b"),
    "sys.exit-true": ("sys.exit(True)", r"\b1\b"),
    "sys.exit-300": ("sys.exit(300)", r"\b44\b"),
    "sys.exit-huge": ("sys.exit(1 << 70)", ""),
    "sys.exit-object": ("sys.exit(object())", r"\b1\b"),
    "raise-SystemExit": ("raise SystemExit(4)", r"\b4\b"),
    "subclass-of-SystemExit": ("raise type('Leave', (SystemExit,), {})(6)", r"\b6\b"),
    "os._exit": ("os._exit(5)", r"\b5\b"),
    "os._exit-0": ("os._exit(0)", r"\b0\b"),
    "os.abort": ("os.abort()", r"\b6\b|ABRT|[Aa]bort"),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", r"\b9\b|KILL|[Kk]ill"),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)", r"\b15\b|TERM|[Tt]ermin"),
    "exec": ("os.execv('/bin/true', ['true'])", ""),
    "exit-with-lingering-thread": (
        "threading.Thread(target=time.sleep, args=(1000,)).start(); sys.exit(2)",
        r"\b2\b",
    ),
    "own-process-group": ("os.killpg(os.getpgid(0), signal.SIGKILL)", r"\b9\b|KILL|[Kk]ill"),
}


@pytest.mark.parametrize("kind", sorted(EXITS))
def test_process_that_ends_during_a_run(victim, kind):
    code, reason = EXITS[kind]
    before = state(victim)
    answer = victim.run({"code": code})
    assert answer.status == 400
    assert answer.error.startswith("command exited")
    assert re.search(reason, answer.error[len("command exited"):]), answer.error
    assert victim.out.content() == MARKER * 2
    assert victim.err.markers() == 2
    after = state(victim)
    assert after["pid"] != before["pid"]
    assert after["runs"] == 1, "a fresh runner with the module imported anew"
    assert_next_runs_are_right(victim)


def test_text_of_sys_exit_is_on_stderr(victim):
    assert victim.run({"code": "sys.exit('farewell')"}).status == 400
    assert "farewell" in victim.err.text()


def test_segmentation_fault(action):
    one = action(EXECUTE, env={"FROM_INIT": "kept"}, settings={"sanitizer_text": True})
    answer = one.run({"code": "ctypes.string_at(0)"})
    assert answer.status == 400
    assert answer.error.startswith("command exited")
    if not SANITIZED:
        assert re.search(r"\b11\b|SEGV|[Ss]egm", answer.error)
    assert one.out.content() == MARKER
    assert one.err.markers() == 1
    assert_next_runs_are_right(one)


def test_segmentation_fault_leaves_no_core_file_handler_hanging(victim):
    """faulthandler is a way to see a C stack; its text belongs to stderr before the marker."""
    code = "import faulthandler; faulthandler.enable(); os.kill(os.getpid(), signal.SIGABRT)"
    assert victim.run({"code": code}).status == 400
    assert "Fatal Python error" in victim.err.text()
    assert victim.err.content().endswith(b"\n" + MARKER)


def test_many_crashes_in_a_row(victim):
    for _ in range(10):
        assert victim.run({"code": "os._exit(1)"}).status == 400
    assert_next_runs_are_right(victim)
    assert victim.out.markers() == 15


def test_deep_recursion_in_c(action):
    """Recursion that Python's own limit does not see ends in an error or a crash, not in silence."""
    victim = action(EXECUTE, env={"FROM_INIT": "kept"}, settings={"sanitizer_text": True})
    code = "sys.setrecursionlimit(10**7)\ndef f(x): return repr(x)\nx = []\nfor _ in range(10**6): x = [x]\nf(x)"
    answer = victim.run({"code": code})
    assert answer.status in (400, 502)
    assert_next_runs_are_right(victim)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_runner_killed_while_idle(action, number):
    """The next run gets a fresh process, and nobody is told of a crash that hit no run."""
    one = action(EXECUTE, env={"FROM_INIT": "kept"}, settings={"sanitizer_text": True})
    pid = state(one)["pid"]
    os.kill(pid, number)
    wait_until(lambda: not alive(pid), "the runner dies")
    after = state(one, 7)
    assert after["pid"] != pid and after["runs"] == 1
    assert_next_runs_are_right(one)


def test_runner_killed_before_init(server):
    one = server()
    (runner,) = one.runners()
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: not alive(runner), "the runner dies")
    assert one.init(EXECUTE, env={"FROM_INIT": "kept"}).status == 200
    assert_next_runs_are_right(one)


def test_alarm_without_a_handler_kills_the_idle_runner(victim):
    """SIGALRM's default action ends the process between two activations."""
    pid = victim.result({"code": "signal.setitimer(signal.ITIMER_REAL, 0.3); result = {'p': os.getpid()}"})["p"]
    wait_until(lambda: not alive(pid), "the alarm ends the runner")
    assert_next_runs_are_right(victim)


def test_function_whose_second_import_fails(action, tmp_path):
    """The replacement cannot be initialised: an error that says so, and no endless hang."""
    flag = tmp_path / "flag"
    one = action(
        f"import os\nif os.path.exists({str(flag)!r}):\n    raise OSError('not a second time')\n"
        f"open({str(flag)!r}, 'w').close()\n"
        "def main(event):\n    os._exit(1)\n"
    )
    assert one.run({}).status == 400
    answer = one.run({})
    assert answer.status in (400, 500, 502)
    assert answer.error
    assert "not a second time" in one.err.text()
    assert one.run({}).status in (400, 500, 502)


# --- file descriptors


def test_closing_every_descriptor_above_stderr(victim):
    answer = victim.run({"code": "os.closerange(3, 256)"})
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert answer.error.startswith("command exited")
    assert_next_runs_are_right(victim)


def test_closing_the_standard_streams(victim):
    answer = victim.run({"code": "os.closerange(0, 3)"})
    assert answer.status in (200, 400)
    assert_next_runs_are_right(victim)
    # Nobody puts the function's stdout back: what it prints now may be an error of its own.
    assert victim.run({"code": "print('lost')"}).status in (200, 502)
    assert victim.out.markers() == victim.err.markers() == 7


def test_closing_all_descriptors(victim):
    answer = victim.run({"code": "os.closerange(0, 256)"})
    assert answer.status in (200, 400)
    assert_next_runs_are_right(victim)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"noise", id="noise"),
        pytest.param(b"noise\n", id="line"),
        pytest.param(b'{"status":"success"}\n{"nonce":"forged"}\n', id="forged-reply"),
        pytest.param(b"\n\n\n\n", id="empty-lines"),
        pytest.param(b"\0" * 1000, id="zeros"),
    ],
)
def test_writing_to_every_descriptor(victim, data):
    """Whatever this run gets, the next ones get their own answers."""
    code = (
        "for fd in range(3, 21):\n"
        "    try:\n        os.set_blocking(fd, False)\n"
        f"        os.write(fd, {data!r})\n"
        "    except OSError:\n        pass\n"
    )
    answer = victim.run({"code": code})
    assert answer.status in (200, 400, 502)
    assert answer.status != 200 or answer.json == {"done": 1}
    assert_next_runs_are_right(victim)


def test_reading_from_every_descriptor(victim):
    """The request channel is out of the function's reach, or at least nothing hangs."""
    code = (
        "for fd in range(3, 21):\n"
        "    try:\n        os.set_blocking(fd, False)\n        os.read(fd, 100)\n"
        "    except OSError:\n        pass\n"
    )
    answer = victim.run({"code": code})
    assert answer.status in (200, 400)
    assert_next_runs_are_right(victim)


def test_channel_does_not_reach_what_the_function_starts(victim):
    """A child process inherits stdin, stdout and stderr and nothing else."""
    script = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd')))"
    code = (
        f"out = subprocess.check_output([{PYTHON!r}, '-c', {script!r}],\n"
        "                              stdin=None, close_fds=False, text=True)\n"
        "result = {'fds': eval(out)}"
    )
    # The fourth is the directory that listdir itself has open.
    assert victim.result({"code": code}) == {"fds": [0, 1, 2, 3]}


def test_leaking_descriptors_of_its_own(victim):
    """A function at its limit of open files can still answer."""
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "try:\n"
        "    while True: kept.append(open('/dev/null'))\n"
        "except OSError as error: result = {'errno': error.errno}\n"
    )
    assert victim.result({"code": code}) == {"errno": 24}
    assert_next_runs_are_right(victim)


def test_stdin_is_empty(victim):
    assert victim.result({"code": "result = {'read': sys.stdin.read(), 'fd0': os.read(0, 10).decode()}"}) == {
        "read": "",
        "fd0": "",
    }
    assert victim.run({"code": "input()"}).status == 502
    assert_next_runs_are_right(victim)


# --- children


FORKS = {
    "child-returns-from-main": "if os.fork() == 0: result = {'nonce': 'child'}",
    "child-raises": "if os.fork() == 0: raise ValueError('child')",
    "child-calls-sys.exit": "if os.fork() == 0: sys.exit(9)",
    "child-calls-os._exit": "if os.fork() == 0: os._exit(9)",
    "child-returns-late": "if os.fork() == 0:\n    time.sleep(0.2)\n    result = {'nonce': 'child'}",
    "child-prints-and-returns": "if os.fork() == 0: print('from the child')",
    "grandchild": "if os.fork() == 0:\n    if os.fork() == 0: time.sleep(0.05)",
    "five-children": "for _ in range(5):\n    if os.fork() == 0: break",
}


@pytest.mark.parametrize("kind", sorted(FORKS))
def test_fork_does_not_put_answers_out_of_step(victim, kind):
    answer = victim.run({"code": FORKS[kind]})
    assert (answer.status, answer.json) == (200, {"done": 1})
    assert_next_runs_are_right(victim)


def test_fork_and_parent_is_served_on(victim):
    pid = state(victim)["pid"]
    victim.result({"code": "if os.fork() == 0: result = {'nonce': 'child'}"})
    assert state(victim)["pid"] == pid


def test_lingering_child_does_not_delay_the_answer(victim):
    """A child keeps the log streams open; the answer must not wait for it."""
    code = "child = os.fork()\nif child == 0:\n    time.sleep(1000)\nresult = {'child': child}"
    child = victim.result({"code": code})["child"]
    assert alive(child)
    assert_next_runs_are_right(victim)
    assert victim.out.markers() == 6


def test_lingering_subprocess_in_another_session_is_stopped_at_the_end(victim):
    code = (
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "kept.append(child)\nresult = {'child': child.pid}"
    )
    child = victim.result({"code": code})["child"]
    assert alive(child)
    victim.finish()
    assert not alive(child)


def test_daemonised_process_is_stopped_at_the_end(victim, tmp_path):
    """Forked twice, in a session of its own: nothing but the process tree tells whose it is."""
    pid_file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid_file}"
    code = f"subprocess.run(['setsid', 'sh', '-c', {script!r}], check=True)"
    victim.result({"code": code})
    child = int(pid_file.read_text())
    assert alive(child)
    victim.finish()
    assert not alive(child)


def test_crash_with_a_lingering_child(victim):
    """The child still holds the streams when its parent dies: death must be noticed all the same."""
    code = "if os.fork() == 0:\n    time.sleep(1000)\nos._exit(1)"
    assert victim.run({"code": code}).status == 400
    assert_next_runs_are_right(victim)


def test_unreaped_children_are_the_functions_own(victim):
    """Zombies of the runner go with it; they are no concern of the proxy."""
    victim.result({"code": "for _ in range(20):\n    if os.fork() == 0: os._exit(0)"})
    assert_next_runs_are_right(victim)


def test_double_forked_orphans_do_not_disturb(victim):
    code = (
        "for _ in range(20):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        if os.fork() == 0: os._exit(7)\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    assert victim.result({"code": code}) == {"done": 1}
    assert_next_runs_are_right(victim)


def test_multiprocessing(action):
    code = (
        "import multiprocessing\n"
        "def square(n):\n    return n * n\n"
        "def main():\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        return {'squares': pool.map(square, range(5))}\n"
    )
    one = action(code)
    for _ in range(2):
        assert one.result() == {"squares": [0, 1, 4, 9, 16]}


# --- the interpreter's state

HARMLESS = {
    "cwd": "os.chdir('/')",
    "cwd-removed": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "stdout-replaced": "import io; sys.stdout = io.StringIO(); sys.stderr = io.StringIO()",
    "stdout-none": "sys.stdout = sys.stderr = sys.stdin = None",
    "stdout-closed": "sys.stdout.close()",
    "stdout-detached": "sys.stdout.detach()",
    "stdout-flush-raises": "sys.stdout.flush = lambda: 1 / 0",
    "stdout-deleted": "del sys.stdout, sys.stderr",
    "signals-ignored": "[signal.signal(s, signal.SIG_IGN) for s in (15, 2, 1, 13, 17)]",
    "sigchld-default": "signal.signal(signal.SIGCHLD, signal.SIG_DFL)",
    "all-signals-blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "sigpipe-default": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "trace-function": "sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)",
    "excepthook": "sys.excepthook = lambda *a: 1 / 0; sys.unraisablehook = None",
    "path-cleared": "sys.path.clear(); sys.meta_path.clear(); sys.path_hooks.clear()",
    "environ-cleared": "os.environ.clear(); os.environ['FROM_INIT'] = 'kept'",
    "umask": "os.umask(0o777)",
    "nice": "os.nice(5)",
    "new-session": "try: os.setsid()\nexcept PermissionError: pass",
    "gc-frozen": "import gc; gc.disable(); gc.freeze()",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "decimal-context": "import decimal; decimal.getcontext().prec = 1",
    "json-patched": "import json; json.dumps = json.loads = None",
    "json-encoder-patched": "import json.encoder; json.encoder.JSONEncoder.default = None",
    "time-patched": "time.time = time.sleep = None",
    "inspect-patched": "import inspect; inspect.signature = None",
    "traceback-patched": "import traceback; traceback.print_exc = None",
    "warnings-are-errors": "import warnings; warnings.simplefilter('error')",
    "recursion-limit": "sys.setrecursionlimit(120)",
    "switch-interval": "sys.setswitchinterval(1)",
    "int-max-str-digits": "getattr(sys, 'set_int_max_str_digits', int)(640)",
    "non-blocking-streams": "os.set_blocking(1, False); os.set_blocking(2, False)",
}


@pytest.mark.parametrize("kind", sorted(HARMLESS))
def test_changed_state_does_not_stop_the_next_run(victim, kind):
    """A process can survive all of these; so must its next activations and their markers."""
    pid = state(victim)["pid"]
    answer = victim.run({"code": HARMLESS[kind]})
    assert answer.status == 200, answer
    assert state(victim, 5)["pid"] == pid
    assert_next_runs_are_right(victim)
    assert victim.out.markers() == victim.err.markers() == 8


VANDALISM = {
    "builtins-deleted": (
        "import builtins\n"
        "for name in ('len', 'str', 'dict', 'isinstance', 'print', 'open', 'getattr', 'repr', 'type'):\n"
        "    delattr(builtins, name)"
    ),
    "builtins-cleared": "import builtins; builtins.__dict__.clear()",
    "modules-cleared": "sys.modules.clear()",
    "environ-none": "os.environ = None",
    "os-write-patched": "os.write = os.read = os.close = None",
    "threading-patched": "threading.Thread = threading.current_thread = None",
    "base-exception-patched": "import builtins; builtins.BaseException = builtins.Exception = int",
    "all-objects-cleared": (
        "import gc\n"
        "for o in gc.get_objects():\n"
        "    if type(o) is dict and o.get('__name__', '').startswith(('pyaction', '_pyaction')): o.clear()"
    ),
}


@pytest.mark.parametrize("kind", sorted(VANDALISM))
def test_vandalism_never_silences_the_server(victim, kind):
    """The function broke its own interpreter: any answer will do, and a fresh process is whole."""
    pid = state(victim)["pid"]
    for _ in range(3):
        answer = victim.run({"code": VANDALISM[kind]})
        assert answer.status in (200, 400, 502), answer
        assert answer.json is not None
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the runner dies")
    assert_next_runs_are_right(victim)


def test_signal_handler_that_raises_between_activations(victim, tmp_path):
    """An alarm that goes off while the process waits must not break the wait."""
    flag = tmp_path / "fired"
    code = (
        "def handler(number, frame):\n"
        "    open(event['flag'], 'w').close()\n"
        "    raise RuntimeError('at a bad time')\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
    )
    pid = state(victim)["pid"]
    victim.result({"code": code, "flag": str(flag)})
    wait_until(flag.exists, "the alarm goes off while idle")
    assert state(victim)["pid"] == pid
    assert_next_runs_are_right(victim)


def test_signal_handler_runs_while_idle(victim, tmp_path):
    flag = tmp_path / "fired"
    code = (
        "signal.signal(signal.SIGUSR1, lambda *a: open(event['flag'], 'w').close())\n"
        "result = {'pid': os.getpid()}"
    )
    pid = victim.result({"code": code, "flag": str(flag)})["pid"]
    os.kill(pid, signal.SIGUSR1)
    wait_until(flag.exists, "the handler runs")
    assert state(victim)["pid"] == pid


def test_periodic_timer_does_not_tear_messages(victim):
    """EINTR everywhere: a fast interval timer while large messages go to and fro."""
    code = (
        "signal.signal(signal.SIGALRM, lambda *a: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
    )
    victim.result({"code": code})
    for nonce in range(5):
        text = str(nonce) * 1_000_000
        assert victim.result({"nonce": text})["nonce"] == text
    victim.result({"code": "signal.setitimer(signal.ITIMER_REAL, 0)"})


def test_keyboard_interrupt_by_signal(victim):
    """SIGINT to the idle or running process behaves as in any Python; the server lives on."""
    answer = victim.run({"code": "os.kill(os.getpid(), signal.SIGINT); time.sleep(10)"})
    assert answer.status in (400, 502)
    assert_next_runs_are_right(victim)


# --- threads


def test_thread_works_while_the_function_is_idle(victim, tmp_path):
    """The interpreter lock is not held while the process waits for the next activation."""
    path = tmp_path / "ticks"
    code = (
        "def tick():\n"
        "    while True:\n"
        "        with open(event['path'], 'a') as file: file.write('x')\n"
        "        time.sleep(0.001)\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
    )
    victim.result({"code": code, "path": str(path)})
    size = path.stat().st_size if path.exists() else 0
    wait_until(lambda: path.exists() and path.stat().st_size > size + 20, "the thread goes on")
    assert_next_runs_are_right(victim)


def test_thread_that_raises(victim):
    code = "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()"
    assert victim.result({"code": code}) == {"done": 1}
    assert "ZeroDivisionError" in victim.err.text()
    assert_next_runs_are_right(victim)


def test_thread_ends_the_process_between_runs(victim, gate: Gate):
    code = (
        "def leave():\n    open(event['gate']).read()\n    os._exit(4)\n"
        "threading.Thread(target=leave, daemon=True).start()\n"
        "result = {'pid': os.getpid()}"
    )
    pid = victim.result({"code": code, "gate": gate.path})["pid"]
    gate.wait_entered()
    gate.release()
    wait_until(lambda: not alive(pid), "the thread ends the process")
    assert_next_runs_are_right(victim)


def test_many_threads_at_the_end(victim):
    """Non-daemon threads must not keep the server from stopping."""
    code = "[threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(20)]"
    assert victim.result({"code": code}) == {"done": 1}
    assert_next_runs_are_right(victim)


def test_memory_hog_is_told_apart(victim):
    """A limit on memory makes a MemoryError, which the process survives."""
    code = (
        "import resource\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), resource.RLIM_INFINITY))\n"
        "bytearray(4 << 30)"
    )
    answer = victim.run({"code": code})
    assert answer.status == 502
    assert "MemoryError" in victim.err.text()
    assert_next_runs_are_right(victim)
