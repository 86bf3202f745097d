"""Modules of the standard library that the bootstrap needs in some cases only.

By then the function's folder stands first in sys.path, and a file of the function's may have any name.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

# The folders that belong to the function: loader.py and virtualenv.py add them.
function_folders: List[str] = []

_loaded: Dict[str, Any] = {}


def load(name: str) -> Any:
    """The module of that name, from the standard library even if the function has one of the same name, or of
    the name of one that it imports."""
    if name not in _loaded:
        _loaded[name] = _import_without_function(name)
    return _loaded[name]


def _belongs_to_function(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and any(file.startswith(folder + "/") for folder in function_folders)


def _import_without_function(name: str) -> Any:
    path = list(sys.path)
    own = {key: module for key, module in list(sys.modules.items()) if _belongs_to_function(module)}
    for key in own:
        del sys.modules[key]
    sys.path[:] = [folder for folder in path if folder not in function_folders]
    try:
        __import__(name)
        return sys.modules[name]
    finally:
        sys.path[:] = path
        sys.modules.update(own)
