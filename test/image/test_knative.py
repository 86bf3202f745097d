"""The image as deploy/knative/service.yaml runs it."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any, Callable, Dict, List, Tuple

import pytest
import yaml
from blackbox.harness import wait_until

from .containers import ROOT, Container

Start = Callable[..., Container]

SERVICE = yaml.safe_load((ROOT / "deploy" / "knative" / "service.yaml").read_text(encoding="utf-8"))
POD = SERVICE["spec"]["template"]["spec"]
#: Knative chooses the port and tells the container.
PORT = 8081


def as_knative_runs_it(env: Dict[str, str]) -> List[str]:
    """The options of docker run that do what the manifest says."""
    container = POD["containers"][0]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["capabilities"] == {"drop": ["ALL"]}
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    memory = container["resources"]["limits"]["memory"]
    assert memory.endswith("Mi")
    return ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges",
            f"--memory={memory[:-2]}m", *(f"--env={name}={value}" for name, value in env.items())]


def send(one: Container, document: Any) -> http.client.HTTPConnection:
    """POST / with a document, on a connection of its own."""
    connection = one.connection(PORT)
    connection.request("POST", "/", json.dumps(document).encode(), {"Content-Type": "application/json"})
    return connection


def receive(connection: http.client.HTTPConnection) -> Tuple[int, str, bytes]:
    """The answer of a connection, which it closes: status, content type, body."""
    with contextlib.closing(connection):
        response = connection.getresponse()
        return response.status, str(response.getheader("Content-Type")), response.read()


def call(one: Container, document: Any) -> Tuple[int, str, bytes]:
    """POST / with a document, and its answer."""
    return receive(send(one, document))


@pytest.fixture
def env() -> Dict[str, str]:
    """The variables of the manifest, and PORT."""
    return {**{one["name"]: one["value"] for one in POD["containers"][0]["env"]}, "PORT": str(PORT)}


def test_the_manifest_works(container: Start, env: Dict[str, str]) -> None:
    one = container(*as_knative_runs_it(env))
    status, kind, body = call(one, {"value": {"name": "Ada"}})
    assert (status, kind.partition(";")[0], body) == (200, "text/html", b"Hello Ada!\n")


def test_dedicated_container_refuses_an_init(container: Start, env: Dict[str, str]) -> None:
    one = container(*as_knative_runs_it(env))
    init = {"code": "def main(e): return {'body': 'other'}", "main": "main"}
    status, _, body = call(one, {"init": init, "value": {}})
    assert status == 403 and b"other" not in body
    assert call(one, {"value": {}})[2] == b"Hello stranger!\n"


def test_code_with_the_first_request(container: Start, env: Dict[str, str]) -> None:
    for name in ("CODE", "MAIN", "BINARY"):
        del env[f"__OW_ACTION_{name}"]
    one = container(*as_knative_runs_it(env))
    init = {"name": "n", "main": "main", "binary": False, "code": "def main(e): return {'body': [e['a']]}"}
    assert json.loads(call(one, {"init": init, "value": {"a": 1}})[2]) == [1]
    assert json.loads(call(one, {"value": {"a": 2}})[2]) == [2]


def test_concurrent_requests(container: Start, env: Dict[str, str]) -> None:
    """Each gets its own answer, more of them than Knative would send to one container."""
    env["__OW_ACTION_CODE"] = ("import time\ndef main(e):\n    time.sleep(0.01)\n"
                               "    return {'statusCode': 400 + e['n'], 'body': [e['n']]}\n")
    one = container(*as_knative_runs_it(env))
    sent = [send(one, {"value": {"n": n}}) for n in range(50)]
    assert [receive(connection) for connection in sent] == [
        (400 + n, "application/json", b"[%d]" % n) for n in range(50)]


def test_drains_at_sigterm(container: Start, env: Dict[str, str], figure: Callable[[str, Any], None]) -> None:
    """What is under way and what waits is finished, well over the half second that others are given."""
    env["__OW_ACTION_CODE"] = ("import time\ndef main(e):\n    print('entered')\n    time.sleep(1)\n"
                               "    return {'body': [e['n']]}\n")
    one = container(*as_knative_runs_it(env))
    sent = [send(one, {"value": {"n": n}}) for n in range(4)]
    wait_until(lambda: "entered" in one.logs().stdout, "the first one runs")
    assert one.stop(60) == 0
    answers = [json.loads(receive(connection)[2]) for connection in sent]
    assert answers == [[0], [1], [2], [3]]
    figure("Knative: runs of a second each, finished after SIGTERM", len(answers))
