"""qcloud_cos_v5, as Tencent SCF calls the COS SDK: another name of the package qcloud_cos (cos-python-sdk-v5)."""

from __future__ import annotations

import sys

from pyaction_bootstrap import existing_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _frozen_importlib import ModuleSpec
    from typing import Optional

NAME = "qcloud_cos_v5"
_SDK = "qcloud_cos"

HINT = f"Hint: {NAME} is Tencent's COS SDK, which is not installed here: pip install cos-python-sdk-v5"


class _Finder:
    """Last of all finders, so that it costs nothing and a qcloud_cos_v5 of the function's own comes first; but the
    first of all from when it is used: the submodules of the one name must be those of the other, where others would
    find their files and load them once more."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Optional[ModuleSpec]:
        if name != NAME and not name.startswith(NAME + "."):
            return None
        sdk_name = _SDK + name[len(NAME):]
        try:
            __import__(sdk_name)
        except ModuleNotFoundError as error:
            if error.name == sdk_name:
                return None
            raise
        if name == NAME:
            sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)
        return existing_module.spec_for(name, sys.modules[sdk_name])


def install() -> None:
    """Makes qcloud_cos_v5 and its submodules importable where qcloud_cos is."""
    sys.meta_path.append(_Finder())
