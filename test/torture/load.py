"""Requests with a token of their own, the connections they go over, and what became of each."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import random
import secrets
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Tuple

from blackbox.harness import LAMBDA_PATH, SCF_PATH

HOST = "127.0.0.1"

#: Where requests go, by door.
PATHS = {"openwhisk": "/run", "lambda": LAMBDA_PATH, "scf": SCF_PATH}


class Violation(Exception):
    """The server has broken a promise."""


class Closed(Exception):
    """The server has closed the connection."""


class Refused(Closed):
    """The server has never taken it."""


@dataclasses.dataclass
class Shape:
    """What a request is like.

    size: bytes of the event's padding. out: of the result's. lines, width: what is printed to each stream.
    sleep_ms: how long the handler takes. do: the name of an act of victim.py, with its arguments in `more`.
    """

    size: int = 0
    out: int = 0
    lines: int = 1
    width: int = 0
    sleep_ms: float = 0
    do: str = ""
    more: Dict[str, Any] = dataclasses.field(default_factory=dict)


def random_shape(rng: random.Random) -> Shape:
    """One of the ordinary load: most are small, some are not."""
    kind = rng.random()
    shape = Shape(size=rng.randrange(1000), out=rng.randrange(1000), lines=rng.randrange(4), width=rng.randrange(200))
    if kind < 0.02:
        shape.size = rng.randrange(1 << 20)
    elif kind < 0.04:
        shape.out = rng.randrange(1 << 20)
    elif kind < 0.06:
        shape.lines = rng.randrange(300)
    elif kind < 0.10:
        shape.sleep_ms = rng.random() * 5
    return shape


@dataclasses.dataclass
class Request:
    """One request and its fate.

    door: through which it goes, a key of PATHS. started, sent, ended: when it was begun, had left entirely, was
    answered; 0 for never. abandoned: the client broke it off. label: the outcome, "" while there is none. activated:
    whether the outcome says that the function was activated, which shows in the log. perhaps: whether it leaves that
    open.
    """

    number: int
    token: str
    shape: Shape
    door: str = "openwhisk"
    started: float = dataclasses.field(default_factory=time.monotonic)
    ended: float = 0.0
    sent: float = 0.0
    abandoned: bool = False
    label: str = ""
    activated: bool = False
    perhaps: bool = False

    def body(self) -> bytes:
        """What is posted."""
        shape = self.shape
        event = {"number": self.number, "token": self.token, "in": "z" * shape.size, "out": shape.out,
                 "lines": shape.lines, "width": shape.width, "sleep_ms": shape.sleep_ms, **shape.more}
        if shape.do:
            event["do"] = shape.do
        if self.door == "openwhisk":
            return json.dumps({"value": event, "activation_id": self.token}).encode()
        return json.dumps(event).encode()

    def http(self) -> bytes:
        """The same with its header block."""
        body = self.body()
        path = PATHS[self.door].encode()
        return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)

    def result(self) -> bytes:
        """What the function returns for it."""
        return b'{"token": "%s", "in": %d, "padding": "%s"}' % (
            self.token.encode(), self.shape.size, b"y" * self.shape.out)

    def judge(self, status: int, body: bytes) -> None:
        """Set label and activated from an answer.  Raises Violation where it is not one of this request's."""
        self.ended = time.monotonic()
        if status == 200 and (self.door != "lambda" or b'"token"' in body):
            if body != self.result():
                raise Violation(f"request {self.number} got an answer that is not its own: {body[:200]!r}")
            self.label, self.activated = "200", True
            return
        try:
            document = json.loads(body)
            if self.door == "lambda":
                self.label = invoke_label_of(status, document)
            elif self.door == "scf":
                self.label = event_label_of(status, document)
            else:
                self.label = label_of(status, document["error"])
        except (ValueError, TypeError, KeyError):
            raise Violation(f"request {self.number}: status {status}, no error document: {body[:200]!r}") from None
        # What ran nothing leaves no markers: docs/protocol.md, the table of /run.
        ran = self.label.startswith(("400", "502")) or self.label == "500 bad reply"
        # At the other doors a process that ended while it loaded the code again looks like one that ended in its run.
        self.perhaps = ran and self.door != "openwhisk" and not self.label.startswith("502 e")
        self.activated = ran and not self.perhaps


LABELS: List[Tuple[int, str, str]] = [
    (400, "command exited (it ", "400 protocol"),
    (400, "command exited (the runner sent", "400 protocol"),
    (400, "command exited (", "400 exited"),
    (502, "Cannot start action. Check logs for details. (KeyboardInterrupt", "502 interrupted"),
    (502, "Cannot start action. Check logs for details. (", "502 init"),
    (502, "KeyboardInterrupt", "502 interrupted"),
    (502, "MemoryError", "502 MemoryError"),
    (502, "The result cannot be converted to JSON: MemoryError", "502 MemoryError"),
    (502, "maximum recursion depth", "502 exception"),
    (502, "on purpose ", "502 exception"),
    (502, "The action exceeded its time limits", "502 time"),
    (502, "The action exhausted its memory", "502 memory"),
    (500, "The runner answered with an unknown status", "500 bad reply"),
    (500, "Out of memory", "500 memory"),
    (500, "cannot start", "500 start"),
    (500, "cannot make", "500 start"),
    (500, "cannot open", "500 start"),
    (429, "Too many requests are waiting.", "429"),
    (429, "Rate Exceeded.", "429"),
    (503, "The server is shutting down.", "503"),
]


def label_of(status: int, text: str) -> str:
    """The name of an outcome for the table.  Raises Violation for a text that docs/protocol.md does not have."""
    for known, beginning, label in LABELS:
        if status == known and text.startswith(beginning):
            return label
    raise Violation(f"an answer that nothing explains: {status} {text!r}")


INVOKE_LABELS = {
    "Runtime.ExitError": "400 exited",
    "Sandbox.Timedout": "502 time",
    "Runtime.OutOfMemory": "502 memory",
}


def invoke_label_of(status: int, document: Dict[str, str]) -> str:
    """The same for the door of Lambda, by the name that the outcome has at /run."""
    if status != 200:
        # What fails before the door is known has no door's form.
        return label_of(status, document["error"] if "error" in document else document["Message"])
    if "error" in document:  # the function's own document, of OpenWhisk's convention
        return label_of(502, document["error"])
    if document["errorType"] not in INVOKE_LABELS:
        raise Violation(f"an answer that nothing explains: {document}")
    return INVOKE_LABELS[document["errorType"]]


EVENT_LABELS = {433: "502 time", 434: "502 memory", 439: "400 exited"}


def event_label_of(status: int, document: Dict[str, str]) -> str:
    """The same for the door of SCF."""
    if status in EVENT_LABELS:
        return EVENT_LABELS[status]
    if "error" in document:  # the function's own document, or one from before the door
        return label_of(502 if status in (430, 443) else status, document["error"])
    text = document["errorMessage"].partition(": ")[2]
    return label_of({499: 503}.get(status, status), text)


class Connection:
    """One TCP connection to the server, not blocking."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: Optional[socket.socket] = None
        self._buffer = b""

    async def open(self, receive_buffer: int = 0) -> None:
        """Connect. receive_buffer: bytes that the kernel takes for us, 0 for its default. Raises Refused."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(self._socket, (HOST, self._port))
        except OSError as error:
            self.close()
            raise Refused(str(error)) from None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def close(self, reset: bool = False) -> None:
        """Close it; with reset, the server sees an error instead of an end. May be repeated."""
        if self._socket is None:
            return
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._socket = None
        self._buffer = b""

    def end_sending(self) -> None:
        """Say that no more will come, and go on reading."""
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def send(self, data: bytes) -> None:
        """Send all of it. A server that has closed may have answered before: that shows in reading."""
        assert self._socket is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self, size: int = 1 << 18) -> bytes:
        """What comes next. Raises Closed at the end."""
        assert self._socket is not None
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        except OSError as error:
            raise Closed(str(error)) from None
        if not data:
            raise Closed("closed by the server")
        return data

    async def read_answer(self) -> Tuple[int, bytes]:
        """Status and body of the next answer. Raises Closed, and Violation for what is no answer."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self.receive()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        words = lines[0].split()
        if words[0] != "HTTP/1.1" or "content-length" not in headers:
            raise Violation(f"no answer of HTTP: {head[:300]!r}")
        length, parts, got = int(headers["content-length"]), [rest], len(rest)
        while got < length:
            parts.append(await self.receive())
            got += len(parts[-1])
        data = b"".join(parts)
        self._buffer = data[length:]
        if headers.get("connection") == "close":
            if self._buffer:
                raise Violation(f"bytes behind the last answer: {self._buffer[:200]!r}")
            self.close()
        return int(words[1]), data[:length]

    async def ask(self, request: Request) -> None:
        """Send a request and read its answer into it. Raises Closed and Violation."""
        if not self.is_open:
            await self.open()
        if self._buffer:
            raise Violation(f"an answer that nobody asked for: {self._buffer[:200]!r}")
        await self.send(request.http())
        request.sent = time.monotonic()
        request.judge(*await self.read_answer())


class Ledger:
    """All requests to one server."""

    def __init__(self, limit: int, door: str = "openwhisk") -> None:
        self.requests: List[Request] = []
        self.door = door
        self.limit = limit
        self._numbers = itertools.count(0)
        self._secret = secrets.token_hex(4)

    def new(self, shape: Shape) -> Request:
        """A request that no other is like."""
        number = next(self._numbers)
        assert number < self.limit, "more requests than the witness has room for"
        request = Request(number, f"{self._secret}-{number}-{secrets.token_hex(4)}", shape, self.door)
        self.requests.append(request)
        return request

    @property
    def is_full(self) -> bool:
        """Whether it is time to come to an end."""
        return len(self.requests) > self.limit * 0.9
