"""The context object of a DigitalOcean function."""

from __future__ import annotations

from os import environ
from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

# What an activation without a deadline gets: OpenWhisk's default time limit.
DEFAULT_TIMEOUT_MS = 60_000

# Attribute and the activation's variable it comes from (Functions Python Runtime, "Context Parameter").
_ATTRIBUTES = (
    ("activation_id", "__OW_ACTIVATION_ID"),
    ("api_host", "__OW_API_HOST"),
    ("api_key", "__OW_API_KEY"),
    ("function_name", "__OW_ACTION_NAME"),
    ("function_version", "__OW_ACTION_VERSION"),
    ("namespace", "__OW_NAMESPACE"),
    ("request_id", "__OW_TRANSACTION_ID"),
)


class Context:
    """Information about one activation. Attributes are strings, empty where the platform sent none;
    deadline is an int, ms since the epoch."""

    activation_id: str
    api_host: str
    api_key: str
    deadline: int
    function_name: str
    function_version: str
    namespace: str
    request_id: str

    def __init__(self, variables: Mapping[str, str], timeout_ms: int = DEFAULT_TIMEOUT_MS) -> None:
        """variables: those of the activation; the process's own stand in for what it does not bring. timeout_ms: the
        time that an activation without a deadline has."""
        attributes = self.__dict__
        for attribute, variable in _ATTRIBUTES:
            value = variables.get(variable)
            attributes[attribute] = environ.get(variable, "") if value is None else value
        deadline = variables.get("__OW_DEADLINE")
        self.deadline = _parse_deadline(
            environ.get("__OW_DEADLINE", "") if deadline is None else deadline, timeout_ms)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline, 0 when it has passed."""
        return max(0, self.deadline - int(time() * 1000))


def _parse_deadline(text: str, timeout_ms: int) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return int(time() * 1000) + timeout_ms
