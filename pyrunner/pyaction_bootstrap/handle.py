"""One line in, one reply out: what pyrunner calls.

docs/protocol.md describes the lines. The first message initialises, every further one is an activation.
"""

from __future__ import annotations

import os
import sys
from os import _exit, getpid

from pyaction_bootstrap import environment, loader, openwhisk, precompile, report, stdlib, streams, virtualenv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, NoReturn, Optional, Tuple

streams.install()

_pid = getpid()
_function: Optional[openwhisk.Function] = None


def handle(message: Any, error: Optional[BaseException]) -> Tuple[bytes, bytes]:
    """The reply to a message: status line, and payload without its newline. error, or None: why the line that the
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
    return b'{"status":"%s"}\n' % status.encode("ascii"), payload


def _refuse(error: BaseException) -> Tuple[str, bytes]:
    if not isinstance(error, ValueError):
        raise error  # out of memory
    return "bad_request", openwhisk.error_document(f"The request body is not JSON: {error}")


def _answer(message: Any) -> Tuple[str, bytes]:
    global _function
    if not isinstance(message, dict):
        return "bad_request", openwhisk.error_document("The request body is not a JSON object.")
    if _function is not None:
        return _function.run(message.get("value", {}), environment.apply_activation(message))
    try:
        _function = _initialize(message)
    except SystemExit:
        raise
    except BaseException as error:
        return "init_failed", openwhisk.error_document(_describe_failure(error))
    return "initialized", b'{"ok":true}'


def _initialize(message: Dict[str, Any]) -> openwhisk.Function:
    """Loads the code that an init message names: path, handler, source, env (docs/protocol.md)."""
    root = message["path"]
    os.chdir(root)
    sys.path.insert(0, root)
    stdlib.function_folders.append(root)
    environment.apply_init(message["env"])
    virtualenv.use(root)
    compiler = precompile.Helper(root) if not message["source"] else None
    try:
        handler = loader.load(root, message["handler"], message["source"])
    finally:
        if compiler is not None:
            compiler.stop()
    return openwhisk.Function(handler)


def _describe_failure(error: BaseException) -> str:
    """The answer's text. On stderr the same, or where the user's own code failed, the traceback."""
    if isinstance(error, (loader.LoadError, virtualenv.InvalidVirtualenv, virtualenv.RequirementsFailed)):
        report.print_line(str(error))
        return str(error)
    report.print_exception(error)
    return f"Cannot start action. Check logs for details. ({type(error).__name__}: {report.describe(error)})"


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
