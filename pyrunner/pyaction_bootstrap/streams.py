"""sys.stdin, sys.stdout and sys.stderr of a function."""

from __future__ import annotations

import io
import sys

from _pyaction import write  # type: ignore[import]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


class LogStream(io.RawIOBase):
    """A descriptor to write to, with nothing kept back.

    Every write goes to the system at once, so output of print, os.write, C code and child processes keeps its
    order, and a crash loses none of it. _pyaction.write keeps the interpreter's lock while the write cannot
    block: another thread's print does not come between a text and its newline.
    """

    def __init__(self, fd: int, name: str) -> None:
        super().__init__()
        self._fd = fd
        self.name = name
        self.mode = "wb"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        """Writes all of a bytes-like object; returns its size in bytes. OSError as for os.write."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        return write(self._fd, data)  # type: ignore[no-any-return]


def _open(fd: int, name: str) -> io.TextIOWrapper:
    # UTF-8 whatever the locale; a log must not fail for a character: what UTF-8 cannot hold is escaped.
    raw = LogStream(fd, name)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)  # type: ignore[arg-type]


_streams: List[io.TextIOWrapper] = []


def install() -> None:
    """Puts log streams in the place of the interpreter's own sys.stdout and sys.stderr."""
    stdout = _open(1, "<stdout>")
    stderr = _open(2, "<stderr>")
    _streams[:] = [stdout, stderr]
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stderr  # type: ignore[misc]


def flush() -> None:
    """Flushes what the function put in the place of the log streams; theirs hold nothing back."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if stream is None or any(stream is ours for ours in _streams):
            continue
        try:
            stream.flush()
        except Exception:  # the function's own object: whatever it does is its own business
            pass
