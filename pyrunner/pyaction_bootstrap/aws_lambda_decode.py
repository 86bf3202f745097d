"""JSON decoding in plain Python that fails in simplejson's words, for events that the runner's own decoder refuses.

simplejson 3.19 and later, which refuse NaN, and with its C extension: the two halves of simplejson differ in the
places of some errors. What does not fail here, such as a byte order mark that was decoded as Latin-1, is rare.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional, Tuple

_SPACE = " \t\n\r"
_DIGITS = frozenset("0123456789")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS = (("null", None), ("true", True), ("false", False))


def decode(text: str) -> Any:
    """The value of a JSON document. A byte order mark is skipped, also one that was decoded as Latin-1.

    Raises ValueError, and RecursionError for deep nesting.
    """
    start = 1 if text[:1] == "\ufeff" else 3 if text[:3] == "\xef\xbb\xbf" else 0
    value, end = _value(text, _skip_space(text, start))
    end = _skip_space(text, end)
    if end != len(text):
        _fail("Extra data", text, end, len(text))
    return value


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line} column {position - text.rfind(chr(10), 0, position)}"


def _fail(problem: str, text: str, position: int, end: Optional[int] = None) -> NoReturn:
    if end is None:
        raise ValueError(f"{problem}: {_place(text, position)} (char {position})")
    raise ValueError(f"{problem}: {_place(text, position)} - {_place(text, end)} (char {position} - {end})")


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


# Each of these takes the position at which something starts, and returns its value and the position behind it.


def _value(text: str, at: int) -> Tuple[Any, int]:
    first = text[at:at + 1]
    if first == '"':
        return _string(text, at + 1)
    if first == "{":
        return _object(text, at + 1)
    if first == "[":
        return _array(text, at + 1)
    for name, value in _LITERALS:
        if text.startswith(name, at):
            return value, at + len(name)
    return _number(text, at)


def _skip_digits(text: str, at: int) -> int:
    while text[at:at + 1] in _DIGITS:
        at += 1
    return at


def _number(text: str, start: int) -> Tuple[Any, int]:
    """As much as makes a number, by the grammar of RFC 8259, 6: of 01 the first digit, of 1.x too."""
    first = start + 1 if text[start:start + 1] == "-" else start
    end = first + 1 if text[first:first + 1] == "0" else _skip_digits(text, first)
    if end == first:
        _fail("Expecting value", text, start)
    whole = end
    if text[end:end + 1] == "." and text[end + 1:end + 2] in _DIGITS:
        end = _skip_digits(text, end + 1)
    if text[end:end + 1] in ("e", "E"):
        digits = end + 2 if text[end + 1:end + 2] in ("+", "-") else end + 1
        if text[digits:digits + 1] in _DIGITS:
            end = _skip_digits(text, digits)
    number = text[start:end]
    return (int(number) if end == whole else float(number)), end


def _array(text: str, at: int) -> Tuple[List[Any], int]:
    items: List[Any] = []
    at = _skip_space(text, at)
    if text[at:at + 1] == "]":
        return items, at + 1
    if at == len(text):
        _fail("Expecting value or ']'", text, at)
    while True:
        item, at = _value(text, at)
        items.append(item)
        at = _skip_space(text, at)
        if text[at:at + 1] == "]":
            return items, at + 1
        if text[at:at + 1] != ",":
            _fail("Expecting ',' delimiter or ']'", text, at)
        at = _skip_space(text, at + 1)
        if text[at:at + 1] == "]":
            _fail("Illegal trailing comma before end of array", text, at)


def _object(text: str, at: int) -> Tuple[Dict[str, Any], int]:
    members: Dict[str, Any] = {}
    at = _skip_space(text, at)
    if text[at:at + 1] == "}":
        return members, at + 1
    if at == len(text):
        _fail("Expecting property name enclosed in double quotes or '}'", text, at)
    if text[at:at + 1] != '"':
        _fail("Expecting property name enclosed in double quotes", text, at)
    while True:
        key, at = _string(text, at + 1)
        at = _skip_space(text, at)
        if text[at:at + 1] != ":":
            _fail("Expecting ':' delimiter", text, at)
        members[key], at = _value(text, _skip_space(text, at + 1))
        at = _skip_space(text, at)
        if text[at:at + 1] == "}":
            return members, at + 1
        if text[at:at + 1] != ",":
            _fail("Expecting ',' delimiter or '}'", text, at)
        at = _skip_space(text, at + 1)
        if text[at:at + 1] == "}":
            _fail("Illegal trailing comma before end of object", text, at)
        if text[at:at + 1] != '"':
            _fail("Expecting property name enclosed in double quotes", text, at)


def _string(text: str, start: int) -> Tuple[str, int]:
    """start: behind the quote."""
    pieces: List[str] = []
    at = start
    while True:
        end = at
        while end < len(text) and text[end] not in '"\\' and text[end] >= " ":
            end += 1
        pieces.append(text[at:end])
        special = text[end:end + 1]
        if special == '"':
            return "".join(pieces), end + 1
        if special == "" or end + 1 == len(text) and special == "\\":
            _fail("Unterminated string starting at", text, start - 1)
        if special != "\\":
            _fail(f"Invalid control character {special!r} at", text, end)
        piece, at = _escape(text, end + 1)
        pieces.append(piece)


def _escape(text: str, at: int) -> Tuple[str, int]:
    """at: behind the backslash."""
    letter = text[at]
    if letter != "u":
        if letter not in _ESCAPED:
            _fail("Invalid \\X escape sequence '\\\\'", text, at - 1)
        return _ESCAPED[letter], at + 1
    unit, at = _unit(text, at + 1)
    if unit & 0xFC00 == 0xD800 and text.startswith("\\u", at):
        low, behind = _unit(text, at + 2)
        if low & 0xFC00 == 0xDC00:
            return chr(0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF)), behind
    return chr(unit), at


def _unit(text: str, at: int) -> Tuple[int, int]:
    """at: behind \\u."""
    digits = text[at:at + 4]
    if len(digits) < 4 or not _HEX_DIGITS.issuperset(digits):
        _fail("Invalid \\uXXXX escape sequence", text, at - 2)
    return int(digits, 16), at + 4
