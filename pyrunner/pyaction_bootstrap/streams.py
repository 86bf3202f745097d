"""sys.stdin, sys.stdout and sys.stderr of a function."""

from __future__ import annotations

import io
import sys

from _pyaction import set_print_stream, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


class LogStream(io.RawIOBase):
    """A descriptor to write to, with nothing kept back.

    Every write goes to the system at once, so output of print, os.write, C code and child processes keeps its
    order, and a crash loses none of it. _pyaction.write keeps the interpreter's lock while the write cannot
    block: another thread's output does not come between two pieces of a line.
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


class LogText(io.TextIOWrapper):
    """Text for a LogStream: UTF-8 whatever the locale, and what UTF-8 cannot hold is escaped, for a log must not
    fail for a character. A stream that its user changes is print()'s ordinary business from then on."""

    def __init__(self, raw: LogStream) -> None:
        super().__init__(
            raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True  # type: ignore[arg-type]
        )
        self.mode = "w"  # type: ignore[misc]  # as Python's own have

    def reconfigure(self, **options: Any) -> None:
        set_print_stream(None)
        super().reconfigure(**options)

    def detach(self) -> Any:
        set_print_stream(None)
        return super().detach()

    def close(self) -> None:
        set_print_stream(None)
        super().close()


_streams: List[LogText] = []


def install() -> None:
    """Puts log streams in the place of the interpreter's own sys.stdout and sys.stderr."""
    stdout = LogText(LogStream(1, "<stdout>"))
    stderr = LogText(LogStream(2, "<stderr>"))
    _streams[:] = [stdout, stderr]
    set_print_stream(stdout)
    sys.stdout = sys.__stdout__ = stdout
    sys.stderr = sys.__stderr__ = stderr


def flush() -> None:
    """Flushes what the function put in the place of the log streams; theirs hold nothing back."""
    for name, ours in zip(("stdout", "stderr"), _streams):
        stream = getattr(sys, name, None)
        if stream is not ours and stream is not None:
            try:
                stream.flush()
            except Exception:  # the function's own object: whatever it does is its own business
                pass
