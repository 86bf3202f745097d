"""What the victim says of itself in memory that outlives it."""

import mmap
import pathlib
from typing import Tuple

from . import victim as layout


class Witness:
    """The mapped file of one server: `count` activations can be told apart in it."""

    def __init__(self, path: pathlib.Path, count: int) -> None:
        self.path = path
        self.count = count
        size = layout.FIRST + layout.LINES.size * count
        with open(path, "w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        path.chmod(0o666)  # the server may run as another user

    def phase(self) -> Tuple[int, int]:
        """Where the function is: one of the phases of victim.py, and the number of the activation."""
        phase, number = layout.HEADER.unpack_from(self._map, 0)
        return int(phase), int(number)

    def printed(self, number: int) -> Tuple[int, int]:
        """How many lines an activation has printed to stdout and stderr, at least."""
        out, err = layout.LINES.unpack_from(self._map, layout.FIRST + layout.LINES.size * number)
        return int(out), int(err)

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()
