"""A machine that is short of things, and files that vanish: errors, never the end of the server."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile

import pytest

from . import archives
from .archives import file_entry, zip_of, zip_of_entries
from .harness import (
    MARKER, PYTHON, SCF_PATH, STOP_SECONDS, Client, Gate, alive, free_port, http_request, init_body, may_watch,
    wait_until, write_files,
)

ECHO = "def main(event):\n    return event\n"
CRASH = "import os\ndef main(event):\n    if event.get('die'):\n        os._exit(1)\n    return event\n"


def limited(resource_limit: str) -> list:
    """The wrapper that lowers one limit of the server's process."""
    return ["sh", "-c", f'ulimit {resource_limit}; exec "$@"', "sh"]


def test_no_more_processes(server):
    """A runner that cannot be replaced now is replaced when it can be."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to become a user whose processes can be limited")
    user = 50000 + os.getpid() % 10000  # Has no processes but ours.
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    if not may_watch(become):
        pytest.skip("may not look into another user's processes")
    work_dir = pathlib.Path(tempfile.mkdtemp(prefix="blackbox-"))
    os.chown(work_dir, user, user)
    # Room for the server, its runner, and one more.
    one = server(wrapper=["prlimit", "--nproc=3", *become], options=["--work-dir", str(work_dir)])
    assert one.init(CRASH).status == 200
    others = [subprocess.Popen([*become, "sleep", "1000"]) for _ in range(2)]
    try:
        for other in others:
            wait_until(lambda pid=other.pid: os.stat(f"/proc/{pid}").st_uid == user, "it has changed its user")
        assert one.run({"die": True}).status == 400
        answer = one.run({"n": 1})
        assert answer.status in (400, 500, 502)
        assert answer.error
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert one.result({"n": 2}) == {"n": 2}
    one.finish()
    work_dir.rmdir()


def test_no_more_file_descriptors_for_a_new_runner(server):
    """The same with descriptors: pipes for a new runner cannot be made for a while."""
    one = server()
    assert one.init(CRASH).status == 200
    soft, hard = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    client = one.connect()
    assert one.run({"n": 0}, client=client).status == 200
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (10, hard))
    assert one.run({"die": True}, client=client).status == 400
    answer = one.run({"n": 1}, client=client)
    assert answer.status in (400, 500, 502) or answer.json == {"n": 1}
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert one.run({"n": 2}, client=client).json == {"n": 2}


def test_no_more_file_descriptors_for_clients_of_the_second_port(server):
    """They wait until there are some again; others are served meanwhile."""
    port = free_port()
    one = server(options=["--scf-port", str(port)])
    assert one.init(ECHO).status == 200
    kept = one.connect()
    assert one.run({"n": 0}, client=kept).status == 200
    soft, hard = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (3, hard))
    with contextlib.closing(Client(port)) as late:
        late.send(http_request("POST", SCF_PATH, b'{"n": 1}'))
        for n in range(20):
            assert one.run({"n": n}, client=kept).json == {"n": n}
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert late.read_answer().json == {"n": 1}


def test_files_may_not_grow(server):
    """RLIMIT_FSIZE: whoever writes beyond it gets SIGXFSZ, which kills the careless."""
    one = server(wrapper=limited("-f 64"))  # blocks of 512 or 1024 bytes, as the shell likes
    big = zip_of_entries([file_entry("__main__.py", ECHO), file_entry("big", os.urandom(1 << 20))])
    answer = one.init(big)
    assert answer.status in (400, 500, 502)
    assert answer.error
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}


def test_log_may_not_grow(server):
    """The same limit met by the log: its rest is lost, activations are not."""
    one = server(wrapper=limited("-f 64"))
    assert one.init("def main(event):\n    print('x' * 1000)\n    return event\n").status == 200
    for n in range(200):
        assert one.result({"n": n}) == {"n": n}


def test_disk_is_full(server):
    """An archive that does not fit says so, and what it wrote is gone before the next."""
    wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
               'mount -t tmpfs -o size=2m none "$WORK" && exec "$@"', "sh"]
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    one = server(wrapper=wrapper, env={"WORK": "work"})
    big = zip_of_entries([file_entry("__main__.py", ECHO), file_entry("big", os.urandom(4 << 20))])
    for _ in range(3):
        answer = one.init(big)
        assert answer.status in (400, 500, 502)
        assert "space" in answer.error + one.err.text()
    assert one.init("# " + "x" * 3_000_000 + "\n" + ECHO).status in (400, 500, 502)
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}


def test_work_directory_vanishes(action):
    """Somebody cleans up /tmp: the loaded function goes on, its replacement says what is missing."""
    one = action(CRASH)
    for folder in one.work_dir.iterdir():
        shutil.rmtree(folder)
    assert one.result({"n": 1}) == {"n": 1}
    assert one.run({"die": True}).status == 400
    for _ in range(2):
        answer = one.run({"n": 2})
        assert answer.status in (400, 500, 502)
        assert answer.error
    assert one.request("GET", "/nowhere").status == 404


def test_function_deletes_its_own_directory(action):
    one = action(
        "import os, shutil\nown = os.getcwd()\ndef main(event):\n    shutil.rmtree(own, True)\n    return event\n"
    )
    for n in range(2):
        assert one.result({"n": n}) == {"n": n}


def test_function_replaces_its_directory_by_a_link(action, tmp_path):
    """The clean-up at the end must not follow it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    one = action(
        "import os, shutil\ndef main(event):\n"
        "    own = os.getcwd()\n    shutil.rmtree(own)\n    os.symlink(event['outside'], own)\n    return {}\n"
    )
    assert one.result({"outside": str(outside)}) == {}
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    assert (outside / "keep").exists()


@pytest.mark.parametrize("name", ["with blank", "grüße", "quote'\"", "new\nline", "percent%s"], ids=ascii)
def test_odd_work_directory(server, tmp_path, name):
    work_dir = tmp_path / name
    work_dir.mkdir()
    one = server(options=["--work-dir", str(work_dir)])
    files = {"__main__.py": "import os\ndef main():\n    return {'cwd': os.getcwd()}\n", "a/b": ""}
    assert one.init(zip_of(files)).status == 200
    assert one.result()["cwd"].startswith(str(work_dir))
    one.finish()
    assert list(work_dir.iterdir()) == []


def test_two_servers_in_one_work_directory(server, tmp_path):
    """Each removes what is its own."""
    work_dir = tmp_path / "shared"
    work_dir.mkdir()
    code = "def main():\n    return {'text': open('file').read()}\n"
    servers = [server(options=["--work-dir", str(work_dir)]) for _ in range(2)]
    for n, one in enumerate(servers):
        assert one.init(zip_of({"__main__.py": code, "file": str(n)})).status == 200
    servers[0].finish()
    assert servers[1].result() == {"text": "1"}
    servers[1].finish()
    assert list(work_dir.iterdir()) == []


# --- a bad start of the interpreter


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"PYTHONHOME": "/nonexistent"}, id="PYTHONHOME"),
        pytest.param({"PYTHONHASHSEED": "nonsense"}, id="PYTHONHASHSEED"),
        pytest.param({"PYTHONMALLOC": "nonsense"}, id="PYTHONMALLOC"),
        pytest.param({"PYTHONPATH": "/nonexistent:" * 1000}, id="PYTHONPATH"),
        pytest.param({"PYTHONSTARTUP": "/nonexistent", "PYTHONINSPECT": "1"}, id="PYTHONINSPECT"),
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="PYTHONIOENCODING"),
        pytest.param({"PYTHONWARNINGS": "nonsense::::"}, id="PYTHONWARNINGS"),
        pytest.param({"PYTHON_LONG": "x" * 200_000}, id="too-long-for-exec"),
        pytest.param({f"PYTHON_{n}": "x" * 100_000 for n in range(40)}, id="too-many-for-exec"),
    ],
)
def test_variables_that_spoil_the_start(server, env):
    """They work, or the init says what is wrong; the next init is free of them."""
    one = server()
    answer = one.init(ECHO, env=env)
    if answer.status == 200:
        assert one.result({"n": 1}) == {"n": 1}
        return
    assert answer.status in (400, 500, 502)
    assert answer.error
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}


def test_library_to_preload_that_is_missing(server):
    one = server()
    assert one.init(ECHO, env={"LD_PRELOAD": "/nonexistent.so"}).status == 200
    assert one.result({"n": 1}) == {"n": 1}


# --- modules of the user with any name


SHADOWS = """
    abc ast asyncio atexit calendar code codecs collections config contextlib copy dataclasses dis email encodings
    enum functools genericpath http importlib inspect io json keyword linecache logging opcode operator os pathlib
    platform posixpath queue random re reprlib secrets select signal site socket stat string subprocess token tokenize
    traceback types typing utils warnings
    context environment handle loader openwhisk report signature streams virtualenv wire
""".split()

TOUR = """
def wraps(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    wrapper.__wrapped__ = function
    return wrapper
@wraps
def main(event, context):
    do = event.get('do')
    if do == 'raise':
        raise ValueError('on purpose')
    if do == 'unserialisable':
        return {'a': {1}}
    if do == 'exit':
        raise SystemExit(3)
    if do == 'who':
        return {'not mine': [name for name in own if not hasattr(own[name], 'WHO')]}
    context.get_remaining_time_in_millis()
    return {'ok': 1}
"""


def assert_tour_succeeds(one) -> None:
    """Every way through the runner that might want a module at the last moment."""
    assert one.result({}) == {"ok": 1}
    assert one.run({"do": "raise"}).error == "on purpose"
    assert "set" in one.run({"do": "unserialisable"}).error
    assert one.run({"do": "exit"}).status == 400
    assert one.result({}) == {"ok": 1}


def test_users_modules_may_have_any_name(action):
    """A file beside `__main__.py` stands in nobody's way unless the function itself imports it."""
    shadows = {f"{name}.py": f"raise ImportError('the wrong {name}')\n" for name in SHADOWS}
    one = action(zip_of({"__main__.py": TOUR, **shadows}))
    assert_tour_succeeds(one)
    assert "the wrong" not in one.err.text()


def test_users_modules_are_found_under_any_name(action, tmp_path):
    """What the function imports is its own file wherever python3 would find that; nobody else trips over it."""
    shadows = tmp_path / "shadows"
    write_files(shadows, {f"{name}.py": "WHO = 'mine'\n" for name in SHADOWS})
    program = tmp_path / "program.py"  # not -c, for which Python 3.13 imports some of them itself
    program.write_text(
        "import sys\nsys.path.insert(0, '.')\n"
        f"print(*(n for n in {SHADOWS!r} if hasattr(__import__(n), 'WHO')))\n"
    )
    plain = subprocess.run([PYTHON, str(program)], cwd=shadows, capture_output=True, text=True, check=True)
    names = plain.stdout.split()
    assert "token" in names
    main = f"own = {{name: __import__(name) for name in {names!r}}}\n" + TOUR
    one = action(zip_of({"__main__.py": main, **{f"{name}.py": "WHO = 'mine'\n" for name in SHADOWS}}))
    assert one.result({"do": "who"}) == {"not mine": []}
    assert_tour_succeeds(one)


# --- stopping at bad moments


def test_stop_while_unpacking(server):
    """A large archive is on its way to the disk when SIGTERM comes."""
    one = server()
    body = init_body(archives.bomb(900))
    client = one.connect()
    client.send(http_request("POST", "/init", body))
    wait_until(lambda: list(one.work_dir.iterdir()), "unpacking begins")
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0


def test_stop_while_a_client_does_not_read(action):
    one = action("def main(event):\n    return {'t': 'x' * 30_000_000}\n")
    client = one.connect()
    client.send(http_request("POST", "/run", b"{}"))
    wait_until(lambda: one.out.markers(), "the activation ends")
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0


def test_run_that_ends_in_time_is_answered(action, gate: Gate):
    """SIGTERM lets the activation under way finish if it is quick."""
    one = action("def main(event):\n    open(event['gate']).read()\n    return {'done': 1}\n")
    pending = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    wait_until(lambda: refused(one), "the server takes no new connection")
    gate.release()
    assert pending.result().json == {"done": 1}
    assert one.wait(STOP_SECONDS) == 0
    assert one.out.content() == MARKER


def refused(one) -> bool:
    """Whether nobody listens any more."""
    try:
        one.connect()
    except ConnectionRefusedError:
        return True
    return False


def test_last_words_are_in_the_log(action):
    """What the function prints on being told to stop is not lost."""
    one = action(
        "import signal, sys\n"
        "def bye(*_):\n    print('bye')\n    print('and thanks', file=sys.stderr)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n" + ECHO
    )
    assert one.result({"n": 1}) == {"n": 1}
    one.signal(signal.SIGTERM)
    assert one.wait(STOP_SECONDS) == 0
    assert one.out.content() == MARKER + b"bye\n"
    assert one.err.content() == MARKER + b"and thanks\n"


def test_unpacker_is_killed(server):
    """Whatever process does the unpacking may be killed by the kernel: an error, and the next init works."""
    one = server()
    runners = set(one.runners())
    client = one.connect()
    client.send(http_request("POST", "/init", init_body(archives.bomb(900))))
    wait_until(lambda: list(one.work_dir.iterdir()), "unpacking begins")
    helpers = [pid for pid in one.runners() if pid not in runners]
    for pid in helpers:
        with contextlib.suppress(ProcessLookupError):  # the proxy ends one with the other
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid), "the unpacker dies")
    assert client.read_answer().status in (400, 500, 502)
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}


def test_client_leaves_while_unpacking(server):
    one = server()
    client = one.connect()
    client.send(http_request("POST", "/init", init_body(archives.bomb(200))))
    wait_until(lambda: list(one.work_dir.iterdir()), "unpacking begins")
    client.close()
    assert one.init(ECHO).status == 200
    assert one.result({"n": 1}) == {"n": 1}
