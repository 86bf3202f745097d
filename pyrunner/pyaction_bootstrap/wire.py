"""JSON between the proxy, the function and its callers.

The C core of the standard library's json is used directly: importing json itself loads re and enum, 6 ms of
every cold start and 1.3 MB (measured with CPython 3.11).
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner  # type: ignore[import]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional, Set, Tuple

_SPACE = " \t\n\r"


class NotJSON(ValueError):
    """Text that is not JSON; its message says what is wrong and at which character."""


class NotSerializable(TypeError):
    """A value JSON cannot hold; its message names the type and the path to it."""


def _refuse_constant(name: str) -> Any:
    raise NotJSON(f"{name} is not JSON")


class _ScannerOptions:
    """What make_scanner wants to know; the names are those of json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}


_scan = make_scanner(_ScannerOptions())


def _refuse_type(value: object) -> Any:
    raise NotSerializable(type(value).__name__)


# markers, default, encoder, indent, key separator, item separator, sort_keys, skipkeys, allow_nan. Without
# markers a circular structure ends as a RecursionError, and all others are spared the bookkeeping.
_encode = make_encoder(None, _refuse_type, encode_basestring, None, ": ", ", ", False, False, False)


def _skip_space(text: str, index: int) -> int:
    while index < len(text) and text[index] in _SPACE:
        index += 1
    return index


def decode(text: str) -> Any:
    """The value that a JSON text stands for, by RFC 8259: NaN and Infinity are refused.

    Raises NotJSON for everything that is no JSON text, and for one that is nested too deeply or holds an
    integer of more digits than the interpreter converts.
    """
    start = _skip_space(text, 0)
    if start == len(text):
        raise NotJSON("the text is empty")
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise NotJSON(f"unexpected character at character {stop.value}") from None
    except RecursionError:
        raise NotJSON("it is nested too deeply") from None
    except NotJSON:
        raise
    except ValueError as error:
        raise NotJSON(str(error)) from None
    end = _skip_space(text, end)
    if end < len(text):
        raise NotJSON(f"something follows the JSON at character {end}")
    return value


def encode(value: object) -> bytes:
    """UTF-8 JSON on one line. Raises NotSerializable for a value that JSON cannot hold."""
    try:
        return "".join(_encode(value, 0)).encode("utf-8")
    except Exception as error:
        raise NotSerializable(_explain(value, error)) from None


def _explain(value: object, error: BaseException) -> str:
    """A sentence about the first thing in value that cannot be encoded."""
    try:
        found = _find_culprit(value, "result", set())
    except RecursionError:
        found = None
        error = RecursionError("it is nested too deeply")
    if found is None:
        # For one, a mapping's items() may fail in ways of its own.
        return f"The result cannot be converted to JSON: {type(error).__name__}: {_text_of(error)}"
    path, problem = found
    return f"The result cannot be converted to JSON: {path} is {problem}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


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
        return None if _is_utf8(value) else (ascii(path)[1:-1], "a string with a lone surrogate")
    if isinstance(value, float):
        return None if value - value == 0 else (path, f"the float {value!r}")
    if value is None or isinstance(value, int):
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
    if key is None or isinstance(key, (int, float)):
        return None
    return f"a dict with a key of type {type(key).__name__}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
