"""The HTTP server: routes, limits, framing, connections, many clients."""

import ctypes
import json
import socket
import threading

import pytest

from .harness import Client, Gate, http_request, init_body

ECHO = "def main(event):\n    return event\n"

WAITING = "def main(event):\n    if 'gate' in event:\n        open(event['gate']).read()\n    return event\n"


# --- routes


@pytest.mark.parametrize("path", ["/", "/nowhere", "/run/", "/init/x", "/INIT", "//run", "/run%00", "/%72un/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_unknown_path(action, path, method):
    one = action(ECHO)
    answer = one.request(method, path, b"{}" if method != "GET" else None)
    assert answer.status == 404
    assert answer.error
    assert answer.headers["content-type"].startswith("application/json")


def test_query_does_not_matter(server):
    one = server()
    assert one.request("POST", "/init?a=b", init_body(ECHO)).status == 200
    assert one.request("POST", "/run?blocking=true&x=%20", b'{"value": {"n": 1}}').json == {"n": 1}


@pytest.mark.parametrize("path", ["/init", "/run"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_wrong_method(action, path, method):
    one = action(ECHO)
    answer = one.request(method, path, b'{"value": {}}' if method in ("PUT", "PATCH") else None)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.error
    assert one.result({"n": 1}) == {"n": 1}


def test_no_compression_even_when_asked_for(action):
    one = action(ECHO)
    body = json.dumps({"value": {"t": "x" * 10_000}}).encode()
    headers = [("Accept-Encoding", "gzip, deflate, br"), ("Accept", "text/html")]
    answer = one.request("POST", "/run", body, headers)
    assert answer.status == 200
    assert answer.json == {"t": "x" * 10_000}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None], ids=str)
def test_content_type_of_the_request_does_not_matter(action, content_type):
    """`curl -d` sends a form's type."""
    one = action(ECHO)
    body = b'{"value": {"n": 1}}'
    head = "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    head += f"Content-Type: {content_type}\r\n" if content_type else ""
    client = one.connect()
    client.send(head.encode() + b"\r\n" + body)
    assert client.read_answer().json == {"n": 1}


# --- connections


def test_keep_alive(action):
    one = action(ECHO)
    client = one.connect()
    for n in range(300):
        assert one.run({"n": n}, client=client).json == {"n": n}


REFUSED = {
    "not-json": ("POST", "/run", b"nonsense", 400),
    "unknown-path": ("GET", "/nowhere", None, 404),
    "wrong-method": ("GET", "/run", None, 405),
    "head": ("HEAD", "/run", None, 405),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_keep_alive_after_errors(action, kind):
    """An error that read the whole request need not end the connection."""
    one = action(ECHO)
    client = one.connect()
    method, path, body, status = REFUSED[kind]
    for n in range(3):
        answer = client.request(method, path, body)
        assert answer.status == status
        assert answer.headers.get("connection") != "close"
        assert one.run({"n": n}, client=client).json == {"n": n}


def test_unread_body_is_never_taken_for_a_request(action):
    """A request refused by its path: the connection is closed as announced, or goes on in step."""
    one = action(ECHO)
    client = one.connect()
    answer = client.request("POST", "/nowhere", http_request("POST", "/run", b'{"value": {"n": 0}}'))
    assert answer.status == 404
    if answer.headers.get("connection") == "close":
        assert client.ended()
    else:
        assert one.run({"n": 1}, client=client).json == {"n": 1}
    assert one.result({"n": 2}) == {"n": 2}
    assert one.out.markers() in (1, 2)


def test_a_connection_for_each_request(action):
    one = action(ECHO)
    for n in range(300):
        assert one.run({"n": n}).json == {"n": n}


def test_connection_close_is_honoured(action):
    one = action(ECHO)
    client = one.connect()
    body = b'{"value": {"n": 1}}'
    answer = client.request("POST", "/run", body, [("Connection", "close")])
    assert answer.json == {"n": 1}
    assert client.ended()


def test_http_1_0(action):
    one = action(ECHO)
    body = b'{"value": {"n": 1}}'
    client = one.connect()
    client.send(b"POST /run HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert client.read_answer().json == {"n": 1}
    assert client.ended()


def test_half_closed_client_still_gets_its_answer(action):
    """`nc -N` and some proxies end their side when the request is out."""
    one = action(ECHO)
    client = one.connect()
    client.send(http_request("POST", "/run", b'{"value": {"n": 1}}'))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.read_answer().json == {"n": 1}


def test_half_closed_client_beside_idle_connections_still_gets_its_answer(action):
    """libmicrohttpd looks at the connection that has been idle for longest first, and then this one is not it."""
    one = action(ECHO)
    for client in [one.connect() for _ in range(3)]:
        assert one.run({"n": 1}, client=client).status == 200
    for n in range(5):
        client = one.connect()
        client.send(http_request("POST", "/run", b'{"value": {"n": %d}}' % n))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_answer().json == {"n": n}


def test_pipelined_requests_are_answered_in_order(action):
    one = action(ECHO)
    client = one.connect()
    bodies = [json.dumps({"value": {"n": n}}).encode() for n in range(20)]
    client.send(b"".join(http_request("POST", "/run", body) for body in bodies))
    assert [client.read_answer().json["n"] for _ in bodies] == list(range(20))


def test_pipelined_init_and_run(server):
    one = server()
    client = one.connect()
    client.send(
        http_request("POST", "/init", init_body(ECHO))
        + http_request("POST", "/run", b'{"value": {"n": 1}}')
        + http_request("GET", "/")
        + http_request("POST", "/run", b'{"value": {"n": 2}}')
    )
    answers = [client.read_answer() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 404, 200]
    assert [answers[1].json, answers[3].json] == [{"n": 1}, {"n": 2}]


# --- framing


def test_expect_100_continue(action):
    """curl sends it with bodies over 1 MB and waits a second for the answer."""
    one = action(ECHO)
    body = json.dumps({"value": {"t": "x" * 2_000_000}}).encode()
    client = one.connect()
    request = http_request("POST", "/run", body, [("Expect", "100-continue")])
    head, _, _ = request.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.read_answer().status == 100
    client.send(body)
    assert client.read_answer().json == {"t": "x" * 2_000_000}


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of at most `size` bytes, its end included."""
    parts = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED_HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunked_body(server, size):
    one = server()
    client = one.connect()
    client.send(CHUNKED_HEAD % b"/init" + chunked(init_body(ECHO), size))
    assert client.read_answer().json == {"ok": True}
    for n in range(3):
        body = json.dumps({"value": {"n": n, "t": "ä" * 1000}}).encode()
        client.send(CHUNKED_HEAD % b"/run" + chunked(body, size))
        assert client.read_answer().json == {"n": n, "t": "ä" * 1000}


def libmicrohttpd_version() -> str:
    """That of the library this machine has."""
    library = ctypes.CDLL("libmicrohttpd.so.12")
    library.MHD_get_version.restype = ctypes.c_char_p
    return library.MHD_get_version().decode()


@pytest.mark.parametrize("extension", [
    pytest.param(b"", id="none"),
    pytest.param(b";name=value", id="with an extension", marks=pytest.mark.skipif(
        "libmicrohttpd_version().startswith('1.0.')", reason="libmicrohttpd 1.0 refuses extensions of chunks")),
])
def test_chunked_body_with_trailer(action, extension):
    one = action(ECHO)
    client = one.connect()
    client.send(
        CHUNKED_HEAD % b"/run" + b"8" + extension + b'\r\n{"value"\r\nA\r\n: {"n": 1}\r\n'
        b"1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    assert client.read_answer().json == {"n": 1}


def test_byte_by_byte(action):
    """A slow client holds nobody up: another one is served in the middle of its request."""
    one = action(ECHO)
    slow = one.connect()
    data = http_request("POST", "/run", b'{"value": {"who": "slow"}}')
    for at in range(len(data)):
        slow.send(data[at:at + 1])
        if at % 40 == 0:
            assert one.result({"at": at}) == {"at": at}
    assert slow.read_answer().json == {"who": "slow"}


def test_slow_reader_of_a_large_answer(action):
    """An answer that its client does not read holds nobody up."""
    one = action("def main(event):\n    return {'t': 'x' * event['n']}\n")
    slow = one.connect()
    slow.send(http_request("POST", "/run", b'{"value": {"n": 30000000}}'))
    for n in range(20):
        assert one.result({"n": n}) == {"t": "x" * n}
    assert len(slow.read_answer().json["t"]) == 30_000_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no-http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls-hello"),
        pytest.param(b"POST /run HTTP/1.1\r\n\r\n", id="no-host-no-length"),
        pytest.param(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", id="bad-length"),
        pytest.param(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="negative-length"),
        pytest.param(
            b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            id="huge-length",
        ),
        pytest.param(
            b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n",
            id="two-framings",
        ),
        pytest.param(
            b"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad-chunk"
        ),
        pytest.param(b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n", id="long-line"),
        pytest.param(
            b"POST /run HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", id="many-headers"
        ),
        pytest.param(b"\r\n" * 1000, id="empty-lines"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_malformed_requests_harm_nobody(action, data):
    one = action(ECHO)
    client = one.connect()
    try:
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(65536):
            pass
    except OSError as error:
        # The server may have closed already; it must not keep what can never be a request.
        assert not isinstance(error, socket.timeout), "the connection is kept"
    assert one.result({"n": 1}) == {"n": 1}
    assert b"MHD" not in one.err.content()


# --- limits


LIMITED = {"options": ["--max-body", "1000"]}


@pytest.mark.parametrize("expect", [[], [("Expect", "100-continue")]], ids=["plain", "expect"])
@pytest.mark.parametrize("path", ["/run", "/init"])
def test_declared_length_over_the_limit(action, path, expect):
    """413 before a byte of the body is there: the client has not sent it and never will."""
    one = action(ECHO, settings=LIMITED)
    client = one.connect()
    head = http_request("POST", path, b"", expect).replace(b"Content-Length: 0", b"Content-Length: 1001")
    client.send(head)
    answer = client.read_answer()
    assert answer.status == 413
    assert "1000" in answer.error
    assert one.result({"n": 1}) == {"n": 1}


def test_body_at_the_limit_is_taken(action):
    one = action(ECHO, settings=LIMITED)
    body = b'{"value": {"t": "%b"}}'
    body = body % (b"x" * (1000 - len(body) + 2))
    assert len(body) == 1000
    assert one.post("/run", body).status == 200
    assert one.post("/run", body.replace(b"x", b"xx", 1)).status == 413


def test_chunked_body_over_the_limit(action):
    one = action(ECHO, settings=LIMITED)
    client = one.connect()
    client.send(CHUNKED_HEAD % b"/run" + chunked(b"x" * 1001, 100))
    answer = client.read_answer()
    assert answer.status == 413
    assert answer.error
    assert one.result({"n": 1}) == {"n": 1}


def test_endless_chunked_body(action):
    """A body without end is cut off: by a 413, a closed connection, or both."""
    one = action(ECHO, settings=LIMITED)
    client = one.connect()
    client.send(CHUNKED_HEAD % b"/run")
    block = b"%x\r\n" % 50_000 + b"x" * 50_000 + b"\r\n"
    with pytest.raises((ConnectionError, socket.timeout)):
        for _ in range(2000):
            client.send(block)
    assert one.result({"n": 1}) == {"n": 1}


def test_default_limit_takes_the_largest_function(server):
    """48 MB of code, which is 64 MB of base64, is what the platforms allow."""
    one = server()
    source = ECHO.encode() + b"# " + b"x" * (48_000_000 - len(ECHO) - 2)
    assert one.init(source).json == {"ok": True}
    assert one.result({"n": 1}) == {"n": 1}


def test_limit_from_the_environment(action):
    one = action(ECHO, settings={"env": {"PYACTION_MAX_BODY": "1000"}})
    assert one.post("/run", b'{"value": "%b"}' % (b"x" * 1000)).status == 413


def test_refused_body_then_the_same_connection_or_a_closed_one(action):
    """Whatever the server does with the rest, it never takes it for a request."""
    one = action(ECHO, settings=LIMITED)
    client = one.connect()
    smuggled = http_request("POST", "/run", b'{"value": {"smuggled": 1}}')
    body = smuggled + b"x" * 2000
    try:
        client.send(http_request("POST", "/run", body))
        assert client.read_answer().status == 413
        client.send(http_request("POST", "/run", b'{"value": {"n": 1}}'))
        assert client.read_answer().json == {"n": 1}
    except ConnectionError:
        pass
    assert one.out.markers() in (0, 1)
    assert one.result({"n": 2}) == {"n": 2}


# --- clients that leave


def test_client_leaves_in_the_middle_of_its_body(action):
    one = action(ECHO)
    for cut in (30, 60, -1):
        client = one.connect()
        client.send(http_request("POST", "/run", b'{"value": {"n": 0}}' + b" " * 1000)[:cut])
        client.close()
    assert one.result({"n": 1}) == {"n": 1}
    assert one.out.markers() == 1


def test_client_leaves_during_its_run(action, gate: Gate):
    """The activation runs to its end; its answer goes nowhere, and above all to nobody else."""
    one = action(WAITING)
    client = one.connect()
    body = json.dumps({"value": {"gate": gate.path}}).encode()
    client.send(http_request("POST", "/run", body))
    gate.wait_entered()
    client.close()
    pending = one.background(one.run, {"n": 1})
    gate.release()
    assert pending.result().json == {"n": 1}
    assert one.out.markers() == 2


def test_client_resets_during_its_run(action, gate: Gate):
    one = action(WAITING)
    client = one.connect()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    body = json.dumps({"value": {"gate": gate.path}}).encode()
    client.send(http_request("POST", "/run", body))
    gate.wait_entered()
    client.close()
    gate.release()
    assert one.result({"n": 1}) == {"n": 1}


def test_waiting_clients_leave_the_queue(action, gate: Gate):
    """A queued request whose client left may run or not; those behind it get their own answers."""
    one = action(WAITING)
    first = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    leaving = [one.connect() for _ in range(10)]
    for n, client in enumerate(leaving):
        client.send(http_request("POST", "/run", json.dumps({"value": {"left": n}}).encode()))
    staying = [one.background(one.run, {"n": n}) for n in range(10)]
    for client in leaving:
        client.close()
    gate.release()
    assert first.result().status == 200
    assert [pending.result().json for pending in staying] == [{"n": n} for n in range(10)]


def test_client_leaves_during_init(server, gate: Gate):
    """The invoker repeats an init whose connection broke: the code is there all the same."""
    one = server()
    client = one.connect()
    code = f"open({gate.path!r}).read()\ndef main():\n    return {{'ok': 1}}\n"
    client.send(http_request("POST", "/init", init_body(code)))
    gate.wait_entered()
    client.close()
    gate.release()
    assert one.init(ECHO).status == 403
    assert one.result() == {"ok": 1}


def test_health_checks_during_a_run(action, gate: Gate):
    """The invoker connects and closes to see whether the container lives."""
    one = action(WAITING)
    pending = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    for _ in range(200):
        socket.create_connection(("127.0.0.1", one.port), timeout=5).close()
    assert one.request("GET", "/").status == 404
    gate.release()
    assert pending.result().status == 200


def test_many_idle_connections(action):
    one = action(ECHO)
    clients = [one.connect() for _ in range(200)]
    assert one.result({"n": 1}) == {"n": 1}
    assert one.run({"n": 2}, client=clients[100]).json == {"n": 2}


# --- many clients


def converse(port: int, who: int, runs: int, keep: bool) -> None:
    """Run so many times and insist on the own answer each time."""
    client = Client(port)
    for n in range(runs):
        value = {"who": who, "n": n, "pad": "x" * (n * 37 % 5000)}
        body = json.dumps({"value": value, "activation_id": f"{who}-{n}"}).encode()
        answer = client.request("POST", "/run", body)
        assert answer.status == 200
        assert answer.json == {**value, "id": f"{who}-{n}"}
        if not keep:
            client.close()
            client = Client(port)
    client.close()


@pytest.mark.parametrize("keep", [True, False], ids=["keep-alive", "new-connections"])
def test_fifty_clients_at_once(action, keep):
    """None is mixed up, none is lost, and the log has a marker for each."""
    one = action(
        "def main(event, context):\n    return {**event, 'id': context.activation_id}\n"
    )
    start = threading.Barrier(50)

    def client(who: int) -> None:
        start.wait()
        converse(one.port, who, 20, keep)

    pending = [one.background(client, who) for who in range(50)]
    for future in pending:
        future.result()
    assert one.out.markers() == one.err.markers() == 1000


def test_runs_do_not_overlap(action):
    """One activation at a time: a function's globals are its own while it runs."""
    code = (
        "import time\ninside = 0\n"
        "def main(event):\n"
        "    global inside\n"
        "    inside += 1\n    most = inside\n    time.sleep(0.002)\n    inside -= 1\n"
        "    return {'most': most, 'n': event['n']}\n"
    )
    one = action(code)
    pending = [one.background(one.run, {"n": n}) for n in range(40)]
    assert [p.result().json for p in pending] == [{"most": 1, "n": n} for n in range(40)]


def test_queued_runs_around_a_crash(action, gate: Gate):
    """The crash hits one activation; those waiting behind it run in the fresh process."""
    code = (
        "import os\n"
        "def main(event):\n"
        "    if 'gate' in event:\n        open(event['gate']).read()\n        os._exit(1)\n"
        "    return event\n"
    )
    one = action(code)
    crash = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    waiting = [one.background(one.run, {"n": n}) for n in range(20)]
    gate.release()
    assert crash.result().status == 400
    assert [p.result().json for p in waiting] == [{"n": n} for n in range(20)]


def test_large_bodies_from_many_clients(action):
    one = action("def main(event):\n    return {'n': event['n'], 'size': len(event['pad'])}\n")
    pending = [
        one.background(one.run, {"n": n, "pad": "x" * 1_000_000}) for n in range(16)
    ]
    assert [p.result().json for p in pending] == [{"n": n, "size": 1_000_000} for n in range(16)]


def test_run_that_arrives_during_init(server, gate: Gate):
    """It waits for the init or is told that nothing is there yet; it is never lost."""
    one = server()
    code = f"open({gate.path!r}).read()\n" + ECHO
    pending = one.background(one.init, code)
    gate.wait_entered()
    early = one.background(one.run, {"n": 1})
    gate.release()
    assert pending.result().status == 200
    answer = early.result()
    assert (answer.status, answer.json) in (
        (200, {"n": 1}),
        (500, {"error": "no action defined yet"}),
    )
    assert one.result({"n": 2}) == {"n": 2}
