"""The set-up of the root logger that a platform has done before the function's code, when it comes to matter.

Importing logging takes 11 ms with all that it imports, as long as the whole cold start (CPython 3.11, measured), and
many functions only print. So it is done in the moment in which somebody imports logging: nobody can see the difference.
"""

from __future__ import annotations

import sys

from pyaction_bootstrap import existing_module, stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _frozen_importlib import ModuleSpec
    from typing import Any, Callable, Optional


class _Finder:
    def __init__(self, set_up: Callable[[Any], None]) -> None:
        self._set_up = set_up

    def find_spec(self, name: str, path: object = None, target: object = None) -> Optional[ModuleSpec]:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        # The standard library's, even beside a logging.py of the function's: platforms have imported it by then.
        try:
            module = stdlib.load(name)
            self._set_up(module)
        except BaseException:  # the function may catch it and try again
            sys.meta_path.insert(0, self)
            raise
        del sys.modules[name]  # else the import system, which is asking for it, would take its loader and load it again
        return existing_module.spec_for(name, module)


def configure(set_up: Callable[[Any], None]) -> None:
    """Calls set_up(logging) once, after the standard library's logging has been imported for the first time and before
    the importer goes on; at once where that has happened.

    What set_up uses of the process, such as sys.stdout, it must have taken before: the function may have changed it.
    """
    if "logging" in sys.modules:
        set_up(stdlib.load("logging"))
    else:
        sys.meta_path.insert(0, _Finder(set_up))
