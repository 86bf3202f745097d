"""The OpenWhisk and DigitalOcean convention: main(event, context) and its results."""

from __future__ import annotations

from pyaction_bootstrap import loader, on_demand, report, stdlib, virtualenv, wire
from pyaction_bootstrap.context import DEFAULT_TIMEOUT_MS, Context
from pyaction_bootstrap.signature import make_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Mapping, Optional, Tuple

NOT_AN_OBJECT = "The action did not return a dictionary or array."

_loop: Any = None


def _await(awaitable: Any) -> Any:
    """Runs it on the one event loop of this process: clients that a function keeps between activations are
    bound to theirs."""
    global _loop
    asyncio = stdlib.load("asyncio")
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)

    async def until_done() -> Any:
        return await awaitable

    try:
        return _loop.run_until_complete(until_done())
    except BaseException as error:
        # From the user's first frame on: the event loop's are in front of it.
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_code is not until_done.__code__:
            traceback = traceback.tb_next
        if traceback is not None and traceback.tb_next is not None:
            error.__traceback__ = traceback.tb_next
        raise


def prepare(init: Dict[str, Any]) -> None:
    """Nothing is set up for these functions but what handle.py has done."""


def load(init: Dict[str, Any]) -> Any:
    """Imports the function that an init message names, or starts the program that it is. Raises loader.LoadError, or
    what the import raises."""
    loader.check_environment(init["path"])
    program = loader.find_program(init["path"])
    if program is not None:
        if init["owned"]:
            loader.make_executable(program)
        return on_demand.load("action_loop").Program(program)
    return Function(loader.load(init["path"], init["handler"], init["source"]), init.get("timeout_ms"))


def report_failure(error: BaseException) -> bytes:
    """The answer to an init message whose function cannot be loaded. On stderr its text, or where the user's own
    code failed, the traceback."""
    if isinstance(error, (loader.LoadError, virtualenv.InvalidVirtualenv, virtualenv.RequirementsFailed)):
        if error.__cause__ is not None:
            report.print_exception(error.__cause__)
        report.print_line(str(error))
        return error_document(str(error))
    report.print_exception(error)
    return error_document(
        f"Cannot start action. Check logs for details. ({type(error).__name__}: {report.describe(error)})")


class Function:
    """A loaded function."""

    def __init__(self, handler: Callable[..., Any], timeout_ms: Optional[int] = None) -> None:
        """timeout_ms: of an activation that comes without a deadline; None for the platform's default."""
        self._timeout_ms = timeout_ms or DEFAULT_TIMEOUT_MS
        self._call = make_call(handler)
        self._takes_context = self._call is handler  # else it is wrapped, to be called with less

    def run(self, message: Dict[str, Any], variables: Mapping[str, str]) -> Tuple[str, bytes]:
        """Calls the handler with the value of an activation message. variables: those of the activation. Returns
        the status of the reply ("success", "application_error", "function_error", or "bad_request" when there is
        no value because the body was not JSON) and its payload.

        Lets SystemExit through, which ends the process as it would anywhere.
        """
        event = message.get("value")
        if event is None:
            try:
                event = wire.event_of(message)
            except ValueError as error:
                return "bad_request", error_document(f"The request body is not JSON: {error}")
        try:
            result = self._call(event, Context(variables, self._timeout_ms) if self._takes_context else None)
            if hasattr(type(result), "__await__"):
                result = _await(result)
        except SystemExit:
            raise
        except BaseException as error:  # whatever it is, the process can go on
            report.print_exception(error)
            return "function_error", error_document(report.describe(error))
        return _convert(result)


def _convert(result: Any) -> Tuple[str, bytes]:
    if result is None:
        return "success", b"{}"
    if not isinstance(result, (dict, list, tuple)):
        report.print_line(f"{NOT_AN_OBJECT} It returned a value of type {type(result).__name__}.")
        return "function_error", error_document(NOT_AN_OBJECT)
    try:
        payload = wire.encode(result)
    except wire.NotSerializable as error:
        report.print_line(str(error))
        return "function_error", error_document(str(error))
    is_error = isinstance(result, dict) and "error" in result
    return ("application_error" if is_error else "success"), payload


def error_document(text: str) -> bytes:
    """{"error": text} as JSON; what UTF-8 cannot hold is escaped."""
    return wire.encode({"error": text.encode("utf-8", "backslashreplace").decode("utf-8")})
