"""Variables of the function: those of /init once, those of an activation for as long as it lasts."""

from __future__ import annotations

import os
import sys
import time

import _pyaction

from pyaction_bootstrap import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple


def _text_of(value: object) -> str:
    """A string as it is; of any other value its JSON text."""
    return value if isinstance(value, str) else wire.encode(value).decode("utf-8")


def apply_init(variables: Mapping[str, Any]) -> None:
    """Sets the variables of /init; a value that is no string becomes its JSON text.

    Raises ValueError naming a variable that cannot be set.
    """
    for name, value in variables.items():
        try:
            os.environ[name] = _text_of(value)
        except (ValueError, OSError, wire.NotSerializable) as error:
            raise ValueError(f"the environment variable {name!r} cannot be set: {error}") from None
    if "TZ" in variables:
        time.tzset()


def resolve_python_path(root: str) -> None:
    """Relative folders in PYTHONPATH are those of the code at `root`, as for a Python that is started there. This one
    was started in the present folder, and CPython from 3.11 on has made them absolute with that."""
    try:
        started_in = os.getcwd()
    except OSError:  # it has been removed: nothing can be relative to it
        return
    for entry in os.environ.get("PYTHONPATH", "").split(":"):
        if not entry.startswith("/"):
            unwanted = _normal(started_in, entry)
            wanted = _normal(root, entry)
            sys.path[:] = [wanted if _normal(started_in, known) == unwanted else known for known in sys.path]


def _normal(base: str, path: str) -> str:
    """One spelling for an absolute or relative path: CPython makes "//lib" of "lib" and "/"."""
    return "/" + os.path.normpath(os.path.join(base, path)).lstrip("/")


# What the variables of activations have hidden: their values before, None for those that were unset.
_hidden: Dict[str, Optional[str]] = {}

# os.environ's own dict, of bytes: comparing there what is unchanged since the last activation, most of it, costs
# a third of os.environ.get(), which decodes.
_bytes: Dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]


# Of a key in a /run body: the variable's name, as text and as bytes.
_names: Dict[str, Tuple[str, bytes]] = {}
_NAMES_MAX = 256  # keys are the client's choice; the platforms use eight


def _name_of(key: str) -> Tuple[str, bytes]:
    name = "__OW_" + key.upper()
    pair = name, name.encode()
    if len(_names) < _NAMES_MAX:
        _names[key] = pair
    return pair


def apply_activation(message: Mapping[str, Any]) -> Dict[str, str]:
    """Sets __OW_<NAME> for each member of a /run body but "value" and "pyaction", the doors' own, and returns them.
    Those of the activation before that are not in this one get back the value they had before. What no variable can
    be, such as a name or a text with a NUL or a lone surrogate, is left out."""
    variables = {}
    for key, value in message.items():
        if key == "value" or key == "pyaction":
            continue
        try:
            name, encoded_name = _names.get(key) or _name_of(key)
            text = value if type(value) is str else _text_of(value)
            if name not in _hidden or _bytes.get(encoded_name) != text.encode():
                _set(name, encoded_name, text)
        except (ValueError, OSError, wire.NotSerializable):
            continue
        variables[name] = text
    if not _hidden.keys() <= variables.keys():
        for name in [name for name in _hidden if name not in variables]:
            _restore(name, _hidden.pop(name))
    return variables


def set_variable(name: bytes, value: bytes) -> None:
    """os.environ[name] = value, for a variable that changes with the activations: without the memory that setenv()
    never gives back. Raises ValueError for what no variable can be."""
    _pyaction.set_variable(name, value)
    _bytes[name] = value


def is_set(name: bytes) -> bool:
    """Whether there is the variable; as os.environ says, in a thirtieth of the time."""
    return name in _bytes


def _set(name: str, encoded_name: bytes, text: str) -> None:
    before = _hidden[name] if name in _hidden else os.environ.get(name)
    set_variable(encoded_name, text.encode())
    _hidden[name] = before


def _restore(name: str, value: Optional[str]) -> None:
    if value is not None:
        os.environ[name] = value
    else:
        os.environ.pop(name, None)
