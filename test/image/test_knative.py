"""The image as deploy/knative/service.yaml runs it."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest
import yaml

from .containers import ROOT, Container, wait_until

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


def call(one: Container, document: Any) -> Tuple[int, str, bytes]:
    """POST / with a document: status, content type, body."""
    def connected() -> Any:
        try:
            connection = http.client.HTTPConnection(one.address, PORT, timeout=20)
            connection.connect()
            return connection
        except ConnectionRefusedError:
            assert one.running(), one.logs()
            return None

    connection = wait_until(connected, "the port of PORT answers")
    connection.request("POST", "/", json.dumps(document).encode(), {"Content-Type": "application/json"})
    response = connection.getresponse()
    found = response.status, str(response.getheader("Content-Type")), response.read()
    connection.close()
    return found


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


def test_drains_at_sigterm(container: Start, env: Dict[str, str]) -> None:
    """What is under way and what waits is finished, well over the half second that others are given."""
    env["__OW_ACTION_CODE"] = ("import time\ndef main(e):\n    print('entered')\n    time.sleep(1)\n"
                               "    return {'body': [e['n']]}\n")
    one = container(*as_knative_runs_it(env))
    runs = [one.background(call, one, {"value": {"n": n}}) for n in range(3)]
    wait_until(lambda: "entered" in one.logs().stdout, "the first one runs")
    time.sleep(0.2)
    status, _ = one.stop(30)
    assert [json.loads(run.result()[2]) for run in runs] == [[0], [1], [2]]
    assert status == 0
