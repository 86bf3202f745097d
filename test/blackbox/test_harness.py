"""The checks after each test can fail: each is shown a server that deserves it."""

import pathlib

import pytest

from . import harness
from .harness import PYTHON, Server, Settings

#: A server in the way that the harness sees one: it listens, has one child, and ends on SIGTERM.
SERVER = """#!{python} -SE
import os, signal, socket, subprocess, sys, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
child = subprocess.Popen(["/bin/sleep", "1000"])
def stop(*_):
    child.kill()
    child.wait()
    {at_stop}
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
listener = socket.create_server(("127.0.0.1", int(options["--port"])))
kept = []
while True:
    client, _ = listener.accept()
    request = client.recv(1000)
    if request:
        {at_request}
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: {length}\\r\\n\\r\\n{body}")
    client.close()
"""

FAULTS = {
    "nothing": ("pass", "pass", None),
    "open-file": ("kept.append(open('/dev/null'))", "pass", "open files as at the start"),
    "connection": ("kept.append(client.dup())", "pass", "closes connections"),
    "zombie": (
        "os.waitid(os.P_PID, os.posix_spawn('/bin/true', ['true'], {}), os.WEXITED | os.WNOWAIT)",
        "pass",
        "reaps its children",
    ),
    "process": (
        "kept.append(subprocess.Popen(['/bin/sleep', '1000'], start_new_session=True))",
        "pass",
        "processes left over",
    ),
    "orphan": (
        "os.system('/bin/sleep 1000 >/dev/null 2>&1 &')",
        "pass",
        "processes left over",
    ),
    "file-in-the-work-dir": (
        "open(options['--work-dir'] + '/left', 'w').close()",
        "pass",
        "left in the work directory: ['left']",
    ),
    "file-in-tmpdir": (
        "open(os.environ['TMPDIR'] + '/left', 'w').close()",
        "pass",
        "left in the tmp directory: ['left']",
    ),
    "exit-status": ("pass", "os._exit(3)", "exited 3 after SIGTERM"),
    "slow-stop": ("pass", "time.sleep(1000)", "did not stop within"),
    "early-end": ("child.kill(); os._exit(7)", "pass", "exited 7"),
    "early-good-end": ("child.kill(); os._exit(0)", "pass", "exited 0 without having been asked to"),
    "address-sanitizer": (
        "os.write(2, b'==1==ERROR: AddressSanitizer: heap-use-after-free')",
        "pass",
        "sanitizer report",
    ),
    "undefined-behaviour": (
        "os.write(1, b'x.c:1:2: runtime error: signed integer overflow')",
        "pass",
        "sanitizer report",
    ),
}


def start(tmp_path: pathlib.Path, monkeypatch, at_request: str, at_stop: str, **answer) -> Server:
    """A server with this fault."""
    answer = {"length": 2, "body": "{}", **answer}
    script = tmp_path / "server"
    script.write_text(
        SERVER.replace("{python}", PYTHON)
        .replace("{at_stop}", at_stop)
        .replace("{at_request}", at_request)
        .replace("{length}", str(answer["length"]))
        .replace("{body}", answer["body"])
    )
    script.chmod(0o755)
    monkeypatch.setattr(harness, "EXECUTABLE", script)
    return Server(tmp_path, Settings())


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_fault_is_found(tmp_path, monkeypatch, fault):
    at_request, at_stop, complaint = FAULTS[fault]
    server = start(tmp_path, monkeypatch, at_request, at_stop)
    if fault.startswith("early"):
        with pytest.raises(ConnectionError):
            server.request("GET", "/")
        server.wait()
    else:
        assert server.request("GET", "/").status == 200
    if complaint is None:
        server.finish()
        return
    with pytest.raises(AssertionError) as caught:
        server.finish()
    assert complaint in str(caught.value)


def test_compressed_answer_is_found(tmp_path, monkeypatch):
    server = start(tmp_path, monkeypatch, "pass", "pass", length="2\\r\\nContent-Encoding: gzip")
    with pytest.raises(AssertionError, match="gzip"):
        server.request("GET", "/")
    server.finish()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"glued to it" + harness.MARKER, id="before"),
        pytest.param(harness.MARKER.strip() + b" and more\n", id="behind"),
        pytest.param(harness.MARKER.strip(), id="unterminated"),
    ],
)
def test_marker_that_shares_its_line_is_found(tmp_path, text):
    path = tmp_path / "log"
    path.write_bytes(text)
    with pytest.raises(AssertionError):
        harness.Log(path).activations()
