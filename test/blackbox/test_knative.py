"""OpenWhisk's single entry point for Knative: POST / with init, activation and value, answered as a web action's.

The contract is the paragraph "Single entry point (Knative)" of the facts on OpenWhisk; where it leaves something open,
Apache OpenWhisk's Node.js runtime (core/nodejsActionBase/platform/knative.js, with the requests of its
tests/src/test/knative) and its docs/webactions.md tell, as the tests say.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import time

import pytest
import yaml

from .archives import zip_of
from .harness import (EXECUTABLE, LAMBDA_PATH, MARKER, PATIENCE, ROOT, SCF_PATH, Client, base_environment, connections,
                      free_port, http_request, unread, wait_until)

KNATIVE = {"__OW_RUNTIME_PLATFORM": "knative"}

#: Returns its event.
ECHO = "def main(event):\n    return event\n"
#: Returns what the event asks for, under a name that is in no web response.
MAKE = "def main(event):\n    return event['make']\n"
#: Does what the event asks for.
WORKER = """
import os, sys, time
def main(event):
    print("at work", event.get("n"))
    if "gate" in event:
        with open(event["gate"]) as gate:
            gate.read()
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "exit" in event:
        sys.exit(event["exit"])
    if "raise" in event:
        raise ValueError(event["raise"])
    return {"n": event.get("n"), "pid": os.getpid()}
"""
#: Tells the variables of its activation.
VARIABLES = """
import os
def main(event):
    return {"variables": {k: v for k, v in os.environ.items() if k.startswith("__OW_A") or k == "MINE"}}
"""
PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


@pytest.fixture
def knative(server):
    """Return a function that starts a server on Knative; env: further variables."""
    return lambda env=(), **settings: server(env={**KNATIVE, **dict(env)}, **settings)


@pytest.fixture
def dedicated(knative):
    """Return a function that starts one with its function in variables; __OW_ACTION_ comes before the names."""
    def start(code, env=(), settings=(), **names):
        action = {f"__OW_ACTION_{name}": value for name, value in {"CODE": code, **names}.items()}
        return knative(env={**action, **dict(env)}, **dict(settings))
    return start


@pytest.fixture
def web(dedicated):
    """Return a function that gives the answer to a result."""
    one = dedicated(MAKE)
    return lambda made: one.post("/", {"value": {"make": made}})


def init_of(code, **keys):
    """The member `init` of a request."""
    return {"name": "hello", "main": "main", "binary": False, "code": code, **keys}


# --- init, activation and value ---------------------------------------------------


def test_together(knative):
    """The request of Apache's own tests: everything at once; the next one needs no init."""
    one = knative()
    first = {"init": init_of(WORKER), "activation": {"activation_id": "a1"}, "value": {"n": 1}}
    answer = one.post("/", first)
    assert (answer.status, answer.json["n"]) == (200, 1)
    assert one.post("/", {"activation": {}, "value": {"n": 2}}).json == {"n": 2, "pid": answer.json["pid"]}
    assert one.out.activations() == [b"at work 1\n", b"at work 2\n", b""] and one.err.markers() == 2


def test_apart(knative):
    one = knative()
    answer = one.post("/", {"init": init_of(WORKER)})
    assert (answer.status, answer.json) == (200, {"ok": True})
    assert one.out.markers() == 0
    assert one.post("/", {"value": {"n": 2}}).json["n"] == 2


def test_init_and_value_without_activation(knative):
    assert knative().post("/", {"init": init_of(WORKER), "value": {"n": 3}}).json["n"] == 3


def test_init_and_activation_without_value(knative):
    """The value is {} then."""
    assert knative().post("/", {"init": init_of(WORKER), "activation": {"activation_id": "a1"}}).json["n"] is None


@pytest.mark.parametrize("body", [b"", b"{}", b' { "activation" : { } } ', b'{"value": null}', b'{"value":{}}'])
def test_without_value(dedicated, body):
    assert dedicated(WORKER).post("/", body).json["n"] is None


def test_order_and_white_space(knative):
    body = json.dumps({"value": {"n": [1, {"a": "}"}]}, "activation": {"b": "{"}, "init": init_of(WORKER)}, indent="\t")
    assert knative().post("/", body.replace("\n", "\r\n ").encode()).json["n"] == [1, {"a": "}"}]


def test_a_body_that_is_the_value(dedicated):
    """What somebody sends who only knows the function: none of the three members."""
    assert dedicated(WORKER).post("/", {"n": 4}).json["n"] == 4


def test_activation_becomes_variables(knative):
    one = knative()
    activation = {"activation_id": "a1", "action_name": "/ns/hello", "api_key": "", "deadline": "4102498800000"}
    answer = one.post("/", {"init": init_of(VARIABLES, env={"MINE": "1"}), "activation": activation, "value": {}})
    assert answer.json["variables"] == {
        "__OW_ACTIVATION_ID": "a1", "__OW_ACTION_NAME": "/ns/hello", "__OW_API_KEY": "", "MINE": "1"}


def test_an_activation_cannot_change_the_value(dedicated):
    one = dedicated(ECHO)
    assert one.post("/", {"activation": {"value": {"a": "forged"}}, "value": {"a": "true"}}).json["a"] == "true"


def test_zip(knative):
    code = base64.b64encode(zip_of({"__main__.py": WORKER})).decode()
    assert knative().post("/", {"init": init_of(code, binary=True), "value": {"n": 5}}).json["n"] == 5


@pytest.mark.parametrize("init", [{}, {"main": "main"}, {"code": ""}, {"code": None}, None])
def test_init_without_code(knative, init):
    one = knative()
    for body in ({"init": init}, {"init": init, "activation": {}, "value": {"n": 1}}):
        answer = one.post("/", body)
        assert (answer.status, answer.error) == (403, "Missing main/no code to execute.")
    assert one.post("/", {"init": init_of(WORKER), "value": {"n": 1}}).json["n"] == 1


def test_run_without_init(knative):
    for body in ({"value": {"n": 1}, "activation": {}}, {"value": {}}, {}):
        answer = knative().post("/", body)
        assert (answer.status, answer.error) == (500, "no action defined yet")


def test_init_again(knative):
    one = knative()
    one.post("/", {"init": init_of(WORKER)})
    for body in ({"init": init_of(ECHO)}, {"init": init_of(ECHO), "value": {"n": 1}}):
        answer = one.post("/", body)
        assert (answer.status, answer.error) == (403, "Cannot initialize the action more than once.")
    assert one.post("/", {"value": {"n": 1}}).json["n"] == 1


@pytest.mark.parametrize(("init", "status", "error"), [
    (init_of("def main(:\n"), 502, "Cannot start action. Check logs for details."),
    (init_of("x = 1\n"), 502, "Cannot start action."),
    (init_of("!", binary=True), 400, "cannot decode the request: "),
    ({"code": 5}, 400, "Error unmarshaling request: "), ("x", 400, "Error unmarshaling request: "),
])
def test_init_that_fails(knative, init, status, error):
    """Nothing is run; another one is welcome."""
    one = knative()
    answer = one.post("/", {"init": init, "activation": {}, "value": {"n": 1}})
    assert answer.status == status and answer.error.startswith(error), answer
    assert one.post("/", {"init": init_of(WORKER), "value": {"n": 1}}).json["n"] == 1


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"value": NaN}', b'{"value": {"a": "\xff"}}', b"{}{}"])
def test_what_is_not_json(dedicated, body):
    one = dedicated(WORKER)
    answer = one.post("/", body)
    assert answer.status == 400 and answer.error
    assert one.out.markers() == 0


def test_only_on_knative(server):
    assert server().post("/", {"value": {}}).status == 404
    assert server(env={"__OW_RUNTIME_PLATFORM": "openwhisk"}).post("/", {"value": {}}).status == 404


def test_other_doors_stay_open(knative):
    one = knative()
    assert one.init(WORKER).status == 200
    assert one.result({"n": 1})["n"] == one.post("/", {"value": {"n": 1}}).json["n"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_methods(dedicated, method):
    answer = dedicated(WORKER).request(method, "/")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


# --- dedicated containers ----------------------------------------------------------


def test_dedicated(dedicated):
    """It has its function, and takes no other."""
    one = dedicated(WORKER)
    assert one.post("/", {"value": {"n": 1}}).json["n"] == 1
    for body in ({"init": init_of(ECHO)}, {"init": init_of(ECHO), "activation": {}, "value": {"n": 2}}):
        answer = one.post("/", body)
        assert (answer.status, answer.error) == (403, "Cannot initialize a runtime with a dedicated function.")
    assert one.post("/", {"value": {"n": 3}}).json["n"] == 3
    assert one.out.markers() == 2


def test_dedicated_main_and_name(dedicated):
    one = dedicated(VARIABLES.replace("main", "other"), MAIN="other", NAME="its-name")
    assert one.post("/", {}).json["variables"]["__OW_ACTION_NAME"] == "its-name"


@pytest.mark.parametrize("binary", ["true", "True"])
def test_dedicated_binary(dedicated, binary):
    code = base64.b64encode(zip_of({"__main__.py": "import other\nmain = other.main\n", "other.py": WORKER})).decode()
    assert dedicated(code, BINARY=binary).post("/", {"value": {"n": 1}}).json["n"] == 1


def test_dedicated_source_that_looks_like_base64(dedicated):
    assert dedicated(WORKER, BINARY="false").post("/", {"value": {"n": 1}}).json["n"] == 1


def test_dedicated_in_a_module(dedicated):
    assert dedicated(WORKER, MAIN="pkg/mod.main").post("/", {"value": {"n": 1}}).json["n"] == 1


def test_empty_code_is_no_dedicated_container(dedicated):
    """A stem cell, as Apache's: the variable may be there and empty."""
    assert dedicated("").post("/", {"init": init_of(WORKER), "value": {"n": 1}}).json["n"] == 1


def test_dedicated_function_that_cannot_be_loaded():
    """It ends at once, with a message: Knative says that the revision failed instead of sending it requests."""
    env = {**base_environment(), **KNATIVE, "__OW_ACTION_CODE": "def main(:\n", "PORT": str(free_port())}
    done = subprocess.run([EXECUTABLE, "--host=127.0.0.1"], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert done.returncode == 3
    assert b"pyaction: cannot load the function: handler 'main' in __OW_ACTION_CODE" in done.stderr


# --- the port ----------------------------------------------------------------------


@pytest.fixture
def listens():
    """Return a function that starts a server and tells whether it listens on a port."""
    started = []

    def start(port, env, *options, host="127.0.0.1"):
        process = subprocess.Popen([EXECUTABLE, f"--host={host}", *options], env={**base_environment(), **env},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)

        def connected():
            assert process.poll() is None
            try:
                socket.create_connection((host, port), PATIENCE).close()
            except ConnectionRefusedError:
                return False
            return True

        return wait_until(connected, f"it listens on {port}", 5)

    yield start
    for process in started:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_port_of_knative(listens):
    port = free_port()
    assert listens(port, {**KNATIVE, "PORT": str(port)})


def test_own_options_go_before(listens):
    port, other = free_port(), free_port()
    assert listens(port, {**KNATIVE, "PORT": str(other)}, f"--port={port}")
    port = free_port()
    assert listens(port, {**KNATIVE, "PORT": str(other), "PYACTION_PORT": str(port)})


def test_port_means_nothing_elsewhere(listens):
    other = f"127.{os.getpid() % 250 + 1}.80.80"  # where nobody else has the usual port
    assert listens(8080, {"PORT": str(free_port())}, host=other)


@pytest.mark.parametrize("port", ["nonsense", "0", "65536"])
def test_wrong_port(port):
    done = subprocess.run([EXECUTABLE], env={**base_environment(), **KNATIVE, "PORT": port}, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert done.returncode == 2 and b"from 1 to 65535" in done.stderr


# --- deploy/knative ------------------------------------------------------------------


def service():
    """The revision of deploy/knative/service.yaml, its container, and the container's variables."""
    document = yaml.safe_load((ROOT / "deploy" / "knative" / "service.yaml").read_text())
    revision = document["spec"]["template"]["spec"]
    container, = revision["containers"]
    return revision, container, {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_service_of_deploy(server):
    """What it says of the container is what makes one that answers."""
    _, container, env = service()
    assert all(isinstance(value, str) for value in env.values())
    status_port = free_port()  # its own may be somebody else's here
    one = server(env={**env, "PYACTION_STATUS_PORT": str(status_port)})
    answer = one.post("/", {"value": {"name": "Ada"}})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/html", b"Hello Ada!\n")
    assert one.post("/", {"init": init_of(ECHO)}).status == 403
    assert container["ports"][0]["containerPort"] == 8080  # which is the default; Knative sets PORT to it
    assert one.request("GET", "/metrics", port=status_port).body.count(b"pyaction_activations_total{") > 10


def test_the_service_tells_prometheus_its_status_port():
    document = yaml.safe_load((ROOT / "deploy" / "knative" / "service.yaml").read_text())
    annotations = document["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == service()[2]["PYACTION_STATUS_PORT"] != "8080"
    assert annotations["prometheus.io/path"] == "/metrics"


def test_the_service_leaves_time_to_drain():
    """Less than Kubernetes does, which is timeoutSeconds, and more than it takes to answer."""
    revision, _, env = service()
    assert revision["timeoutSeconds"] - 10 <= int(env["PYACTION_GRACE"]) < revision["timeoutSeconds"]
    assert revision["containerConcurrency"] == 1


# --- what the function gets ---------------------------------------------------------


def test_http_context(dedicated):
    """As web actions have it (docs/webactions.md), but for the body."""
    one = dedicated(ECHO, env={"__OW_NAMESPACE": "guest"})
    words = [("X-Request-Id", "r 1"), ("Accept", "*/*")]
    answer = one.post("/?a=1&b=two", {"activation": {}, "value": {"n": 1}}, headers=words)
    headers = answer.json.pop("__ow_headers")
    assert {name: headers[name] for name in ("x-request-id", "accept", "content-type")} == {
        "x-request-id": "r 1", "accept": "*/*", "content-type": "application/json"}
    assert answer.json.items() >= {"n": 1, "__ow_method": "POST", "__ow_path": "", "__ow_user": "guest"}.items()
    assert "__ow_body" not in answer.json and "__ow_query" not in answer.json


def test_the_context_is_the_servers(dedicated):
    """A client cannot pass for somebody else."""
    value = {"__ow_user": "forged", "__ow_method": "forged", "__ow_headers": {"x": "forged"}, "__ow_path": "forged",
             "__ow_body": "forged", "__ow_query": "forged"}
    answer = dedicated(ECHO, RAW="true").post("/?q", {"value": value})
    assert "forged" not in json.dumps({k: v for k, v in answer.json.items() if k != "__ow_body"})
    assert base64.b64decode(answer.json["__ow_body"]) == json.dumps(value).encode()


@pytest.mark.parametrize("raw", ["true", "True"])
def test_raw(dedicated, raw):
    one = dedicated(ECHO, RAW=raw, env={"__OW_NAMESPACE": "guest"})
    value = '{"n": 1.10, "big": 9007199254740993, "ü": "\\n"}'
    answer = one.post("/?a=1&b=%20two&a=3", f'{{"value": {value}}}'.encode(), headers=[("X-Mine", "yes")])
    event = answer.json
    assert base64.b64decode(event["__ow_body"]).decode() == value
    assert event["__ow_query"] == "a=1&b=%20two&a=3"
    assert (event["__ow_user"], event["__ow_method"], event["__ow_path"]) == ("guest", "POST", "")
    assert event["__ow_headers"]["x-mine"] == "yes"


def test_raw_without_query(dedicated):
    assert dedicated(ECHO, RAW="true").post("/", {"value": {}}).json["__ow_query"] == ""


def test_raw_that_init_asks_for(knative):
    """The request of Apache's test webactionraw."""
    one = knative()
    body = {"init": init_of(ECHO, raw=True), "activation": {}, "value": {"name": "Joe"}}
    for document in (body, {"activation": {}, "value": {"name": "Joe"}}):
        assert base64.b64decode(one.post("/", document).json["__ow_body"]) == b'{"name": "Joe"}'


def test_not_raw(dedicated):
    assert "__ow_body" not in dedicated(ECHO, RAW="false").post("/", {"value": {}}).json


def test_header_that_comes_twice(dedicated):
    """Its values are one list then (RFC 9110, 5.3)."""
    answer = dedicated(ECHO).post("/", {"value": {}}, headers=[("X-A", "1"), ("X-B", "b"), ("x-a", "2")])
    assert answer.json["__ow_headers"]["x-a"] in ("1, 2", "1,2")


def test_header_that_is_not_utf_8(dedicated):
    """It does no harm, whatever becomes of it."""
    one = dedicated(WORKER)
    answer = one.post("/", {"value": {"n": 1}}, headers=[("X-Name", "J\xfcrgen \"\\")])
    assert (answer.status, answer.json["n"]) == (200, 1)


# --- web responses -------------------------------------------------------------------


def test_object_is_json(web):
    answer = web({"a": [1, None], "ü": "\"\\\n"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body.decode() == '{"a": [1, null], "ü": "\\"\\\\\\n"}'


def test_array_is_json(web):
    answer = web([1, {"body": "x"}])
    assert (answer.status, answer.headers["content-type"], answer.json) == (200, "application/json", [1, {"body": "x"}])


def test_string_body_is_html(web):
    answer = web({"body": "<h1>Grüße \"\\ &amp;\n</h1>"})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    assert answer.body.decode() == "<h1>Grüße \"\\ &amp;\n</h1>"


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_content_type_of_the_function(web, name):
    answer = web({"headers": {name: "text/plain; charset=utf-8"}, "body": "ü"})
    assert (answer.headers["content-type"], answer.body.decode()) == ("text/plain; charset=utf-8", "ü")


def test_string_with_nul(web):
    assert web({"body": "a\0b\0"}).body == b"a\0b\0"


@pytest.mark.parametrize("body", [{"a": 1}, [1, 2], 5, True, {}, []])
def test_other_body_is_json(web, body):
    answer = web({"body": body})
    assert (answer.status, answer.headers["content-type"], answer.json) == (200, "application/json", body)


@pytest.mark.parametrize("code", [200, 201, 301, 404, 418, 500, 503, "404"])
def test_status_code(web, code):
    answer = web({"statusCode": code, "body": "text"})
    assert (answer.status, answer.body) == (int(code), b"text")


@pytest.mark.parametrize("code", [99, 100, 199, 600, 1e99, -1, None, "x", [], True, 4.5, ""])
def test_status_code_that_is_none(web, code):
    """There is an answer all the same."""
    answer = web({"statusCode": code, "body": "text"})
    assert 200 <= answer.status <= 599 and answer.body == b"text"


def test_redirect(web):
    """Of docs/webactions.md: no body."""
    answer = web({"headers": {"Location": "https://example.com/?q=ü"}, "statusCode": 302})
    assert (answer.status, answer.headers["location"]) == (302, "https://example.com/?q=Ã¼")
    assert answer.body in (b"", b"{}")


@pytest.mark.parametrize("order", [("statusCode", "headers", "a", "c"), ("a", "headers", "c", "statusCode"),
                                   ("headers", "statusCode"), ("c", "statusCode", "headers")])
def test_status_and_headers_are_not_in_the_body(web, order):
    """Apache's takes them out of an object that is the body itself."""
    members = {"statusCode": 201, "headers": {"X-A": "b"}, "a": 1, "c": {"statusCode": 5, "headers": [","]}}
    answer = web({name: members[name] for name in order})
    rest = {name: members[name] for name in order if name in ("a", "c")}
    assert (answer.status, answer.headers["x-a"], answer.body) == (201, "b", json.dumps(rest).encode() if rest else b"")


def test_headers(web):
    answer = web({"headers": {"X-Text": "a b", "X-Number": 5, "X-Big": 12345678901, "X-Bool": True, "X-False": False},
                  "body": "x"})
    names = ("x-text", "x-number", "x-big", "x-bool", "x-false")
    assert [answer.headers[name] for name in names] == ["a b", "5", "12345678901", "true", "false"]


def test_header_with_several_values(dedicated):
    """docs/webactions.md: an array of values, as two cookies are."""
    one = dedicated(MAKE)
    client = one.connect()
    made = {"headers": {"Set-Cookie": ["a=1; Path=/", "b=2"]}, "body": "x"}
    client.send(http_request("POST", "/", json.dumps({"value": {"make": made}}).encode()))
    data = b""
    while b"\r\n\r\nx" not in data:
        data += client.socket.recv(65536)
    assert b"\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n" in data


@pytest.mark.parametrize("headers", [
    {"X-A\r\nX-Forged": "b"}, {"X-A": "b\r\nX-Forged: c"}, {"X-A": "b\nX-Forged: c"}, {"X-A: b\r\nX-Forged": "c"},
    {"": "b"}, {"X A": "b"}, {"X-A": None}, {"X-A": {}}, {"X-A": [[]]},
    {"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"}, [], "x", 5, None,
], ids=repr)
def test_headers_that_are_none(dedicated, headers):
    """The answer is whole, and nothing can be put into it."""
    one = dedicated(MAKE)
    client = one.connect()
    for _ in range(2):
        answer = one.post("/", {"value": {"make": {"headers": headers, "body": "text"}}}, client=client)
        assert (answer.status, answer.body) == (200, b"text")
        assert "x-forged" not in answer.headers


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "Image/PNG"])
def test_image(web, kind):
    answer = web({"headers": {"Content-Type": kind}, "body": base64.b64encode(PNG).decode()})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, PNG)


def test_text_image(web):
    """An SVG image may be sent as the text that it is."""
    picture = "<svg xmlns='http://www.w3.org/2000/svg'><text>ü</text></svg>"
    for body in (picture, base64.b64encode(picture.encode()).decode()):
        answer = web({"headers": {"Content-Type": "image/svg+xml"}, "body": body})
        assert answer.body.decode() == picture


def test_base64_of_another_type_is_text(web):
    answer = web({"headers": {"Content-Type": "application/octet-stream"}, "body": "AAEC"})
    assert answer.body == b"AAEC"


@pytest.mark.parametrize("made", [{"body": ""}, {"statusCode": 200, "body": ""}, {"body": None},
                                  {"headers": {"X-A": "b"}, "body": ""}], ids=repr)
def test_empty_body(web, made):
    """docs/webactions.md: 204 unless the function says another status; null and "" are empty."""
    answer = web(made)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers.get("x-a") == made.get("headers", {}).get("X-A")


@pytest.mark.parametrize("code", [204, 304])
def test_status_that_has_no_body(dedicated, code):
    """The connection goes on: nothing of the body is sent behind the headers."""
    one = dedicated(MAKE)
    client = one.connect()
    body = json.dumps({"value": {"make": {"statusCode": code, "body": "x" * 9}}}).encode()
    client.send(http_request("POST", "/", body))
    status, _ = client._read_head()
    assert status.split()[1] == str(code)
    assert one.post("/", {"value": {"make": {"body": "next"}}}, client=client).body == b"next"


def test_empty_body_with_a_status(web):
    assert (web({"statusCode": 404, "body": ""}).status, web({"statusCode": 404, "body": ""}).body) == (404, b"")


def test_numbers_are_untouched(dedicated):
    numbers = "[9007199254740993, 1.0, 1e-07, 123456789012345678901234567890, 0.1, -0.0, 5e-324]"
    one = dedicated(MAKE)
    whole = f'{{"numbers": {numbers}}}'
    for made, wanted in ((whole, whole), (f'{{"body": {numbers}}}', numbers)):
        assert one.post("/", f'{{"value": {{"make": {made}}}}}'.encode()).body.decode() == wanted


@pytest.mark.parametrize("first", ["a\"b", "a\\b", "a\nb", "statusCode\"", "ü\t"])
def test_odd_keys_before_the_known_ones(web, first):
    answer = web({first: {"body": "not this"}, "statusCode": 404, "headers": {"X-A": "b"}, "body": "text"})
    assert (answer.status, answer.headers.get("x-a"), answer.body) == (404, "b", b"text")


def test_large_bodies(web):
    text = "ü\"" * 500_000
    assert web({"body": text}).body.decode() == text
    data = bytes(range(256)) * 8000
    made = {"headers": {"Content-Type": "image/png"}, "body": base64.b64encode(data).decode()}
    assert web(made).body == data


# --- when it fails -------------------------------------------------------------------


def test_error_of_the_function(dedicated):
    answer = dedicated(MAKE).post("/", {"value": {"make": {"error": "mine"}}})
    assert (answer.status, answer.json) == (200, {"error": "mine"})


@pytest.mark.parametrize(("event", "status", "error"), [
    ({"raise": "boom"}, 502, "boom"), ({"exit": 3}, 400, "command exited (exit status 3)"),
])
def test_failures(dedicated, event, status, error):
    """And the next request is answered."""
    one = dedicated(WORKER)
    answer = one.post("/", {"value": event})
    assert (answer.status, answer.error) == (status, error)
    assert one.post("/", {"value": {"n": 1}}).json["n"] == 1


@pytest.mark.parametrize("made", ["text", 5])
def test_result_that_is_none(web, made):
    answer = web(made)
    assert (answer.status, answer.error) == (502, "The action did not return a dictionary or array.")


# --- the three conventions behind it -----------------------------------------------------

HANDLERS = {"openwhisk": "app.main", "lambda": "app.lambda_handler", "scf": "app.main_handler"}
CONVENTIONS = """
import json
def main(event, context):
    if event.get("raise"):
        raise ValueError("boom")
    kind = type(context).__module__ + "." + type(context).__name__
    return event["make"] if "make" in event else {"event": event["n"], "context": kind}
lambda_handler = main_handler = main
"""


@pytest.fixture(params=HANDLERS)
def convention(request, dedicated):
    """A server with the same function in each convention; its attribute `convention` tells which."""
    one = dedicated(CONVENTIONS, MAIN=HANDLERS[request.param])
    one.convention = request.param
    return one


def test_events_of_conventions(convention):
    assert convention.post("/", {"value": {"n": [1]}}).json["event"] == [1]


def test_contexts_of_conventions(knative):
    """Each gets its own."""
    contexts = set()
    for handler in HANDLERS.values():
        one = knative()
        one.post("/", {"init": init_of(CONVENTIONS, main=handler)})
        contexts.add(one.post("/", {"value": {"n": 1}}).json["context"])
    assert len(contexts) == 3


def test_web_responses_of_conventions(convention):
    made = {"statusCode": 404, "headers": {"X-A": "b"}, "body": "text"}
    answer = convention.post("/", {"value": {"make": made}})
    assert (answer.status, answer.headers["x-a"], answer.headers["content-type"]) == (404, "b", "text/html")
    assert answer.body == b"text"


def test_numbers_of_conventions(convention):
    body = b'{"value": {"make": {"n": [9007199254740993, 1.0, 1e-07]}}}'
    assert json.loads(convention.post("/", body).body) == {"n": [9007199254740993, 1.0, 1e-07]}
    assert b"9007199254740993" in convention.post("/", body).body


def test_plain_results_of_conventions(convention):
    """The clouds' functions may return anything: a string is a page, a number is JSON."""
    text, number = (convention.post("/", {"value": {"make": made}}) for made in ("text", 5))
    if convention.convention == "openwhisk":
        assert (text.status, number.status) == (502, 502)
    else:
        assert (text.status, text.headers["content-type"], text.body) == (200, "text/html", b"text")
        assert (number.status, number.headers["content-type"], number.body) == (200, "application/json", b"5")


def test_exceptions_of_conventions(convention):
    answer = convention.post("/", {"value": {"raise": True}})
    assert answer.status == 502 and "boom" in json.dumps(answer.json["error"])
    assert convention.post("/", {"value": {"n": 1}}).status == 200


def test_bytes_of_lambda(dedicated):
    """Lambda's functions may return bytes: the body of the answer."""
    code = "def lambda_handler(event, context):\n    return b'\\xff\\x00raw'\n"
    assert dedicated(code, MAIN="app.lambda_handler").post("/", {"value": {}}).body == b"\xff\x00raw"


def test_base64_of_lambda(dedicated):
    """And say of a body that it is base64 (Lambda's response format for HTTP)."""
    made = {"statusCode": 200, "headers": {"Content-Type": "application/pdf"}, "isBase64Encoded": True,
            "body": base64.b64encode(PNG).decode()}
    one = dedicated(CONVENTIONS, MAIN="app.lambda_handler")
    assert one.post("/", {"value": {"make": made}}).body == PNG


def test_the_clouds_own_doors_on_knative(dedicated):
    for handler, path in (("app.lambda_handler", LAMBDA_PATH), ("app.main_handler", SCF_PATH)):
        answer = dedicated(CONVENTIONS, MAIN=handler).post(path, {"n": 1})
        assert (answer.status, answer.json["event"]) == (200, 1)


# --- many requests, and the end ------------------------------------------------------------


def test_concurrent_requests(dedicated):
    """Knative sends up to containerConcurrency at once. Each gets its own answer, one after the other runs."""
    one = dedicated(WORKER)
    calls = [one.background(one.post, "/", {"value": {"n": number, "sleep": 0.005}}) for number in range(40)]
    assert [call.result().json["n"] for call in calls] == list(range(40))
    assert one.out.markers() == one.err.markers() == 40
    assert all(output.count(b"at work") == 1 for output in one.out.activations()[:40])


def test_concurrent_first_requests(knative):
    """All with the code: one of them brings it, the others are told."""
    one = knative()
    calls = [one.background(one.post, "/", {"init": init_of(WORKER), "value": {"n": number}}) for number in range(8)]
    statuses = sorted(call.result().status for call in calls)
    assert statuses == [200] + [403] * 7
    assert one.post("/", {"value": {"n": 9}}).json["n"] == 9


def listens_on(port):
    try:
        Client(port).close()
    except (ConnectionRefusedError, ConnectionResetError):  # the second: closed while the connection was made
        return False
    return True


def stopped(one, seconds=PATIENCE):
    """The exit status of a server that was told to stop, and the seconds that it took since then."""
    start = time.monotonic()
    status = one.wait(seconds)
    return status, time.monotonic() - start


def test_drain(dedicated, gate):
    """After SIGTERM what runs and what waits is answered, nobody new is let in, and the exit status is 0."""
    one = dedicated(WORKER)
    running = one.background(one.post, "/", {"value": {"n": 0, "gate": gate.path}})
    gate.wait_entered()
    waiting = [one.background(one.post, "/", {"value": {"n": number}}) for number in range(1, 11)]
    wait_until(lambda: connections(one.port) == 11 and unread(one.port) == 0, "all requests have arrived")
    one.signal(signal.SIGTERM)
    wait_until(lambda: not listens_on(one.port), "new connections are refused")
    time.sleep(0.6)  # longer than the grace of other platforms
    assert one.process.poll() is None and not running.done()
    gate.release()
    assert [call.result().json["n"] for call in [running, *waiting]] == list(range(11))
    assert stopped(one)[0] == 0
    assert one.out.markers() == 11


def test_drain_takes_no_time_without_work(dedicated):
    one = dedicated(WORKER)
    client = one.connect()
    assert one.post("/", {"value": {"n": 1}}, client=client).status == 200
    one.signal(signal.SIGTERM)
    status, seconds = stopped(one)
    assert status == 0 and seconds < 1


def test_drain_has_an_end(dedicated):
    """--grace: what runs is ended then, what waits is answered 503, which the client may send elsewhere."""
    one = dedicated(WORKER, settings={"options": ["--grace=0.5"]})
    running = one.background(one.post, "/", {"value": {"sleep": 60}})
    wait_until(lambda: b"at work" in one.out.content(), "the function runs")
    waiting = one.background(one.post, "/", {"value": {"n": 1}})
    wait_until(lambda: connections(one.port) == 2 and unread(one.port) == 0, "both requests have arrived")
    one.signal(signal.SIGTERM)
    status, seconds = stopped(one)
    assert status == 0 and 0.4 < seconds < 3
    assert waiting.result().status == 503
    assert running.result().status in (400, 503)


def test_asked_twice(dedicated):
    """No more patience."""
    one = dedicated(WORKER)
    running = one.background(one.post, "/", {"value": {"sleep": 60}})
    wait_until(lambda: b"at work" in one.out.content(), "the function runs")
    one.signal(signal.SIGTERM)
    wait_until(lambda: not listens_on(one.port), "new connections are refused")
    one.signal(signal.SIGTERM)
    status, seconds = stopped(one)
    assert status == 0 and seconds < 3
    assert running.exception() is not None or running.result().status in (400, 503)


def test_drain_with_open_connections(dedicated, gate):
    """A kept connection may bring one more request meanwhile: it is answered, too."""
    one = dedicated(WORKER)
    client = one.connect()
    assert one.post("/", {"value": {"n": 1}}, client=client).json["n"] == 1
    running = one.background(one.post, "/", {"value": {"n": 2, "gate": gate.path}})
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    wait_until(lambda: not listens_on(one.port), "new connections are refused")
    late = one.background(one.post, "/", {"value": {"n": 3}}, client=client)
    wait_until(lambda: unread(one.port) == 0, "the request has arrived")
    gate.release()
    assert running.result().json["n"] == 2
    assert late.result().json["n"] == 3
    assert stopped(one)[0] == 0


def test_other_platforms_do_not_drain(action, gate):
    """There the platform sends what waits elsewhere at once."""
    one = action(WORKER)
    running = one.background(one.run, {"gate": gate.path})
    gate.wait_entered()
    waiting = one.background(one.run, {"n": 1})
    wait_until(lambda: connections(one.port) == 2 and unread(one.port) == 0, "both requests have arrived")
    one.signal(signal.SIGTERM)
    assert waiting.result().status == 503
    gate.release()
    assert running.result().status in (200, 503)
    assert stopped(one)[0] == 0


def test_marker_of_each_activation_and_none_of_refusals(knative):
    one = knative()
    one.post("/", {"value": {}})
    one.post("/", b"{")
    one.post("/", {"init": init_of("def main(:\n")})
    one.post("/", {"init": init_of(WORKER), "value": {"n": 1}})
    assert one.out.content() == MARKER + b"at work 1\n" + MARKER
