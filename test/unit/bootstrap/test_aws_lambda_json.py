"""aws_lambda_json.py, aws_lambda_encode.py and aws_lambda_decode.py: simplejson's texts, with it and without."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import http
import json
import math
import random
import uuid
from typing import Any, Callable, Dict, Tuple

import pytest
from pyaction_bootstrap import aws_lambda_decode, aws_lambda_json
from pyaction_bootstrap.aws_lambda_encode import Encoder

D = decimal.Decimal
P = collections.namedtuple("P", "x y")


class AsDict:
    def __init__(self, value: Any) -> None:
        self.value = value

    def _asdict(self) -> Dict[str, Any]:
        return {"v": self.value}


class DictAsDict(dict):  # type: ignore[type-arg]
    _asdict = AsDict(1)._asdict


class ListAsDict(list):  # type: ignore[type-arg]
    _asdict = AsDict(1)._asdict


class TextAsDict(str):
    _asdict = AsDict(1)._asdict


class NoDict:
    def _asdict(self) -> int:
        return 5


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def _asdict(self) -> None:
        raise self.error


class Integer(int):
    def __int__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "other"

    __str__ = __repr__


class Real(float):
    def __float__(self) -> float:
        return 7.5

    __repr__ = Integer.__repr__


class Level(enum.IntEnum):
    LOW = 1


class Text(str, enum.Enum):
    A = "ä"


class Plain(enum.Enum):
    A = 1


class Items(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [("i", 1)]


class ForJson(dict):  # type: ignore[type-arg]
    def for_json(self) -> int:
        return 1


ATOMS = [
    None, True, False, 0, -1, 2**70, 1.0, 1e16, math.nan, math.inf, -math.inf, D("1.10"), D("1E+2"), D("-NaN"),
    D("sNaN"), D("Infinity"), D("-0"), "", "a", "ä中😀", '\x7f\u2028"\\\n\x01', "\ud800", b"", b"abc", "ä".encode(),
    b"\xff", set(), frozenset([1]), bytearray(b"a"), memoryview(b"a"), datetime.datetime(2020, 1, 1), uuid.UUID(int=1),
    object(), Level.LOW, Text.A, Plain.A, Integer(5), Real(2.5), TextAsDict("t"), http.HTTPStatus.OK, P, dict,
    range(3), len, Raising(TypeError("x")), Raising(ValueError("x")), NoDict(), collections.UserDict(a=1), 1j,
    {}.keys(), ..., Items(), Items(a=2), ForJson(), ForJson(a=1), DictAsDict(), DictAsDict(a=1), P(1, 2),
    collections.OrderedDict(), collections.Counter("aab"), collections.defaultdict(list), AsDict(AsDict(P(1, [])))
]
# True and 1 are not among them: old releases of simplejson (3.18) write either as the other if a document has both.
# Nor is ListAsDict among the values, which the Python half of those takes for a list.
KEYS = ["a", "ä", "", None, 3, 1.5, math.nan, -math.inf, b"k", b"\xff", (1,), Level.LOW, Text.A, Plain.A, Integer(5),
        Real(2.5), TextAsDict("s"), 2**70, "\ud800", frozenset()]


def make_value(source: random.Random, depth: int = 0) -> Any:
    """Any value, most of them with something in it that is not JSON's own."""
    choice = source.random()
    if depth > 3 or choice < 0.45:
        return source.choice(ATOMS) if source.random() < 0.7 else source.choice([None, 1, "t"])
    items = [make_value(source, depth + 1) for _ in range(source.randrange(4))]
    if choice < 0.6:
        return items
    if choice < 0.7:
        return tuple(items)
    if choice < 0.75:
        return P(items, items)
    if choice < 0.8:
        return AsDict(items)
    if choice < 0.82:
        items.append([(items,)])
        return items
    keys = [source.choice(KEYS) if source.random() < 0.3 else source.choice("abc") for _ in items]
    return collections.OrderedDict(zip(keys, items)) if choice < 0.85 else dict(zip(keys, items))


def outcome(encode: Callable[[Any], Any], value: Any) -> Any:
    try:
        text = encode(value)
        return text.encode() if isinstance(text, str) else text
    except RecursionError:
        return RecursionError
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_encoders_agree(ensure_ascii: bool) -> None:
    """simplejson, our replacement for it, and what chooses between the runner's codec and them."""
    pytest.importorskip("simplejson", minversion="3.18")
    simplejson = aws_lambda_json._make_simplejson_encoder(ensure_ascii)
    ours = Encoder(ensure_ascii).encode
    source = random.Random(6)
    values = [*ATOMS, *([atom] for atom in ATOMS), *({key: 1} for key in KEYS)]
    values += [make_value(source) for _ in range(20_000)]
    good = 0
    for value in values:
        expected = outcome(simplejson, value)
        assert outcome(ours, value) == expected, repr(value)
        assert outcome(lambda value: aws_lambda_json.encode(value, ensure_ascii), value) == expected, repr(value)
        good += isinstance(expected, bytes)
    assert 5000 < good < 15_000  # both ways were taken often


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_own_encoder_as_json_does(ensure_ascii: bool) -> None:
    """What both know, also where simplejson is not installed."""
    for value in (None, True, 5, 2**70, 1.5, -0.0, 1e300, math.nan, -math.inf, "", "a\"\\\n\x00\x1f\x7f", "ä中😀",
                  [], {}, (), [1, [2, []]], {"a": {"b": [1, {}]}, "c": None},
                  {3: 1, None: 2, 2.5: 3, True: 4, math.inf: 5}):
        expected = json.dumps(value, ensure_ascii=ensure_ascii)
        assert Encoder(ensure_ascii).encode(value) == expected
        assert aws_lambda_json.encode(value, ensure_ascii) == expected.encode()


@pytest.mark.parametrize(("value", "expected"), [
    (D("1.10"), "1.10"), (D("1E+2"), "1E+2"), (D("NaN"), "NaN"), (D("-NaN"), "NaN"), (D("sNaN"), "NaN"),
    (D("-Infinity"), "-Infinity"), (P(1, (2,)), '{"x": 1, "y": [2]}'), (AsDict(AsDict(None)), '{"v": {"v": null}}'),
    (ListAsDict([1]), '{"v": 1}'), (DictAsDict(a=1), '{"v": 1}'), (TextAsDict("t"), '"t"'), (b"\xc3\xa4", '"ä"'),
    ({b"k": b"v"}, '{"k": "v"}'), (Integer(5), "7"), (Real(5.0), "7.5"), (Level.LOW, "1"), (Text.A, '"ä"'),
    ({Level.LOW: 1}, '{"1": 1}'), (Items(), "{}"), (Items(a=2), '{"i": 1}'), (ForJson(a=1), '{"a": 1}'),
    (math.nan, "NaN"), ({math.nan: math.inf}, '{"NaN": Infinity}'),
], ids=repr)
def test_own_encoder(value: Any, expected: str) -> None:
    assert Encoder(False).encode(value) == expected and Encoder(False).encode([value]) == f"[{expected}]"


def test_newlines_are_no_part_of_a_result() -> None:
    class Odd(decimal.Decimal):
        def __str__(self) -> str:
            return "\n1"

    assert aws_lambda_json.encode([Odd(), "a\nb"], True) == b'[ 1, "a\\nb"]'


def test_something_else_called_simplejson(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the function's, perhaps."""
    monkeypatch.setitem(__import__("sys").modules, "simplejson", enum)
    monkeypatch.setattr(aws_lambda_json, "_others", {})
    assert aws_lambda_json.encode(P(1, D("2.50")), False) == b'{"x": 1, "y": 2.50}'


def test_document() -> None:
    document = {"a": "ä\ud800\n", "b": ["\udcff"]}
    assert aws_lambda_json.encode_document(document, True) == b'{"a": "\\u00e4\\ud800\\n", "b": ["\\udcff"]}'
    assert aws_lambda_json.encode_document(document, False) == '{"a": "ä\\\\ud800\\n", "b": ["\\\\udcff"]}'.encode()


# --- events


def decoded(body: bytes) -> Tuple[str, Any]:
    try:
        return "value", ascii(aws_lambda_decode.decode(body.decode("utf-8")))
    except RecursionError:
        raise
    except ValueError as error:
        return "error", str(error)


def accepted_by_json(body: bytes) -> Tuple[str, Any]:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return "value", ascii(json.loads(body.decode("utf-8"), parse_constant=refuse))
    except ValueError:
        return "error", None


DOCUMENTS = [
    b'{"a": [1, -2.5e3, {"b": null}], "c\\n": "\\u00e4\\ud83d\\ude00 x", "d": true}', b" [1 , 2 ] ",
    b"[[[[]]]]", b"-0.0e-1",
    b'{"a" : 1 , "b":2}', '["äöü中😀", false]'.encode(), b'"\\ud800\\u0041\\udc00"', b"{}", b"12345678901234567890",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_decoder_accepts_what_json_accepts(document: bytes) -> None:
    """And nothing else; what it makes of it is the same."""
    source = random.Random(len(document))
    for _ in range(5000):
        changed = bytearray(document)
        for _ in range(source.randrange(3)):
            at = source.randrange(len(changed) + 1)
            new = source.choice([b"", b"{", b"]", b",", b"1", b'"', b"\\", b" ", b"e", b"N"])
            changed[at:at + source.randrange(3)] = new
        got, expected = decoded(bytes(changed)), accepted_by_json(bytes(changed))
        assert got == expected if expected[0] == "value" else got[0] == "error", bytes(changed)


# What simplejson 4.1.1 says, with its C extension.
MESSAGES = [
    ("", "Expecting value: line 1 column 1 (char 0)"),
    (" ", "Expecting value: line 1 column 2 (char 1)"),
    ("\n x", "Expecting value: line 2 column 2 (char 2)"),
    ("nul", "Expecting value: line 1 column 1 (char 0)"),
    ("NaN", "Expecting value: line 1 column 1 (char 0)"),
    ("[-Infinity]", "Expecting value: line 1 column 2 (char 1)"),
    ("-", "Expecting value: line 1 column 1 (char 0)"),
    ("01", "Extra data: line 1 column 2 - line 1 column 3 (char 1 - 2)"),
    ("1.\n\n", "Extra data: line 1 column 2 - line 3 column 1 (char 1 - 4)"),
    ("{}\n x", "Extra data: line 2 column 2 - line 2 column 3 (char 4 - 5)"),
    ("[", "Expecting value or ']': line 1 column 2 (char 1)"),
    ("[1", "Expecting ',' delimiter or ']': line 1 column 3 (char 2)"),
    ("[1 2]", "Expecting ',' delimiter or ']': line 1 column 4 (char 3)"),
    ("[1,", "Expecting value: line 1 column 4 (char 3)"),
    ("[1, ]", "Illegal trailing comma before end of array: line 1 column 5 (char 4)"),
    ("{", "Expecting property name enclosed in double quotes or '}': line 1 column 2 (char 1)"),
    ("{x", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ('{"a"', "Expecting ':' delimiter: line 1 column 5 (char 4)"),
    ('{"a" 1}', "Expecting ':' delimiter: line 1 column 6 (char 5)"),
    ('{"a":', "Expecting value: line 1 column 6 (char 5)"),
    ('{"a":1', "Expecting ',' delimiter or '}': line 1 column 7 (char 6)"),
    ('{"a":1,', "Expecting property name enclosed in double quotes: line 1 column 8 (char 7)"),
    ('{"a":1, }', "Illegal trailing comma before end of object: line 1 column 9 (char 8)"),
    ('{"a":1, 2}', "Expecting property name enclosed in double quotes: line 1 column 9 (char 8)"),
    ('["abc', "Unterminated string starting at: line 1 column 2 (char 1)"),
    ('"\\', "Unterminated string starting at: line 1 column 1 (char 0)"),
    ('"ab\tc"', "Invalid control character '\\t' at: line 1 column 4 (char 3)"),
    ('"a\\x"', "Invalid \\X escape sequence '\\\\': line 1 column 3 (char 2)"),
    ('"a\\u12"', "Invalid \\uXXXX escape sequence: line 1 column 3 (char 2)"),
    ('"\\u12x4"', "Invalid \\uXXXX escape sequence: line 1 column 2 (char 1)"),
    ('"\\ud800\\u1"', "Invalid \\uXXXX escape sequence: line 1 column 8 (char 7)"),
    ("\ufeff\ufeff1", "Expecting value: line 1 column 2 (char 1)"),
]


@pytest.mark.parametrize(("text", "message"), MESSAGES, ids=[ascii(text) for text, _ in MESSAGES])
def test_messages(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        aws_lambda_json.decode_event(text.encode())
    assert str(caught.value) == message


@pytest.mark.parametrize(("body", "value"), [
    (b"\xef\xbb\xbf[1]", [1]), (b"\xc3\xaf\xc2\xbb\xc2\xbf[1]", [1]), (b'{"a":1,"a":2}', {"a": 2}), (b" null ", None),
    (b'"\\ud83d\\ude00\\ud800"', "\U0001f600\ud800"), (b"[1.0, 10, 1e2]", [1.0, 10, 100.0]),
])
def test_events(body: bytes, value: Any) -> None:
    assert aws_lambda_json.decode_event(body) == value
    assert decoded(body) == ("value", ascii(value))


def test_events_that_are_no_json() -> None:
    for content_type in ("text/plain", "application/json; charset=utf-8", "Application/json", ""):
        assert aws_lambda_json.decode_event(b"\xff{}", content_type) == b"\xff{}"
    with pytest.raises(UnicodeDecodeError, match="position 1: invalid start byte"):
        aws_lambda_json.decode_event(b'"\xff"')
    with pytest.raises(RecursionError):
        aws_lambda_json.decode_event(b"[" * 100_000)


def test_integer_with_more_digits_than_python_converts() -> None:
    sys = __import__("sys")
    if not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python converts any number of digits")
    with pytest.raises(ValueError, match="Exceeds the limit .* for integer string conversion"):
        aws_lambda_json.decode_event(b"[" + b"9" * (sys.get_int_max_str_digits() + 1) + b"]")
