"""Payloads that are too large, too deep, or unpack to too much, at every door: a clear answer, a process that lives on,
bounded memory, and other clients served meanwhile."""

import gzip
import io
import json
import pathlib
import re
import struct
import subprocess
import tarfile
from typing import Any, Callable, Dict, Tuple

import pytest

from . import archives
from .harness import LAMBDA_PATH, PYTHON, ROOT, SANITIZED, SCF_PATH, Answer, Server, http_request
from .test_hostile_clients import attack

CODE = (
    "def main(event):\n    return {'size': len(event.get('t', ''))}\n"
    "def lambda_handler(event, context):\n    return main(event)\n"
    "main_handler = lambda_handler\n"
)
FILES = {"app.py": CODE}
MIB = 1 << 20

#: Every door for events, with a handler of its convention; Knative's has a platform of its own.
DOORS: Dict[str, Tuple[str, str, Dict[str, str]]] = {
    "openwhisk": ("/run", "app.main", {}),
    "lambda": (LAMBDA_PATH, "app.lambda_handler", {}),
    "scf": (SCF_PATH, "app.main_handler", {}),
    "knative": ("/", "app.main", {"__OW_RUNTIME_PLATFORM": "knative"}),
}
#: No limit of time or of memory: not the function is tried here.
UNLIMITED = ["--timeout", "0", "--memory", "0", "--scf-port", "0"]

door = pytest.mark.parametrize("name", sorted(DOORS))


def peak_kb(pid: int) -> int:
    """The most resident memory that a process has had."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match.group(1))


def message_for(name: str, value: bytes) -> bytes:
    """The body that brings this JSON value as an event through that door."""
    return value if name in ("lambda", "scf") else b'{"value": ' + value + b"}"


def start(function: Callable[..., Server], name: str, *options: str) -> Server:
    """A server for that door."""
    _, handler, env = DOORS[name]
    return function(FILES, handler, options=[*UNLIMITED, *options], env=env)


def post(one: Server, name: str, body: bytes) -> Answer:
    """Send it through that door."""
    return one.request("POST", DOORS[name][0], body)


def others(one: Server, attacker: Any) -> None:
    """Other clients are answered meanwhile; what needs the function has to wait for its turn."""
    count = 0
    while count < 20 or attacker.is_alive():
        assert one.request("GET", "/nowhere").status == 404
        count += 1


# --- depth


DEEP = {
    "arrays": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "unterminated": b"[" * 100_000,
    "in-a-list": b"[1, " * 100_000 + b"1" + b"]" * 100_000,
}


@door
def test_deep_events(function, name):
    """100,000 levels: refused by the door or by the function's convention, and nothing falls over."""
    one = start(function, name)
    runners = one.runners()
    for kind, value in DEEP.items():
        answer = post(one, name, message_for(name, value))
        document = answer.json
        assert isinstance(document, dict) and "size" not in document, (kind, answer)
        assert answer.status != 200 or "x-amz-function-error" in answer.headers, (kind, answer)
        assert re.search("deep|nest|depth|level|JSON|json|recursion", json.dumps(document)), (kind, document)
        assert post(one, name, message_for(name, b'{"t": "xx"}')).json == {"size": 2}
    assert one.runners() == runners, "the process is the same"


@pytest.mark.parametrize("kind", sorted(DEEP))
def test_deep_inits(server, kind):
    """In the place of the code, of a variable, and beside them."""
    one = server()
    for form in (b'{"value": {"code": %b}}', b'{"value": {"code": "x", "env": {"A": %b}}}', b"%b", b'{"x": %b}'):
        answer = one.request("POST", "/init", form % DEEP[kind])
        assert answer.status == 400 or (answer.status == 403 and kind != "unterminated"), (form, answer)
        assert answer.error
    assert one.init(CODE).json == {"ok": True}


def test_deep_metadata_and_results(action):
    """A deep value of another key of /run, and a deep result."""
    one = action(
        "def main(event):\n    deep = []\n    for _ in range(event.get('n', 0)):\n        deep = [deep]\n"
        "    return {'deep': deep}\n"
    )
    answer = one.request("POST", "/run", b'{"value": {}, "other": ' + DEEP["arrays"] + b"}")
    assert answer.status == 400 and answer.error
    answer = one.run({"n": 100_000})
    assert answer.status == 502 and answer.error
    assert one.result({"n": 2}) == {"deep": [[[]]]}


# --- size


@door
def test_64_megabytes(function, name):
    """Where the limits allow them they work, within so much of the proxy's memory."""
    one = start(function, name, "--max-request", "70M", "--max-response", "70M")
    body = message_for(name, b'{"t": "' + b"x" * (64 * MIB) + b'"}')

    def send() -> None:
        for _ in range(3):
            answer = post(one, name, body)
            assert answer.json == {"size": 64 * MIB}, answer

    with attack(send) as attacker:
        others(one, attacker)
    assert SANITIZED or peak_kb(one.pid) < (3 * 64 + 20) * 1024, "three times the body"


@door
def test_64_megabytes_over_the_limit(function, name):
    """Refused when the headers are there: the body is not waited for."""
    options = ["--max-body", "60M"] if name in ("openwhisk", "knative") else []
    one = start(function, name, *options)
    for _ in range(20):
        client = one.connect()
        client.send(http_request("POST", DOORS[name][0], None, [("Content-Length", str(64 * MIB))]))
        answer = client.read_answer()
        assert answer.status == (406 if name == "scf" else 413)
        assert re.search(r"6\d{6,7}", json.dumps(answer.json)), "... and says how much there may be"
        client.close()
    assert SANITIZED or peak_kb(one.pid) < 20 * 1024
    assert post(one, name, message_for(name, b'{"t": "xx"}')).json == {"size": 2}


# --- archives


def refused(one: Server, archive: bytes, reason: str) -> None:
    """The archive is refused for that reason, others are answered meanwhile, and another init works."""
    answers = []
    with attack(lambda: answers.append(one.init(archive))) as attacker:
        others(one, attacker)
    assert answers[0].status == 502, answers
    assert reason in answers[0].error
    assert list(one.work_dir.iterdir()) == []
    assert one.init(CODE).json == {"ok": True}
    assert SANITIZED or peak_kb(one.pid) < 100 * 1024


def zip_of_entries_without_content(count: int) -> bytes:
    """That many times the same empty file, in the form for archives of more than 65,535 entries (APPNOTE 4.3.14)."""
    one = archives.raw_zip(b"empty", b"")
    central = one[one.index(b"PK\x01\x02"):one.index(b"PK\x05\x06")]
    local = one[:one.index(b"PK\x01\x02")]
    size, offset = len(central) * count, len(local)
    end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, offset + size, 1)
    return local + central * count + end + locator + b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, *[
        0xFFFFFFFF, 0xFFFFFFFF, 0])


def test_too_many_entries(server):
    """One more than there may be, 50 bytes each."""
    refused(server(), zip_of_entries_without_content(200_001), "200000")


def zip_bomb() -> bytes:
    """2 MB of 2 GB."""
    return archives.bomb(2000)


def tar_bomb() -> bytes:
    """The same; in members of gzip, one after the other, as `gzip` concatenates them."""
    header = tarfile.TarInfo("big")
    header.size = 2000 * MIB
    return gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(100 * MIB)) * 20


@pytest.mark.parametrize("make", [zip_bomb, tar_bomb], ids=["zip", "tar"])
def test_bomb_beside_other_clients(server, make):
    refused(server(), make(), "1073741824")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_deep_folders(server, form):
    """Unpacked, and removed in the end."""
    name = "d/" * 300 + "f"
    one = server()
    if form == "zip":
        archive = archives.zip_of({"__main__.py": CODE, name: "x"})
    else:
        archive = tar_of({"__main__.py": CODE.encode(), name: b"x"})
    assert one.init(archive).json == {"ok": True}
    assert one.result({"t": "xx"}) == {"size": 2}


def tar_of(files: Dict[str, bytes]) -> bytes:
    """A tar.gz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_entries_and_folders_of_a_tar(tmp_path):
    """One name may have thousands of folders: they are bounded as entries are. (Of zip archives: test_archive.c.)"""
    program = (ROOT / "proxy" / "untar.py").read_text().replace("ENTRIES_MAX = 200_000", "ENTRIES_MAX = 10")
    for files, said in (
        ({"d/" * 10 + "f": b"x"}, ""),
        ({"d/" * 11 + "f": b"x"}, "it has more than 10 folders\n"),
        ({f"f{n}": b"x" for n in range(10)}, ""),
        ({f"f{n}": b"x" for n in range(11)}, "it has more than 10 entries\n"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        done = subprocess.run(
            [PYTHON, "-IS", "-c", program, str(folder)], input=tar_of(files), capture_output=True, check=False
        )
        assert (done.returncode, done.stdout.decode()) == (1 if said else 0, said), done
