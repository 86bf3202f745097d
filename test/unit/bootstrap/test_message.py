"""message.c: events behind their messages, in the built pyrunner."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

RUNNER = Path(os.environ.get("PYACTION_BUILD", "build")) / "pyrunner"
SOURCE = "def main(event, context): return {'event': event, 'id': context.activation_id}"
AFTER = b'{"value":1}', ("success", {"event": 1, "id": ""})  # the runner has survived
Talk = Callable[..., List[Tuple[str, Any]]]


def start(messages: int, replies: int) -> "subprocess.Popen[bytes]":
    """A runner that has these descriptors as its 3 and 4."""
    def arrange() -> None:
        for fd, place in ((messages, 3), (replies, 4)):
            os.dup2(fd, place)

    # Above 4, so that neither dup2 closes what the other one needs.
    assert min(messages, replies) > 4
    return subprocess.Popen([RUNNER], preexec_fn=arrange, close_fds=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    """Returns a function that sends an init message and the given lines to a runner and returns status and payload of
    what it answers to the lines."""
    (tmp_path / "__main__.py").write_text(SOURCE)
    init = {"path": str(tmp_path), "handler": "main", "packages": str(tmp_path), "source": True, "owned": True,
            "convention": "openwhisk", "env": {}}

    def do(*lines: bytes) -> List[Tuple[str, Any]]:
        sent, answered = tmp_path / "messages", tmp_path / "replies"
        sent.write_bytes(b"".join(line + b"\n" for line in (json.dumps(init).encode(), *lines)))
        with open(sent, "rb") as messages, open(answered, "wb") as replies:
            pair = [os.dup(os.dup(os.dup(file.fileno()))) for file in (messages, replies)]
            process = start(*pair)
            assert process.wait(timeout=60) == 0
        got = answered.read_bytes().split(b"\n")
        assert got.pop() == b"" and len(got) == 2 * len(lines) + 2
        return [(json.loads(got[i])["status"], json.loads(got[i + 1])) for i in range(2, len(got), 2)]

    return do


def behind(event: bytes, front: bytes = b'{"activation_id":"i","pyaction":{},"value":5}') -> bytes:
    return b"\x1e" + front + b"\x1e" + event


@pytest.mark.parametrize("event, value", [
    (b"{}", {}), (b'"\xc3\xa9"', "é"), (b"null", None), (b"[1,\v2]", [1, 2]), (b"\v{}\v", {}), (b" 1e2\t", 100.0),
    pytest.param(b"[" * 900 + b"]" * 900, json.loads("[" * 900 + "]" * 900), id="deep"),
    pytest.param(b"7" * 4000, int("7" * 4000), id="long"),
])
def test_an_event(talk: Talk, event: bytes, value: Any) -> None:
    """It is the value, whatever else the message has (docs/protocol.md)."""
    assert talk(behind(event)) == [("success", {"event": value, "id": "i"})]


@pytest.mark.parametrize("event, problem", [
    (b"{", "unexpected end of the text at byte 1"),
    (b'"a\vb"', "control character in a string at byte 2"),
    (b"{}}", "something follows the JSON at byte 2"),
    (b'{},"pyaction":{}', "something follows the JSON at byte 2"),
    (b"{}\x1e{}", "something follows the JSON at byte 2"),
    (b"\xff", "unexpected character at byte 0"),
    (b"", "the text is empty"),
    pytest.param(b"[" * 5001 + b"]" * 5001, "it is nested too deeply, more than 5000 levels", id="deep"),
])
def test_what_is_no_event(talk: Talk, event: bytes, problem: str) -> None:
    """It reaches the convention's decoder as it was, newlines and all."""
    front = b'{"activation_id":"i","pyaction":{}}'
    assert talk(behind(event, front), AFTER[0]) == [
        ("bad_request", {"error": f"The request body is not JSON: {problem}"}), AFTER[1]]


@pytest.mark.parametrize("line", [
    b"\x1e", b'\x1e{"value":1}', b'\x1e{"value":1}{}', b"\x1e\x1e{}", b"\x1e{\x1e{}", b'{"value":1}\x1e{}',
])
def test_what_is_no_message(talk: Talk, line: bytes) -> None:
    """The proxy sends none of these."""
    refused, after = talk(line, AFTER[0])
    assert refused[0] == "bad_request" and after == AFTER[1]
