"""Variables of the function: those of /init once, those of an activation for as long as it lasts."""

from __future__ import annotations

import os
import time

from pyaction_bootstrap import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else wire.encode(value).decode("utf-8")


def apply_init(variables: Mapping[str, Any]) -> None:
    """Sets the variables of /init; a value that is no string becomes its JSON text.

    Raises ValueError naming a variable that cannot be set.
    """
    for name, value in variables.items():
        try:
            os.environ[name] = _text_of(value)
        except (ValueError, UnicodeError) as error:
            raise ValueError(f"the environment variable {name!r} cannot be set: {error}") from None
    if "TZ" in variables:
        time.tzset()


# What the variables of activations have hidden: their values before, None for those that were unset.
_hidden: Dict[str, Optional[str]] = {}


def apply_activation(message: Mapping[str, Any]) -> None:
    """Sets __OW_<NAME> for each member of a /run body but "value"; those of the activation before that are not
    in this one get back the value they had before."""
    wanted = {"__OW_" + key.upper(): value for key, value in message.items() if key != "value"}
    for name in [name for name in _hidden if name not in wanted]:
        _restore(name, _hidden.pop(name))
    for name, value in wanted.items():
        before = os.environ.get(name)
        try:
            text = _text_of(value)
            if text != before:
                os.environ[name] = text
        except (ValueError, UnicodeError):  # a name or value that no variable can have, such as one with NUL
            continue
        _hidden.setdefault(name, before)


def _restore(name: str, value: Optional[str]) -> None:
    if value is not None:
        os.environ[name] = value
    else:
        os.environ.pop(name, None)
