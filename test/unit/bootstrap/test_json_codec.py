"""The runner's JSON codec, pyrunner/json_decode.c and json_encode.c, against the standard library's json.

Where the two may differ is said in json_decode.h and json_encode.h: NaN and the infinities are refused, and depth
has a limit of its own.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import gc
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import typing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import pyaction_module  # noqa: E402

#: Set in the run under sanitizers that test_under_sanitizers starts: where the module is that it is to test.
BUILT = "PYACTION_TEST_CODEC"
MAX_DEPTH = 5000

if BUILT in os.environ:
    sys.path.insert(0, os.environ[BUILT])
    import _pyaction as codec
else:
    # Loaded from its file, under its own name and not entered in sys.modules: other tests may have a stand-in there.
    import importlib.util

    with tempfile.TemporaryDirectory() as _folder:
        pyaction_module.build(Path(_folder))
        _spec = importlib.util.spec_from_file_location("_pyaction", str(Path(_folder) / "_pyaction.so"))
        assert _spec is not None and _spec.loader is not None
        codec = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(codec)

settings.register_profile("codec", max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("codec")


def refuse(name):
    raise ValueError(name)


def outcome(decode, data):
    """What decode makes of the bytes, as text that shows types, order, -0.0 and surrogates; or that it refuses."""
    try:
        return ascii(decode(data))
    except ValueError as error:
        assert type(error) in (ValueError, UnicodeDecodeError, json.JSONDecodeError)
        return ValueError


def json_decode(data):
    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def json_encode(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def assert_same(data):
    assert outcome(codec.decode, data) == outcome(json_decode, data), data


# --- decode


ACCEPTED = [
    ("null", None), ("true", True), ("false", False), (" \t\r\n1 \t\r\n", 1), ("0", 0), ("-0", 0), ("-1", -1),
    ("0.0", 0.0), ("-0.0", -0.0), ("0e1", 0.0), ("-0e-1", -0.0), ("1E5", 1e5), ("1e+2", 100.0), ("1.5e-2", 0.015),
    ("1e400", math.inf), ("-1e400", -math.inf), ("1e-400", 0.0), ("-1e-400", -0.0),
    ("1e99999999999999999999", math.inf),
    ("0e99999999999999999999", 0.0), ("1" + "0" * 400 + ".0", math.inf), ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)), ("18446744073709551616", 2**64), ("[]", []), ("[ ]", []), ("{}", {}),
    ("{ }", {}), ("[1,2]", [1, 2]), ("[ 1 , [ 2 ] ]", [1, [2]]), ('{"a":1,"a":2}', {"a": 2}), ('{"":0}', {"": 0}),
    ('{"a":{"b":[{}]}}', {"a": {"b": [{}]}}), ('{ "a" : 1 , "b" : 2 }', {"a": 1, "b": 2}), ('""', ""), ('"a"', "a"),
    (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'), (r'"\u0000"', "\0"), (r'"\u00e4\u00E4"', "ää"), (r'"\uD83D\uDE00"', "😀"),
    (r'"\ud800"', "\ud800"), (r'"\udc00"', "\udc00"), (r'"\ud800\ud800\udc00"', "\ud800\U00010000"),
    (r'"\udc00\ud800"', "\udc00\ud800"), (r'"\ud800x"', "\ud800x"), (r'"\ud800\n"', "\ud800\n"),
    (r'"\ud800\u0041"', "\ud800A"), (r'"ä\ud800ä"', "ä\ud800ä"), ('"\x7f"', "\x7f"), ('"\u2028"', "\u2028"),
    ('"\ufeff"', "\ufeff"), ('"\U0010ffff"', "\U0010ffff"), ('{"\\u0061":1}', {"a": 1}), ('{"ä":1}', {"ä": 1}),
]


@pytest.mark.parametrize(("text", "value"), ACCEPTED, ids=[text[:30] for text, _ in ACCEPTED])
def test_accepted(text, value):
    assert ascii(codec.decode(text.encode())) == ascii(value)
    assert_same(text.encode())


REFUSED = [
    b"", b" ", b"\n", b"nul", b"nulL", b"nullx", b"True", b"truefalse", b"NaN", b"-NaN", b"Infinity", b"-Infinity",
    b"[NaN]", b"-", b"+1", b"01", b"-01", b"00", b"1.", b".5", b"1.e5", b"1e", b"1e+", b"0x10", b"1_0", b"1 2", b"1,",
    b"- 1", b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"]", b"[}", b"{", b'{"a"', b'{"a":', b'{"a":1',
    b'{"a":1,',
    b'{"a":1,}', b'{"a" 1}', b'{"a":}', b"{1:2}", b"{a:1}", b"{'a':1}", b'{"a":1 "b":2}', b"{null:1}", b'{,"a":1}',
    b'"', b'"a', b'"\\', b'"\\"', b'"\\x41"', b'"\\u"', b'"\\u12"', b'"\\u12', b'"\\u123g"', b'"\\u 123"', b'"\\u+123"',
    b'"\\U0041"', b'"\\a"', b'"\\\n"', b'"\\\xc3\xa4"', b'"\\ud800\\u12"', b'"\\ud800\\u"', b'"\\ud800\\', b"'a'",
    b'"a\x00"', b'"\x1f"', b'"\n"', b'"a\tb"', b"\x00", b"1\x00", b"\x0b1", b"\x0c1", b"\xc2\xa01", b"\xef\xbb\xbf1",
    b"1\xef\xbb\xbf", b"[1]]", b"{}{}", b"[]1", b'"a"b', b"//1", b"/*1*/1", b"[1]#", b"1;", b"\xff", b"\xff\xfe1\x00",
    b'"\x80"', b'"\xbf"', b'"\xc3"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xe0\x9f\xbf"',
    b'"\xf0\x80\x80\x80"', b'"\xf0\x8f\xbf\xbf"', b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"', b'"\xed\xa0\xbd\xed\xb8\x80"',
    b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\xfe"', b'"\xe2\x82"', b'"\xe2\x82a"',
    b'"\xf0\x9f\x98"', b'"\xe2\x28\xa1"', b'"\xe2\\u0082\\u00ac"', b'"\xe2\x82\\u00ac"', b'"\\ud800\xed\xb0\x80"',
    b'"\\n\xed\xa0\x80"', b'"\\ud800\xed\xa0\x80"', b'{"\xed\xa0\x80":1}', b'{"\xff":1}',
]


@pytest.mark.parametrize("data", REFUSED, ids=[ascii(data)[2:-1] for data in REFUSED])
def test_refused(data):
    with pytest.raises(ValueError) as caught:
        codec.decode(data)
    assert type(caught.value) is ValueError
    assert_same(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the text is empty"),
        (b" \n", "the text is empty"),
        (b'{"a": nope}', "unexpected character at byte 6"),
        (b"[1 2]", "expected ',' or ']' at byte 3"),
        (b'{"a":1,}', "expected a key in quotes at byte 7"),
        (b'{"a" 1}', "expected ':' at byte 5"),
        (b'{"a":1 "b"}', "expected ',' or '}' at byte 7"),
        (b"[1.x]", "expected a digit at byte 3"),
        (b'["\xc3\xa4", 1, x]', "unexpected character at byte 10"),
        (b'{"a": 1} {}', "something follows the JSON at byte 9"),
        (b'["abc', "unexpected end of the text at byte 5"),
        (b'{"a":', "unexpected end of the text at byte 5"),
        (b'["a\x01"]', "control character in a string at byte 3"),
        (b'["a\\q"]', "invalid escape at byte 3"),
        (b'["\\n\\u12"]', "invalid escape at byte 4"),
        (b'["abc\xff"]', "invalid UTF-8 at byte 5"),
        (b'["\\nabc\xff"]', "invalid UTF-8 at byte 7"),
        (b'["\\ud800abc\xed\xa0\x80"]', "invalid UTF-8 at byte 11"),
    ],
)
def test_message(data, message):
    with pytest.raises(ValueError) as caught:
        codec.decode(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_decode_takes_any_bytes(kind):
    assert codec.decode(kind(b'["text", 1]')) == ["text", 1]
    assert codec.decode(memoryview(b"xx[12]34")[2:6]) == [12]


def test_decode_stops_at_the_end_of_its_bytes():
    """Numbers, literals and strings that go on behind it, where the next message may stand."""
    for text in (b"12345", b"1.25e10", b"true", b'"abcdefghijkl\\u00e4"', b'{"key":[1,2]}'):
        for end in range(len(text) + 1):
            part = memoryview(text)[:end]
            assert outcome(codec.decode, part) == outcome(json_decode, bytes(part)), bytes(part)


def test_decode_wants_bytes():
    for value in ("text", None, 1):
        with pytest.raises(TypeError):
            codec.decode(value)


@pytest.mark.parametrize(
    ("before", "after"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b"[1,[", b"]]")]
)
def test_depth_of_text(before, after):
    levels = sum(before.count(byte) for byte in (b"[", b"{"))
    deepest = MAX_DEPTH // levels
    value = codec.decode(before * deepest + b"1" + after * deepest)
    assert codec.encode(value).replace(b" ", b"") == before * deepest + b"1" + after * deepest
    for count in (deepest + 1, 100_000):
        for text in (before * count + b"1" + after * count, before * count):
            with pytest.raises(ValueError, match="nested too deeply"):
                codec.decode(text)


def test_depth_is_not_length():
    wide = [[]] * (2 * MAX_DEPTH) + [{"a": {}}] * (2 * MAX_DEPTH)
    assert codec.decode(codec.encode(wide)) == wide


def test_keys_of_a_document_are_shared():
    first, second = codec.decode(b'[{"first key":1,"k":2},{"k":3,"first key":4}]')
    (key, short), (short_too, key_too) = first, second
    assert key is key_too and short is short_too


def test_keys_that_resemble_each_other():
    """Of equal length, beginning and end: what a hash that takes only a part of them cannot tell apart."""
    keys = [f"{'x' * 8}{middle:0{width}}{'y' * 8}" for width in (1, 3, 9) for middle in range(10**min(width, 3))]
    keys += [chr(97 + i) * n for n in range(1, 60) for i in range(3)] + [""]
    value = [{key: index} for index, key in enumerate(keys)] * 2
    assert codec.decode(json_encode(value)) == value


def test_keys_that_come_again():
    """In a text so long that what becomes of a key is kept; some are too long for that."""
    keys = [unit * length for unit in ("k", "ä", "日", "\\", "\x7f") for length in range(42)]
    value = [{key: index, "same": 1} for index, key in enumerate(keys)] * 20
    assert codec.encode(value) == json_encode(value)
    assert codec.encode_plain(value, True) == json_encode_ascii(value)


def test_keys_that_are_made_anew():
    """Each is gone before the next one comes, which may get its place in memory."""
    class Fresh(dict):
        def items(self):
            return ((f"{self['number']}-{index}", index) for index in range(50))

    value = [Fresh(number=number) for number in range(50)]
    expected = [dict(item.items()) for item in value]
    assert codec.encode(value) == json_encode(expected)


# --- numbers


@pytest.mark.parametrize("digits", [1, 2, 17, 18, 19, 20, 21, 38, 39, 40, 100, 639, 640, 641, 4299, 4300, 4301, 10_000])
def test_integers_of_so_many_digits(digits):
    for first, rest in (("1", "0"), ("9", "9"), ("1", "1"), ("8", "7")):
        for sign in ("", "-"):
            text = sign + first + rest * (digits - 1)
            assert_same(text.encode())
            assert_same(f"[{text}]".encode())
            with contextlib.suppress(ValueError):  # more digits than this Python converts
                assert codec.encode(int(text)) == text.encode()


def test_integer_with_more_digits_than_python_converts():
    if not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python converts any number of digits")
    too_many = sys.get_int_max_str_digits() + 1
    with pytest.raises(ValueError, match="digits"):
        codec.decode(b"9" * too_many)
    with pytest.raises(ValueError, match="digits"):
        codec.encode(10**too_many)


def test_integers_around_powers():
    for exponent in range(70):
        for base in (2, 10):
            for distance in range(-3, 4):
                for number in (base**exponent + distance, -(base**exponent) + distance):
                    assert codec.decode(b"%d" % number) == number
                    assert codec.encode(number) == b"%d" % number


SPECIAL_FLOATS = [
    0.0, 0.1, 0.2, 0.1 + 0.2, 1 / 3, 2 / 3, 1e15, 1e16, 1e17, 1e21, 1e22, 1e23, 1e-4, 1e-5, 123456789012345.6, 5e-324,
    2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, 9007199254740991.0, 9007199254740992.0,
    9007199254740993.0, 4503599627370495.5, 4503599627370497.5, 99999999999999.9, 999999999999999.9, 9999999999999998.0,
    0.00010000000000000002, 9.999999999999999e-05, 0.30000000000000004, 100.0, 1e2, 4.35, 8.41, 2.675, 1.005, 1e14,
    1e13,
    0.99999999999999994, 9.9999999999999999, 99999999999999.98, 5e-5, 123e-7, 8.5e-9, 17.0, 1.0000000000000002,
]


def assert_float(number):
    text = codec.encode(number)
    assert text == repr(number).encode()
    assert struct.pack("d", codec.decode(text)) == struct.pack("d", number)


def test_floats():
    for number in SPECIAL_FLOATS:
        for neighbour in (number, -number, number * (1 + 2**-52), number * (1 - 2**-53)):
            if math.isfinite(neighbour):
                assert_float(neighbour)


def test_floats_of_random_bits():
    source = random.Random(1)
    for _ in range(50_000):
        number, = struct.unpack("d", source.getrandbits(64).to_bytes(8, "little"))
        if math.isfinite(number):
            assert_float(number)


def test_floats_as_people_write_them():
    source = random.Random(2)
    for _ in range(50_000):
        assert_float(source.random())
        assert_float(source.uniform(-1e6, 1e6))
        assert_float(10 ** source.uniform(-6, 18))
        assert_float(round(10 ** source.uniform(-6, 16), source.randrange(17)))
        assert_float(float(source.randrange(10 ** source.randrange(1, 18))))
        assert_float(source.randrange(2**53) / 2 ** source.randrange(54))


def test_decimals_of_any_length():
    """Read as float() reads them, to the last bit."""
    source = random.Random(3)
    for _ in range(50_000):
        digits = "".join(source.choice("0123456789") for _ in range(source.randrange(1, 25)))
        places = source.randrange(1, 25)
        whole = digits.lstrip("0") or "0"
        text = f"{whole}.{source.randrange(10**places):0{places}}"
        if source.random() < 0.5:
            text += f"e{source.randrange(-30, 30)}"
        assert struct.pack("d", codec.decode(text.encode())) == struct.pack("d", float(text)), text


def test_decimals_halfway_between_two_floats():
    """The ties, and what lies one digit above and below: rounded to even, up and down."""
    source = random.Random(4)
    for _ in range(20_000):
        exponent = source.randrange(1, 12)
        middle = (2 * source.randrange(2**52, 2**53) + 1) * 10**exponent >> 1
        exact = (2 * source.randrange(2**52, 2**53) + 1) * 5**exponent  # / 2**exponent is exact in decimal
        for number in (middle, exact - 1, exact, exact + 1):
            digits = str(number)
            text = f"{digits[:-exponent] or '0'}.{digits[-exponent:].zfill(exponent)}"
            assert struct.pack("d", codec.decode(text.encode())) == struct.pack("d", float(text)), text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}, {math.nan: 1}])
def test_no_number(value):
    with pytest.raises(ValueError):
        codec.encode(value)
    with pytest.raises(ValueError):
        json_encode(value)


# --- strings


#: Of each kind that is read or written in a way of its own, the first, the last and one between.
CHARACTERS = (
    [chr(code) for code in range(0x20)]
    + list(' !"#[\\]/~\x7f')
    + list("\x80ä\xff\u0100ш\u07ff\u0800日\ud7ff\ue000\ufeff\uffff\U00010000😀\U0010ffff\u2028\u2029")
)


def test_each_character_at_each_offset():
    for character in CHARACTERS:
        for fill in ("a", "ä", "日", "😀"):
            for offset in range(18):
                for rest in (0, 1, 7, 9):
                    text = fill * offset + character + "b" * rest
                    data = json_encode(text)
                    assert codec.encode(text) == data
                    assert codec.decode(data) == text
                    assert codec.decode(json.dumps(text).encode()) == text
                    assert_same(b'"' + text.encode() + b'"')


def test_each_character_in_long_runs():
    """Long runs of plain characters are looked at in larger pieces: one at every place of the first and second."""
    for character in CHARACTERS:
        for fill in ("a", "ш"):
            for offset in range(18, 110):
                for rest in (0, 33):
                    text = fill * offset + character + "b" * rest
                    data = json_encode(text)
                    assert codec.encode(text) == data
                    assert codec.decode(data) == text
                    assert codec.encode_plain(text, True) == json_encode_ascii(text)


def test_all_code_points():
    for start in range(0, 0x110000, 0x400):
        if not 0xD800 <= start <= 0xDFFF:
            text = "".join(map(chr, range(start, start + 0x400)))
            assert codec.encode(text) == json_encode(text)
            assert codec.decode(codec.encode(text)) == text
            assert codec.decode(json.dumps(text).encode()) == text


@pytest.mark.parametrize("length", [4095, 4096, 4097, 8192, 100_000])
@pytest.mark.parametrize("unit", ["a", "ä", "日", "😀", "\n", "\x01", "a\n", "aäя日😀\\"])
def test_long_strings(length, unit):
    text = unit * length
    assert codec.encode(text) == json_encode(text)
    assert codec.decode(codec.encode(text)) == text
    assert codec.decode(json.dumps(text).encode()) == text


def test_every_pair_of_bytes_in_a_string():
    """All there is to UTF-8 of two bytes; and with a third and a fourth, those that sit on its borders."""
    tails = (b"", b"\x7f", b"\x80", b"\xbf", b"\x80\x80", b"\xbf\xbf", b"\x80\xc0", b"a\x80")
    for first in range(0x80, 0x100):
        for second in range(0x100):
            for tail in tails:
                assert_same(b'"' + bytes((first, second)) + tail + b'"')


def test_latin_text_is_kept_as_small_as_python_keeps_it():
    for text in ("abc", "äöü", "日本", "😀", "a😀"):
        assert sys.getsizeof(codec.decode(codec.encode(text))) == sys.getsizeof(json.loads(json.dumps(text)))


@pytest.mark.parametrize(
    "text", ["\ud800", "\udfff", "a\ud83d", "\ude00\ud83d", "日\udc00", "😀\udc00", "a" * 5000 + "\udc00"]
)
def test_lone_surrogates_are_not_written(text):
    for value in (text, [text], {text: 1}):
        with pytest.raises(ValueError, match="surrogate"):
            codec.encode(value)


# --- whole documents


DOCUMENTS = [
    b'{"value": {"name": "J\xc3\xbcrgen", "n": -12.5e-3, "list": [1, 2.25, true, false, null, {}, []]}, '
    b'"deadline": "17"}',
    b'[{"id": 1, "t": "\\ud83d\\ude00 \\u00e4\\n", "x": "\xf0\x9f\x98\x80\xe6\x97\xa5"}, '
    b'{"id": 2, "t": "", "x": "\\\\"}]',
    b' { "a" : [ 1 , -0 , 12345678901234567890 , 0.1 ] ,\r\n\t"long key, longer than eight": '
    b'"and a text of some length" } ',
]


@pytest.mark.parametrize("data", DOCUMENTS)
def test_truncated_at_every_byte(data):
    for end in range(len(data) + 1):
        assert_same(data[:end])
        assert_same(data[end:])


@pytest.mark.parametrize("data", DOCUMENTS)
def test_mutated(data):
    source = random.Random(len(data))
    interesting = b'"\\{}[],:0-9.eEuntf \x00\x1f\x7f\x80\xbf\xc3\xed\xf4\xff'
    for _ in range(20_000):
        changed = bytearray(data)
        for _ in range(source.randrange(1, 4)):
            start = source.randrange(len(changed))
            kind = source.randrange(4)
            if kind == 0:
                changed[start] = source.randrange(256)
            elif kind == 1:
                changed[start] = source.choice(interesting)
            elif kind == 2:
                changed.insert(start, source.choice(interesting))
            else:
                del changed[start:start + source.randrange(1, 3)]
        assert_same(bytes(changed))


@given(st.binary(max_size=40))
def test_any_bytes(data):
    assert_same(data)
    assert_same(b'"' + data + b'"')


@given(st.text(alphabet='{}[],:"\\0123456789.-+eEtrufalsn \nNI', max_size=30))
def test_text_that_looks_like_json(text):
    assert_same(text.encode())


TEXTS = st.text(st.characters(blacklist_categories=["Cs"])) | st.sampled_from(["", "a", "ä", '"', "\\", "\n", "x" * 70])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
KEYS = TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=30)
ENCODABLE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner)
    | st.dictionaries(KEYS, inner).map(collections.OrderedDict),
    max_leaves=30,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 1, "\t"]))
def test_decode_as_json_does(value, ensure_ascii, indent):
    data = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent).encode()
    assert ascii(codec.decode(data)) == ascii(value)
    assert_same(data)


@given(ENCODABLE)
def test_encode_as_json_does(value):
    assert codec.encode(value) == json_encode(value)


# --- values that JSON does not know


class Text(str):
    def __str__(self):
        return "other"


class Integer(int):
    def __repr__(self):
        return "other"

    __str__ = __repr__


class Real(float):
    def __repr__(self):
        return "other"


class Color(enum.Enum):
    RED = "red"


class StrColor(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Point(typing.NamedTuple):
    x: int
    y: float


class Reversed(list):
    def __iter__(self):
        return reversed(list(super().__iter__()))


class Renamed(dict):
    def items(self):
        return [(f"new {key}", value) for key, value in super().items()]


class Empty(dict):
    def items(self):
        return [("a", 1)]


class Pairs(dict):
    def items(self):
        return self["items"]


SUBCLASSES = [
    Text("text"), Text("tä\n"), Integer(5), Integer(10**30), Real(1.5), Real(1e300), StrColor.RED, Level.LOW,
    Flags.A | Flags.B,
    Point(1, 2.0), (), (1,), ((),), Reversed([1, 2, 3]), Renamed(a=1), Empty(), Renamed(), Pairs(items=[]),
    collections.OrderedDict(b=1, a=2), collections.defaultdict(list, a=[1]), collections.Counter("abca"),
    Pairs(items=iter([("a", 1)])), Pairs(items=[(1, 2), (None, 3), (2.5, 4)]),
    {Text("k"): 1}, {Integer(5): 1}, {Real(1.5): 1}, {StrColor.RED: 1}, {Level.LOW: 1},
    {True: 1, None: 2, 1.5: 3, -7: 4},
    {2**70: 1}, {1e300: 1}, {-0.0: 1}, {1: 1, "1": 2}, True, [True, 1, 1.0],
]


@pytest.mark.parametrize("value", SUBCLASSES, ids=ascii)
def test_subclasses_as_json_has_them(value):
    if isinstance(value, Pairs) and not isinstance(value["items"], list):
        value, other = Pairs(items=iter([("a", 1)])), Pairs(items=iter([("a", 1)]))
    else:
        other = value
    assert codec.encode(value) == json_encode(other)
    assert codec.encode([value, {"k": "v"}]) == json_encode([value, {"k": "v"}])


IMPOSSIBLE = [
    {1, 2}, b"bytes", object(), Color.RED, 1j, range(3), len, int, Ellipsis, collections.deque(), {"a": {1}}, [[b""]],
    {(1, 2): 3}, {b"k": 1}, {Color.RED: 1}, collections.UserDict(a=1), "abc".encode, (1, {2}), Pairs(items=[(1, 2, 3)]),
    Pairs(items=[[1, 2]]), Pairs(items=5), Pairs(items=["ab"]), Pairs(items=[((), 1)]),
]


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=lambda value: type(value).__name__)
def test_impossible_values(value):
    with pytest.raises((TypeError, ValueError)):
        codec.encode(value)
    with pytest.raises((TypeError, ValueError)):
        json_encode(value)


def test_depth_of_value():
    def nested(depth, wrap):
        value = 1
        for _ in range(depth):
            value = wrap(value)
        return value

    wraps = ((lambda inner: [inner], b"["), (lambda inner: {"a": inner}, b"{"), (lambda inner: (inner,), b"["))
    for wrap, text in wraps:
        assert codec.encode(nested(MAX_DEPTH, wrap)).count(text) == MAX_DEPTH
        for depth in (MAX_DEPTH + 1, 100_000):
            with pytest.raises(RecursionError, match="nested too deeply"):
                codec.encode(nested(depth, wrap))


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17, 31, 32, 100, 1000])
def test_circles(length):
    """Found early: the text beside the circle is written few times, not as often as the depth allows."""
    for make, put in ((list, list.append), (dict, lambda outer, inner: outer.update(inner=inner))):
        first = value = make()
        for _ in range(length - 1):
            inner = make()
            put(value, inner)
            value = inner
        put(value, first)
        with pytest.raises(ValueError, match="circular"):
            codec.encode(first)
        with pytest.raises(ValueError, match="circular"):
            codec.encode([["outside", first]])


def test_circle_beside_a_large_text_does_not_fill_the_memory():
    value = {"text": "x" * 1_000_000}
    value["self"] = value
    tracemalloc.start()
    with pytest.raises(ValueError, match="circular"):
        codec.encode(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_equal_is_not_circular():
    one = {"a": []}
    assert codec.encode([one, one, [one, [one, (one,)]]]) == json_encode([one, one, [one, [one, (one,)]]])
    value = []
    for _ in range(40):
        value = [value, []]
    assert codec.encode(value) == json_encode(value)


# --- encode_plain


def json_encode_ascii(value):
    return json.dumps(value, allow_nan=False).encode()


ASCII_TEXTS = st.text() | st.text(st.sampled_from(["a", "\x7f", "\x80", "\ud800", "\udc00", "\U0010ffff", '"', "\n"]))


@given(ENCODABLE)
def test_plain_as_json_does(value):
    assert codec.encode_plain(json.loads(json.dumps(value)), False) == json_encode(json.loads(json.dumps(value)))


@given(st.recursive(SCALARS | ASCII_TEXTS, lambda inner: st.lists(inner) | st.dictionaries(ASCII_TEXTS, inner)))
def test_ascii_as_json_does(value):
    """Lone surrogates too, which can be written so."""
    assert codec.encode_plain(value, True) == json_encode_ascii(value)


def test_ascii_of_each_character_at_each_offset():
    for character in [*CHARACTERS, "\ud800", "\udfff"]:
        for fill in ("a", "\x7f", "ä", "日", "😀"):
            for offset in range(18):
                for rest in (0, 1, 7, 9):
                    text = fill * offset + character + "b" * rest
                    assert codec.encode_plain(text, True) == json_encode_ascii(text)


@pytest.mark.parametrize("length", [4095, 4096, 4097, 100_000])
@pytest.mark.parametrize("unit", ["a", "\x7f", "ä", "日", "😀", "\ud800", "aäя日😀\\\x7f"])
def test_ascii_of_long_strings(length, unit):
    assert codec.encode_plain(unit * length, True) == json_encode_ascii(unit * length)


class Converted(int):
    def __int__(self):
        return 7


class ConvertedReal(float):
    def __float__(self):
        return 7.5


@pytest.mark.parametrize("value", [
    Point(1, 2.0), Reversed([1]), Renamed(a=1), Empty(), collections.OrderedDict(), collections.defaultdict(list),
    Converted(5), ConvertedReal(5.0), {1}, b"x", math.nan,
], ids=lambda value: type(value).__name__)
def test_what_is_not_plain(value):
    """What simplejson has other rules for, wherever it stands."""
    for outer in (value, [value], (1, value), {"a": {"b": value}}):
        for ensure_ascii in (False, True):
            with pytest.raises((TypeError, ValueError)):
                codec.encode_plain(outer, ensure_ascii)


@pytest.mark.parametrize("key", [Converted(5), ConvertedReal(5.0), (1,), b"x", math.nan])
def test_keys_that_are_not_plain(key):
    with pytest.raises((TypeError, ValueError)):
        codec.encode_plain({key: 1}, True)


@pytest.mark.parametrize("value", [
    True, Text("té"), Integer(5), Real(1.5), Level.LOW, Flags.A, StrColor.RED,
    {Text("t"): 1, Level.LOW: 2, Real(2.5): 3},
], ids=repr)
def test_subclasses_that_are_plain(value):
    """Of the others it is the number or the text that counts, for both."""
    assert codec.encode_plain([value], True) == codec.encode([value]).replace("é".encode(), b"\\u00e9")
    assert codec.encode_plain([value], False) == codec.encode([value])


def test_plain_raw_text_has_no_surrogates():
    with pytest.raises(ValueError, match="surrogate"):
        codec.encode_plain("\ud800", False)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3)])
def test_plain_takes_two(arguments):
    with pytest.raises(TypeError):
        codec.encode_plain(*arguments)


# --- methods of the user's classes that change what is being encoded, or fail


class Calls(dict):
    """A dict that is not empty and calls a function when it is asked for its items."""

    def __init__(self, function):
        super().__init__(a=1)
        self.function = function

    def items(self):
        self.function()
        return super().items()


class CallsList(list):
    def __init__(self, function):
        super().__init__([1])
        self.function = function

    def __iter__(self):
        self.function()
        return super().__iter__()


@pytest.mark.parametrize("make", [Calls, CallsList])
def test_list_changed_meanwhile(make):
    def clear():
        outer.clear()
        gc.collect()

    outer = [make(clear), "text " * 10, ["inner"]]
    assert codec.decode(codec.encode(outer)) in ([{"a": 1}], [[1]])
    outer = [make(lambda: outer.append(len(outer))), 2]
    assert codec.decode(codec.encode(outer))[1:] == [2, 2]


@pytest.mark.parametrize("make", [Calls, CallsList])
def test_dict_changed_meanwhile(make):
    def clear():
        outer.clear()
        gc.collect()

    def grow():
        for number in range(1000):
            outer[f"key {number}"] = number

    for change in (clear, grow, lambda: outer.pop("last")):
        outer = {"first": make(change), "other": ["text " * 10], "last": 1}
        with pytest.raises(RuntimeError, match="changed size"):
            codec.encode(outer)
    outer = {"first": make(lambda: outer.update(last=[2])), "last": 1}
    assert codec.decode(codec.encode(outer))["last"] == [2]


def test_items_changed_meanwhile():
    items = [("a", None), ("b", ["text " * 10]), ("c", 3)]
    items[0] = ("a", Calls(items.clear))
    assert codec.decode(codec.encode(Pairs(items=items)))["a"] == {"a": 1}


class Failing:
    """Exceptions from methods come through as they are."""

    class Error(Exception):
        pass

    def fail(self, *_):
        raise Failing.Error("from a method")


@pytest.mark.parametrize("make", [Calls, CallsList])
def test_methods_that_raise(make):
    for value in (make(Failing().fail), [1, make(Failing().fail)], {"a": {"b": make(Failing().fail)}}):
        with pytest.raises(Failing.Error):
            codec.encode(value)


def test_methods_that_recurse():
    value = Calls(lambda: codec.encode(value))
    with pytest.raises(RecursionError):
        codec.encode(value)


# --- memory


def round_trips(count):
    value = {"a": [1, 2.5, "text", None, True, {"ä": "日\n" * 20}], "b": (1, 10**30), "c": 1 / 3}
    bad = [object(), {"a": math.nan}, ["x" * 1000, "\ud800"], {(): 1}, {"long " * 100: [{1}]}]
    broken = [data[:-2] for data in DOCUMENTS]
    broken += [b'{"key": "\\ud800\xff"}', b'["\\n\\q"]', b'["a", "b\xff"]', b"[" * 6000]
    for index in range(count):
        for data in DOCUMENTS:
            codec.decode(data)
        codec.decode(codec.encode(value))
        with pytest.raises((TypeError, ValueError)):
            codec.encode(bad[index % len(bad)])
        with pytest.raises(ValueError):
            codec.decode(broken[index % len(broken)])


def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_memory_stays_flat():
    round_trips(1000)
    gc.collect()
    references = [sys.getrefcount(value) for value in (None, True, False)]
    pages = resident_pages()
    tracemalloc.start()
    round_trips(100)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    round_trips(500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    round_trips(10_000)
    gc.collect()
    for value, count in zip((None, True, False), references):
        assert abs(sys.getrefcount(value) - count) < 500
    if BUILT not in os.environ:  # a sanitizer keeps freed memory aside
        assert resident_pages() - pages < 500


def test_output_is_no_longer_than_it_says():
    text = "a" * 1_000_000
    assert sys.getsizeof(codec.encode(text)) == sys.getsizeof(b"") + len(text) + 2


# --- again, under sanitizers


@pytest.mark.skipif("PYACTION_SANITIZED" not in os.environ or BUILT in os.environ, reason="only in make asan")
def test_under_sanitizers(tmp_path):
    """All of the above, with every object of Python's in memory that AddressSanitizer watches."""
    flags = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
    pyaction_module.build(tmp_path, flags)
    library = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], check=True, stdout=subprocess.PIPE, universal_newlines=True
    ).stdout.strip()
    environment = dict(os.environ, LD_PRELOAD=library, PYTHONMALLOC="malloc", ASAN_OPTIONS="detect_leaks=0",
                       **{BUILT: str(tmp_path)})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    assert "passed" in done.stdout
