"""wire.py: what is said of values that JSON cannot hold. The codec itself has test_json_codec.py."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyaction_bootstrap import wire

PREFIX = "The result cannot be converted to JSON: "


def complaint(value: object) -> str:
    """What is said of a value, without what is said of all."""
    with pytest.raises(wire.NotSerializable) as caught:
        wire.encode(value)
    assert type(caught.value) is wire.NotSerializable and caught.value.__suppress_context__
    assert str(caught.value).startswith(PREFIX)
    return str(caught.value)[len(PREFIX):]


def test_encode() -> None:
    value = {"a": [1, -2.5, None, True, "é\n\u2028"], "b": {}, "c": (1,)}
    assert wire.encode(value) == json.dumps(value, ensure_ascii=False).encode()
    assert b"\n" not in wire.encode({"text": "two\nlines\r"})


LIMITED = pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="this Python writes any number")


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(("value", "said"), [
    ({1}, "result is of type set"),
    (b"x", "result is of type bytes"),
    ({"a": datetime.date(2020, 1, 1)}, "result['a'] is of type date"),
    ({"a": [1, {"b": (0, 0, decimal.Decimal(1))}]}, "result['a'][1]['b'][2] is of type Decimal"),
    ({"it's": {None: [object()]}}, "result[\"it's\"][None][0] is of type object"),
    ([Color.RED], "result[0] is of type Color"),
    ({"a": 1, "b": lambda: 0, "c": {1}}, "result['b'] is of type function"),
    (math.nan, "result is the float nan"),
    ([1.0, math.inf], "result[1] is the float inf"),
    ({"x": [-math.inf]}, "result['x'][0] is the float -inf"),
    ("\ud800", "result is a string with a lone surrogate"),
    (["ok", "a\udfffb"], "result[1] is a string with a lone surrogate"),
    ({"\ud83d": 1}, "result is a dict with a key that has a lone surrogate"),
    ({"\ud83d": {1}}, "result is a dict with a key that has a lone surrogate"),
    ({"a": {(1, 2): 3}}, "result['a'] is a dict with a key of type tuple"),
    ({b"a": 1}, "result is a dict with a key of type bytes"),
    ([{math.nan: 1}], "result[0] is a dict with the key nan"),
    ({"a": {math.inf: 1}}, "result['a'] is a dict with the key inf"),
    pytest.param({"a": [1, 10**5000]}, "result['a'][1] is of type int and has too many digits for Python",
                 marks=LIMITED, id="digits"),
    pytest.param([{-10**5000: 1}], "result[0] is a dict with a key of type int that has too many digits for Python",
                 marks=LIMITED, id="digits-of-a-key"),
])
def test_type_and_path(value: object, said: str) -> None:
    assert complaint(value) == said


def test_circles() -> None:
    inner: Any = {"b": []}
    inner["b"].append({"c": inner})
    assert complaint({"a": inner}) == "result['a']['b'][0]['c'] is a reference to one of its own containers"
    one: Any = []
    one.append(one)
    assert complaint(one) == "result[0] is a reference to one of its own containers"
    same = {"x": 1}
    assert wire.encode([same, same]) == b'[{"x": 1}, {"x": 1}]'
    assert complaint([same, same, {1}]) == "result[2] is of type set"


def test_too_deep() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    assert "nested too deeply" in complaint(value)
    value = {1}
    for _ in range(3000):  # deeper than _find_culprit can go, not too deep to be encoded
        value = [value]
    assert "set" in complaint(value)


def test_a_path_with_a_lone_surrogate_can_be_told() -> None:
    said = complaint({"k": {"a": "\udcff"}})
    assert said.encode("utf-8") == b"result['k']['a'] is a string with a lone surrogate"
    said = complaint({"\n\\'é": {"b": "\udcff"}})
    assert said == """result["\\n\\\\'é"]['b'] is a string with a lone surrogate"""


def raising(*_: object) -> Any:
    raise RuntimeError("hostile")


class RaisingText(str):
    __repr__ = raising


class RaisingFloat(float):
    __repr__ = raising


class RaisingInteger(int):
    __repr__ = raising


class RaisingDict(dict):  # type: ignore[type-arg]
    items = raising


class RaisingKeys(dict):  # type: ignore[type-arg]
    __iter__ = raising
    keys = raising


class RaisingList(list):  # type: ignore[type-arg]
    __iter__ = raising


class RaisingName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("hostile")


class Nameless(metaclass=RaisingName):
    pass


class SilentError(Exception):
    __str__ = raising


class RaisingSilently(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise SilentError


@pytest.mark.parametrize("value", [
    {RaisingText("a"): {1}}, [RaisingFloat("nan")], {RaisingFloat("nan"): 1}, {RaisingInteger(1): {1}},
    RaisingDict(a=1), RaisingDict(a={1}), [RaisingList([1])], [RaisingList([1]), {1}], [Nameless()], {Nameless(): 1},
    RaisingSilently(a=1), [RaisingKeys(a={1})], [1, {"a": RaisingDict(a=1)}],
], ids=lambda value: type(value).__name__)
def test_methods_of_the_value_that_raise(value: object) -> None:
    assert complaint(value)


def test_what_methods_raised_is_told() -> None:
    assert complaint([RaisingDict(a=1)]) == "RuntimeError: hostile"


def test_other_harmless_subclasses() -> None:
    assert wire.encode([RaisingText("a"), RaisingInteger(5), RaisingFloat(1.5)]) == b'["a", 5, 1.5]'


BAD: Any = st.sampled_from([{1}, b"x", math.nan, -math.inf, "\ud800", object, 1j])
GOOD = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé\n\"")
KEYS = st.text("aé'\"\n\\", max_size=2) | st.integers(0, 9) | st.none()
TREES = st.recursive(GOOD | BAD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
                     | st.tuples(inner, inner), max_leaves=15)


@settings(derandomize=True, deadline=None)
@given(TREES)
def test_agrees_with_json_and_the_path_leads_there(value: Any) -> None:
    try:
        wanted = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        path, said = complaint(value).split(" is ", 1)
        culprit = eval(path, {"result": value})
        if said.startswith("of type "):
            assert said == f"of type {type(culprit).__name__}" and isinstance(culprit, (set, bytes, type, complex))
        elif said.startswith("the float "):
            assert said == f"the float {culprit!r}" and not math.isfinite(culprit)
        else:
            assert said == "a string with a lone surrogate" and culprit == "\ud800"
    else:
        assert wire.encode(value) == wanted
