"""simplejson's encoding in plain Python, for where it is not installed: its texts and its errors.

With the options that AWS's runtime sets: Decimal as its digits, an object with _asdict() as what that returns, bytes
as text, NaN and the infinities by JavaScript's names.
"""

from __future__ import annotations

from _pyaction import encode_plain

from pyaction_bootstrap.aws_lambda_json import is_decimal, not_serializable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Set

_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\b"): "\\b", ord("\f"): "\\f", ord("\n"): "\\n", ord("\r"): "\\r",
            ord("\t"): "\\t"}
_ESCAPES.update({code: f"\\u{code:04x}" for code in range(0x20) if code not in _ESCAPES})


def _quote_ascii(text: str) -> str:
    return encode_plain(text, True).decode()  # type: ignore[no-any-return]


def _quote_raw(text: str) -> str:
    return f'"{str.translate(text, _ESCAPES)}"'


def _text_of_float(value: float) -> str:
    value = float(value)
    if value != value:
        return "NaN"
    if value - value != 0:
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _result_of_asdict(value: Any) -> Any:
    """What value's _asdict() returns, None if it has no such method, or one that wants an argument."""
    method = getattr(value, "_asdict", None)
    if not callable(method):
        return None
    try:
        result = method()
    except TypeError:
        return None
    if not isinstance(result, dict):
        raise TypeError(f"_asdict() must return a dict, not {type(result).__name__}")
    return result


class Encoder:
    """encode() makes JSON text of a value."""

    def __init__(self, ensure_ascii: bool) -> None:
        self._quote: Callable[[str], str] = _quote_ascii if ensure_ascii else _quote_raw

    def encode(self, value: Any) -> str:
        """Raises TypeError and ValueError in simplejson's words, RecursionError, and what methods of the value's own
        classes raise."""
        pieces: List[str] = []
        self._put(value, pieces, set())
        return "".join(pieces)

    def _put(self, value: Any, pieces: List[str], parents: Set[int]) -> None:
        if isinstance(value, str):
            pieces.append(self._quote(value))
        elif isinstance(value, bytes):
            pieces.append(self._quote(str(value, "utf-8")))
        elif value is None or value is True or value is False:
            pieces.append("null" if value is None else "true" if value else "false")
        elif isinstance(value, int):
            pieces.append(str(int(value)))
        elif isinstance(value, float):
            pieces.append(_text_of_float(value))
        else:
            self._put_other(value, pieces, parents)

    def _put_other(self, value: Any, pieces: List[str], parents: Set[int]) -> None:
        as_dict = _result_of_asdict(value)
        if as_dict is not None:
            self._put_dict(as_dict, pieces, parents)
        elif isinstance(value, (list, tuple)):
            self._put_list(value, pieces, parents)
        elif isinstance(value, dict):
            self._put_dict(value, pieces, parents)
        elif is_decimal(value):
            pieces.append("NaN" if value.is_nan() else str(value))
        else:
            raise not_serializable(value)

    def _put_list(self, items: Any, pieces: List[str], parents: Set[int]) -> None:
        if not items:
            pieces.append("[]")
            return
        _enter(items, parents)
        separator = "["
        for item in items:
            pieces.append(separator)
            self._put(item, pieces, parents)
            separator = ", "
        pieces.append("]")
        parents.remove(id(items))

    def _put_dict(self, members: Dict[Any, Any], pieces: List[str], parents: Set[int]) -> None:
        if not members:
            pieces.append("{}")
            return
        _enter(members, parents)
        separator = "{"
        for key, value in members.items():
            pieces += (separator, self._quote(_text_of_key(key)), ": ")
            self._put(value, pieces, parents)
            separator = ", "
        pieces.append("}")
        parents.remove(id(members))


def _enter(container: Any, parents: Set[int]) -> None:
    if id(container) in parents:
        raise ValueError("Circular reference detected")
    parents.add(id(container))


def _text_of_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if isinstance(key, float):
        return _text_of_float(key)
    if key is None or key is True or key is False:
        return "null" if key is None else "true" if key else "false"
    if isinstance(key, int):
        return str(int(key))
    raise TypeError(f"keys must be str, int, float, bool or None, not {key.__class__.__name__}")
