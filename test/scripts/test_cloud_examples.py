"""The AWS Lambda and Tencent SCF functions of test/functions, run as shown.

A docstring shows how to serve the folder, and then calls by curl, each followed
by what it gives:

    console: TEXT       a line on the console, after those before it
    NAME: TEXT          a line of the header, where curl is asked for it (-i)
    JSON                the body, where ... stands for any text

The ports are not those of the docstring, so that they are free.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

import pytest

from .harness import FUNCTIONS, ROOT, ActionServer, own_environment
from .test_examples import Example, matches, parse

CLOUDS = sorted(FUNCTIONS.glob("lambda-*")) + sorted(FUNCTIONS.glob("scf-*"))
HEADER_LINE = re.compile(r"(HTTP/1\.1 \d|[A-Za-z-]+: ).*")


def free_ports() -> Tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class CloudServer(ActionServer):
    """A pyaction that serves a folder from its start."""

    def __init__(self, directory: Path, command: List[str], cwd: Path) -> None:
        assert command[0] == "build/pyaction"
        binary = os.environ.get("PYACTION_BIN", str(ROOT / "build" / "pyaction"))
        self.work = directory / "work"
        self.work.mkdir()
        self.port, self.scf_port = free_ports()
        self.console_file = directory / "console"
        with self.console_file.open("wb") as console:
            self.process = subprocess.Popen(
                [os.path.abspath(binary), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={
                    **own_environment(),
                    "TMPDIR": str(self.work),
                    "PYACTION_HOST": "127.0.0.1",
                    "PYACTION_PORT": str(self.port),
                    "PYACTION_SCF_PORT": str(self.scf_port),
                },
                cwd=cwd,
                start_new_session=True,
            )
        self._wait_until_up()

    def curl(self, command: List[str]) -> str:
        """Run a command of an example and return what it writes."""
        assert command[0] == "curl"
        [url] = [word for word in command if word.startswith("http://")]
        here = url.replace("127.0.0.1:8080/", f"127.0.0.1:{self.port}/")
        here = here.replace("127.0.0.1:9000/", f"127.0.0.1:{self.scf_port}/")
        assert here != url
        words = [here if word == url else word for word in command[1:]]
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--max-time", "60", *words],
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., CloudServer]]:
    """Return a function that starts a server; it is stopped, and must end well."""
    running: List[CloudServer] = []

    def start(command: List[str], cwd: Path) -> CloudServer:
        running.append(CloudServer(tmp_path, command, cwd))
        return running[-1]

    yield start
    for server in running:
        try:
            assert server.stop() == 0, server.console
        finally:
            if server.process.poll() is None:
                os.killpg(server.process.pid, signal.SIGKILL)
        assert server.leftovers() == []
        assert "Sanitizer" not in server.console


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the examples."""
    shutil.copytree(FUNCTIONS, tmp_path / "test" / "functions")
    return tmp_path


def shown_in(folder: Path) -> List[Example]:
    """Return the commands of an example, the one that serves first."""
    [file] = folder.glob("*.py")
    text = ast.get_docstring(ast.parse(file.read_text("utf-8")), clean=False)
    assert text
    return parse(text)


def pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("...")))


def check(example: Example, server: CloudServer) -> None:
    """Run a call and compare all that it gives with what is shown."""
    answer = server.curl(example.command)
    header, _, body = answer.rpartition("\r\n\r\n")
    shown = [line for line in example.expected if not line.startswith("console: ")]
    for line in [line for line in shown if HEADER_LINE.fullmatch(line)]:
        assert line in header.split("\r\n"), answer
    expected = "\n".join(line for line in shown if not HEADER_LINE.fullmatch(line))
    assert matches(json.loads(body), json.loads(expected)), answer
    for number in re.findall(r": (\d+\.\d+)", expected):  # with its digits
        assert number in body, answer
    lines = iter(server.console.splitlines())
    for text in example.starting("console"):
        assert any(re.fullmatch(pattern(text), line) for line in lines), (
            f"{text!r} is missing:\n{server.console}"
        )


@pytest.mark.parametrize(
    "folder", [f for f in CLOUDS if f.name != "scf-cos"], ids=lambda f: f.name
)
def test_example(
    folder: Path, serve: Callable[..., CloudServer], project: Path
) -> None:
    first, *calls = shown_in(folder)
    server = serve(first.command, project)
    assert calls
    for example in calls:
        check(example, server)
    served = project / "test" / "functions" / folder.name
    assert sorted(served.iterdir()) == sorted(served / f.name for f in folder.iterdir())


COS_SDK = """\
class CosConfig:
    def __init__(self, Region, SecretId, SecretKey, Token):
        assert (SecretId, SecretKey, Token) == ("id", "key", "token")
        self.host = f"cos.{Region}.myqcloud.com"


class CosS3Client:
    def __init__(self, config):
        self.config = config

    def get_presigned_url(self, Method, Bucket, Key, Expired):
        return f"https://{Bucket}.{self.config.host}/{Key}?sign"
"""


def test_scf_cos(serve: Callable[..., CloudServer], project: Path) -> None:
    """The example that needs the COS SDK, with a module of its interface."""
    served = project / "test" / "functions" / "scf-cos"
    (served / "qcloud_cos.py").write_text(COS_SDK)
    first, call = shown_in(FUNCTIONS / "scf-cos")
    check(call, serve(first.command, project))


def test_scf_cos_without_it(tmp_path: Path) -> None:
    """Says at once what is missing, and how to get it."""
    binary = os.environ.get("PYACTION_BIN", str(ROOT / "build" / "pyaction"))
    first, *_ = shown_in(FUNCTIONS / "scf-cos")
    done = subprocess.run(
        [os.path.abspath(binary), *first.command[1:]],
        env={
            **own_environment(),
            "PYACTION_HOST": "127.0.0.1",
            "PYACTION_PORT": str(free_ports()[0]),
            "PYACTION_SCF_PORT": "0",
        },
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    log = (done.stdout + done.stderr).decode()
    assert done.returncode != 0
    assert "ModuleNotFoundError: No module named 'qcloud_cos_v5'" in log
    assert "pip install cos-python-sdk-v5" in log
