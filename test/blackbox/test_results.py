"""What a handler returns or raises, and the JSON that goes in and out."""

import json

import pytest

from .harness import MARKER

NOT_A_RESULT = "The action did not return a dictionary or array."

#: Runs the expression of the event; answers with its process id when there is none.
EVALUATE = """
import collections, dataclasses, datetime, decimal, enum, http, math, os, types, uuid
class Plain:
    pass
class Weird(Exception):
    def __str__(self):
        raise RuntimeError('no text')
class Unprintable:
    def __repr__(self):
        raise RuntimeError('no repr')
loop = {}
loop['self'] = loop
ring = []
ring.append({'ring': ring})
def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value
def throw(exception):
    raise exception
def main(event):
    if 'expression' in event:
        return eval(event['expression'])
    return {'pid': os.getpid()}
"""


@pytest.fixture
def evaluate(action):
    """Return a function that runs one expression and proves that the process lives on."""
    one = action(EVALUATE)
    pid = one.result({})

    def run(expression: str):
        answer = one.run({"expression": expression})
        assert one.result({}) == pid, "the process did not survive"
        assert one.out.content() == MARKER * 3
        assert one.err.markers() == 3
        return answer

    run.server = one
    return run


# --- good results


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        pytest.param("None", b"{}", id="None"),
        pytest.param("{}", b"{}", id="empty-dict"),
        pytest.param("[]", b"[]", id="empty-list"),
        pytest.param("[1, 'zwei', None]", b'[1,"zwei",null]', id="list"),
        pytest.param("{'a': {'b': [True, False]}}", b'{"a":{"b":[true,false]}}', id="dict"),
        pytest.param("{'error': 'mine'}", b'{"error":"mine"}', id="error"),
        pytest.param("{'error': {'statusCode': 409}}", b'{"error":{"statusCode":409}}', id="error-object"),
        pytest.param("{1: 'a', None: 'b', False: 'c'}", b'{"1":"a","null":"b","false":"c"}', id="other-keys"),
        pytest.param("{'s': http.HTTPStatus.OK}", b'{"s":200}', id="int-enum"),
        pytest.param("{'n': 2**53 + 1}", b'{"n":9007199254740993}', id="big-int"),
        pytest.param("{'n': 10**40}", b'{"n":1' + b"0" * 40 + b"}", id="huge-int"),
        pytest.param("{'t': (1, 2)}", b'{"t":[1,2]}', id="tuple-inside"),
        pytest.param("collections.OrderedDict(b=1, a=2)", b'{"b":1,"a":2}', id="ordered-dict"),
        pytest.param("collections.defaultdict(int, a=1)", b'{"a":1}', id="defaultdict"),
        pytest.param("{'v': ''}", b'{"v":""}', id="empty-string-inside"),
    ],
)
def test_results_that_are_json(evaluate, expression, body):
    answer = evaluate(expression)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert json.dumps(answer.json, separators=(",", ":")).encode() == body
    assert not answer.body.endswith(b"\n")


def test_non_ascii_goes_out_as_utf8(evaluate):
    answer = evaluate("{'ä': 'grüße \\u65e5\\u672c \\U0001f600'}")
    assert answer.status == 200
    assert "grüße 日本 \U0001f600".encode() in answer.body
    assert answer.json == {"ä": "grüße 日本 \U0001f600"}


def test_control_characters_are_escaped(evaluate):
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028'
    answer = evaluate(f"{{'t': {text!r}}}")
    assert answer.json == {"t": text}
    assert not set(answer.body) & set(range(0x20))


# --- results that are none


@pytest.mark.parametrize(
    "expression",
    ["'text'", "''", "5", "0", "1.5", "True", "False", "b'bytes'", "{1, 2}", "Plain()", "object"],
)
def test_results_that_are_no_object_or_array(evaluate, expression):
    answer = evaluate(expression)
    assert (answer.status, answer.error) == (502, NOT_A_RESULT)


@pytest.mark.parametrize(
    ("expression", "type_name", "path"),
    [
        pytest.param("{'when': datetime.datetime(2026, 1, 1)}", "datetime", "when", id="datetime"),
        pytest.param("{'a': {'b': [1, {2}]}}", "set", "b", id="set"),
        pytest.param("{'raw': b'bytes'}", "bytes", "raw", id="bytes"),
        pytest.param("{'d': decimal.Decimal('1.5')}", "Decimal", "d", id="decimal"),
        pytest.param("{'u': uuid.UUID(int=1)}", "UUID", "u", id="uuid"),
        pytest.param("{'x': {'y': Plain()}}", "Plain", "y", id="object"),
        pytest.param("{'u': Unprintable()}", "Unprintable", "u", id="unprintable"),
        pytest.param("{'c': 1j}", "complex", "c", id="complex"),
        pytest.param("{'g': (n for n in [1])}", "generator", "g", id="generator"),
        pytest.param("{'f': main}", "function", "f", id="function"),
        pytest.param("[1, [2, {3}]]", "set", "1", id="set-in-list"),
        pytest.param("{'k': {(1, 2): 'x'}}", "tuple", "k", id="tuple-key"),
        pytest.param("{'k': {b'x': 1}}", "bytes", "k", id="bytes-key"),
    ],
)
def test_results_json_cannot_hold(evaluate, expression, type_name, path):
    """The answer names the type and the path of keys that leads to it."""
    answer = evaluate(expression)
    assert answer.status == 502
    assert type_name in answer.error
    assert path in answer.error


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("{'n': math.nan}", "n"),
        ("{'deep': {'n': [1.5, math.inf]}}", "deep"),
        ("[-math.inf]", "0"),
        ("{'n': 1e400}", "n"),
    ],
)
def test_not_a_number_is_never_sent(evaluate, expression, path):
    answer = evaluate(expression)
    assert answer.status == 502
    assert path in answer.error
    assert "nan" in answer.error.lower() or "inf" in answer.error.lower() or "float" in answer.error


@pytest.mark.parametrize(
    ("expression", "path"), [("loop", "self"), ("ring", "ring"), ("{'a': [loop]}", "self")]
)
def test_circular_results(evaluate, expression, path):
    answer = evaluate(expression)
    assert answer.status == 502
    assert path in answer.error


@pytest.mark.parametrize("expression", ["{'s': '\\ud800'}", "{'\\udfff': 1}", "{'a': ['x\\ud83d']}"])
def test_lone_surrogates_in_the_result(evaluate, expression):
    """They have no UTF-8: an error, or the escape that is still JSON; never broken bytes."""
    answer = evaluate(expression)
    answer.body.decode("utf-8")
    assert answer.status == 502
    assert answer.error


def test_number_of_more_digits_than_python_converts(evaluate):
    """CPython refuses to turn numbers of more than 4300 digits into text or back: an error, or all digits."""
    answer = evaluate("{'n': 10**5000}")
    if answer.status == 200:
        assert answer.body.replace(b" ", b"") == b'{"n":1' + b"0" * 5000 + b"}"
    else:
        assert answer.status == 502 and answer.error
    one = evaluate.server
    answer = one.post("/run", b'{"value": {"n": 1%b}}' % (b"0" * 5000))
    assert answer.status in (200, 400)
    assert answer.json


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deeply_nested_result(evaluate, depth):
    answer = evaluate(f"{{'n': nested({depth})}}")
    if answer.status == 200:
        assert answer.body.count(b"[") == depth + 1
    else:
        assert depth > 500
        assert answer.status == 502 and answer.error


def test_dict_whose_iteration_raises(action):
    one = action(
        "class Bad(dict):\n"
        "    def items(self):\n        raise LookupError('no items')\n"
        "    def __iter__(self):\n        raise LookupError('no iter')\n"
        "    def keys(self):\n        raise LookupError('no keys')\n"
        "def main(event):\n    return {'b': Bad(a=1)} if event.get('bad') else {'ok': 1}\n"
    )
    answer = one.run({"bad": True})
    assert answer.status in (200, 502)
    assert answer.json is not None
    assert one.result({}) == {"ok": 1}


def test_result_of_ten_megabytes(action):
    one = action("def main(event):\n    return {'t': 'ä' * event['n']}\n")
    assert len(one.result({"n": 5_000_000})["t"]) == 5_000_000
    assert one.result({"n": 1}) == {"t": "ä"}


def test_echo_of_ten_megabytes(action):
    one = action("def main(event):\n    return event\n")
    value = {"t": "x" * 10_000_000, "list": list(range(10_000))}
    assert one.result(value) == value


# --- exceptions


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        pytest.param("throw(ValueError('the reason'))", "the reason", id="value-error"),
        pytest.param("throw(Exception('grüße \U0001f600'))", "grüße \U0001f600", id="unicode"),
        pytest.param("{}['missing']", "missing", id="key-error"),
        pytest.param("1 / 0", "division by zero", id="zero-division"),
        pytest.param("throw(KeyboardInterrupt('stop'))", "stop", id="keyboard-interrupt"),
        pytest.param("throw(GeneratorExit('end'))", "end", id="generator-exit"),
        pytest.param("throw(BaseException('base'))", "base", id="base-exception"),
        pytest.param("throw(StopIteration('enough'))", "enough", id="stop-iteration"),
        pytest.param("bytearray(1 << 62)", "", id="memory-error"),
        pytest.param("(lambda f: f(f))(lambda f: f(f))", "recursion", id="recursion"),
        pytest.param("throw(Exception())", "", id="empty"),
        pytest.param("throw(Exception('a\\x00b\\n\"c'))", 'a\0b\n"c', id="odd-characters"),
        pytest.param("throw(5)", "exceptions must derive", id="not-an-exception"),
    ],
)
def test_exceptions(evaluate, expression, text):
    answer = evaluate(expression)
    assert answer.status == 502
    assert text in answer.error
    assert "Traceback" in evaluate.server.err.text()


def test_error_text_is_never_empty(evaluate):
    """`raise Exception()` has no text of its own: the reply names the type instead."""
    assert "Exception" in evaluate("throw(Exception())").error


def test_exception_whose_text_raises(evaluate):
    answer = evaluate("throw(Weird())")
    assert answer.status == 502
    assert "Weird" in answer.error
    assert "Weird" in evaluate.server.err.text()


def test_exception_with_a_lone_surrogate(evaluate):
    answer = evaluate("throw(ValueError('half \\ud800 pair'))")
    assert answer.status == 502
    answer.body.decode("utf-8")
    assert "half" in answer.error


def test_traceback_of_the_user(action):
    """The whole traceback with causes, source lines of the user, and none of the runner's own."""
    one = action(
        "def inner():\n    raise KeyError('root cause')\n"
        "def main():\n"
        "    try:\n        inner()\n"
        "    except KeyError as error:\n        raise ValueError('on top') from error\n"
    )
    assert one.run().error == "on top"
    text = one.err.text()
    assert "KeyError: 'root cause'" in text
    assert "direct cause" in text
    assert "ValueError: on top" in text
    assert "    raise KeyError('root cause')" in text
    assert "bootstrap" not in text and "pyrunner" not in text
    assert one.out.content() == MARKER
    assert text.endswith(MARKER.decode())


def test_exception_group(action):
    one = action(
        "import sys\n"
        "def main():\n"
        "    if sys.version_info < (3, 11):\n        raise ValueError('inner one')\n"
        "    raise ExceptionGroup('many', [ValueError('inner one')])\n"
    )
    assert one.run().status == 502
    assert "inner one" in one.err.text()


def test_huge_exception_text(action):
    one = action("def main(event):\n    raise ValueError('x' * 5_000_000)\n")
    answer = one.run()
    assert answer.status == 502
    assert answer.error.startswith("xxx")
    assert one.run().status == 502


def test_system_exit_caught_by_the_function(action):
    one = action(
        "import sys\ndef main():\n"
        "    try:\n        sys.exit(3)\n"
        "    except SystemExit as error:\n        return {'code': error.code}\n"
    )
    assert one.result() == {"code": 3}


# --- bodies


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \n ", id="blank"),
        pytest.param(b"{", id="unterminated"),
        pytest.param(b"value", id="not-json"),
        pytest.param(b'{"value": {}} {}', id="two-documents"),
        pytest.param(b'{"value": {}}\n{"value": {}}\n', id="two-lines"),
        pytest.param(b'{"value": {"a": 1,}}', id="trailing-comma"),
        pytest.param(b"{'value': {}}", id="single-quotes"),
        pytest.param(b'{"value": "\xff\xfe"}', id="not-utf-8"),
        pytest.param(b'{"value": "\xed\xa0\x80"}', id="surrogate-bytes"),
        pytest.param(b'{"value": "a\x00b"}', id="null-byte"),
        pytest.param(b'{"value": "a\tb"}', id="raw-control-character"),
        pytest.param(b'{"value": 01}', id="leading-zero"),
        pytest.param(b'{"value": "\\x41"}', id="bad-escape"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b"5", id="number"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"\x1e{}\x1e{}", id="as-from-another-door"),
    ],
)
def test_body_that_is_no_json_object(action, body):
    one = action("def main(event):\n    print('ran')\n    return {'event': event}\n")
    answer = one.post("/run", body)
    assert answer.status == 400
    assert answer.error
    assert one.out.content() + one.err.content() == b""
    assert one.result({"n": 1}) == {"event": {"n": 1}}
    assert one.out.content() == b"ran\n" + MARKER


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_not_a_number_in_the_body(action, constant):
    """No JSON: refused, or at least never echoed as such."""
    one = action("def main(event):\n    return {'event': event}\n")
    answer = one.post("/run", b'{"value": {"n": %s}}' % constant.encode())
    assert answer.status in (400, 502)
    assert answer.error
    assert one.result({"n": 1}) == {"event": {"n": 1}}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="arrays"),
        pytest.param(b'{"value":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", id="objects"),
        pytest.param(b"[" * 100_000, id="unterminated"),
    ],
)
def test_deeply_nested_body(action, body):
    one = action("def main(event):\n    return {'type': type(event).__name__}\n")
    answer = one.post("/run", body)
    assert answer.status in (200, 400)
    assert answer.json
    assert one.result({}) == {"type": "dict"}


def test_lone_surrogate_in_the_body(action):
    """A lone surrogate escape is JSON: the function gets it, and may do with it what it can."""
    one = action(
        "def main(event):\n    return {'length': len(event['s']), 'first': ord(event['s'][0])}\n"
    )
    answer = one.post("/run", b'{"value": {"s": "\\ud800x"}}')
    assert answer.json == {"length": 2, "first": 0xD800}


def test_surrogate_pair_in_the_body(action):
    one = action("def main(event):\n    return event\n")
    answer = one.post("/run", b'{"value": {"s": "\\ud83d\\ude00"}}')
    assert answer.json == {"s": "\U0001f600"}
    assert "\U0001f600".encode() in answer.body


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_pretty_printed_body(action, end):
    one = action("def main(event):\n    return event\n")
    body = json.dumps({"value": {"a": [1, {"b": "x\ny"}]}}, indent=2).encode()
    assert one.post("/run", body.replace(b"\n", end) + end).json == {"a": [1, {"b": "x\ny"}]}


def test_byte_order_mark_before_the_body(action):
    """RFC 8259: not to be sent, may be ignored; refused or ignored, but nothing third."""
    one = action("def main(event):\n    return event\n")
    answer = one.post("/run", b'\xef\xbb\xbf{"value": {"a": 1}}')
    assert (answer.status == 200 and answer.json == {"a": 1}) or (answer.status == 400 and answer.error)
    assert one.result({"a": 2}) == {"a": 2}


def test_duplicate_keys(action):
    """Python's json takes the last of equal keys, and so does every other peer."""
    one = action("def main(event):\n    return event\n")
    assert one.post("/run", b'{"value": {"a": 1, "a": 2}}').json == {"a": 2}


def test_run_before_init(server):
    one = server()
    for body in (b'{"value": {}}', b"", b"nonsense"):
        answer = one.post("/run", body)
        assert (answer.status, answer.error) == (500, "no action defined yet")
    assert one.out.content() + one.err.content() == b""


def test_run_after_a_failed_init(server):
    one = server()
    assert one.init("1 / 0\n").status == 502
    answer = one.run({})
    assert (answer.status, answer.error) == (500, "no action defined yet")
