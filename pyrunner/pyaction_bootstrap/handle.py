"""One line in, one reply out: what pyrunner calls.

docs/protocol.md describes the lines. The first message initialises, every further one is an activation.
"""

from __future__ import annotations

import os
import sys
from os import _exit, getpid

from pyaction_bootstrap import environment, on_demand, openwhisk, report, stdlib, streams, virtualenv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, NoReturn, Optional, Tuple

streams.install()

_pid = getpid()
_function: Any = None  # of the convention that the init message names


def handle(message: Any, error: Optional[BaseException]) -> Tuple[bytes, bytes]:
    """The reply to a message: its status, and payload without its newline. error, or None: why the line that the
    message was could not be decoded."""
    try:
        status, payload = _answer(message) if error is None else _refuse(error)
    except SystemExit as end:
        end_process(end)
    except BaseException as own:  # out of memory in our own code, or a signal handler of the function in it
        report.print_exception(own)
        status, payload = "function_error", openwhisk.error_document(report.describe(own))
    if getpid() != _pid:  # a child that the function forked and that came back here
        streams.flush()
        _exit(0)
    streams.flush()
    return status.encode("ascii"), payload


def _refuse(error: BaseException) -> Tuple[str, bytes]:
    if not isinstance(error, ValueError):
        raise error  # out of memory
    return "bad_request", openwhisk.error_document(f"The request body is not JSON: {error}")


def _answer(message: Any) -> Tuple[str, bytes]:
    global _function
    if not isinstance(message, dict):
        return "bad_request", openwhisk.error_document("The request body is not a JSON object.")
    if _function is not None:
        return _function.run(message, environment.apply_activation(message))  # type: ignore[no-any-return]
    convention = _convention(message["convention"])
    try:
        _function = _initialize(convention, message)
    except SystemExit:
        raise
    except BaseException as error:
        return "init_failed", convention.report_failure(error)
    return "initialized", b'{"ok":true}'


def _convention(name: str) -> Any:
    """The module that knows how a vendor's functions are loaded and called.

    Each has prepare(init), load(init) -> Function, report_failure(error) -> payload, and Function.run(message,
    variables) -> status and payload; docs/architecture.md has the contract.
    """
    if name == "openwhisk":
        return openwhisk
    return on_demand.load({"lambda": "aws_lambda", "scf": "tencent_scf"}[name])


def _initialize(convention: Any, init: Dict[str, Any]) -> Any:
    """Loads the code that an init message (docs/protocol.md) names, and returns the convention's Function."""
    root = init["path"]
    environment.apply_init(init["env"])
    if environment.is_set(b"PYTHONPATH"):
        environment.resolve_python_path(root)
    os.chdir(root)
    sys.path.insert(0, root)
    stdlib.function_folders.append(root)
    if not init["owned"]:  # the author's own folder: nothing is left in it
        sys.dont_write_bytecode = True
    if init.get("compiled"):
        on_demand.load("bytecode").use(root)
    virtualenv.use(root, init["packages"])
    convention.prepare(init)
    if not init.get("compiling"):
        return convention.load(init)
    # Another process compiles towards us from the other end, and writes what will be needed once more, after a crash;
    # here it would only take time.
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        return convention.load(init)
    finally:
        sys.dont_write_bytecode = before


def after_signal(error: BaseException) -> None:
    """Takes what a signal handler of the function raised between two activations."""
    if isinstance(error, SystemExit):
        end_process(error)
    report.print_exception(error)


def end_process(error: SystemExit) -> NoReturn:
    """Ends the process as sys.exit() asked, at once: threads are not waited for."""
    atexit = stdlib.load("atexit")

    code = error.code
    if code is not None and not isinstance(code, int):
        report.print_line(str(code))
        code = 1
    atexit._run_exitfuncs()
    streams.flush()
    _exit((code or 0) & 0xFF)
