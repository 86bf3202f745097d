"""Requests whose end can be read in more than one way: no part of one is ever taken for another.

In front of a server there often is another one. Where the two disagree on where a request ends, a client can
hide a second one in the first ("request smuggling"). Each request here hides one that would run the
function with "smuggled": the server must refuse, or take the hidden one for what it is, part of a body.
"""

import json
import socket
from typing import Sequence

from .harness import Client, Server, http_request
from .test_http import libmicrohttpd_version

CODE = "def main(event):\n    print('ran', event)\n    return event\n"

HIDDEN = http_request("POST", "/run", b'{"value": {"smuggled": 1}}')
#: A body that is no JSON, and that holds a request.
BODY = b"\r\n" + HIDDEN
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d" % len(BODY)

OLD = not libmicrohttpd_version().startswith("1.")
#: Closes the connection of what it does not understand without an answer (docs/protocol.md).
SILENT = libmicrohttpd_version().startswith("0.9.72")


def head(*lines: bytes, request_line: bytes = b"POST /run HTTP/1.1") -> bytes:
    """The bytes of a header block."""
    return b"\r\n".join([request_line, b"Host: x", *lines]) + b"\r\n\r\n"


def everything(client: Client) -> bytes:
    """All that the server sends until it closes; it must do so."""
    data = b""
    try:
        while True:
            piece = client.socket.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionResetError:
        return data


TWO_READINGS = {
    "two-equal-lengths": head(LENGTH, LENGTH) + BODY,
    "two-lengths-short-one-first": head(b"Content-Length: 2", LENGTH) + BODY,
    "two-lengths-long-one-first": head(LENGTH, b"Content-Length: 2") + BODY,
    "list-of-lengths": head(b"Content-Length: 2, %d" % len(BODY)) + BODY,
    "length-and-chunked": head(b"Content-Length: 2", b"Transfer-Encoding: chunked") + CHUNKED,
    "chunked-and-length": head(b"Transfer-Encoding: chunked", LENGTH) + CHUNKED,
    "chunked-twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + CHUNKED,
    "chunked-and-identity": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNKED,
    "unknown-coding": head(b"Transfer-Encoding: xchunked") + CHUNKED,
    "unknown-coding-before-chunked": head(b"Transfer-Encoding: gzip, chunked") + CHUNKED,
    "identity-and-length": head(b"Transfer-Encoding: identity", LENGTH) + BODY,
    "empty-coding": head(b"Transfer-Encoding:", LENGTH) + BODY,
    "blank-before-the-colon-of-the-coding": head(b"Transfer-Encoding : chunked") + CHUNKED,
    "blank-before-the-colon-and-a-length": head(b"Transfer-Encoding : chunked", b"Content-Length: 2") + CHUNKED,
    "tab-before-the-colon-of-the-length": head(b"Content-Length\t: %d" % len(BODY)) + BODY,
    "folded-coding": head(b"Transfer-Encoding:\r\n chunked") + CHUNKED,
    "folded-length": head(b"Content-Length:\r\n\t%d" % len(BODY)) + BODY,
    "length-that-goes-on-in-the-next-line": head(b"Content-Length: 1\r\n 7") + BODY,
    "coding-in-a-line-that-goes-on": head(b"X: y\r\n Transfer-Encoding: chunked", b"Content-Length: 2") + CHUNKED,
    "blank-before-the-first-header": b"POST /run HTTP/1.1\r\n Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "carriage-return-in-a-value": head(b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 2") + CHUNKED,
    "blank-in-a-name": head(b"X Y: z", LENGTH) + BODY,
    "null-in-a-name": head(b"Content-Length\0X: 2", LENGTH) + BODY,
    "line-without-a-colon": head(b"Content-Length", LENGTH) + BODY,
}


#: What libmicrohttpd 0.9 refuses itself, in HTML or in silence; all else is refused in JSON. 1.0 does more.
REFUSED_BY_LIBRARY = ("list-of-lengths", "null-in-a-name", "line-without-a-colon")

#: What 1.0 reads as one line, with blanks between its parts: of the two ways that RFC 9112, 5.2 leaves, the other one.
UNFOLDED = ("folded-coding", "folded-length", "coding-in-a-line-that-goes-on")


def check_refusal(one: Server, kind: str, data: bytes, statuses: Sequence[int] = (400,), by_library: bool = False
                  ) -> bytes:
    """Send it, with another request behind it; all that comes is a refusal and the end. Returns what came.

    by_library: the refusal is not ours, so it may be without an answer where the library is SILENT.
    """
    client = one.connect()
    client.send(data + HIDDEN)
    answer = everything(client)
    silent = by_library and SILENT and not answer
    assert silent or any(answer.startswith(b"HTTP/1.1 %d " % status) for status in statuses), (kind, answer)
    assert b" 200 " not in answer, (kind, answer)
    assert one.result({"n": 1}) == {"n": 1}
    assert "smuggled" not in one.out.text(), kind
    return answer


def test_two_readings_are_refused(action):
    """400, and the end of the connection: what follows is never looked at."""
    one = action(CODE)
    for kind, data in TWO_READINGS.items():
        if kind in UNFOLDED and not OLD:
            continue
        answer = check_refusal(one, kind, data, by_library=kind in REFUSED_BY_LIBRARY)
        if OLD and kind not in REFUSED_BY_LIBRARY:
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert "header" in error or "length" in error, kind


def test_lengths_that_are_none(action):
    """400 or 413, and the end of the connection (libmicrohttpd before 1.0 sends two heads: docs/protocol.md)."""
    one = action(CODE)
    for length in ("-1", "+%d", "0x%x", "%d x", "%d;", "1e3", "", "18446744073709551616", "9223372036854775808",
                   "%d.0", "\xb2", "٣"):
        text = length % len(BODY) if "%" in length else length
        check_refusal(one, length, head(b"Content-Length: " + text.encode("utf-8")) + BODY, (400, 413), by_library=True)


def test_lengths_in_odd_writing(action):
    """They have one meaning: the hidden request is part of the body."""
    one = action(CODE)
    for line in (b"Content-Length: %06d", b"Content-Length:%d", b"Content-Length: \t %d", b"content-LENGTH: %d"):
        client = one.connect()
        client.send(head(line % len(BODY)) + BODY + http_request("POST", "/run", b'{"value": {"n": 2}}'))
        assert client.read_answer().status == 400, line
        assert client.read_answer().json == {"n": 2}
    assert "smuggled" not in one.out.text()


BAD_CHUNKS = {
    "negative": b"-%x\r\n%b\r\n0\r\n\r\n",
    "plus": b"+%x\r\n%b\r\n0\r\n\r\n",
    "0x": b"0x%x\r\n%b\r\n0\r\n\r\n",
    "blank-before": b" %x\r\n%b\r\n0\r\n\r\n",
    "overflow": b"f000000000000000%x\r\n%b\r\n0\r\n\r\n",
    "carriage-return-alone": b"%x\r%b\r0\r\r",
    "not-hexadecimal": b"%xg\r\n%b\r\n0\r\n\r\n",
}


def test_chunk_sizes_that_are_none(action):
    one = action(CODE)
    for kind, form in BAD_CHUNKS.items():
        check_refusal(one, kind, head(b"Transfer-Encoding: chunked") + form % (len(BODY), BODY), (400, 413),
                      by_library=True)
    for change in (-1, 2):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) + change, BODY)
        check_refusal(one, f"{change} bytes", head(b"Transfer-Encoding: chunked") + body, by_library=True)


def test_trailers_change_nothing(action):
    """A trailer is no header (RFC 9110, 6.5.1)."""
    one = action(CODE)
    for line in (b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Host: y"):
        client = one.connect()
        body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, line)
        client.send(head(b"Transfer-Encoding: chunked") + body + http_request("POST", "/run", b'{"value": {"n": 2}}'))
        assert client.read_answer().status == 400
        assert client.read_answer().json == {"n": 2}
    assert "smuggled" not in one.out.text()


def test_request_lines_that_are_none(action):
    """Refused, or taken for a path that there is not: never run."""
    one = action(CODE)
    for line in (b"POST /run HTTP/2.0", b"POST /run HTTP/0.9", b"POST /run http/1.1", b"POST /run", b"POST",
                 b" POST /run HTTP/1.1", b"POST\t/run\tHTTP/1.1", b"PRI * HTTP/2.0", b"POST /run HTTP/1.1 x"):
        client = one.connect()
        client.send(head(LENGTH, request_line=line) + BODY)
        client.socket.shutdown(socket.SHUT_WR)
        assert b" 200 " not in everything(client), line
        assert one.result({"n": 1}) == {"n": 1}
    assert "smuggled" not in one.out.text()


def test_chunks_in_http_1_0(action):
    """They came with HTTP/1.1, and whoever is between may not know them: nothing is read behind such a request."""
    one = action(CODE)
    client = one.connect()
    client.send(head(b"Transfer-Encoding: chunked", request_line=b"POST /run HTTP/1.0") + CHUNKED + HIDDEN)
    assert everything(client).count(b"HTTP/1.") == 1
    assert one.result({"n": 1}) == {"n": 1}
    assert "smuggled" not in one.out.text()


def test_names_of_all_characters(action):
    one = action(CODE)
    headers = [("!#$%&'*+-.^_`|~0Az", "a:b \t\xe9"), ("X-Empty", "")]
    assert one.request("POST", "/run", b'{"value": {"n": 1}}', headers).json == {"n": 1}
