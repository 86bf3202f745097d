"""JSON from the function to the proxy; what the function gets is decoded before handle.handle is called.

The work is done in C, by a codec of our own (pyrunner/json_encode.h): the standard library's takes three times as
long, and importing it loads re and enum, 6 ms of every cold start and 1.3 MB (measured with CPython 3.11).
"""

from __future__ import annotations

import _pyaction

from pyaction_bootstrap import stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Set, Tuple, Union


class NotSerializable(TypeError):
    """A value JSON cannot hold; its message names the type and the path to it."""


def encode(value: object) -> bytes:
    """UTF-8 JSON on one line. Raises NotSerializable, and nothing else, for a value that JSON cannot hold."""
    try:
        return _pyaction.encode(value)  # type: ignore[no-any-return]
    except Exception as error:
        raise NotSerializable(_explain(value, error)) from None


def event_of(message: Dict[str, Any]) -> Any:
    """The event in an activation message: its value, {} when there is none, or what the body stands for that came in
    its place (docs/protocol.md). Raises ValueError when that is no JSON."""
    if "value" in message:
        return message["value"]
    details = message.get("pyaction")
    body = details.get("body") if isinstance(details, dict) else None
    return _pyaction.decode(body_of(body)) if isinstance(body, (bytes, str)) else {}


def body_of(body: Union[bytes, str]) -> bytes:
    """The bytes of a message's member "body": what the runner refused to decode, or text, base64. Raises ValueError
    when it is none."""
    return body if isinstance(body, bytes) else stdlib.load("binascii").a2b_base64(body)  # type: ignore[no-any-return]


def _explain(value: object, error: Exception) -> str:
    """A sentence about the first thing in value that cannot be encoded."""
    try:
        found = _find_culprit(value, "result", set())
    except Exception:  # from methods of the user's own classes; or the search is deeper than Python recurses
        found = None
    reason = _text_of(error) if found is None else f"{found[0]} is {found[1]}"
    return f"The result cannot be converted to JSON: {reason}"


def _text_of(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return "a method of one of its values raised an exception"


def _children(value: object, path: str) -> Iterator[Tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}[{key!r}]", item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item


def _find_culprit(value: object, path: str, parents: Set[int]) -> Optional[Tuple[str, str]]:
    """The path of the first value that JSON cannot hold, and what it is; None when there is none."""
    if isinstance(value, str):
        return None if _is_utf8(value) else (path, "a string with a lone surrogate")
    if isinstance(value, float):
        return None if value - value == 0 else (path, f"the float {value!r}")
    if isinstance(value, int):
        if _has_text(value):
            return None
        return path, f"of type {type(value).__name__} and has too many digits for Python"
    if value is None:
        return None
    if not isinstance(value, (dict, list, tuple)):
        return path, f"of type {type(value).__name__}"
    if id(value) in parents:
        return path, "a reference to one of its own containers"
    parents.add(id(value))
    if isinstance(value, dict):
        for key in value:
            problem = _problem_of_key(key)
            if problem:
                return path, problem
    for child_path, child in _children(value, path):
        found = _find_culprit(child, child_path, parents)
        if found:
            return found
    parents.discard(id(value))
    return None


def _problem_of_key(key: object) -> Optional[str]:
    if isinstance(key, str):
        return None if _is_utf8(key) else "a dict with a key that has a lone surrogate"
    if isinstance(key, float) and key - key != 0:
        return f"a dict with the key {key!r}"
    if isinstance(key, int) and not _has_text(key):
        return f"a dict with a key of type {type(key).__name__} that has too many digits for Python"
    if key is None or isinstance(key, (int, float)):
        return None
    return f"a dict with a key of type {type(key).__name__}"


def _has_text(number: int) -> bool:
    """Whether Python writes the number: not one of more than 4300 digits, or what sys.set_int_max_str_digits() says."""
    try:
        int.__repr__(number)
    except ValueError:
        return False
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
