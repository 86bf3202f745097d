"""What fuzz_json_decode.c checks."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, Optional

import _pyaction

# Of pyrunner/json_text.h.
DEPTH_MAX = 5000
# Of proxy/json.h.
PLAIN_DEPTH = 512
PLAIN_NUMBER = 1000

STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def refuse(name: str) -> NoReturn:
    """parse_constant: NaN and Infinity are not JSON."""
    raise ValueError(name)


def depth_of(text: str) -> int:
    """How deeply the containers of a JSON text, without its strings, are nested."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def check_plain(text: str, is_plain: bool) -> None:
    """text: valid JSON. It is plain but for the limits that proxy/json.h names."""
    bare = STRING.sub("", text)
    too_deep = depth_of(bare) > PLAIN_DEPTH
    too_long = any(len(number) > PLAIN_NUMBER for number in re.findall(r"[-+.0-9eE]+", bare))
    assert is_plain == (not too_deep and not too_long), f"is_plain: {is_plain}"


def check_encoding(value: Any) -> None:
    """The bytes of json.dumps(), or none where it has none; they decode to the same value."""
    try:
        expected = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except ValueError:  # infinity, from 1e999; a lone surrogate
        expected = None
    try:
        encoded = _pyaction.encode(value)
    except ValueError:
        encoded = None
    assert encoded == expected, f"{encoded!r}, json has {expected!r}"
    if encoded is not None:
        assert repr(_pyaction.decode(encoded)) == repr(value)


def check(data: bytes, value: Any, error: Optional[BaseException], is_plain: bool, is_valid: bool) -> None:
    """data: the input. value: what the runner made of it if error is None. is_plain, is_valid: what the proxy says."""
    assert error is None or type(error) is ValueError, repr(error)
    assert not (is_plain and error is not None), f"plain, but: {error}"
    # The interpreter has a limit of its own for the digits of an integer.
    assert is_valid == (error is None or "integer string conversion" in str(error)), f"is_valid: {is_valid}, {error}"
    try:
        text = data.decode("utf-8")
        expected = json.loads(text, parse_constant=refuse)
    except ValueError as reason:
        assert error is not None, f"json refuses it: {reason}"
        return
    except RecursionError:  # json's limit is another one
        return
    if "nested too deeply" in str(error):  # as is ours
        assert depth_of(STRING.sub("", text)) > DEPTH_MAX, str(error)
        return
    assert error is None, f"json takes it: {error}"
    try:
        assert repr(value) == repr(expected), f"{value!r}, json has {expected!r}"
        check_plain(text, is_plain)
        check_encoding(value)
    except RecursionError:
        pass
