"""The AWS Lambda convention: module.function(event, context), any JSON as its result.

Messages and documents are those of AWS's runtime interface client for Python. What follows another rule here is said
where it does.
"""

from __future__ import annotations

import os
import sys
import time
from _frozen_importlib import _gcd_import

from pyaction_bootstrap import aws_lambda_context, aws_lambda_errors, aws_lambda_json, aws_lambda_logging
from pyaction_bootstrap import environment, loader, report, stdlib, wire
from pyaction_bootstrap.aws_lambda_errors import Fault, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Dict, Mapping, NoReturn, Tuple

_DEFAULT_TIMEOUT_MS = 3000
_DEFAULT_MEMORY_MB = 128
_ACCOUNT = "012345678912"  # whose functions AWS's emulator runs
_LAYERS = "/opt/python"
_TRACE_ID = b"_X_AMZN_TRACE_ID"
_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


# --- before the import


def prepare(init: Dict[str, Any]) -> None:
    """Sets the variables, the import path of layers and the logging that a function finds.

    init: the init message. Its path is sys.path[0] and the working directory, its variables are set already.
    """
    _set_variables(init)
    _add_layers(_LAYERS)
    aws_lambda_logging.prepare(init.get("terminal", False))


def _set_variables(init: Dict[str, Any]) -> None:
    """Lambda's own variables (Developer Guide, "Defined runtime environment variables"), but those that the
    container or its user has set."""
    environ = os.environ
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    name = environ.get("AWS_LAMBDA_FUNCTION_NAME") or "test_function"
    version = environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST"
    defaults = {
        "_HANDLER": init["handler"],
        "LAMBDA_TASK_ROOT": init["path"],
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        # A container image that is not built on one of AWS's.
        "AWS_EXECUTION_ENV": "AWS_Lambda_Image",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(init.get("memory_mb") or _DEFAULT_MEMORY_MB),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{os.urandom(16).hex()}",
    }
    for variable, value in defaults.items():
        environ.setdefault(variable, value)


def _add_layers(folder: str) -> None:
    """Puts the packages of layers, those below folder, behind the function's own and before the system's."""
    found = [path for path in (os.path.join(folder, "lib", _VERSION, "site-packages"), folder) if os.path.isdir(path)]
    own = set(stdlib.function_folders)
    place = next((index for index, entry in enumerate(sys.path) if entry not in own), len(sys.path))
    sys.path[place:place] = found
    stdlib.function_folders.extend(found)


# --- from the handler's name to the handler


def load(init: Dict[str, Any]) -> Function:
    """Imports the handler that an init message names.

    Raises Fault, or what the import raises that the vendor reports by its own name. SystemExit too for what no
    Exception is, after its traceback is written: it ends the process.
    """
    # Before the import, as the vendor's runtime does: what the function does to its variables changes nothing here.
    escapes = aws_lambda_json.escapes_by_environment()
    arn = f"arn:aws:lambda:{os.environ['AWS_REGION']}:{_ACCOUNT}:function:{os.environ['AWS_LAMBDA_FUNCTION_NAME']}"
    try:
        handler = _find_handler(init["path"], init["handler"], init["source"] and init.get("owned", True))
    except (Exception, SystemExit):
        raise
    except BaseException as error:
        _end(error)
    return Function(handler, arn, init.get("timeout_ms") or _DEFAULT_TIMEOUT_MS, escapes)


def _find_handler(root: str, text: str, is_source: bool) -> Callable[..., Any]:
    """The handler named text, "module.function", the module with dots or slashes.

    is_source: the code is one file, root/__main__.py, whatever the module is called. A name without a dot, which
    Lambda refuses, means a function of root/__main__.py where there is that file.
    """
    module_name, dot, name = text.rpartition(".")
    if not dot and not os.path.isfile(os.path.join(root, "__main__.py")):
        raise Fault("MalformedHandlerName", f"Bad handler '{text}': not enough values to unpack (expected 2, got 1)")
    if not dot:
        module_name = "__main__"
    elif module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    elif is_source:
        _rename_source(root, module_name)
    try:
        module = _import_module(module_name.replace("/", ".")) if dot else loader.import_main(root)
    except (ImportError, SyntaxError) as error:
        raise _fault_of_import(module_name, error) from error
    try:
        return getattr(module, name)  # type: ignore[no-any-return]
    except AttributeError:
        raise Fault("HandlerNotFound", f"Handler '{name}' missing on module '{module_name}'") from None


def _fault_of_import(module_name: str, error: Exception) -> Fault:
    if not isinstance(error, SyntaxError):
        return Fault("ImportModuleError", f"Unable to import module '{module_name}': {text_of(error)}")
    trace = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
    return Fault("UserCodeSyntaxError", f"Syntax error in module '{module_name}': {text_of(error)}", [trace])


def _rename_source(root: str, module_name: str) -> None:
    """Gives root/__main__.py the name under which the module will be looked for, if it can have one."""
    parts = module_name.replace("/", ".").split(".")
    if all(part.isidentifier() for part in parts):
        loader.rename_source(root, ".".join(parts))


def _import_module(name: str) -> ModuleType:
    """What importlib.import_module(name) does. The module importlib itself, 0.4 ms, is loaded only for what it has to
    say of a relative name."""
    if name.startswith("."):
        return stdlib.load("importlib").import_module(name)  # type: ignore[no-any-return]
    return _gcd_import(name)  # type: ignore[no-any-return]


def report_failure(error: BaseException) -> bytes:
    """Logs that the function could not be loaded, and returns the error document."""
    aws_lambda_logging.warn_of_failed_init()
    return aws_lambda_errors.report(error, "", aws_lambda_json.escapes_by_environment())


def _end(error: BaseException) -> NoReturn:
    """Ends the process with a traceback, as an exception that is no Exception ends any Python program. Exit status
    130 for KeyboardInterrupt is what a shell makes of it."""
    report.print_exception(error)
    raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1)


# --- invocations


def _new_request_id() -> str:
    """The text of a random UUID (RFC 9562, version 4); importing uuid would take longer than the rest."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class Function:
    """A loaded function."""

    def __init__(self, handler: Callable[..., Any], arn: str, timeout_ms: int, escapes: bool) -> None:
        """arn, timeout_ms: of an invocation that comes without an ARN or a deadline. escapes: JSON is to be ASCII."""
        self._handler = handler
        self._arn = arn
        self._timeout_ms = timeout_ms
        self._escapes = escapes

    def run(self, message: Dict[str, Any], variables: Mapping[str, str]) -> Tuple[str, bytes]:
        """Calls the handler with the event of an activation message.

        variables: those of the activation. Returns the status of the reply and its payload: "success" and JSON,
        "success_bytes" and base64 of the bytes that were returned, "function_error" and the error document.
        SystemExit goes through; what else is no Exception becomes one, after its traceback is written.
        """
        request_id = variables.get("__OW_ACTIVATION_ID") or _new_request_id()
        try:
            return self._invoke(message, request_id, variables.get("__OW_DEADLINE"))
        except Exception as error:
            return "function_error", aws_lambda_errors.report(error, request_id, self._escapes)
        except SystemExit:
            raise
        except BaseException as error:
            _end(error)

    def _invoke(self, message: Dict[str, Any], request_id: str, deadline: Any) -> Tuple[str, bytes]:
        """In the vendor's order: the headers are read before the event is."""
        extra = message.get("pyaction")
        if not isinstance(extra, dict):
            extra = {}
        tenant_id = extra.get("tenant_id")
        aws_lambda_logging.request_id = request_id
        aws_lambda_logging.tenant_id = tenant_id
        _set_trace(extra.get("trace_id"))
        context = aws_lambda_context.make(
            request_id, self._deadline(deadline), extra.get("invoked_function_arn") or self._arn, tenant_id,
            extra.get("client_context"), extra.get("cognito_identity"))
        event = _decode_body(extra) if "body" in extra else message.get("value", {})
        result = self._handler(event, context)
        if isinstance(result, bytes):
            return "success_bytes", stdlib.load("binascii").b2a_base64(result, newline=False)
        try:
            return "success", aws_lambda_json.encode(result, self._escapes)
        except Exception as error:
            raise Fault("MarshalError", f"Unable to marshal response: {text_of(error)}") from error

    def _deadline(self, text: Any) -> int:
        """Milliseconds since the epoch."""
        try:
            return int(float(text))
        except (TypeError, ValueError, OverflowError):
            return int(time.time() * 1000) + self._timeout_ms


def _decode_body(extra: Mapping[str, Any]) -> Any:
    """The event in a body that is no plain JSON."""
    body = wire.body_of(extra["body"])
    try:
        return aws_lambda_json.decode_event(body, extra.get("content_type", "application/json"))
    except Exception as error:
        raise Fault("UnmarshalError", f"Unable to unmarshal input: {error}") from error


def _set_trace(trace_id: Any) -> None:
    if trace_id:
        environment.set_variable(_TRACE_ID, trace_id.encode())
    elif environment.is_set(_TRACE_ID):
        del os.environ[_TRACE_ID.decode()]
