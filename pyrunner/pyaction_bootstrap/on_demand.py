"""Modules of the bootstrap that only some functions need: the other conventions.

They are compiled into the runner like the rest, but importing them would be a part of every cold start.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Dict, List, Optional

# Full name and marshalled code of each, put in by interpreter.c.
codes: Dict[str, Any] = {}


class _Importer:
    """Finder and loader of the modules in codes, as the import system wants them (PEP 451)."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> Optional[ModuleSpec]:
        return ModuleSpec(name, _Importer) if name in codes else None

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        exec(loads(codes[module.__name__]), module.__dict__)


def load(name: str) -> Any:
    """The module pyaction_bootstrap.<name>, and what it imports of the same kind."""
    finders: List[Any] = sys.meta_path
    if codes and _Importer not in finders:
        sys.modules["pyaction_bootstrap"].__path__ = []  # makes it a package, whose modules are looked for
        finders.append(_Importer)
    name = "pyaction_bootstrap." + name
    __import__(name)
    return sys.modules[name]
