"""aws_lambda_context.py: the context object; see test_aws_lambda.py for what the messages give it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyaction_bootstrap import aws_lambda_context
from pyaction_bootstrap.aws_lambda_errors import Fault

VARIABLES = {
    "AWS_LAMBDA_LOG_GROUP_NAME": "group", "AWS_LAMBDA_LOG_STREAM_NAME": "stream", "AWS_LAMBDA_FUNCTION_NAME": "name",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "7",
}


def make(client: Any = None, cognito: Any = None, deadline: int = 17, tenant: Any = None) -> Any:
    return aws_lambda_context.make("the-id", deadline, "the-arn", tenant, client, cognito)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the function's own attributes come from."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def test_attributes() -> None:
    context = make(tenant="t")
    assert (context.aws_request_id, context.invoked_function_arn, context.tenant_id) == ("the-id", "the-arn", "t")
    assert (context.log_group_name, context.log_stream_name) == ("group", "stream")
    assert (context.function_name, context.function_version, context.memory_limit_in_mb) == ("name", "7", "256")
    assert context.client_context is None and context._epoch_deadline_time_in_ms == 17
    assert (context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id) == (None, None)


def test_attributes_of_variables_that_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name)
    context = make()
    assert [getattr(context, name) for name in ("log_group_name", "log_stream_name", "function_name",
                                                "function_version", "memory_limit_in_mb")] == [None] * 5


def test_repr() -> None:
    assert repr(make()) == (
        "LambdaContext([aws_request_id=the-id,log_group_name=group,log_stream_name=stream,function_name=name,"
        "memory_limit_in_mb=256,function_version=7,invoked_function_arn=the-arn,client_context=None,"
        "identity=CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None]),tenant_id=None])")
    client = make('{"custom":{"k":1},"client":{"app_title":"T"}}').client_context
    assert repr(client) == (
        "ClientContext([custom={'k': 1},env=None,client=Client([installation_id=None,app_title=T,app_version_name=None,"
        "app_version_code=None,app_package_name=None])])")


def test_remaining_time() -> None:
    now = int(time.time() * 1000)
    for ahead, low, high in ((5000, 4900, 5000), (0, 0, 0), (-5, 0, 0)):
        left = make(deadline=now + ahead).get_remaining_time_in_millis()
        assert type(left) is int and low <= left <= high


def test_client_context() -> None:
    text = '{"custom":{"a":1},"env":{"b":"2"},"client":{"app_title":"T","app_version_code":3},"other":4}'
    context = make(text).client_context
    assert (context.custom, context.env) == ({"a": 1}, {"b": "2"}) and not hasattr(context, "other")
    assert (context.client.app_title, context.client.app_version_code, context.client.installation_id) == ("T", 3, None)
    empty = make("{}").client_context
    assert (empty.custom, empty.env, empty.client) == (None, None, None)
    assert make("null").client_context is None and make("").client_context is None
    assert make('{"client": {}}').client_context.client.app_title is None
    context.env = "own"  # as with any object


def test_identity() -> None:
    identity = make(cognito='{"cognitoIdentityId":"a"}').identity
    assert (identity.cognito_identity_id, identity.cognito_identity_pool_id) == ("a", None)
    assert make(cognito="null").identity.cognito_identity_id is None


@pytest.mark.parametrize(("text", "reason"), [
    ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    (" ", "Expecting value: line 1 column 2 (char 1)"),
    ("{} {}", "Extra data: line 1 column 4 (char 3)"),
])
def test_no_json(text: str, reason: str) -> None:
    for name, header in (("client", "Client Context"), ("cognito", "Cognito Identity")):
        with pytest.raises(Fault) as caught:
            make(**{name: text})
        assert caught.value.type == "Runtime.LambdaContextUnmarshalError" and caught.value.trace == []
        assert str(caught.value) == f"Unable to parse {header} JSON: {reason}"


def test_json_that_only_the_standard_library_accepts() -> None:
    assert make('{"custom": {"x": Infinity}}').client_context.custom == {"x": float("inf")}


@pytest.mark.parametrize("text", ["[]", "5", '"x"', '{"client": 5}'])
def test_no_object(text: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'get'"):
        make(text)


def test_log(capsys: pytest.CaptureFixture[str]) -> None:
    context = make()
    context.log("text")
    context.log(5)
    context.log("line\n")
    assert capsys.readouterr().out == "text5line\n"
