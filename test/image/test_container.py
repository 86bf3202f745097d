"""The image behaves as a container should: restricted, paused, stopped, starved of memory."""

import concurrent.futures
import http.client
import json
import random
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest
from blackbox.archives import zip_of
from blackbox.harness import wait_until

from .containers import Container, docker

Start = Callable[..., Container]
Figure = Callable[[str, Any], None]

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
    assert one.init(zip_of({"__main__.py": RESTRICTIONS})).status == 200, one.logs()
    assert one.result() == {
        "uid": user, "gid": user, "capabilities": 0, "no_new_privileges": "1", "memory": str(128 << 20),
        "processes": "64", "root": "Read-only file system", "function": "Read-only file system", "tmp": True,
        "child": str(user),
    }
    assert one.stop() == 0


def test_default_user_is_nobody_and_may_write_to_tmp_only(container: Start) -> None:
    one = container()
    assert one.init(RESTRICTIONS).status == 200
    found = one.result()
    assert (found["uid"], found["gid"], found["capabilities"] >= 0) == (65534, 65534, True)
    assert (found["root"], found["function"], found["tmp"]) == ("Permission denied", "Permission denied", True)


def test_started_as_root_the_function_is_nobody(container: Start) -> None:
    one = container("--user=0")
    assert one.init(zip_of({"__main__.py": RESTRICTIONS})).status == 200, one.logs()
    found = one.result()
    assert (found["uid"], found["gid"], found["child"], found["no_new_privileges"]) == (65534, 65534, "65534", "1")
    assert (found["root"], found["function"], found["tmp"]) == ("Permission denied", "Permission denied", True)
    assert one.stop() == 0


#: Bytes of memory that the container has taken at most, as the kernel counts for its limit: not all kernels say.
MEMORY = '''
import pathlib

def main(event):
    for name in ("memory.peak", "memory/memory.max_usage_in_bytes", "memory.max_usage_in_bytes"):
        path = pathlib.Path("/sys/fs/cgroup", name)
        if path.exists():
            return {"bytes": int(path.read_text())}
    return {}
'''


def test_fits_into_32_megabytes(container: Start, figure: Figure) -> None:
    """Twice what proxy and runner need, and a quarter of the smallest container of the platforms."""
    one = container("--memory=32m", "--memory-swap=32m")
    assert one.init(MEMORY).status == 200
    for _ in range(200):
        found = one.result()
    figure("MB of memory after 200 runs within 32 MiB, at most", found["bytes"] / 1e6 if found else "unknown")


def test_no_process_more_than_the_limit(container: Start, figure: Figure) -> None:
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
    figure("children that a function may have under --pids-limit=8", found["forked"])


def test_pause_in_the_middle_of_a_run(container: Start, figure: Figure) -> None:
    """The function stands still, the connection stays, and the run goes on where it was."""
    one = container()
    assert one.init("""
import pathlib, time
def main(event):
    ticks = 0
    while not pathlib.Path("/tmp/enough").exists():
        ticks += 1
        print("tick", ticks, flush=True)
        time.sleep(0.01)
    return {"ticks": ticks}
""").status == 200
    answer = one.background(one.run)

    def ticks() -> int:
        return one.logs().stdout.count("tick")

    wait_until(lambda: ticks() > 10, "the function runs")
    docker("pause", one.name)
    used = one.cpu_us()
    time.sleep(1)
    assert one.cpu_us() == used and not answer.done()
    paused = ticks()
    docker("unpause", one.name)
    wait_until(lambda: ticks() > paused + 10, "the function goes on")
    docker("exec", one.name, "python3", "-c", "open('/tmp/enough', 'w').close()")
    found = answer.result()
    assert found.status == 200
    wait_until(lambda: ticks() == found.json["ticks"], "no step was lost, and none came twice")
    assert one.result() == {"ticks": 0}
    figure("paused in the middle of a run: steps before and after", f"{paused}, {found.json['ticks'] - paused}")


def _load(one: Container, stop: threading.Event, seen: List[Any]) -> None:
    """Runs one after the other until it is told to stop or the container is gone; appends what came back."""
    while not stop.is_set():
        try:
            seen.append(one.run({"name": "Ada"}))
        except ConnectionRefusedError:
            break
        except (OSError, http.client.HTTPException) as error:
            seen.append(error)
            break


def test_stopped_under_load(container: Start, figure: Figure) -> None:
    """Whoever has a connection gets a whole answer, and `docker stop` does not have to kill."""
    one = container()
    assert one.init("import time\n" + HELLO.replace("return", "time.sleep(0.005); return")).status == 200
    enough = threading.Event()
    answers: List[Any] = []
    clients = [one.background(_load, one, enough, answers) for _ in range(24)]
    try:
        wait_until(lambda: len(answers) > 100, "the load is there")
        began = time.monotonic()
        assert one.stop() == 0
        seconds = time.monotonic() - began
    finally:
        enough.set()
    concurrent.futures.wait(clients)
    bad = [answer for answer in answers if isinstance(answer, Exception) or answer.status not in (200, 503)]
    assert not bad, bad
    good = [answer for answer in answers if answer.status == 200]
    assert all(answer.json == {"greeting": "Hello Ada"} for answer in good)
    figure("stopped under the load of 24 clients: answers 200, 503, lost; seconds that docker stop took",
           f"{len(good)}, {len(answers) - len(good)}, {len(bad)}; {seconds:.1f}")


def test_stopped_in_a_function_that_does_not_end(container: Start) -> None:
    one = container()
    assert one.init("import time\ndef main(event):\n    print('entered')\n    time.sleep(600)\n").status == 200
    run = one.background(one.run)
    wait_until(lambda: "entered" in one.logs().stdout, "the function runs")
    assert one.stop() == 0
    assert run.result().status == 503


def test_out_of_memory_in_the_function(container: Start, figure: Figure) -> None:
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
    figure("killed by the kernel for its memory: the answer", f"{answer.status} {answer.json['error']}")


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
    wait_until(lambda: not [line for line in one.process_names() if line.startswith("Z")], "no zombies")
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
    one = container("--entrypoint=sleep", "--stop-signal=SIGKILL", "--health-interval=1s", "--health-retries=1",
                    "--health-start-period=0s", command=["60"])
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
