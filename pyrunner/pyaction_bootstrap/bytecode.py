"""The bytecode of an archive that pyaction -compile made: one file for all modules, in place of a .pyc beside each.

One file is unpacked, looked for and read in a fraction of the time of many. It is for one version of Python, which its
name says; for any other there is none, and the sources are compiled as usual. proxy/compile.py writes it:

    magic number of the bytecode, 4 bytes; place of the index, 8 bytes, little endian; marshalled code objects one
    behind the other; the index, a marshalled dict: path of the source below the root -> (offset, length)

Everything else about an import stays as it is: the ordinary finder finds the source, which is there for tracebacks and
inspect; its loader only takes the code from here.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER, FileFinder, SourceFileLoader, _get_supported_file_loaders
from _imp import _fix_co_filename  # type: ignore[attr-defined]
from marshal import loads

from pyaction_bootstrap import loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Dict, Optional, Tuple

FILE = f".pyaction-bytecode.{sys.implementation.cache_tag}"
_HEADER = 12


class Bytecode:
    """What the file below root has."""

    def __init__(self, root: str) -> None:
        """Raises whatever reading the file makes: there may be none, or anything in it."""
        self._root = root + "/"
        self._path = self._root + FILE
        header = self._read(0, _HEADER)
        if len(header) < _HEADER or header[:4] != MAGIC_NUMBER:
            raise ValueError(f"{FILE} is for another Python")
        place = int.from_bytes(header[4:], "little")
        self._places: Dict[str, Tuple[int, int]] = dict(loads(self._read(place, os.stat(self._path).st_size - place)))

    def _read(self, offset: int, length: int) -> bytes:
        """Opened each time: a descriptor that stayed would be one of the function's."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def find(self, path: str) -> Optional[CodeType]:
        """The code of the source at this path; None where it has none."""
        place = self._places.get(path[len(self._root):]) if path.startswith(self._root) else None
        if place is None:
            return None
        try:
            code: CodeType = loads(self._read(*place))
        except Exception:  # the function may have done anything to its files
            return None
        _fix_co_filename(code, path)
        return code


def use(root: str) -> None:
    """Lets what is imported from below root, the directory of the code, be made of the bytecode that it has, if any."""
    if sys.flags.optimize:  # the function wants other bytecode
        return
    try:
        bytecode = Bytecode(root)
    except Exception:
        return

    loaders = [(loader.SourceLoader if kind is SourceFileLoader else kind, suffixes)
               for kind, suffixes in _get_supported_file_loaders()]
    find_below = FileFinder.path_hook(*loaders)

    def hook(path: str) -> Any:
        if path != root and not path.startswith(root + "/"):
            raise ImportError("not the function's")
        return find_below(path)

    loader.find_bytecode = bytecode.find
    sys.path_hooks.insert(0, hook)
