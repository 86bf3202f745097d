"""Modules of the standard library that the bootstrap needs in some cases only.

By then the function's folder stands first in sys.path, and a file of the function's may have any name.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

# The folders that belong to the function: loader.py and virtualenv.py add them.
function_folders: List[str] = []


def load(name: str) -> Any:
    """The module of that name, from the standard library even if the function has one of the same name."""
    path = list(sys.path)
    sys.path[:] = [folder for folder in path if folder not in function_folders]
    try:
        __import__(name)
    finally:
        sys.path[:] = path
    return sys.modules[name]
