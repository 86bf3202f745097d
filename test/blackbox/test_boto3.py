"""AWS's own client for Python, botocore's `lambda`, against the Lambda door: as a person would call the cloud."""

import base64
import concurrent.futures
import gc
import json
import signal

import pytest

from .harness import wait_until

botocore_session = pytest.importorskip("botocore.session", reason="botocore (python3-boto3) is not installed")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

HANDLER = "lambda_function.lambda_handler"
FILES = {
    "lambda_function.py": """
import base64, sys, time
runs = 0

def lambda_handler(event, context):
    global runs
    runs += 1
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        sys.exit(event["exit"])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "gate" in event:
        open(event["gate"]).read()
    if "bytes" in event:
        return base64.b64decode(event["bytes"])
    if "echo" in event:
        return event["echo"]
    print("handled", event.get("n"))
    client = context.client_context
    return {"event": event, "runs": runs, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "custom": client and client.custom, "title": client and client.client.app_title}
"""
}


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch):
    """Neither their credentials and settings, nor the network."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    for name in ("AWS_PROFILE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def client_of(server):
    """Return a function that makes a client of a server, with credentials of nobody's, that never tries twice.

    Its connections are closed before the server has to stop.
    """
    clients = []

    def connect(one):
        clients.append(botocore_session.Session().create_client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{one.port}",
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="nobody's",
            config=Config(retries={"max_attempts": 0}, read_timeout=30, max_pool_connections=20),
        ))
        return clients[-1]

    yield connect
    for client in clients:
        if hasattr(client, "close"):
            client.close()
        else:  # Debian 11's; dropping references is no way: pytest keeps its own until all is torn down
            client._endpoint.http_session._manager.clear()
    gc.collect()  # with urllib3 2 an error's traceback keeps the connection of its answer, in a circle


@pytest.fixture
def one(function):
    """A server with the function."""
    return function(FILES, HANDLER)


@pytest.fixture
def aws(client_of, one):
    """A client of it."""
    return client_of(one)


def invoke(aws, event, **parameters):
    """The answer and the payload in it."""
    answer = aws.invoke(FunctionName="function", Payload=json.dumps(event), **parameters)
    return answer, answer["Payload"].read()


def test_payload(aws):
    answer, payload = invoke(aws, {"name": "Zoë", "n": [1, 2.5, None]})
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer and "LogResult" not in answer
    result = json.loads(payload)
    assert result["event"] == {"name": "Zoë", "n": [1, 2.5, None]}
    assert result["id"] == answer["ResponseMetadata"]["RequestId"]
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0


def test_boto3_client(one):
    """The three lines of every tutorial."""
    boto3 = pytest.importorskip("boto3", reason="python3-boto3 is not installed")
    client = boto3.client(
        "lambda", endpoint_url=f"http://127.0.0.1:{one.port}", region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="x",
    )
    answer = client.invoke(FunctionName="function", Payload=b'{"echo": "hello"}')
    assert json.load(answer["Payload"]) == "hello"
    getattr(client, "close", lambda: None)()  # which Debian 11's does not have


def test_no_payload(aws):
    answer = aws.invoke(FunctionName="function")
    assert json.loads(answer["Payload"].read())["event"] == {}


def test_bytes(aws):
    data = bytes(range(256))
    answer, payload = invoke(aws, {"bytes": base64.b64encode(data).decode()})
    assert payload == data
    assert "FunctionError" not in answer


def test_function_error(aws):
    answer, payload = invoke(aws, {"raise": "boom"})
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    document = json.loads(payload)
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "boom")
    assert document["requestId"] == answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(("event", "kind"), [({"exit": 3}, "Runtime.ExitError"), ({"sleep": 60}, "Sandbox.Timedout")])
def test_failure_of_the_platform(function, client_of, event, kind):
    aws = client_of(function(FILES, HANDLER, options=["--timeout", "0.5"]))
    answer, payload = invoke(aws, event)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(payload)["errorType"] == kind
    assert json.loads(invoke(aws, {})[1])["runs"] == 1


def test_log_result(aws):
    answer, _ = invoke(aws, {"n": 5}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    identity = answer["ResponseMetadata"]["RequestId"]
    assert log.startswith(f"START RequestId: {identity} Version: $LATEST\nhandled 5\nEND RequestId: {identity}\n")
    assert f"\nREPORT RequestId: {identity}\tDuration: " in log


def test_event(one, aws):
    answer, payload = invoke(aws, {"n": 6}, InvocationType="Event")
    assert (answer["StatusCode"], payload) == (202, b"")
    assert "FunctionError" not in answer
    wait_until(lambda: "handled 6\n" in one.out.text(), "the invocation has run")
    assert json.loads(invoke(aws, {})[1])["runs"] == 2


def test_dry_run(aws):
    answer, payload = invoke(aws, {"n": 6}, InvocationType="DryRun")
    assert (answer["StatusCode"], payload) == (204, b"")
    assert json.loads(invoke(aws, {})[1])["runs"] == 1


def test_client_context(aws):
    context = {"custom": {"k": "v"}, "client": {"app_title": "T"}}
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    result = json.loads(invoke(aws, {}, ClientContext=encoded)[1])
    assert (result["custom"], result["title"]) == ({"k": "v"}, "T")


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("mine", "arn:aws:lambda:us-east-1:012345678912:function:mine"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:mine", "arn:aws:lambda:eu-west-1:123456789012:function:mine"),
    ],
)
def test_function_name(aws, name, arn):
    answer = aws.invoke(FunctionName=name, Payload=b"{}", Qualifier="live")
    assert json.loads(answer["Payload"].read())["arn"] == arn


def test_kept_connection(aws):
    for run in range(1, 21):
        assert json.loads(invoke(aws, {})[1])["runs"] == run


def test_threads_share_a_client(aws):
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        payloads = list(threads.map(lambda n: invoke(aws, {"n": n})[1], range(40)))
    assert [json.loads(payload)["event"]["n"] for payload in payloads] == list(range(40))


def test_large_payloads(function, client_of):
    aws = client_of(function(FILES, HANDLER, options=["--max-request", "20M", "--max-response", "20M"]))
    text = "x" * 10_000_000
    assert json.loads(invoke(aws, {"echo": text})[1]) == text


# --- errors of the API, by the classes that the client has for them


def refused(aws, kind: str, status: int, **parameters) -> str:
    """The message of the exception that an invocation must raise."""
    with pytest.raises(getattr(aws.exceptions, kind)) as caught:
        aws.invoke(FunctionName="function", **parameters)
    assert isinstance(caught.value, ClientError)
    response = caught.value.response
    assert response["Error"]["Code"] == kind
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["Type"] == ("User" if status < 500 else "Service")
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Message"]


def test_request_too_large(aws):
    text = refused(aws, "RequestTooLargeException", 413, Payload=b'"' + b"x" * (6 << 20) + b'"')
    assert "6291456" in text
    text = refused(aws, "RequestTooLargeException", 413, Payload=b'"' + b"x" * (1 << 20) + b'"', InvocationType="Event")
    assert "1048576" in text
    assert json.loads(invoke(aws, {})[1])["runs"] == 1


def test_response_too_large(function, client_of):
    aws = client_of(function(FILES, HANDLER, options=["--max-response", "100"]))
    answer, payload = invoke(aws, {"echo": "x" * 99})
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(payload)["errorType"] == "Function.ResponseSizeTooLarge"


def test_bad_client_context(aws):
    refused(aws, "InvalidRequestContentException", 400, ClientContext="!!")


def test_bad_payload(function, client_of):
    """Of a function whose own convention has no document for it."""
    aws = client_of(function({"__main__.py": "def main(event):\n    return event\n"}))
    refused(aws, "InvalidRequestContentException", 400, Payload=b"no JSON")


def test_bad_invocation_type(aws):
    refused(aws, "InvalidParameterValueException", 400, InvocationType="Later")


def test_no_function(server, client_of):
    refused(client_of(server()), "ResourceNotFoundException", 404)


def test_service_that_stops(one, aws, client_of, gate):
    """503, of which a client with retries would make another try; also for a call that takes too long to end."""
    other = client_of(one)
    invoke(other, {})
    running = one.background(refused, aws, "ServiceException", 503, Payload=json.dumps({"gate": gate.path}))
    gate.wait_entered()
    one.signal(signal.SIGTERM)
    refused(other, "ServiceException", 503)
    assert "shutting down" in running.result()
