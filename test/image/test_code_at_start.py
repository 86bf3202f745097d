"""Functions that come with the container: mounted at /function, or in an image derived from this one."""

from __future__ import annotations

import contextlib
import json
import pathlib
import random
from typing import Any, Callable, Iterator, Tuple

import pytest
from blackbox.harness import wait_until

from .containers import IMAGE, PORT, Answer, Container, docker

Start = Callable[..., Container]

HELLO = "def main(event):\n    return {'greeting': 'Hello ' + event.get('name', 'stranger')}\n"

LAMBDA = """
def lambda_handler(event, context):
    print("for", event["name"])
    return f"Hello {event['name']} from {context.function_name} with {context.memory_limit_in_mb} MB"
"""

SCF = """
def main_handler(event, context):
    return {"event": event, "memory": context["memory_limit_in_mb"]}
"""


def call(one: Container, path: str, event: Any, port: int = PORT) -> Tuple[int, Any]:
    """POST an event: status and the document of the answer."""
    with contextlib.closing(one.connection(port)) as connection:
        connection.request("POST", path, json.dumps(event).encode(), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Callable[..., str]:
    """Return a function that writes files and gives the option that mounts them, read-only, at /function."""
    def write(**sources: str) -> str:
        for name, text in sources.items():
            path = tmp_path / f"{name}.py"
            path.write_text(text)
            path.chmod(0o644)
        for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            path.chmod(0o755)
        return f"--volume={tmp_path}:/function:ro"

    return write


@pytest.fixture
def derived(tmp_path: pathlib.Path) -> Iterator[Callable[..., str]]:
    """Return a function that builds an image: the lines after FROM, and the files of the context."""
    made = []

    def build(lines: str, **sources: str) -> str:
        for name, text in sources.items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\n{lines}")
        tag = f"pyaction-test-{random.randrange(1 << 32):08x}"
        docker("build", "-q", "-t", tag, str(tmp_path))
        made.append(tag)
        return tag

    yield build
    for tag in made:
        docker("rmi", "-f", tag, check=False)


def test_mounted_folder(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(hello=HELLO), command=["hello.main"])
    assert call(one, "/run", {"value": {"name": "Ada"}}) == (200, {"greeting": "Hello Ada"})


def test_mounted_main_needs_no_handler(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(__main__=HELLO))
    assert call(one, "/run", {"value": {}}) == (200, {"greeting": "Hello stranger"})


def test_derived_image_restricted(container: Start, derived: Callable[..., str]) -> None:
    """COPY and CMD are all that it takes; any user id, nothing to write to but /tmp."""
    tag = derived('COPY hello.py /function/\nCMD ["hello.main"]\n', hello=HELLO)
    one = container("--user=123456:123456", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
                    "--security-opt=no-new-privileges", "--memory=128m", image=tag)
    assert call(one, "/run", {"value": {"name": "Ada"}}) == (200, {"greeting": "Hello Ada"})
    assert one.stop() == 0


def test_lambda_function(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(lambda_function=LAMBDA), "--env=AWS_LAMBDA_FUNCTION_NAME=hello",
                    command=["--memory=256", "lambda_function.lambda_handler"])
    found = call(one, "/2015-03-31/functions/function/invocations", {"name": "Ada"})
    assert found == (200, "Hello Ada from hello with 256 MB")
    logs = one.logs()
    assert "for Ada" in logs.stdout + logs.stderr and "REPORT" in logs.stdout + logs.stderr


def test_scf_function_on_its_port(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(index=SCF), command=["index.main_handler"])
    status, document = call(one, "/event-invoke", {"a": 1}, port=9000)
    assert (status, document["event"]) == (200, {"a": 1})


def test_broken_function_ends_the_container_at_once(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(hello="raise RuntimeError('on purpose')\n"), command=["hello.main"])
    wait_until(lambda: not one.running(), "it ends")
    assert one.inspect("{{.State.ExitCode}}") == "3"
    assert "on purpose" in one.logs().stderr


def test_init_is_refused_when_the_code_is_there(container: Start, folder: Callable[..., str]) -> None:
    one = container(folder(hello=HELLO), command=["hello.main"])
    assert one.init(HELLO) == Answer(403, {"error": "Cannot initialize the action more than once."})


def test_derived_image_with_packages_of_its_own(container: Start, derived: Callable[..., str]) -> None:
    """pip as root in the build, found by the function of any user. Without the network: a package of the context."""
    tag = derived(
        "USER 0\nCOPY greeting.py /tmp/greeting/greeting.py\n"
        "RUN cd /tmp/greeting && mkdir greeting-1.0.dist-info"
        " && printf 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n' >greeting-1.0.dist-info/METADATA"
        " && printf 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n' >greeting-1.0.dist-info/WHEEL"
        " && printf 'greeting.py,,\\n' >greeting-1.0.dist-info/RECORD"
        " && python3 -m zipfile -c /tmp/greeting-1.0-py3-none-any.whl greeting.py greeting-1.0.dist-info"
        " && cd / && pip install --no-index /tmp/greeting-1.0-py3-none-any.whl && rm -rf /tmp/greeting*\n"
        "USER 65534:65534\nCOPY hello.py /function/\nCMD [\"hello.main\"]\n",
        greeting="text = 'installed'\n",
        hello="import greeting\ndef main(event):\n    return {'greeting': greeting.text, 'file': greeting.__file__}\n",
    )
    status, document = call(container("--user=4711", image=tag), "/run", {"value": {}})
    assert (status, document["greeting"]) == (200, "installed")
    assert document["file"].startswith("/usr/local/lib/python3")
