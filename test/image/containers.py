"""Start containers of the built image, and talk to them as the invoker of OpenWhisk does."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time
from typing import Any, Callable, List, NamedTuple, Sequence, Union

from blackbox.archives import zip_of
from blackbox.harness import init_body, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ.get("PYACTION_IMAGE", "pyaction")

PORT = 8080
#: Seconds after which any single wait counts as a hang.
PATIENCE = 30.0
#: One line on each log stream ends an activation.
MARKER = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
#: Seconds between the attempts to reach a container that refuses connections, as in the invoker's client.
RETRY = 0.05


def docker(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a docker command to its end; AssertionError with its output when it fails and `check` is set."""
    result = subprocess.run([DOCKER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                            timeout=10 * PATIENCE)
    assert not check or result.returncode == 0, f"docker {' '.join(words)}: {result.stderr}"
    return result


def inspect_image(image: str) -> Any:
    """The document of `docker image inspect`."""
    return json.loads(docker("image", "inspect", image).stdout)[0]


def in_image(*command: str, image: str = IMAGE, options: Sequence[str] = (), check: bool = True) -> str:
    """What a program of the image prints to stdout; it must succeed if `check` is set."""
    words = ("--rm", "--network=none", *options, "--entrypoint", command[0], image, *command[1:])
    return docker("run", *words, check=check).stdout


class Answer(NamedTuple):
    """One HTTP response with its body as JSON."""

    status: int
    json: Any


class Logs(NamedTuple):
    """What a container wrote to its two streams."""

    stdout: str
    stderr: str


def wheel_folder(path: pathlib.Path) -> pathlib.Path:
    """A folder, readable for all, with a package for pip: `greeting`, whose `text` is 'installed'."""
    (path / "greeting-1.0-py3-none-any.whl").write_bytes(zip_of({
        "greeting.py": "text = 'installed'\n",
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "greeting-1.0.dist-info/RECORD": "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\n"
                                         "greeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n",
    }))
    path.chmod(0o755)
    return path


class Container:
    """A container of the image, removed at the end of the test."""

    def __init__(self, options: Sequence[str] = (), command: Sequence[str] = (), image: str = IMAGE) -> None:
        self.name = docker("run", "-d", *options, image, *command).stdout.strip()
        self._threads = concurrent.futures.ThreadPoolExecutor(max_workers=32)
        self._address = ""
        self._seen = 0

    def remove(self) -> None:
        """Kill it and wait for what the test has left running."""
        docker("rm", "-f", self.name, check=False)
        self._threads.shutdown()

    def inspect(self, template: str) -> str:
        """`docker inspect` with a Go template."""
        return docker("inspect", "-f", template, self.name).stdout.strip()

    @property
    def address(self) -> str:
        """Its IP address, at which the invoker talks to it."""
        if not self._address:
            self._address = self.inspect("{{.NetworkSettings.IPAddress}}")
        return self._address

    def connection(self, port: int) -> http.client.HTTPConnection:
        """A connection, tried for as long as it is refused; AssertionError when the container has ended."""
        def connected() -> Any:
            one = http.client.HTTPConnection(self.address, port, timeout=PATIENCE)
            try:
                one.connect()
            except ConnectionRefusedError:
                assert self.running(), self.logs()
                return None
            return one

        connection: http.client.HTTPConnection = wait_until(connected, f"port {port} answers", PATIENCE)
        return connection

    # --- as the invoker does

    def connects(self) -> bool:
        """The health check: connect, close."""
        try:
            socket.create_connection((self.address, PORT), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return False
        return True

    def post(self, path: str, body: bytes, patience: float = PATIENCE) -> Answer:
        """One request on a connection of its own. The invoker's client takes an answer without Content-Length, or a
        compressed one, for none: AssertionError."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=patience)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip,deflate"}
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            assert response.getheader("Content-Length") is not None, response.getheaders()
            assert response.getheader("Content-Encoding") is None, response.getheaders()
            return Answer(response.status, json.loads(response.read()))

    def init(self, code: Union[str, bytes], **members: Any) -> Answer:
        """/init of a source (text) or of an archive (bytes), repeated as long as the connection is refused."""
        body = init_body(code, **members)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.post("/init", body)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, f"refused for {PATIENCE:g} s: {self.logs()}"
                time.sleep(RETRY)

    def run(self, value: Any = None, **metadata: Any) -> Answer:
        """/run, once: the invoker does not repeat it."""
        deadline = str(int((time.time() + PATIENCE) * 1000))
        document = {"value": {} if value is None else value, "activation_id": "0" * 32, "namespace": "guest",
                    "action_name": "/guest/hello", "deadline": deadline, **metadata}
        return self.post("/run", json.dumps(document).encode())

    def result(self, value: Any = None) -> Any:
        """The result of a run that must succeed."""
        answer = self.run(value)
        assert answer.status == 200, (answer, self.logs())
        return answer.json

    def activation_logs(self) -> Logs:
        """The output since the last call, as the invoker collects it: waits for a marker line on both streams, and
        drops these lines. AssertionError when there is another number of them."""
        self._seen += 1
        wait_until(lambda: all(text.count(MARKER) >= self._seen for text in self.logs()),
                   f"marker {self._seen} on both streams: {self.logs()}", PATIENCE)
        parts = []
        for text in self.logs():
            assert text.count(MARKER) == self._seen, text
            part = text.split(MARKER + "\n")[self._seen - 1]
            assert not part or part.endswith("\n"), f"a line that the invoker loses: {part!r}"
            parts.append(part)
        return Logs(*parts)

    # --- as an operator does

    def logs(self) -> Logs:
        """Everything it wrote so far."""
        result = docker("logs", self.name)
        return Logs(result.stdout, result.stderr)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.inspect("{{.State.Running}}") == "true"

    def cpu_us(self) -> int:
        """Microseconds of CPU that its processes have taken: process 1 and those below it."""
        first = self.inspect("{{.State.Pid}}")
        below = pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()
        nanoseconds = [int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in (first, *below)]
        return sum(nanoseconds) // 1000

    def process_names(self) -> List[str]:
        """The state and the command name of its processes, zombies included."""
        return docker("top", self.name, "state", "comm").stdout.splitlines()[1:]

    def stop(self, seconds: int = 10) -> int:
        """`docker stop`: the exit status, 137 when docker had to kill it after so many seconds."""
        docker("stop", "-t", str(seconds), self.name)
        return int(self.inspect("{{.State.ExitCode}}"))

    def background(self, call: Callable[..., Any], *arguments: Any) -> "concurrent.futures.Future[Any]":
        """Start a call in a thread."""
        return self._threads.submit(call, *arguments)
