"""A second processor for the import of a large function.

Nearly all of the time that it takes to import many modules for the first time goes into compiling them (110 of
121 ms for 1 MB of source, CPython 3.11). While the runner imports, a forked process compiles the files that will
be needed last, and leaves bytecode where the import looks for it anyway: __pycache__. The import itself is the
ordinary one; whoever comes to a file first compiles it.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import SourceFileLoader

from pyaction_bootstrap import stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

# An estimate: starting the helper takes 3 ms, and so much source some 16 ms to compile.
_WORTH_IT_BYTES = 150_000
# A folder of installed packages is large, and mostly never imported.
_SKIPPED_FOLDERS = ("virtualenv", "__pycache__", "node_modules")


class Helper:
    """The process that compiles beside the import; or none.

    It is no child of this process, which is the function's: code that waits for its children, or counts them,
    must not meet ours. It ends when it is done, or soon after stop().
    """

    def __init__(self, root: str) -> None:
        """Starts compiling the modules below root, if that is worth it: much source, two processors, and
        bytecode wanted."""
        self._alive: Optional[int] = None
        if sys.dont_write_bytecode or len(os.sched_getaffinity(0)) < 2:
            return
        files, size = _find_sources(root)
        if size >= _WORTH_IT_BYTES and len(files) >= 2:
            self._start(_last_needed_first(root, files))

    def _start(self, files: List[str]) -> None:
        # The helper reads the end of this pipe when stop() closes it.
        is_over, self._alive = os.pipe()
        self._inode = os.fstat(self._alive).st_ino
        try:
            child = os.fork()
        except OSError:  # no more processes allowed: it works without
            child = -1
        if child == 0:
            try:
                if os.fork() == 0:
                    os.close(self._alive)
                    _compile(files, is_over)
            finally:
                os._exit(0)
        os.close(is_over)
        if child > 0:
            os.waitpid(child, 0)
            # The helper works towards us from the other end, and writes what will be needed once more, after a
            # crash; here it would only take time.
            sys.dont_write_bytecode = True

    def stop(self) -> None:
        """What is not imported by now need not be compiled."""
        if self._alive is None:
            return
        sys.dont_write_bytecode = False
        try:
            if os.fstat(self._alive).st_ino == self._inode:  # the function may have closed what it does not know
                os.close(self._alive)
        except OSError:
            pass
        self._alive = None


def _find_sources(root: str) -> Tuple[List[str], int]:
    """All modules below root, and their size in bytes together."""
    files: List[str] = []
    size = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                files.append(path)
                size += os.lstat(path).st_size
    return files, size


def _last_needed_first(root: str, files: List[str]) -> List[str]:
    """The files in the order opposite to that in which __main__.py names them; unnamed ones come first, for
    they are imported by others."""
    try:
        with open(os.path.join(root, "__main__.py"), encoding="utf-8", errors="replace") as file:
            main = file.read()
    except OSError:
        main = ""

    def place(path: str) -> int:
        stem = os.path.basename(path)[:-3]
        found = main.find(os.path.basename(os.path.dirname(path)) if stem == "__init__" else stem)
        return found if found >= 0 else len(main)

    return sorted(files, key=place, reverse=True)


def _compile(files: List[str], is_over: int) -> None:
    """Compiles until all is done or the pipe is_over has ended."""
    # What the compiler has to say must be said once, by the import, and only of files that are imported.
    stdlib.load("warnings").simplefilter("error")
    os.set_blocking(is_over, False)
    for path in files:
        try:
            if os.read(is_over, 1) == b"":
                return
        except BlockingIOError:
            pass
        try:
            SourceFileLoader("module", path).get_code("module")
        except Exception:  # the import will find it, too
            continue
