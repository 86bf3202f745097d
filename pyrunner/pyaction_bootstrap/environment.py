"""Variables of the function: those of /init once, those of an activation for as long as it lasts."""

from __future__ import annotations

import os
import time

from pyaction_bootstrap import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional


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


# What the variables of activations have hidden: their values before, None for those that were unset.
_hidden: Dict[str, Optional[str]] = {}

# os.environ's own dict, of bytes: comparing there what is unchanged since the last activation, most of it, costs
# a third of os.environ.get(), which decodes.
_bytes: Dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]


def apply_activation(message: Mapping[str, Any]) -> Dict[str, str]:
    """Sets __OW_<NAME> for each member of a /run body but "value", and returns them; those of the activation
    before that are not in this one get back the value they had before."""
    variables = {}
    for key, value in message.items():
        if key != "value":
            try:
                variables["__OW_" + key.upper()] = _text_of(value)
            except wire.NotSerializable:  # it has a lone surrogate
                continue
    for name in [name for name in _hidden if name not in variables]:
        _restore(name, _hidden.pop(name))
    for name, text in variables.items():
        try:
            if name in _hidden and _bytes.get(name.encode()) == text.encode():
                continue
            before = os.environ.get(name)
            os.environ[name] = text
        except (ValueError, OSError):  # a name or value that no variable can have, such as one with NUL
            if name in _hidden:
                _restore(name, _hidden.pop(name))
            continue
        _hidden.setdefault(name, before)
    return variables


def _restore(name: str, value: Optional[str]) -> None:
    if value is not None:
        os.environ[name] = value
    else:
        os.environ.pop(name, None)
