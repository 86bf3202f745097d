"""The image behaves as a container should: restricted, paused, stopped, starved of memory."""

import concurrent.futures
import http.client
import json
import random
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest

from .containers import Container, docker, wait_until, zipped

Start = Callable[..., Container]

HELLO = "def main(event):\n    return {'greeting': 'Hello ' + event.get('name', 'stranger')}\n"

#: What a process may find out about its restrictions.
RESTRICTIONS = '''
import os, pathlib

def limit(*names):
    for name in names:
        path = pathlib.Path("/sys/fs/cgroup", name)
        if path.exists():
            return path.read_text().strip()

def writable(path):
    try:
        (pathlib.Path(path) / "probe").write_text("x")
        (pathlib.Path(path) / "probe").unlink()
        return True
    except OSError as error:
        return error.strerror

def main(event):
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return {
        "uid": os.getuid(), "gid": os.getgid(),
        "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapBnd"], 16),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "memory": limit("memory.max", "memory/memory.limit_in_bytes", "memory.limit_in_bytes"),
        "processes": limit("pids.max", "pids/pids.max"),
        "root": writable("/"), "function": writable("/function"), "tmp": writable("/tmp"),
        "child": os.popen("id -u").read().strip(),
    }
'''


@pytest.fixture
def restricted(container: Start) -> Tuple[Container, int]:
    """A container with every restriction that a careful operator makes, and its random user id."""
    user = random.randrange(100_000, 2_000_000_000)
    return container(
        f"--user={user}:{user}", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        "--memory=128m", "--pids-limit=64",
    ), user


def test_runs_restricted(restricted: Tuple[Container, int]) -> None:
    one, user = restricted
    assert one.init(zipped({"__main__.py": RESTRICTIONS})).status == 200, one.logs()
    assert one.result() == {
        "uid": user, "gid": user, "capabilities": 0, "no_new_privileges": "1", "memory": str(128 << 20),
        "processes": "64", "root": "Read-only file system", "function": "Read-only file system", "tmp": True,
        "child": str(user),
    }
    assert one.stop()[0] == 0


def test_default_user_is_nobody_and_may_write_to_tmp_only(container: Start) -> None:
    one = container()
    assert one.init(RESTRICTIONS).status == 200
    found = one.result()
    assert (found["uid"], found["gid"], found["capabilities"] >= 0) == (65534, 65534, True)
    assert (found["root"], found["function"], found["tmp"]) == ("Permission denied", "Permission denied", True)


def test_fits_into_32_megabytes(container: Start) -> None:
    """Twice what proxy and runner need, and a quarter of the smallest container of the platforms."""
    one = container("--memory=32m", "--memory-swap=32m")
    assert one.init(HELLO).status == 200
    for number in range(200):
        assert one.result({"name": str(number)}) == {"greeting": f"Hello {number}"}


def test_no_process_more_than_the_limit(container: Start) -> None:
    one = container("--pids-limit=8")
    assert one.init("""
import os, signal, time
def main(event):
    pids = []
    try:
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
            pids.append(pid)
        return {"forked": len(pids)}
    except OSError as error:
        return {"forked": len(pids), "reason": error.strerror}
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
""").status == 200
    for _ in range(2):
        found = one.result()
        assert found["reason"] == "Resource temporarily unavailable"
        assert 1 <= found["forked"] < 8


def test_pause_in_the_middle_of_a_run(container: Start) -> None:
    one = container()
    assert one.init("""
import time
def main(event):
    print("entered", flush=True)
    steps = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        steps += 1
        time.sleep(0.01)
    return {"steps": steps}
""").status == 200
    answer = one.background(one.run)
    wait_until(lambda: "entered" in one.logs().stdout, "the function runs")
    docker("pause", one.name)
    with pytest.raises(concurrent.futures.TimeoutError):
        answer.result(timeout=1.5)
    docker("unpause", one.name)
    found = answer.result(timeout=10)
    # Half a second of the clock passed while it was frozen: without the pause there are about 50 steps.
    assert found.status == 200 and 1 <= found.json["steps"] < 45, found
    assert one.result()["steps"] > found.json["steps"]


def _load(one: Container, stop: threading.Event) -> List[Any]:
    """Runs one after the other until it is told to stop or the container is gone; what came back."""
    seen: List[Any] = []
    while not stop.is_set():
        try:
            seen.append(one.run({"name": "Ada"}))
        except ConnectionRefusedError:
            break
        except (OSError, http.client.HTTPException) as error:
            seen.append(error)
            break
    return seen


def test_stopped_under_load(container: Start) -> None:
    """Whoever has a connection gets a whole answer, and `docker stop` does not have to kill."""
    one = container()
    assert one.init("import time\n" + HELLO.replace("return", "time.sleep(0.005); return")).status == 200
    enough = threading.Event()
    clients = [one.background(_load, one, enough) for _ in range(24)]
    time.sleep(1)
    status, seconds = one.stop()
    enough.set()
    answers = [answer for client in clients for answer in client.result()]
    assert status == 0
    assert seconds < 5, f"{seconds:.1f} s; docker kills after 10"
    bad = [answer for answer in answers if isinstance(answer, Exception) or answer.status not in (200, 503)]
    assert not bad, bad
    good = [answer for answer in answers if answer.status == 200]
    assert len(good) > 50 and all(answer.json == {"greeting": "Hello Ada"} for answer in good)


def test_stopped_in_a_function_that_does_not_end(container: Start) -> None:
    one = container()
    assert one.init("import time\ndef main(event):\n    print('entered')\n    time.sleep(600)\n").status == 200
    run = one.background(one.run)
    wait_until(lambda: "entered" in one.logs().stdout, "the function runs")
    status, seconds = one.stop()
    assert (status, seconds < 5) == (0, True), seconds
    assert run.result(timeout=5).status in (400, 503)


def test_out_of_memory_in_the_function(container: Start) -> None:
    """The kernel kills the runner, not the proxy; the answer says so, and the next run works."""
    one = container("--memory=128m", "--memory-swap=128m")
    assert one.init("""
def main(event):
    print("asked for", event["megabytes"])
    return {"bytes": len(bytearray(event["megabytes"] << 20))}
""").status == 200
    assert one.result({"megabytes": 64}) == {"bytes": 64 << 20}
    assert one.activation_logs().stdout == "asked for 64\n"
    started = one.inspect("{{.State.StartedAt}}")

    answer = one.run({"megabytes": 512})
    assert answer.status == 400, answer
    assert answer.json["error"].startswith("command exited (killed by signal 9"), answer
    assert one.activation_logs().stdout == "asked for 512\n"

    assert one.result({"megabytes": 64}) == {"bytes": 64 << 20}
    assert one.running() and one.inspect("{{.State.StartedAt}}") == started


def test_reaps_orphans_as_process_1(container: Start) -> None:
    one = container()
    assert one.init("""
import os
def main(event):
    for _ in range(20):
        if os.fork() == 0:
            os.fork()
            os._exit(0)
    for _ in range(20):
        os.wait()
    return {}
""").status == 200
    for _ in range(3):
        assert one.result() == {}
    wait_until(lambda: not [line for line in one.process_names() if line.startswith("Z")], "no zombies", 5)
    assert sorted(line.split()[1] for line in one.process_names()) == ["pyaction", "pyrunner"]


def test_health(container: Start) -> None:
    one = container()
    wait_until(lambda: one.inspect("{{.State.Health.Status}}") == "healthy", "healthy", 40)


def test_health_on_another_port(container: Start) -> None:
    one = container("--env=PYACTION_PORT=9999")
    wait_until(lambda: one.inspect("{{.State.Health.Status}}") == "healthy", "healthy", 40)
    assert not one.connects()


def test_unhealthy_while_nothing_listens(container: Start) -> None:
    """The server of the check is another: a program that takes no connections."""
    one = container("--entrypoint=sleep", "--health-interval=1s", "--health-retries=1", "--health-start-period=0s",
                    command=["60"])
    wait_until(lambda: one.inspect("{{.State.Health.Status}}") == "unhealthy", "unhealthy", 40)


def test_wrong_option_ends_at_once(container: Start) -> None:
    one = container(command=["--no-such-option"])
    wait_until(lambda: not one.running(), "it ends")
    assert one.inspect("{{.State.ExitCode}}") == "2"
    assert "--no-such-option" in one.logs().stderr


def test_child_processes_find_the_same_python(container: Start) -> None:
    one = container()
    assert one.init("""
import json, subprocess, sys
def main(event):
    program = "import json, sys; print(json.dumps([list(sys.version_info[:3]), sys.path[1:]]))"
    child = json.loads(subprocess.check_output([sys.executable, "-c", program]))
    return {"child": child, "self": [list(sys.version_info[:3]), sys.path[1:]]}
""").status == 200
    found = one.result()
    assert found["child"] == found["self"]


def test_result_is_not_changed(container: Start) -> None:
    """A glance at the data path only: `make image-test` runs the black-box suite inside of the image."""
    one = container()
    assert one.init("def main(event):\n    return event\n").status == 200
    event: Dict[str, Any] = {"text": "日本 \u2028 \x00", "number": 2 ** 63, "deep": [[[{}]]], "fraction": 0.1}
    assert one.result(event) == event
    assert json.dumps(one.result({"big": "x" * (5 << 20)})).count("x") == 5 << 20
