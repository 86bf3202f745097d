"""Functions that are programs: an archive whose `exec` speaks OpenWhisk's ActionLoop protocol.

The program gets each activation as a line of JSON on its stdin and answers with one line on descriptor 3; the first
line there says that it is ready, {"ok":true} (Apache OpenWhisk, docs/ACTION.md and docs/ENVVARS.md of its Go runtime).
Its stdout and stderr are the function's.
"""

from __future__ import annotations

import os
import signal

import _pyaction

from pyaction_bootstrap import loader, openwhisk, report, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Dict, Mapping, NoReturn, Tuple

_REPLY_FD = 3
_NO_INIT = "The action did not initialize properly."


class Program:
    """A program that has said that it is ready."""

    def __init__(self, path: str) -> None:
        """Starts it in its folder. Raises loader.LoadError when it does not get ready; ends this process when the
        program ends instead."""
        requests, self._requests_fd = os.pipe()
        replies, program_replies = os.pipe()
        self._replies: BinaryIO = os.fdopen(replies, "rb")
        try:
            self._pid = os.posix_spawn(
                path, [path], {**os.environ, "__OW_WAIT_FOR_ACK": "1"},
                file_actions=[(os.POSIX_SPAWN_DUP2, requests, 0), (os.POSIX_SPAWN_DUP2, program_replies, _REPLY_FD)],
                setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        except OSError as error:
            raise loader.LoadError(f"Cannot start action. exec cannot be started: {error.strerror}.") from None
        finally:
            os.close(requests)
            os.close(program_replies)
        if not _is_ready(self._read_line()):
            raise loader.LoadError(f"Cannot start action. {_NO_INIT}")

    def _read_line(self) -> bytes:
        line = self._replies.readline()
        if not line.endswith(b"\n"):
            self._end()
        return line[:-1]

    def _end(self) -> NoReturn:
        """The function's process has ended, so this one does, in the same way as far as an exit status can tell."""
        _, status = os.waitpid(self._pid, 0)
        raise SystemExit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))

    def run(self, message: Dict[str, Any], variables: Mapping[str, str]) -> Tuple[str, bytes]:
        """Sends the program an activation message and returns the status of its reply, and the reply, which must be
        a JSON object or array. variables: not used, the program gets the message."""
        try:
            message["value"] = wire.event_of(message)
        except ValueError as error:
            return "bad_request", openwhisk.error_document(f"The request body is not JSON: {error}")
        message.pop("pyaction", None)
        try:
            with os.fdopen(os.dup(self._requests_fd), "wb") as requests:
                requests.write(wire.encode(message) + b"\n")
        except BrokenPipeError:
            self._end()
        reply = self._read_line()
        try:
            result = _pyaction.decode(reply)
        except ValueError as error:
            text = f"The action's reply is not JSON: {error}"
            report.print_line(text)
            return "function_error", openwhisk.error_document(text)
        if not isinstance(result, (dict, list)):
            return "function_error", openwhisk.error_document(openwhisk.NOT_AN_OBJECT)
        return ("application_error" if isinstance(result, dict) and "error" in result else "success"), reply


def _is_ready(line: bytes) -> bool:
    try:
        acknowledgement = _pyaction.decode(line)
    except ValueError:
        return False
    return isinstance(acknowledgement, dict) and acknowledgement.get("ok") is True
