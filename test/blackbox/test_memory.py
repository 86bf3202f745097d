"""Work that is repeated must not take more memory each time: leaks show as growth."""

import pathlib
import re
import time

import pytest

from .archives import file_entry, zip_of_entries
from .harness import SANITIZED, connections, wait_until

pytestmark = pytest.mark.usefixtures("freed_at_once")

#: What may be added by the second half of a test's work, in KB. A leak of a request's size is far above.
TOLERANCE_KB = 2000


def resident_kb(pid: int) -> int:
    """The resident set of a process in KB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert match is not None
    return int(match.group(1))


def settled_kb(pid: int) -> int:
    """The least of some samples: what an activation took goes back a moment after its answer."""
    samples = []
    for _ in range(15):
        time.sleep(0.02)
        samples.append(resident_kb(pid))
    return min(samples)


def assert_steady(one, work, times: int) -> None:
    """Do the work so many times, and again, and compare proxy and runner after both halves."""
    sizes = []
    for _ in range(2):
        for _ in range(times):
            work()
        sizes.append([settled_kb(pid) for pid in (one.pid, *sorted(one.runners()))])
    for first, second in zip(*sizes):
        assert second - first < TOLERANCE_KB, sizes


ECHO = "def main(event):\n    return event\n"


def test_small_runs(action):
    one = action(ECHO)
    client = one.connect()
    assert_steady(one, lambda: one.run({"n": 1}, client=client), 2000)


def test_large_runs(action):
    one = action(ECHO)
    value = {"t": "ä" * 500_000}
    assert_steady(one, lambda: one.run(value), 30)


def test_large_run_among_small_ones(action):
    """What it took goes back although the process has never again a moment to itself."""
    one = action(ECHO)
    client = one.connect()
    assert one.run({"t": ""}, client=client).status == 200
    (runner,) = one.runners()
    before = settled_kb(runner)
    assert one.run({"t": "x" * 10_000_000}, client=client).status == 200

    def is_small_again() -> bool:
        assert one.run({"t": ""}, client=client).status == 200
        return resident_kb(runner) < before + TOLERANCE_KB

    wait_until(is_small_again, "the runner gives back what a large event took")


def test_crowd_of_connections(action):
    """Each takes 32 KB of the proxy's memory, which goes back when they have left."""
    one = action(ECHO)
    assert one.result({"n": 1}) == {"n": 1}
    before = settled_kb(one.pid)
    crowd = [one.connect() for _ in range(300)]
    for client in crowd:
        assert one.run({"n": 1}, client=client).status == 200
    taken = resident_kb(one.pid) - before
    assert taken > TOLERANCE_KB
    for client in crowd:
        client.close()
    # A sanitizer's allocator keeps pages of which a part is in use: a third of what was taken (measured).
    kept = taken // 2 if SANITIZED else TOLERANCE_KB
    wait_until(lambda: resident_kb(one.pid) < before + kept, "the proxy gives back what a crowd took")


def test_connections(action):
    one = action(ECHO)
    assert_steady(one, lambda: one.request("GET", "/nowhere"), 1000)


def test_broken_connections(action):
    one = action(ECHO)

    def leave() -> None:
        client = one.connect()
        client.send(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"x" * 50_000)
        client.close()
        wait_until(lambda: connections(one.port) == 0, "the connection is closed")

    assert_steady(one, leave, 60)


def test_refused_bodies(action):
    one = action(ECHO)
    body = b'{"value": ' + b"x" * 100_000 + b"}"
    assert_steady(one, lambda: one.post("/run", body), 200)


def test_errors(action):
    one = action("def main(event):\n    raise ValueError('x' * 100_000)\n")
    assert_steady(one, lambda: one.run({}), 100)


def test_unserialisable_results(action):
    one = action("def main(event):\n    return {'pad': ['x' * 1000] * 1000, 'bad': {1}}\n")
    assert_steady(one, lambda: one.run({}), 100)


def test_output(action):
    one = action("def main(event):\n    print('x' * 100_000)\n    return {}\n", settings={"stdout": "/dev/null"})
    assert_steady(one, lambda: one.run({}), 200)


def test_metadata(action):
    """Variables that were set before are set again in place."""
    one = action(ECHO)
    assert_steady(one, lambda: one.run({"n": 1}, activation_id="x" * 1000, other="y" * 1000), 500)


def test_second_inits(action):
    one = action(ECHO)
    code = "# " + "x" * 500_000
    assert_steady(one, lambda: one.init(code), 30)


def test_failed_inits(server):
    """Each takes a runner of its own, so only the proxy is compared."""
    one = server()
    archive = zip_of_entries([file_entry("__main__.py", "1 / 0\n"), file_entry("pad", b"x" * 300_000)])
    sizes = []
    for _ in range(2):
        for _ in range(20):
            assert one.init(archive, env={"A": "b", "PYTHONHASHSEED": "0"}).status == 502
        sizes.append(resident_kb(one.pid))
    assert sizes[1] - sizes[0] < TOLERANCE_KB


def test_crashes(action):
    """A runner's end gives back all that the proxy held for it."""
    one = action("import os\ndef main(event):\n    os._exit(1)\n")
    sizes = []
    for _ in range(2):
        for _ in range(30):
            assert one.run({"pad": "x" * 100_000}).status == 400
        sizes.append(resident_kb(one.pid))
    assert sizes[1] - sizes[0] < TOLERANCE_KB


@pytest.mark.skipif(not SANITIZED, reason="make asan's own leak check")
@pytest.mark.parametrize(
    ("allocator", "argument"), [("PyUnicode_FromString", b"a lost string"), ("malloc", 1000)], ids=["object", "block"]
)
def test_leak_in_the_runner_is_reported(action, allocator, argument):
    """In the log of the activation that left it behind (test/analysis/check_leaks.c)."""
    code = (
        f"import ctypes\nallocate = ctypes.PyDLL(None).{allocator}\nallocate.restype = ctypes.c_void_p\n"
        f"def main(event):\n    if event['leak']:\n        allocate({argument!r})\n    return {{}}\n"
    )
    one = action(code, settings={"sanitizer_text": True})
    for leak in (False, False, True):
        assert one.result({"leak": leak}) == {}
    *before, leaky, _ = one.err.activations()
    assert b"Sanitizer" not in b"".join(before)
    assert b"ERROR: LeakSanitizer: detected memory leaks" in leaky
