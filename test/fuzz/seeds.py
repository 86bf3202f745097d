#!/usr/bin/env python3
"""Writes the seeds that are made by hand to corpus/TARGET/, under names that say what they are.

usage: seeds.py [FOLDER]

FOLDER: where the corpora are; by default the one beside this file. Inputs that libFuzzer found stand beside the seeds
under hexadecimal names, as make fuzz-merge puts them there. Findings belong here, too, when they have been fixed.
"""

from __future__ import annotations

import base64
import io
import json
import stat
import struct
import sys
import zipfile
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

Seeds = Dict[str, bytes]


def envelope(**members: object) -> bytes:
    return json.dumps({"value": members}, ensure_ascii=False).encode()


JSON_TEXTS: Seeds = {
    "empty": b"",
    "object": b'{"value": {"a": [1, 2.5, -3e7, true, false, null, "\\u00e9\\ud83d\\ude00"]}}',
    "numbers": b"[0, -0, 0.1, 1e5, 1E+2, 123456789012345678901234567890, 9007199254740993, 1e400, 5e-324, -0.0]",
    "large-numbers": b"[9223372036854775807, 9223372036854775808, -9223372036854775808, 0.30000000000000004]",
    "wrong-numbers": b"[01, 1., .5, -, 1e, +1]",
    "no-constant": b"[NaN, Infinity]",
    "strings": '["é", "€", "\U0001f600", "\\"\\\\\\/\\b\\f\\n\\r\\t"]'.encode(),
    "surrogates": b'["\\ud800", "\\udc00x", "\\ud83d\\ude00", "\\ud800\\u0041"]',
    "invalid-utf8": b'["\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\xff"]',
    "overlong-2": b'["\xc0\xaf"]',
    "overlong-3": b'["\xe0\x80\xaf"]',
    "overlong-4": b'["\xf0\x80\x80\xaf"]',
    "encoded-surrogate": b'["\xed\xa0\x80"]',
    "above-unicode": b'["\xf4\x90\x80\x80"]',
    "last-of-unicode": b'["\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xdf\xbf"]',
    "cut-off": b'["\xe2\x82',
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "unit-separator": b'["\x1f"]',
    "semicolon": b"[1;2]",
    "control-character": b'["\x01\x1f"]',
    "deep": b"[" * 400 + b"]" * 400,
    "too-deep": b"[" * 600 + b"]" * 600,
    "very-long-number": b"[" + b"1" * 4400 + b"]",
    "deepest": b"[" * 5000 + b"]" * 5000,
    "too-deep-for-all": b"[" * 5001 + b"]" * 5001,
    "long-number": b"[" + b"1" * 1001 + b"]",
    "equal-keys": b'{"a": 1, "a": 2, "b": {"a": 3}}',
    "escaped-key": b'{"v\\u0061lue": 1, "value": 2}',
    "space": b" \t\r\n{ \n} \r\n",
    "behind": b"{} {}",
    "trailing-comma": b'[1, ] {"a": 1, }',
    "long-string": b'"' + b"x" * 300 + b'\\n"',
}

ENVELOPES: Seeds = {
    "source": envelope(name="hello", main="main", code="def main(args):\n    return args\n", binary=False, env={}),
    "zip": envelope(code=base64.b64encode(b"PK\3\4rest").decode(), binary=True, main="pkg/mod.fn"),
    "gzip": envelope(code=base64.b64encode(b"\x1f\x8brest").decode(), binary=True),
    "nulls": envelope(name=None, main=None, code="x", binary=None, env=None),
    "environment": envelope(code="x", env={"A": "b", "N": 1.5, "L": [1], "T": True, "E": "\u00e9"}),
    "start-variables": envelope(code="x", env={"LD_PRELOAD": "/x", "PYTHONPATH": "a", "LANG": "C", "MALLOC_X": 1}),
    "convention": envelope(code="x", main="index.main_handler", env={"PYACTION_CONVENTION": "scf"}),
    "newlines": b'{"value":\n{"code":"x",\n"env":{"A":\n"b"}}}\n',
    "bad-name": envelope(code="x", env={"A=B": "c"}),
    "no-name": envelope(code="x", env={"": "c"}),
    "no-code": envelope(main="main"),
    "bad-base64": envelope(code="a=b=", binary=True),
    "wrong-types": envelope(code=1, env=[], main={}),
    "escaped-env": b'{"value": {"code": "x", "\\u0065nv": {"A": "b"}}}',
    "null-character": b'{"value": {"code": "x\\u0000y"}}',
    "equal-members": b'{"value": {"env": {"A": "1"}, "env": {"A": "2"}, "code": "x"}}',
}

BASE64_TEXTS: Seeds = {
    "padded": b"aGVsbG8=",
    "two-pads": b"aGVsbA==",
    "none": b"aGVs",
    "lines": b"aGVs\r\nbG8g\r\nd29y bGQ=\n",
    "early-pad": b"aG==bG8=",
    "three-pads": b"a===",
    "bad-character": b"aGVs-G8_",
    "half": b"aGVsbG",
    "loose-bits": b"aGVsbB==",
}


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request of HTTP/1.1. Its lines end as they should."""
    lines = [f"{line} HTTP/1.1", "Host: a", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# Events of fuzz_http.c.
TURN, TURNS, ANSWER, FILLER_8K, SHUTDOWN, RESET = (bytes([0xFF, number]) for number in range(1, 7))
GET = request("GET /x")
CHUNKED, EXPECT = "Transfer-Encoding: chunked", "Expect: 100-continue"
CHUNK_8K = b"2000\r\n" + FILLER_8K + b"\r\n"
END = b"0\r\n\r\n"

HTTP: Seeds = {
    "length": request("POST /run", "Content-Length: 5", body=b"hello"),
    "chunked-in-pieces": request("POST /later", CHUNKED, body=b"5\r\nhe" + TURN + b"llo\r\n" + TURNS + END)
    + request("GET /header"),
    "pipelined": request("POST /a", "Content-Length: 1", body=b"x") + GET + request("HEAD /c"),
    "refused": request("POST /refuse", "Content-Length: 2", body=b"{}") + GET,
    "refused-long": request("POST /refuse", "Content-Length: 66000", body=FILLER_8K * 9),
    "too-long": request("POST /run", "Content-Length: 70001", body=FILLER_8K * 9),
    "too-many-chunks": request("POST /run", CHUNKED, body=CHUNK_8K * 10 + END) + GET,
    "far-too-many-chunks": request("POST /run", CHUNKED, body=CHUNK_8K * 50),
    "header-flood": request("GET /", "X: " + (FILLER_8K * 5).decode("latin-1")),
    "expects": request("POST /run", EXPECT, "Content-Length: 2", body=TURNS + b"{}"),
    "expects-without-body-pipelined": request("POST /run", EXPECT) + GET,
    "expects-later-pipelined": request("POST /later", EXPECT, body=b"\n"),
    "steal-empty": request("POST /steal", "Content-Length: 3", body=b"abc") + b"POST /empty HTTP/1.0\r\n\r\n",
    "escapes": request("POST /header%0d%0aX:1%00", "Content-Length: 7", body=b"a\r\nb: c"),
    "two-lengths": request("POST /", "Content-Length: 3", "Content-Length: 5", body=b"hello"),
    "length-and-chunked": request("POST /", "Content-Length: 3", CHUNKED, body=END),
    "unknown-coding": request("POST /", "Transfer-Encoding: gzip, chunked", body=END),
    "wrong-length": request("POST /", "Content-Length: 3x", body=b"abc"),
    "huge-length": request("POST /", "Content-Length: 99999999999999999999"),
    "bare-line-feeds": b"POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nab",
    "folded-header": request("POST /", "X: a", " b", "Content-Length : 2", body=b"ab"),
    "folded-before-much": request("GET /", "aaaaaa:aaaaaaaaa", " aaa\0aaaaaaaaaaaaaaaaaa", body=FILLER_8K * 2),
    "half-a-head": b"POST /run HTT" + SHUTDOWN,
    "half-a-body": request("POST /run", "Content-Length: 5", body=b"he" + SHUTDOWN),
    "reset": request("POST /later", "Content-Length: 2", body=b"ab" + TURNS + RESET),
    "reset-in-body": request("POST /run", "Content-Length: 5", body=b"he" + TURN + RESET),
    "answered-when-asked": request("GET /later") * 2 + TURNS + ANSWER + TURN + ANSWER,
    "shutdown-while-waiting": request("GET /later") + SHUTDOWN,
    "connect": request("CONNECT a:1", body=b"abc"),
    "no-version": b"GET /\r\n\r\n",
    "other-version": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "keep-alive": b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "status-204": request("POST /status", "Content-Length: 3", body=b"204") + GET,
    "status-304": request("POST /status", "Content-Length: 3", body=b"304") + GET,
    "query": request("GET /?a=b%20c&d&=%ff", "X-A: b"),
    "method-with-a-null": request("HEAD\0 /x") + GET,
    "close": request("OPTIONS /status", "Connection: close") + GET,
    "trailers": request("POST /", CHUNKED, body=b"1;x=y\r\na\r\n0\r\nX: y\r\n\r\n"),
    "wrong-chunk": request("POST /", CHUNKED, body=b"zz\r\nabc"),
    "huge-chunk": request("POST /", CHUNKED, body=b"ffffffffffffffffff\r\nabc"),
}


def archive(entries: Sequence[Tuple[str, bytes, int]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name, content, mode); mode 0 as of a system without modes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.create_system = 3 if mode else 0
            info.external_attr = mode << 16
            file.writestr(info, content)
    return out.getvalue()


FILE, LINK, FOLDER, FIFO = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o644


def archives() -> Seeds:
    """Zip files."""
    source = b"def main(args): return args\n"
    function = archive([("__main__.py", source, FILE), ("pkg/", b"", FOLDER), ("pkg/a.py", b"x", FILE)])
    encrypted = bytearray(function)
    encrypted[6] |= 1
    encrypted[function.index(b"PK\1\2") + 8] |= 1
    return {
        "function": function,
        "stored": archive([("a", b"abc", FILE)], zipfile.ZIP_STORED),
        "without-modes": archive([("a/b", b"abc", 0)]),
        "executable": archive([("a", b"#!", stat.S_IFREG | 0o4755)]),
        "climbing": archive([("../canary", b"x", FILE)]),
        "climbing-inside": archive([("a/../../witness/canary", b"x", FILE)]),
        "absolute": archive([("/proc/self/cwd/canary", b"x", FILE)]),
        "through-a-link": archive([("l", b"/proc/self/cwd/witness", LINK), ("l/canary", b"x", FILE)]),
        "over-a-link": archive([("l", b"../canary", LINK), ("l", b"x", FILE)]),
        "folder-over-a-link": archive([("l", b"../witness", LINK), ("l/", b"", FOLDER), ("l/new", b"x", FILE)]),
        "link-over-a-file": archive([("a", b"x", FILE), ("a", b"../canary", LINK)]),
        "file-over-a-folder": archive([("a/b", b"x", FILE), ("a", b"y", FILE)]),
        "dots": archive([("./a/./b//c", b"x", FILE), ("./", b"", FOLDER)]),
        "fifo": archive([("a", b"", FIFO)]),
        "long-link": archive([("a", b"x" * 5000, LINK)]),
        "bomb": archive([("a", bytes(200000), FILE)]),
        "many": archive([(str(number), b"", FILE) for number in range(60)], zipfile.ZIP_STORED),
        "truncated": function[:-30],
        "damaged": function[:60] + b"\xff" + function[61:],
        "encrypted": bytes(encrypted),
        "deep": archive([("a/" * 500 + "f", b"", FILE)]),
        "code-page-437": function.replace(b"pkg", b"p\x81g"),
        "not-an-archive": b"#!/bin/sh\n",
    }


def tree_entry(kind: int, path: Sequence[int], target: Sequence[int] = (), lies: int = 0, choice: int = 0) -> bytes:
    """An entry of fuzz_archive_tree.c: kind 0 file, 1 folder, 2 link; paths are indices of its components."""

    def encode(indices: Sequence[int]) -> bytes:
        return bytes([*indices[:-1], indices[-1] | 0x80])

    return bytes([kind, lies, choice]) + encode(path) + (encode(target) if kind in (2, 5) else b"")


A, B, CANARY, WITNESS, UP, HERE, NOTHING, LONG, TOO_LONG = 0, 1, 4, 5, 8, 9, 10, 16, 17
TREES: Seeds = {
    "files": tree_entry(0, [A]) + tree_entry(0, [A + 1, B]) + tree_entry(1, [2]),
    "links": tree_entry(2, [A], [CANARY], choice=3) + tree_entry(2, [B], [WITNESS], choice=6),
    "through-a-link": tree_entry(2, [A], [WITNESS], choice=6) + tree_entry(0, [A, CANARY]),
    "over-a-link": tree_entry(2, [A], [CANARY], choice=3) + tree_entry(0, [A]),
    "climbing": tree_entry(0, [A, UP, UP, CANARY]),
    "absolute": tree_entry(0, [A], choice=1),
    "replaced": tree_entry(0, [A]) + tree_entry(2, [A], [B]) + tree_entry(0, [A]),
    "file-is-a-folder": tree_entry(0, [A, B]) + tree_entry(0, [A]),
    "folder-is-a-file": tree_entry(0, [A]) + tree_entry(0, [A, B]),
    "dots": tree_entry(0, [HERE, A, NOTHING, B]) + tree_entry(1, [HERE]),
    "names": tree_entry(0, [LONG]) + tree_entry(0, [TOO_LONG]),
    "large": tree_entry(0, [A], choice=0xF8, lies=8) + tree_entry(0, [B], choice=0xF8, lies=8),
    "file-wrong-checksum": tree_entry(0, [A], lies=0x20),
    "link-wrong-checksum": tree_entry(2, [A], [B], lies=0x20),
    "empty-wrong-checksum": tree_entry(2, [A], [NOTHING], lies=0x27),
    "wrong-size": tree_entry(0, [A], lies=0x30),
    "encrypted": tree_entry(0, [A], lies=0x10),
    "fifo": tree_entry(6, [A]),
    "dos": tree_entry(0, [A], lies=7),
    "modes": tree_entry(0o100, [A]) + tree_entry(0o170, [B]) + tree_entry(0o70, [CANARY]),
}


def reply(limit: int, stream: Sequence[Union[int, bytes]], pieces: Sequence[int] = ()) -> bytes:
    """The script of fuzz_reply.c."""
    script = bytearray(struct.pack(">H", limit))
    for part in stream:
        script += bytes([part]) if isinstance(part, int) else bytes([len(part) + 3]) + part
    return bytes(script) + b"\0" + bytes(pieces)


NEWLINE, FILLER = 1, 2
LARGE: List[Union[int, bytes]] = [b"ok", NEWLINE]
REPLIES: Seeds = {
    "small": reply(0xFFFF, [b'{"status":"success"}', NEWLINE, b"{}", NEWLINE]),
    "small-in-pieces": reply(0xFFFF, [b"ok", NEWLINE, b"payload", NEWLINE], [6] * 20),
    "large": reply(0xFFFF, LARGE + [FILLER] * 12 + [NEWLINE], [4 * 3 + 1] * 12),
    "large-direct": reply(0xFFFF, LARGE + [FILLER] * 40 + [NEWLINE], [5] * 50),
    "too-large": reply(0x0100, [b"ok", NEWLINE, FILLER, NEWLINE]),
    "at-the-limit": reply(0x0005, [b"ok", NEWLINE, b"12345", NEWLINE]),
    "over-the-limit": reply(0x0005, [b"ok", NEWLINE, b"123456", NEWLINE]),
    "longest-status": reply(0xFFFF, [3, 3, 3, 3, b"xyz", NEWLINE, b"a", NEWLINE]),
    "too-long-status": reply(0xFFFF, [3, 3, 3, 3, b"wxyz", NEWLINE, b"a", NEWLINE]),
    "long-status": reply(0xFFFF, [FILLER, NEWLINE]),
    "behind-the-end": reply(0xFFFF, [b"ok", NEWLINE, b"a", NEWLINE, b"b"]),
    "behind-the-end-direct": reply(0xFFFF, LARGE + [FILLER] * 12 + [NEWLINE, b"b"], [5] * 30),
    "empty": reply(0, [NEWLINE, NEWLINE], [6, 6]),
}


def doors(
    path: int,
    headers: Sequence[Tuple[int, bytes]],
    body: bytes,
    kind: int = 1,
    flags: int = 3,
    payload: bytes = b"{}",
    name: bytes = b"f",
) -> bytes:
    """The script of fuzz_doors.c. path: 0 Lambda, 3 SCF, 5 /run, 6 Knative; headers: indices of its names."""
    script = bytes([0, path | len(name) << 3]) + name + bytes([len(headers)])
    for index, value in headers:
        script += bytes([index, len(value)]) + value
    script += bytes([flags, len(payload) << 1, kind]) + payload
    padded = body + b" " * (-len(body) % 4)
    return script + bytes([len(padded) // 4]) + padded


DOORS: Seeds = {
    "lambda": doors(0, [], b'{"a": 1}'),
    "lambda-arn": doors(0, [], b'{"a": 1}', name=b"arn:aws:lambda:x:f"),
    "lambda-context": doors(0, [(2, b"eyJhIjoxfQ=="), (1, b"Tail"), (3, b"Root=1-x"), (5, b"{}")], b"[1]"),
    "lambda-bad-context": doors(0, [(2, b"a=b")], b"{}"),
    "lambda-event": doors(0, [(0, b"Event")], b"{}", flags=3),
    "lambda-event-later": doors(0, [(0, b"Event")], b"{}", flags=1),
    "lambda-dry": doors(0, [(0, b"DryRun")], b"{}"),
    "lambda-no-json": doors(0, [], b"{not json"),
    "lambda-bytes": doors(0, [], b"{}", kind=3, payload=b"\x00\xff\x01"),
    "lambda-newlines": doors(0, [], b'{\n"a":\n1}\n\n\n'),
    "lambda-timed-out": doors(0, [], b"{}", kind=8),
    "lambda-exited": doors(0, [], b"{}", kind=7, flags=0x33),
    "scf": doors(3, [(7, b"id-1"), (8, b"f"), (17, b"5"), (18, b"128")], b'{"a": 1}'),
    "scf-large": doors(3, [], b"{}", flags=0x83),
    "scf-large-response": bytes([16]) + doors(3, [], b"{}", payload=b'"123456789012345678901"')[1:],
    "scf-timed-out": doors(3, [], b"{}", kind=8),
    "scf-out-of-memory": doors(3, [], b"{}", kind=9),
    "scf-exited": doors(3, [], b"{}", kind=7, flags=0x13),
    "scf-queue-full": doors(3, [], b"{}", kind=14),
    "knative-raw": bytes([32]) + doors(6, [(3, b"x")], b'{"value":{"a":1}}')[1:],
    "scf-surrogate": doors(3, [], b'{"a": "\\ud800"}'),
    "scf-no-json": doors(3, [], b"{"),
    "scf-error": doors(3, [(7, b"")], b"{}", kind=4, payload=b'{"errorCode":1}'),
    "scf-strange-id": doors(3, [(7, b'"\\\xff\x01')], b"{}"),
    "run": doors(5, [], b'{"value": {}}'),
    "init": doors(5, [], b'{"value": {"code": "x"}}', kind=0, name=b"x" * 20),
    "knative": doors(6, [], b'{"init":{"code":"x"},"activation":{"namespace":"n"},"value":{"a":1}}', kind=0),
    "knative-value": doors(
        6, [(3, b"x")], b'{"value":{"a":1}}', payload=b'{"statusCode":201,"headers":{"A":1},"body":"x"}'
    ),
    "knative-bare": doors(6, [], b'{"a":1}\n', payload=b'{"body":{"a":1}}'),
    "knative-bare-space": doors(6, [], b' {"a":1}', payload=b'{"statusCode":"404"}'),
    "knative-forged": doors(6, [], b'{"a":1}', payload=b'{"headers"/run:{"content-type":"i"PYTHON'),
    "knative-rest": doors(6, [], b'{"a":1}', payload=b'{"a": 1, "statusCode": 201, "headers": {}, "b": 2}'),
    "knative-array": doors(6, [], b"[1, 2]", payload=b"[1]"),
    "knative-image": doors(6, [], b"{}", payload=b'{"headers":{"content-type":"image/png"},"body":"iVBO"}'),
    "nowhere": doors(7, [], b"{}"),
}


def logs(kind: int, *steps: Sequence[Union[int, bytes]]) -> bytes:
    """The script of fuzz_logs.c. kind: 0 two pipes, 1 one, 2 files, 3 sockets."""
    return bytes([kind]) + b"".join(bytes([part]) if isinstance(part, int) else part for step in steps for part in step)


def says(stream: int, text: bytes) -> List[Union[int, bytes]]:
    """The function writes. stream: 0 stdout, 1 stderr."""
    return [stream, len(text), text]


BEGIN, LINE_1, LINE_2, MARKED_END, BARE_END, THE_TURN = (4, 3), (5, 0), (6, 0), (7, 1), (7, 0), (11,)
LOGS: Seeds = {
    f"{name}-{kind}": logs(kind, *steps)
    for kind in range(4)
    for name, steps in {
        "markers": [says(0, b"a\n"), says(1, b"b\n"), MARKED_END, says(0, b"c"), MARKED_END],
        "lines": [BEGIN, says(0, b"a"), says(1, b"b"), LINE_1, LINE_2, MARKED_END, BEGIN, BARE_END],
        "stalled": [BEGIN, (2, 5), (3, 3), LINE_1, MARKED_END, THE_TURN, (8, 255), (9, 255), says(0, b"later")],
        "more-than-a-buffer": [BEGIN, (2, 7), (2, 7), (2, 7), MARKED_END, says(0, b"later"), THE_TURN, THE_TURN],
        "gone": [says(0, b"a"), (10, 0), says(0, b"b"), MARKED_END, (10, 1), says(1, b"c"), MARKED_END],
        "between": [BEGIN, LINE_1, MARKED_END, says(0, b"thread"), BEGIN, says(1, b"x\ny"), LINE_1, LINE_1, BARE_END],
    }.items()
}


def tar_entry(kind: int, path: Sequence[int], target: Sequence[int] = (), flags: int = 0, prefix: int = 0) -> bytes:
    """An entry of check_tar.py's script: kind 0 file, 1 folder, 2 symbolic link, 3 hard link."""

    def encode(indices: Sequence[int]) -> bytes:
        return bytes([prefix, *indices[:-1], indices[-1] | 0x80])

    return bytes([kind, flags]) + encode(path) + (encode(target) if kind in (2, 3) else b"") + b"\5"


TAR_UP, TAR_HERE = 8, 9
TARS: Seeds = {
    "files": b"s" + tar_entry(0, [0]) + tar_entry(0, [1, 2]) + tar_entry(1, [2]),
    "links": b"s" + tar_entry(0, [0]) + tar_entry(2, [1], [0]) + tar_entry(3, [2], [0]),
    "through-a-link": b"s" + tar_entry(2, [0], [TAR_UP, 4]) + tar_entry(0, [0, 3]),
    "over-a-link": b"s" + tar_entry(2, [0], [TAR_UP, 3]) + tar_entry(0, [0]),
    "hard-link-outside": b"s" + tar_entry(3, [0], [TAR_UP, 3]) + tar_entry(0, [0]),
    "hard-link-through-a-link": b"s" + tar_entry(2, [0], [TAR_UP, 4]) + tar_entry(3, [1], [0, 3]),
    "hard-link-to-a-link": b"s" + tar_entry(2, [0], [TAR_UP, 3]) + tar_entry(3, [1], [0]),
    "hard-link-to-itself": b"s" + tar_entry(0, [0]) + tar_entry(3, [0], [0]),
    "absolute": b"s" + tar_entry(0, [3], prefix=5),
    "climbing": b"s" + tar_entry(0, [TAR_UP, 3]),
    "dots": b"s" + tar_entry(0, [TAR_HERE, 0, TAR_HERE, 1]) + tar_entry(1, [TAR_HERE]),
    "folder-over-a-link": b"s" + tar_entry(2, [0], [TAR_UP, 4]) + tar_entry(1, [0]) + tar_entry(0, [0, 3]),
    "replaced": b"s" + tar_entry(0, [0]) + tar_entry(0, [0], flags=4) + tar_entry(1, [0]),
    "negative-size": b"s" + tar_entry(0, [0]) + tar_entry(0, [1], flags=0x14) + b"\0" + tar_entry(0, [2]),
    "size-minus-one": b"s" + tar_entry(0, [0]) + tar_entry(0, [1], flags=0x14) + b"\1" + tar_entry(0, [2]),
    "huge-size": b"s" + tar_entry(0, [0]) + tar_entry(0, [1], flags=0x14) + b"\2",
    "large": b"s" + tar_entry(0, [0], flags=4)[:-1] + b"\xff",
    "set-user-id": b"s" + tar_entry(0, [0], flags=1) + tar_entry(0, [1], flags=3) + tar_entry(0, [2], flags=2),
    "pax": b"s" + tar_entry(0, [0], flags=0x28) + b"\0" + tar_entry(0, [1], flags=0x28) + b"\2",
    "fifo": b"s" + tar_entry(7, [0]),
    "sparse": b"s" + tar_entry(11, [0]),
    "not-gzip": b"gnot gzip",
    "not-tar": b"rnot tar" + bytes(1000),
    "empty": b"r" + bytes(1024),
    "nothing": b"g",
}

ENVIRONMENTS: Seeds = {
    "init": b'{"A": "b", "N": 1, "TZ": "UTC", "E": "\xc3\xa9"}',
    "activations": b'{"A": "1"}\n{"value": {}, "activation_id": "a", "deadline": 5}\n{"namespace": "n"}',
    "impossible": b'{"A": "b\\u0000c"}\n{"a\\u0000": "x", "b": "\\ud800", "c=d": "e", "": 1}',
    "equal-names": b'{}\n{"a": 1, "A": 2}',
    "doors": b'{}\n{"pyaction": {"body": "e30="}, "value": 1}',
    "hidden": b'{"__OW_A": "before"}\n{"a": "after"}\n{}',
}


def activations() -> Seeds:
    """The first byte chooses the convention."""
    values: Seeds = {
        "echo": b'{"value": {"a": [1, 2.5, "\xc3\xa9"]}, "activation_id": "id", "deadline": "1700000000000"}',
        "raise": b'{"value": {"raise": "text\\n\\ud800"}}',
        "raise-odd": b'{"value": {"raise": "\\ud800", "b": 1, "c": 2}}',
        "raise-other": b'{"value": {"raise": [1], "b": 2}}',
        "bytes": b'{"value": {"bytes": "\\u0000\\ud800"}}',
        "context": b'{"value": {"context": 1}, "namespace": "n", "transaction_id": "t", "api_key": 5}',
        "object": b'{"value": {"object": 1}}',
        "nan": b'{"value": {"nan": 1}}',
        "error": b'{"value": {"error": {"a": 1}}}',
        "text": b'{"value": "text"}',
        "none": b'{"value": null}',
        "no-value": b"{}",
        "array": b"[1]",
        "no-json": b"{",
        "body": b'{"pyaction": {"body": "e30="}}',
        "body-no-json": b'{"pyaction": {"body": "/w=="}}',
        "body-no-base64": b'{"pyaction": {"body": "a"}}',
        "body-no-text": b'{"pyaction": {"body": 1}}',
        "lambda": b'{"value": {"context": 1}, "pyaction": {"invoked_function_arn": "arn:a:b", "client_context": '
        b'"{\\"custom\\": {}, \\"client\\": {}}", "cognito_identity": "{}", "trace_id": "a", "tenant_id": ""}}',
        "lambda-bad": b'{"value": {"context": 1}, "pyaction": {"client_context": "[", "cognito_identity": "1"}}',
        "scf": b'{"value": {"context": 1}, "pyaction": {"scf": {"memory_limit_in_mb": 128, "time_limit_in_ms": 3000, '
        b'"function_name": "f", "secret_id": "s", "trigger_src": "timer"}}}',
        "event-behind": b'\x1e{"activation_id": "id", "pyaction": {}}\x1e{"a": [1,\x0b2]}',
        "refused-behind": b'\x1e{"activation_id": "id", "pyaction": {}}\x1e{"a": "\x0b"}',
        "odd-types": b'{"value": {}, "activation_id": [1], "deadline": {}, "pyaction": {"scf": [], "trace_id": 1}}',
    }
    return {f"{name}-{number}": bytes([number]) + line for name, line in values.items() for number in range(3)}


HANDLERS: Seeds = {
    name: text.encode("utf-8", "surrogatepass")
    for name, text in {
        "main": "main", "module": "index.handler", "package": "pkg/mod.fn", "dotted": "a.b.c", "climbing": "../../x.fn",
        "absolute": "/etc/passwd.fn", "main-module": "__main__.f", "identifier": "\u00e9.\ufb01", "space": "a b.c",
        "surrogate": "\ud800.f", "empty": "", "dots": "..", "null": "a\0b.c", "keyword": "class.def",
    }.items()
}

OBJECTS: Seeds = {
    f"object-{number}": bytes((number * 7 + index * 37) & 0xFF for index in range(40)) for number in range(24)
}


def seeds() -> Dict[str, Seeds]:
    """All of them, by target."""
    return {
        "activation": activations(),
        "archive": archives(),
        "archive_tree": TREES,
        "base64": BASE64_TEXTS,
        "doors": DOORS,
        "envelope": ENVELOPES,
        "environment": ENVIRONMENTS,
        "handler": HANDLERS,
        "http": HTTP,
        "json": {**JSON_TEXTS, **ENVELOPES},
        "json_decode": JSON_TEXTS,
        "json_encode": OBJECTS,
        "logs": LOGS,
        "reply": REPLIES,
        "tar": TARS,
    }


def main(arguments: List[str]) -> None:
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent / "corpus"
    for target, contents in seeds().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1:])
