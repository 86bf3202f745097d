"""Answering an import with a module that exists already."""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class _Loader:
    """Leaves in sys.modules what the import system takes from there once a module is loaded, by PEP 451's rule that a
    loader may replace it; the module itself, its __spec__ included, stays untouched."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._module


def spec_for(name: str, module: Any) -> ModuleSpec:
    """What a finder returns so that importing name gives module."""
    return ModuleSpec(name, _Loader(module), origin=getattr(module, "__file__", None))
