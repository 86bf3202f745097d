"""Clients that send or read slowly, too much, or nothing, many at a time: others are served meanwhile, and what is
held for such a client is bounded, in bytes and in time.

--client-timeout is a second here instead of two minutes.
"""

import contextlib
import json
import resource
import socket
import threading
import time
from typing import Callable, Iterator, List

import pytest

from .harness import PATIENCE, SANITIZED, Client, Server, connections, http_request, wait_until
from .test_memory import resident_kb
from .test_process import limited

ECHO = "def main(event):\n    return event\n"
LARGE = "def main(event):\n    return {'t': 'x' * event.get('n', 1)}\n"

#: Slow clients of one test.
CLIENTS = 100
SHORT = {"options": ["--client-timeout", "1"]}
MIB = 1 << 20


@contextlib.contextmanager
def attack(work: Callable[[], None]) -> Iterator[threading.Thread]:
    """work() in a thread; it must come to its end by itself."""
    failures: List[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: B902 - told by the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(3 * PATIENCE)
        assert not thread.is_alive(), "the attack goes on"
    assert not failures, failures


def serve_others(one: Server, attacker: threading.Thread, at_least: int = 20) -> None:
    """Another client's requests are answered for as long as the attack lasts."""
    client = one.connect()
    count = 0
    while count < at_least or attacker.is_alive():
        assert one.run({"n": count}, client=client).status == 200
        count += 1
        time.sleep(0.005)


def rest_of(client: Client) -> bytes:
    """What the server sends until it closes, which it must."""
    data = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            piece = client.socket.recv(65536)
            if not piece:
                break
            data += piece
    return data


def trickle(one: Server, begin: bytes, byte: bytes, refusal: bytes) -> None:
    """Many clients that send `begin`, and from then on a byte each now and then: until all have been refused."""
    clients = [one.connect() for _ in range(CLIENTS)]
    for client in clients:
        client.send(begin)
    sending = list(clients)
    while sending:
        for client in list(sending):
            try:
                client.send(byte)
            except (BrokenPipeError, ConnectionResetError):
                sending.remove(client)
        time.sleep(0.05)
    for client in clients:
        data = b""
        with contextlib.suppress(ConnectionResetError):
            data = client.socket.recv(65536)
        assert data == b"" or data.startswith(refusal), data
        client.close()


def test_slow_headers(action):
    """Byte by byte, as long as they like: 408 when the time for a header block is over."""
    one = action(ECHO, settings=SHORT)
    begin = b"POST /run HTTP/1.1\r\nHost: x\r\nX-Slow: "
    with attack(lambda: trickle(one, begin, b"y", b"HTTP/1.1 408 ")) as attacker:
        serve_others(one, attacker)
    client = one.connect()
    client.send(begin)
    answer = client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert "--client-timeout" in answer.error


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
def test_slow_bodies(action, framing):
    """The same for a body: it has to go on."""
    one = action(ECHO, settings=SHORT)
    begin = b"POST /run HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n"
    byte = b" " if framing.startswith(b"C") else b"1\r\n \r\n"
    with attack(lambda: trickle(one, begin, byte, b"HTTP/1.1 408 ")) as attacker:
        serve_others(one, attacker)
    assert one.out.markers() == one.err.markers() >= 20


def test_honest_slow_upload(action):
    """Five times as long as --client-timeout, but with 64 KB in each: it is none of them."""
    one = action("def main(event):\n    return {'n': len(event['t'])}\n", settings=SHORT)
    body = json.dumps({"value": {"t": "x" * 2_000_000}}).encode()
    client = one.connect()
    client.send(http_request("POST", "/run", None, [("Content-Length", str(len(body)))]))
    for at in range(0, len(body), 40_000):
        client.send(body[at:at + 40_000])
        time.sleep(0.1)
    assert client.read_answer().json == {"n": 2_000_000}


def read_slowly(one: Server, count: int) -> None:
    """Clients that read a byte of their 10 MB now and then, until the server has given them up."""
    clients = []
    for _ in range(count):
        client = one.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(http_request("POST", "/run", b'{"value": {"n": 10000000}}'))
        clients.append(client)

    def all_dropped() -> bool:
        for client in clients:
            with contextlib.suppress(OSError):
                client.socket.recv(1)
        return connections(one.port) <= 1

    wait_until(all_dropped, "slow readers are given up")
    for client in clients:
        client.close()


def test_slow_readers(action):
    """Answers of 10 MB that nobody takes are not kept, and other clients have theirs."""
    one = action(LARGE, settings=SHORT)
    with attack(lambda: read_slowly(one, 10)) as attacker:
        serve_others(one, attacker)
    if not SANITIZED:  # which keeps what is freed
        wait_until(lambda: resident_kb(one.pid) < 30_000, "the memory of the answers goes back")


def test_honest_slow_reader(action):
    """Longer than --client-timeout, but with 64 KB in each."""
    one = action(LARGE, settings=SHORT)
    client = one.connect()
    client.send(http_request("POST", "/run", b'{"value": {"n": 10000000}}'))
    size = 0
    while size < 10_000_000:
        size += len(client.socket.recv(200_000))
        time.sleep(0.05)


def test_waiting_for_the_function_is_not_counted(action, gate):
    """... however long it takes."""
    one = action("def main(event):\n    open(event['gate']).read()\n    return {}\n", settings=SHORT)
    pending = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    silent = one.connect()
    assert silent.ended(), "the time of a client that says nothing is over"
    again = one.connect()
    assert again.ended()
    gate.release()
    assert pending.result().json == {}


def test_kept_connection_has_its_time_again(action):
    """The time begins anew with each answer; in the end it is over."""
    one = action(ECHO, settings=SHORT)
    client = one.connect()
    for n in range(6):
        assert one.run({"n": n}, client=client).json == {"n": n}
        time.sleep(0.3)
    assert client.ended()


def test_no_time_limit(action):
    one = action(ECHO, settings={"env": {"PYACTION_CLIENT_TIMEOUT": "0"}})
    client = one.connect()
    data = http_request("POST", "/run", b'{"value": {"n": 1}}')
    client.send(data[:50])
    time.sleep(1.5)
    client.send(data[50:])
    assert client.read_answer().json == {"n": 1}


# --- many connections


def idle_clients(one: Server, count: int, data: bytes = b"") -> List[socket.socket]:
    """So many connections, on each of which `data` is sent and no more."""
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE))
        if data:
            sockets[-1].sendall(data)
    return sockets


def close_all(sockets: List[socket.socket]) -> None:
    """Close them with a reset, that they leave nothing in the kernel."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.close()


def allow_files(count: int) -> int:
    """Raise the limit of open files of this process, and of the servers it starts; as far as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return count


def test_ten_thousand_idle_connections(action):
    """Half of them silent, half in the middle of a header block. Where fewer files may be open, as many as may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, allow_files(10_500) - 500)
    try:
        one = action(ECHO)
        at_first = resident_kb(one.pid)
        sockets = idle_clients(one, count // 2) + idle_clients(one, count // 2, b"POST /run HTTP/1.1\r\nX: ")
        wait_until(lambda: connections(one.port) >= count, "all are accepted")
        for n in range(200):
            assert one.result({"n": n}) == {"n": n}
        if not SANITIZED:
            assert resident_kb(one.pid) - at_first < count * 40, "a connection takes up to 40 KB"
        # One of the first, one of the last.
        for index in (0, count // 2 - 1):
            sockets[index].sendall(http_request("POST", "/run", b'{"value": {"n": 1}}'))
            assert b'{"n": 1}' in sockets[index].recv(65536)
        close_all(sockets)
        wait_until(lambda: connections(one.port) == 0, "all are closed")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


BEGINNINGS = {
    "silent": b"",
    "in-a-header-block": b"POST /run HTTP/1.1\r\nHost: x\r\n",
    "in-a-body": b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("kind", sorted(BEGINNINGS))
def test_more_connections_than_there_may_be(action, kind):
    """Whoever has waited longest loses its connection: new clients are served at once."""
    one = action(ECHO, settings={"wrapper": limited("-n 200")})
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            sockets = idle_clients(one, 100, BEGINNINGS[kind])
            stack.callback(close_all, sockets)
            assert one.result({"n": 1}) == {"n": 1}
    assert one.result({"n": 2}) == {"n": 2}


# --- too much


FLOODS = {
    "many-headers": (b"X-Many: y\r\n", 431),
    "one-huge-header": (b"X-Huge: " + b"y" * 10_000_000, 431),
    "endless-header": (b"X: " + b"y" * 65536, 431),
    "endless-name": (b"y" * 65536, 431),
}


@pytest.mark.parametrize("kind", sorted(FLOODS))
def test_header_floods(action, kind):
    """Refused when the room for a header block is full, not read to an end."""
    one = action(ECHO)
    data, status = FLOODS[kind]

    def flood() -> None:
        for _ in range(20):
            client = one.connect()
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.send(b"POST /run HTTP/1.1\r\nHost: x\r\n")
                for _ in range(2_000_000 // len(data) + 1):
                    client.send(data)
            answer = rest_of(client)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
            client.close()

    with attack(flood) as attacker:
        serve_others(one, attacker)
    if not SANITIZED:
        assert resident_kb(one.pid) < 30_000


def test_header_block_that_fits_is_taken(action):
    one = action(ECHO)
    headers = [(f"X-{n}", "y" * 100) for n in range(100)] + [("X-Long", "z" * 8000)]
    assert one.request("POST", "/run", b'{"value": {"n": 1}}', headers).json == {"n": 1}


def test_endless_request_line(action):
    one = action(ECHO)
    client = one.connect()
    client.send(b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")
    # 0.9.72 answers as HTTP/1.0: it has not read the version.
    assert rest_of(client)[:13] in (b"HTTP/1.1 414 ", b"HTTP/1.0 414 ", b"HTTP/1.1 431 ", b"")
    assert one.result({"n": 1}) == {"n": 1}


def test_too_many_arguments_in_the_query(action):
    """libmicrohttpd 0.9 would never answer."""
    one = action(ECHO)
    for count, status in ((100, 200), (101, 414), (10_000, 414)):
        path = "/run?" + "&".join(["a"] * count)
        client = one.connect()
        client.send(http_request("POST", path, b'{"value": {"n": 1}}'))
        answer = client.read_answer()
        assert answer.status == status, count
        assert "arguments" in answer.error if status == 414 else answer.json == {"n": 1}
    assert one.result({"n": 1}) == {"n": 1}
    assert one.out.markers() == 2, "what was refused was run"


@pytest.mark.parametrize(
    "line", [b"0" * 100_000, b"11;x=" + b"y" * 100_000, b"0" * 40_000], ids=["zeros", "extension", "full"]
)
def test_chunk_size_without_end(action, line):
    """libmicrohttpd 0.9 would turn for ever, without an answer, also when the client has gone. 1.0 refuses it."""
    one = action(ECHO)

    def endless() -> None:
        clients = [one.connect() for _ in range(5)]
        for client in clients:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.send(b"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + line)
        for client in clients:
            answer = rest_of(client)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
            client.close()

    with attack(endless) as attacker:
        serve_others(one, attacker)
    wait_until(lambda: connections(one.port) <= 1, "they are closed")


def test_bodies_that_wait_have_a_limit_together(action, gate):
    """320 MiB: more is answered 503, and small requests are taken all the same."""
    one = action("def main(event):\n    if 'gate' in event:\n        open(event['gate']).read()\n    return {}\n")
    pending = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    body = b'{"value": {"t": "' + b"x" * (79 * MIB) + b'"}}'
    waiting = [one.connect() for _ in range(4)]
    for client in waiting:
        client.send(http_request("POST", "/run", body))
    answer = one.post("/run", body)
    assert answer.status == 503
    assert str(320 * MIB) in answer.error
    small = one.background(one.run, {"n": 1})
    if not SANITIZED:
        assert resident_kb(one.pid) < 400_000
    gate.release()
    assert pending.result().status == 200
    assert small.result().status == 200
    for client in waiting:
        assert client.read_answer().status == 200
    assert one.post("/run", body).status == 200
    wait_until(lambda: SANITIZED or resident_kb(one.pid) < 30_000, "the memory goes back")


def test_answers_that_nobody_takes_have_a_limit_together(action):
    """The reader who has taken longest loses its own. --client-timeout is two minutes here."""
    one = action("def main(event):\n    return {'t': 'x' * event.get('n', 1)}\n")
    readers = []
    for _ in range(10):
        readers.append(one.connect())
        readers[-1].send(http_request("POST", "/run", b'{"value": {"n": 60000000}}'))
        one.result({})
    wait_until(lambda: connections(one.port) < 10, "the first are dropped")
    assert one.result({"n": 2}) == {"t": "xx"}
    if not SANITIZED:
        assert resident_kb(one.pid) < 500_000
    assert len(rest_of(readers[0])) < 60_000_000
    size = 0
    while size < 60_000_000:
        size += len(readers[-1].socket.recv(1 << 20))
    for reader in readers:
        reader.close()


def test_a_hundred_thousand_requests_on_a_connection(action):
    """One after the other, and pipelined: the memory stays, and others are served."""
    one = action(ECHO)
    client = one.connect()
    request = http_request("POST", "/run", b'{"value": {}}')
    count = 10_000 if SANITIZED else 100_000

    def read(number: int) -> None:
        left = b""
        while number > 0:
            data = left + client.socket.recv(1 << 20)
            number -= data.count(b"\r\n\r\n{}")
            left = data[-5:] if not data.endswith(b"{}") else b""

    def pipelined() -> None:
        with attack(lambda: client.send(request * count)):
            read(count)

    with attack(pipelined) as attacker:
        serve_others(one, attacker)
    before = resident_kb(one.pid)
    line = client.socket
    line.sendall(request)
    answer = b""
    while not answer.endswith(b"{}"):
        answer += line.recv(4096)
    body = answer.index(b"\r\n\r\n")
    for _ in range(count - 1):
        line.sendall(request)
        received = line.recv(4096)
        while len(received) < len(answer):
            received += line.recv(4096)
        assert received[body:] == b"\r\n\r\n{}"
    assert SANITIZED or resident_kb(one.pid) - before < 2000
    assert one.out.markers() >= 2 * count
