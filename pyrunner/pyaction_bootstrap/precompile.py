"""A second processor for the import of a large function.

Nearly all of the time that it takes to import many modules for the first time goes into compiling them (110 of
121 ms for 1 MB of source, CPython 3.11). While the runner imports, a forked process compiles the files that will
be needed last, and leaves bytecode where the import looks for it anyway: __pycache__. The import itself is the
ordinary one; whoever comes to a file first compiles it.
"""

from __future__ import annotations

import importlib.machinery
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

# Below this the fork costs more than it brings.
_WORTH_IT_BYTES = 150_000
# A folder of installed packages is large, and mostly never imported.
_SKIPPED_FOLDERS = ("virtualenv", "__pycache__", "node_modules")


def start(root: str) -> Optional[int]:
    """Starts compiling the modules below root. Returns the process to give to stop(), None where there is none:
    little source, one processor, or no bytecode wanted."""
    if sys.dont_write_bytecode or len(os.sched_getaffinity(0)) < 2:
        return None
    files, size = _find_sources(root)
    if size < _WORTH_IT_BYTES or len(files) < 2:
        return None
    try:
        pid = os.fork()
    except OSError:  # no more processes allowed: it works without
        return None
    if pid == 0:
        try:
            _compile(_last_needed_first(root, files))
        finally:
            os._exit(0)
    return pid


def stop(pid: Optional[int]) -> None:
    """Ends what start() has started: what is not imported by now need not be compiled."""
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _find_sources(root: str) -> tuple[List[str], int]:
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


def _compile(files: List[str]) -> None:
    import warnings

    # What the compiler has to say must be said once, by the import, and only of files that are imported.
    warnings.simplefilter("error")
    for path in files:
        try:
            importlib.machinery.SourceFileLoader("module", path).get_code("module")
        except Exception:  # the import will find it, too
            continue
