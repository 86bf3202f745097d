"""What a Tencent SCF function is told about itself: its variables and its context."""

from __future__ import annotations

import os
import sys

from pyaction_bootstrap import environment
from pyaction_bootstrap.tencent_scf_errors import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional

# Key of the context, variable, and value where nobody has set one: the examples of Tencent's documents.
_IDENTITY = (
    ("function_version", "SCF_FUNCTIONVERSION", "$LATEST"),
    ("function_name", "SCF_FUNCTIONNAME", "function"),
    ("namespace", "SCF_NAMESPACE", "default"),
    ("tencentcloud_region", "TENCENTCLOUD_REGION", "ap-guangzhou"),
    ("tencentcloud_appid", "TENCENTCLOUD_APPID", "1250000000"),
    ("tencentcloud_uin", "TENCENTCLOUD_UIN", "100000000001"),
)
# What the door may know better.
_DETAILS = ("memory_limit_in_mb", "time_limit_in_ms", *(key for key, _, _ in _IDENTITY))
_DEFAULT_MEMORY_MB = 128
_DEFAULT_TIMEOUT_MS = 3000

# What the door knows of one activation only, and its variable.
_ACTIVATION_VARIABLES = (
    ("secret_id", "TENCENTCLOUD_SECRETID"),
    ("secret_key", "TENCENTCLOUD_SECRETKEY"),
    ("session_token", "TENCENTCLOUD_SESSIONTOKEN"),
    ("trigger_src", "TRIGGER_SRC"),
)


def set_variables(root: str, layers: str) -> None:
    """Sets the variables of the platform that are not set. root: folder of the code. layers: of the layers."""
    for _, name, value in _IDENTITY:
        os.environ.setdefault(name, value)
    os.environ.setdefault("TENCENTCLOUD_RUNENV", "SCF")
    os.environ.setdefault("SCF_RUNTIME", f"Python{sys.version_info[0]}.{sys.version_info[1]}")
    os.environ.setdefault("USER_CODE_ROOT", root.rstrip("/") + "/")
    os.environ.setdefault("PYTHONPATH", f"{root}:{layers}")


class Contexts:
    """Makes the context of each activation: a dict with these eleven keys.

    memory_limit_in_mb and time_limit_in_ms are int, all others str: request_id, environment (JSON text of an object),
    environ (K=V;K=V), function_version, function_name, namespace, tencentcloud_region, tencentcloud_appid and
    tencentcloud_uin (digits).
    """

    def __init__(self, init: Mapping[str, Any]) -> None:
        """init: the init message; its variables are set."""
        self._variables = {
            name: os.environ[name] for name in init["env"] if name in os.environ and name != "SCF_NAMESPACE"}
        self._base: Dict[str, Any] = {
            "memory_limit_in_mb": init.get("memory_mb") or _DEFAULT_MEMORY_MB,
            "time_limit_in_ms": init.get("timeout_ms") or _DEFAULT_TIMEOUT_MS,
            "request_id": "",
            "environment": "",
            "environ": "",
            **{key: os.environ.get(name, default) for key, name, default in _IDENTITY},
        }
        self._add_environment(self._base)

    def make(self, request_id: str, details: Mapping[str, Any]) -> Dict[str, Any]:
        """The context of an activation. details: what the door has of its keys; values of a wrong type are left out,
        for they may be any client's."""
        context = self._base.copy()
        if details:
            for key in _DETAILS:
                value = details.get(key)
                if value is not None and isinstance(value, type(context[key])):
                    context[key] = value
        context["request_id"] = request_id
        if context["namespace"] != self._base["namespace"]:
            self._add_environment(context)
        return context

    def _add_environment(self, context: Dict[str, Any]) -> None:
        variables = {"SCF_NAMESPACE": context["namespace"], **self._variables}
        members = (f"{json_text(name)}:{json_text(value)}" for name, value in variables.items())
        context["environment"] = "{" + ",".join(members) + "}"
        context["environ"] = ";".join(f"{name}={value}" for name, value in variables.items())


# What the variables of activations have hidden: their values before, None for those that were unset.
_hidden: Dict[str, Optional[str]] = {}


def apply_activation(details: Mapping[str, Any]) -> None:
    """Sets the variables that the door knows the values of; others get back what they had before."""
    for key, name in _ACTIVATION_VARIABLES:
        value = details.get(key)
        if not isinstance(value, str) or not _set(name, value):
            _restore(name)


def _set(name: str, value: str) -> bool:
    """Whether value is one that a variable can have."""
    before = os.environ.get(name)
    try:
        environment.set_variable(name.encode(), value.encode())
    except ValueError:
        return False
    _hidden.setdefault(name, before)
    return True


def _restore(name: str) -> None:
    if name in _hidden:
        before = _hidden.pop(name)
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
