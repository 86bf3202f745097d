"""A server under measurement, seen from outside: the requests of a door, the right answers, and the load client."""

from __future__ import annotations

import abc
import dataclasses
import http.client
import json
import pathlib
import shlex
import subprocess
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from container import BenchError, Container, free_port

WAIT_S = 10  # for a starting server's port
REQUEST_TIMEOUT_S = 60

Figures = Dict[str, float]
Steps = Sequence[Tuple[str, int]]  # keys of requests and how often


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        ratio_of: two rows' keys: this one says how many times the second's time goes into the first's, best into best
            and median into median; it has no samples of its own
    """

    key: str
    title: str
    unit: str
    higher_is_better: bool = False
    ratio_of: Tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many requests a measurement makes in one round."""

    new: int
    kept: int
    warm_up: int
    echo: Dict[str, int]  # by the size of the payload, like 1KB
    log: int
    memory: int = 1000


FULL = Counts(
    new=2000, kept=5000, warm_up=200, echo={"1KB": 500, "10KB": 500, "100KB": 100, "1MB": 10, "10MB": 5}, log=10
)
QUICK = Counts(
    new=300, kept=1000, warm_up=50, echo={"1KB": 100, "10KB": 100, "100KB": 20, "1MB": 3, "10MB": 1}, log=3
)


class Material(abc.ABC):
    """What is asked of servers through a door: requests by their keys, as files for the client, and right answers.

    Attributes:
        functions: for each function, the keys of its requests, in the order in which a new server can take them
        client_options: options of the client that this door needs
        bodies: the file with the body of each request
        answers: the value that each request's answer has as JSON
    """

    functions: Dict[str, List[str]]
    client_options: Tuple[str, ...] = ()

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self.bodies: Dict[str, pathlib.Path] = {}
        self.answers: Dict[str, Any] = {}

    def add(self, key: str, body: bytes, answer: Any) -> None:
        """Adds a request."""
        self.bodies[key] = self._directory / f"{key}.json"
        self.bodies[key].write_bytes(body)
        self.answers[key] = answer

    def new_round(self, number: int) -> None:
        """Makes what must be new to the servers in each round."""

    @abc.abstractmethod
    def command(self, template: str, function: str) -> str:
        """The command line that starts a server for a function, with {port} still in it."""

    @abc.abstractmethod
    def path(self, key: str) -> str:
        """The path that a request goes to."""

    @abc.abstractmethod
    def check_output(self, container: Container, steps: Steps) -> None:
        """Compares what the server printed since the last check with what these requests have to print.

        Raises:
            BenchError: it is something else
        """


class Server:
    """A server by its command line, its right answers to the byte, and the samples taken of it.

    Two servers may write the same value as different JSON. So each one's first answer to a request is compared with the
    expected value, and from then on its answers with the bytes of that first one.

    Args:
        compiler: the command that makes of a function's archive one that this server starts sooner, both zips, from its
            stdin to its stdout; "" for none
    """

    def __init__(
        self, name: str, command: str, material: Material, directory: pathlib.Path, client: pathlib.Path,
        compiler: str = "",
    ) -> None:
        self.name = name
        self.command = command
        self.compiler = compiler
        self.own_bodies: Dict[str, pathlib.Path] = {}  # of requests that are not the same for all servers
        self.samples: Dict[str, List[float]] = {}
        self.failures: List[str] = []
        self._material = material
        self._directory = directory
        self._client = client
        self._directory.mkdir(parents=True)

    def start(self, function: str, port: Optional[int] = None) -> Container:
        """Starts the server; see Container."""
        return Container(self._material.command(self.command, function), self._directory, port)

    def learn(self, function: str) -> None:
        """Gets and verifies the first answer to each request of a function. Raises BenchError for a wrong one."""
        with self.start(function) as container:
            container.wait_ready()
            for key in self._material.functions[function]:
                self._learn_answer(container, key)
                self._material.check_output(container, [(key, 1)])

    def compile(self, archive: bytes) -> bytes:
        """Runs the compiler. Raises BenchError."""
        result = subprocess.run(
            shlex.split(self.compiler), input=archive, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False
        )
        if result.returncode != 0 or not result.stdout:
            said = result.stderr.decode("utf-8", "replace").strip()
            raise BenchError(f"{self.compiler} ended with status {result.returncode}: {said!r}")
        return result.stdout

    def set_body(self, key: str, body: bytes) -> None:
        """Makes a request this server's own."""
        self.own_bodies[key] = self._directory / f"{key}.json"
        self.own_bodies[key].write_bytes(body)

    def body(self, key: str) -> pathlib.Path:
        """The file with the body of a request to this server."""
        return self.own_bodies.get(key) or self._material.bodies[key]

    def _expected(self, key: str) -> pathlib.Path:
        return self._directory / f"{key}.expected"

    def _learn_answer(self, container: Container, key: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", container.port, timeout=REQUEST_TIMEOUT_S)
        request = self.body(key).read_bytes()
        try:
            connection.request("POST", self._material.path(key), request, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or json.loads(body) != self._material.answers[key]:
                raise BenchError(
                    f"{key}: wrong answer, status {response.status}: {body[:200]!r}; {container.complaint()}"
                )
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BenchError(f"{key}: no right answer: {error!r}; {container.complaint()}") from None
        finally:
            connection.close()
        self._expected(key).write_bytes(body)

    def _client_command(self, port: int, steps: Steps, *options: str) -> List[str]:
        command = [str(self._client), *self._material.client_options, *options, str(port)]
        for key, count in steps:
            command += [
                self._material.path(key), str(self.body(key)), str(self._expected(key)), str(count)
            ]
        return command

    def request(self, container: Container, steps: Steps, new: bool = False) -> List[Dict[str, float]]:
        """Has the client make requests. Returns the client's figures for each step.

        Raises:
            BenchError: an answer or the printed output was wrong
        """
        command = self._client_command(container.port, steps, *(["--new"] if new else []))
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if result.returncode != 0:
            raise BenchError(f"{result.stderr.decode('utf-8', 'replace').strip()}; {container.complaint()}")
        self._material.check_output(container, steps)
        return list(json.loads(result.stdout)["steps"])

    def request_while_starting(self, function: str, steps: Steps) -> Tuple[int, Dict[str, Any]]:
        """Starts a server while the client already tries to connect to it; a new connection for each request.

        Returns:
            the time just before the spawn, in ns of the monotonic clock, and the client's figures
        """
        port = free_port()
        command = self._client_command(port, steps, "--new", "--wait", str(WAIT_S))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            try:
                assert client.stdout
                client.stdout.readline()  # "waiting"
                with self.start(function, port) as container:
                    output, complaint = client.communicate()
                    if client.returncode != 0:
                        raise BenchError(f"{complaint.decode('utf-8', 'replace').strip()}; {container.complaint()}")
                    self._material.check_output(container, steps)
                    return container.started_ns, json.loads(output)
            finally:
                client.kill()


def new_connections(server: Server, container: Container, key: str, counts: Counts, prefix: str) -> Figures:
    """One client, one request after the other, a new connection for each."""
    server.request(container, [(key, counts.warm_up)], new=True)
    (run,) = server.request(container, [(key, counts.new)], new=True)
    return {f"{prefix}-p50": run["p50_us"], f"{prefix}-p99": run["p99_us"], f"{prefix}-rate": run["per_second"]}


def kept_connection(server: Server, container: Container, key: str, counts: Counts, prefix: str) -> Figures:
    """One client, one request after the other on one connection; what that costs the whole process tree."""
    server.request(container, [(key, counts.warm_up)])
    tree, cpu, switches = container.tree(), container.cpu_ns(), container.context_switches()
    (run,) = server.request(container, [(key, counts.kept)])
    cpu, switches = container.cpu_ns() - cpu, container.context_switches() - switches
    if container.tree() != tree:
        raise BenchError("processes came or went during the runs, so their CPU time is not known")
    if run["connections"] != 1:
        raise BenchError(f"the server did not keep the connection: {run['connections']} for {counts.kept} requests")
    return {
        f"{prefix}-p50": run["p50_us"],
        f"{prefix}-p99": run["p99_us"],
        f"{prefix}-rate": run["per_second"],
        f"{prefix}-cpu": cpu / 1e3 / counts.kept,
        f"{prefix}-switches": switches / counts.kept,
    }


def connection_rows(prefix: str, request: str) -> List[Row]:
    """The rows of new_connections() and kept_connection()."""
    new, kept = f"{request} on a new connection each", f"{request} on a kept connection"
    return [
        Row(f"{prefix}new-p50", f"{new}: median latency", "µs"),
        Row(f"{prefix}new-p99", f"{new}: 99th percentile", "µs"),
        Row(f"{prefix}new-rate", f"{new}: throughput", "1/s", True),
        Row(f"{prefix}kept-p50", f"{kept}: median latency", "µs"),
        Row(f"{prefix}kept-p99", f"{kept}: 99th percentile", "µs"),
        Row(f"{prefix}kept-rate", f"{kept}: throughput", "1/s", True),
        Row(f"{prefix}kept-cpu", f"{kept}: CPU time for each", "µs"),
        Row(f"{prefix}kept-switches", f"{kept}: context switches for each", ""),
    ]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Something to measure: the function whose answers it needs, how, and how often in a round."""

    function: str
    measure: Callable[[Server, Counts], Figures]
    repeats: int = 1
