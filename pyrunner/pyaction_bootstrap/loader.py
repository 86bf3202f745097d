"""From a directory with code to the function that is to be called."""

from __future__ import annotations

import os
import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Optional, Tuple

# The file of a handler that names no module, and the name it is imported under: not "__main__", so that an
# `if __name__ == "__main__"` guard does not run (what OpenWhisk's and DigitalOcean's runtimes do).
_MAIN_FILE = "__main__.py"
_MAIN_MODULE = "main__"
# Other names for it in an archive: what OpenWhisk's own runtime calls it when it has precompiled an archive,
# and what older ones called the code.
_COMPILED_FILE = "main__.py"
_EXEC_FILE = "exec"
# The launcher that precompiled archives have for OpenWhisk's proxy. A line in it names the handler that the archive was
# compiled for, in place of the default: there, /init has no say in it.
_LAUNCHER_FILE = "exec__.py"
_DEFAULT_HANDLER = "main"

# The code of the source at a path, or None: bytecode.py's, where the archive has been compiled.
find_bytecode: Optional[Callable[[str], Optional[CodeType]]] = None


class LoadError(Exception):
    """The handler cannot be found; the message is the answer's. Its cause, if there is one, belongs in the log."""


def split_handler(handler: str) -> Tuple[str, str]:
    """Module and function of a handler string: "main" is ("", "main"), "pkg/mod.fn" and "pkg.mod.fn" are
    ("pkg.mod", "fn")."""
    module, _, function = handler.rpartition(".")
    module = module.replace("/", ".")
    if module in ("__main__", _MAIN_MODULE):
        module = ""
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".") if module):
        raise LoadError(
            f"Cannot start action. The handler {handler!r} is not valid: it must be a function name, or "
            "module.function, the module with dots or slashes."
        )
    return module, function


def load(root: str, handler: str, is_source: bool) -> Callable[..., Any]:
    """Imports the handler's module and returns the handler.

    root: directory of the code, the working directory and sys.path[0]. is_source: the code is one file,
    root/__main__.py, whatever the module of the handler is called.
    Raises LoadError, or whatever the import raises.
    """
    if handler == _DEFAULT_HANDLER and not is_source:
        handler = _compiled_handler(root) or handler
    module_name, function_name = split_handler(handler)
    if module_name and is_source:
        rename_source(root, module_name)
    module = _import_module(module_name) if module_name else import_main(root)
    try:
        function = getattr(module, function_name)
    except AttributeError as error:
        where = module_name.replace(".", "/") + ".py" if module_name else _MAIN_FILE
        raise LoadError(f"Cannot start action. There is no function '{function_name}' in {where}.") from error
    if not callable(function):
        raise LoadError(
            f"Cannot start action. '{function_name}' is not callable: it is of type {type(function).__name__}."
        )
    return function  # type: ignore[no-any-return]


def rename_source(root: str, module_name: str) -> None:
    path = os.path.join(root, *module_name.split(".")) + ".py"
    if os.path.isfile(path):  # by the process before this one, which has ended
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.rename(os.path.join(root, _MAIN_FILE), path)


def _compiled_handler(root: str) -> str:
    """The handler that an archive was compiled for, or "": in its launcher, `from MODULE import FUNCTION as main`."""
    try:
        with open(os.path.join(root, _LAUNCHER_FILE), encoding="utf-8", errors="replace") as file:
            lines = file.read(65536).splitlines()
    except OSError:
        return ""
    for words in map(str.split, lines):
        if len(words) == 6 and words[::2] == ["from", "import", "as"] and words[5] == "main":
            return f"{words[1]}.{words[3]}"
    return ""


def _import_module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


class SourceLoader(SourceFileLoader):  # type: ignore[misc]
    """The ordinary loader of sources, but for where it has the code from."""

    def get_code(self, fullname: str) -> Optional[CodeType]:
        code = find_bytecode(self.path) if find_bytecode is not None else None
        return code or super().get_code(fullname)


class _MainLoader(SourceLoader):
    """Leaves no bytecode: the file is imported once, and writing costs more than compiling most of them."""

    def set_data(self, path: str, data: bytes, **options: int) -> None:
        """Does nothing."""


def import_main(root: str) -> ModuleType:
    path = _find_main(root)
    loader = _MainLoader(_MAIN_MODULE, path)
    spec = ModuleSpec(_MAIN_MODULE, loader, origin=path)
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[_MAIN_MODULE] = module
    loader.exec_module(module)
    return module  # type: ignore[no-any-return]


def _find_main(root: str) -> str:
    path = os.path.join(root, _MAIN_FILE)
    if os.path.isfile(path):
        return path
    compiled = os.path.join(root, _COMPILED_FILE)
    if os.path.isfile(compiled):
        return compiled
    other = os.path.join(root, _EXEC_FILE)
    if os.path.isfile(other) and not _is_program(other):
        os.rename(other, path)
        return path
    raise LoadError(
        "The action failed to generate or locate a binary. See logs for details. "
        "(Zip file does not include '__main__.py'.)"
    )


def find_program(root: str) -> Optional[str]:
    """The path of the program that an archive is instead of a Python function, or None."""
    path = os.path.join(root, _EXEC_FILE)
    if not os.path.isfile(path) or not _is_program(path):
        return None
    python_files = (_MAIN_FILE, _COMPILED_FILE, _LAUNCHER_FILE)
    is_python = any(os.path.isfile(os.path.join(root, name)) for name in python_files)
    return None if is_python else path


def make_executable(program: str) -> None:
    """Archives that were made without Unix modes, by Java's tools or on Windows, do not say that it is."""
    if not os.access(program, os.X_OK):
        try:
            os.chmod(program, 0o755)
        except OSError:
            pass  # the start will say why it cannot be executed


def check_environment(root: str) -> None:
    """Raises LoadError where an archive was compiled for another execution environment: exec.env in it must be what
    OW_EXECUTION_ENV says, if that is set (Apache OpenWhisk, docs/ENVVARS.md of its Go runtime)."""
    expected = os.environ.get("OW_EXECUTION_ENV", "").strip()
    path = os.path.join(root, _EXEC_FILE + ".env")
    if not expected or not os.path.isfile(path):
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        actual = file.read(1024).strip()
    if actual != expected:
        raise LoadError(
            f"Cannot start action. It was compiled for the execution environment {actual!r}, this one is {expected!r} "
            "(exec.env, OW_EXECUTION_ENV).")


def _is_program(path: str) -> bool:
    with open(path, "rb") as file:
        start = file.readline(256)
    return start.startswith(b"\x7fELF") or (start.startswith(b"#!") and b"python" not in start)
