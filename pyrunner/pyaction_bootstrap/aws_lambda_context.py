"""The context object of a Lambda function."""

from __future__ import annotations

import sys
from os import environ
from time import time

from _pyaction import decode

from pyaction_bootstrap import stdlib
from pyaction_bootstrap.aws_lambda_errors import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


class _Record:
    """An object with the attributes in __slots__; their repr is AWS's: Name([a=1,b=None])."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _repr_of(self, self.__slots__)


def _repr_of(value: object, attributes: Any) -> str:
    return f"{type(value).__name__}([{','.join(f'{name}={getattr(value, name)}' for name in attributes)}])"


class CognitoIdentity(_Record):
    """Who called through an app of Amazon Cognito's; both are None where nobody did."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    cognito_identity_id: Any
    cognito_identity_pool_id: Any


class Client(_Record):
    """The app of a client context."""

    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Record):
    """What a client of the AWS Mobile SDK sends about itself: custom and env are what the JSON has there, client is
    a Client; None where it has nothing."""

    __slots__ = ("custom", "env", "client")


class LambdaContext:
    """One invocation, and the function it calls (Developer Guide, "Lambda context object in Python")."""

    aws_request_id: str
    function_name: Optional[str]
    function_version: Optional[str]
    invoked_function_arn: str
    memory_limit_in_mb: Optional[str]
    log_group_name: Optional[str]
    log_stream_name: Optional[str]
    tenant_id: Optional[str]
    client_context: Optional[ClientContext]
    identity: CognitoIdentity

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline, 0 when it has passed."""
        return max(0, self._epoch_deadline_time_in_ms - int(time() * 1000))

    # Private, but read in the wild.
    _epoch_deadline_time_in_ms: int

    def log(self, message: object) -> None:
        """Writes str(message) to the log as it is, without a newline."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        return _repr_of(self, _ATTRIBUTES)


# In the order of the repr.
_ATTRIBUTES = (
    "aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version",
    "invoked_function_arn", "client_context", "identity", "tenant_id",
)


def make(request_id: str, deadline_ms: int, arn: str, tenant_id: Optional[str], client_context: Optional[str],
         cognito_identity: Optional[str]) -> LambdaContext:
    """The context of an invocation.

    deadline_ms: since the epoch. client_context, cognito_identity: JSON text as the request's headers have it, or
    None. What is the function's, not the invocation's, comes from the variables of the process, at this time.
    Raises Fault for text that is no JSON, and AttributeError for JSON that is no object.
    """
    client = _parse(client_context, "Client Context")
    caller = _parse(cognito_identity, "Cognito Identity")
    context = LambdaContext()
    context.aws_request_id = request_id
    context.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    context.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    context.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
    context.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    context.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
    context.invoked_function_arn = arn
    context.tenant_id = tenant_id
    context.client_context = None if client is None else _make_client_context(client)
    context.identity = identity = CognitoIdentity()
    identity.cognito_identity_id = None if caller is None else caller.get("cognitoIdentityId")
    identity.cognito_identity_pool_id = None if caller is None else caller.get("cognitoIdentityPoolId")
    context._epoch_deadline_time_in_ms = deadline_ms
    return context


def _make_client_context(members: Any) -> ClientContext:
    context = _fill(ClientContext(), members)
    if context.client is not None:
        context.client = _fill(Client(), context.client)
    return context  # type: ignore[no-any-return]


def _fill(record: Any, members: Any) -> Any:
    for name in record.__slots__:
        setattr(record, name, members.get(name))
    return record


def _parse(text: Optional[str], name: str) -> Any:
    """The value of JSON text; None for none. The vendor's runtime reads it by the standard library's json, whose
    words are the error's."""
    if not text:
        return None
    try:
        return decode(text.encode())
    except Exception:
        pass
    try:
        return stdlib.load("json").loads(text)
    except Exception as error:
        raise Fault("LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {error}") from error
