"""What fuzz_handler.c checks: a handler string names a function in a module below the code's folder, or nothing."""

from __future__ import annotations

import os.path

from pyaction_bootstrap import loader

ROOT = "/code"


def check_openwhisk(handler: str) -> None:
    """Of loader.py."""
    try:
        module, function = loader.split_handler(handler)
    except loader.LoadError as error:
        assert "Cannot start action" in str(error)
        return
    assert function.isidentifier(), function
    assert all(part.isidentifier() for part in module.split(".")) if module else True, module
    path = os.path.normpath(os.path.join(ROOT, *module.split(".")) + ".py")
    assert path.startswith(ROOT) and "\0" not in path, path
    if module:
        again = f"{module}.{function}"
        assert loader.split_handler(again) == (module, function), again


def check(data: bytes) -> None:
    """data: the input. The handler has come through JSON, so it may have lone surrogates."""
    try:
        handler = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        handler = data.decode("utf-8", "replace")
    check_openwhisk(handler)
