"""Properties that hold for any payload, found out with random ones."""

import json
import os
import random

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from .harness import MARKER, http_request, wait_until  # noqa: E402

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

EXAMPLES = settings(FEW, max_examples=int(os.environ.get("BLACKBOX_EXAMPLES", "250")))

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text(st.characters(blacklist_categories=("Cs",))), inner, max_size=5),
    max_leaves=20,
)


def test_any_json_comes_back_as_it_went_in(action):
    one = action("def main(event):\n    return [event]\n")
    client = one.connect()

    @FEW
    @given(value=json_values, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 3]))
    def check(value, ascii_only, indent):
        body = json.dumps({"value": value}, ensure_ascii=ascii_only, indent=indent)
        answer = one.post("/run", body.encode(), client=client)
        assert answer.status == 200
        assert answer.json == [value]

    check()


#: Numbers as JSON may spell them, and as it may not.
numbers = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
strings = st.lists(
    st.sampled_from(["a", "é", "\u65e5", "\U0001f600", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\ud83d\\ude00",
                     "\\ud83d", "\\ude00", "\\u0000", "\\u00e9", "\\b", "\u2028", "\x7f", "\\uD83D\\u0041", "x" * 70]),
    max_size=6,
).map(lambda parts: '"' + "".join(parts) + '"')  # fmt: skip
blanks = st.sampled_from(["", " ", "\t", "\n", "\r\n", "   "])


def _joined(opening: str, closing: str, items, blank: str) -> str:
    return opening + blank + (blank + "," + blank).join(items) + blank + closing


json_texts = st.recursive(
    numbers | strings | st.sampled_from(["true", "false", "null", "0", "-0", "-0.0", "1e400", "1E5", "{}", "[]"]),
    lambda inner: st.builds(lambda items, blank: _joined("[", "]", items, blank), st.lists(inner, max_size=4), blanks)
    | st.builds(
        lambda items, blank: _joined("{", "}", [f"{k}{blank}:{blank}{v}" for k, v in items], blank),
        st.lists(st.tuples(strings, inner), max_size=4),
        blanks,
    ),
    max_leaves=12,
)


@st.composite
def damaged_texts(draw):
    """A JSON text in which up to three times a character was put in, with or without taking some out."""
    text = draw(json_texts)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        behind = at + draw(st.integers(0, 2))
        text = text[:at] + draw(st.sampled_from(["", *'{}[]:,"\\0e.-+ tn\x00\x1f\x85é'])) + text[behind:]
    return text


def _refuse(name: str) -> None:
    raise ValueError(name)


def test_events_are_what_pythons_json_makes_of_them(action):
    """Types, numbers, escapes, repeated keys: what functions rely on is the behaviour of json.loads."""
    one = action("def main(event):\n    return {'repr': ascii(event)}\n")
    client = one.connect()

    @EXAMPLES
    @given(text=damaged_texts())
    def check(text):
        answer = one.post("/run", f'{{"value": {text}}}'.encode(), client=client)
        try:
            expected = json.loads(f'{{"value": {text}}}', parse_constant=_refuse)["value"]
        except ValueError:
            assert answer.status == 400, answer
            return
        assert answer.status == 200, answer
        assert answer.json == {"repr": ascii(expected)}

    check()


python_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats()
    | st.text(st.characters(blacklist_categories=()), max_size=20)
    | st.sampled_from(["\x00\x1f\x7f\u2028\ufeff\ufffe\U0010ffff", "\ud800", "é" * 100, '"\\/'])
    | st.sampled_from([1e22, 1e16, 5e-324, -0.0]),
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner, inner)
    | st.dictionaries(
        st.text(max_size=5) | st.integers() | st.floats() | st.booleans() | st.none(), inner, max_size=4
    ),
    max_leaves=15,
)


def test_results_are_what_pythons_json_makes_of_them(action):
    """Numbers digit for digit, keys of other types, nesting; what is no JSON is an error, never broken bytes."""
    one = action(
        "import math\nnan, inf = math.nan, math.inf\n"
        "def main(event):\n    return [eval(event['source'])]\n"
    )
    client = one.connect()

    @EXAMPLES
    @given(value=python_values)
    def check(value):
        answer = one.run({"source": ascii(value)}, client=client)
        try:
            expected = json.dumps([value], allow_nan=False, ensure_ascii=False)
            expected.encode()
        except ValueError:
            assert answer.status == 502 and "cannot" in answer.error
            return
        assert answer.status == 200, answer
        assert exactly(answer.body.decode()) == exactly(expected)

    check()


def exactly(text: str):
    """A JSON document with its numbers as they are spelt and its keys in order, repeated ones included."""
    return json.loads(text, parse_float=lambda s: ("float", s), parse_int=lambda s: ("int", s), object_pairs_hook=list)


def test_any_bytes_as_a_body_get_an_answer(action):
    one = action("def main(event):\n    return {'ok': 1}\n")
    client = one.connect()

    @FEW
    @given(body=st.binary(max_size=200) | st.text("{}[]\":,tfn0.e-\\u \n").map(str.encode))
    def check(body):
        answer = one.post("/run", body, client=client)
        try:
            document = json.loads(body.decode("utf-8"), parse_constant=int)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            assert answer.status == 200
        else:
            assert answer.status == 400 and answer.error

    check()
    assert one.result({}) == {"ok": 1}


def test_request_may_arrive_in_any_pieces(action):
    one = action("def main(event):\n    return event\n")
    body = json.dumps({"value": {"text": "grüße" * 5}}).encode()
    data = http_request("POST", "/run", body)
    client = one.connect()

    @FEW
    @given(cuts=st.lists(st.integers(1, len(data) - 1), max_size=8))
    def check(cuts):
        edges = [0, *sorted(cuts), len(data)]
        for begin, end in zip(edges, edges[1:]):
            client.send(data[begin:end])
        assert client.read_answer().json == {"text": "grüße" * 5}

    check()


def test_any_output_is_logged_byte_for_byte(action):
    """Whatever is written to whichever stream, cut anyhow, arrives unchanged before the marker."""
    one = action(
        "import os\n"
        "def main(event):\n"
        "    for fd, text in event['writes']:\n"
        "        os.write(fd, text.encode('latin-1'))\n"
        "    return {}\n"
    )
    client = one.connect()
    expected = {1: b"", 2: b""}

    @FEW
    @given(writes=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=30)), max_size=6))
    def check(writes):
        texts = [(fd, data.decode("latin-1")) for fd, data in writes]
        assert one.run({"writes": texts}, client=client).status == 200
        for fd, log in ((1, one.out), (2, one.err)):
            output = b"".join(data for number, data in writes if number == fd)
            if output and not output.endswith(b"\n"):
                output += b"\n"
            expected[fd] += output + MARKER
            assert log.content() == expected[fd]

    check()


def test_random_mix_of_good_and_deadly_runs(action):
    """A long random history of runs: each gets the answer that belongs to it."""
    one = action(
        "import os, sys\n"
        "def main(event):\n"
        "    if event['do'] == 'exit':\n        sys.exit(1)\n"
        "    if event['do'] == 'kill':\n        os.kill(os.getpid(), 9)\n"
        "    if event['do'] == 'raise':\n        raise ValueError(event['n'])\n"
        "    if event['do'] == 'bad':\n        return {'x': {1}}\n"
        "    return {'n': event['n']}\n"
    )
    statuses = {"good": 200, "raise": 502, "bad": 502, "exit": 400, "kill": 400}
    dice = random.Random(5)
    for n in range(60):
        deed = dice.choice(["good"] * 6 + list(statuses))
        answer = one.run({"do": deed, "n": n})
        assert answer.status == statuses[deed], (n, deed, answer)
        if deed == "good":
            assert answer.json == {"n": n}
        if deed == "raise":
            assert answer.error == str(n)
    assert one.out.markers() == one.err.markers() == 60


def test_chaos(action, tmp_path):
    """Clients that leave, functions that die, refusals and second inits, all at once: every answer belongs to
    its request, and each activation that began has exactly one marker on each stream."""
    begun = tmp_path / "begun"
    one = action(
        "import os, sys\n"
        f"file = os.open({str(begun)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "def main(event):\n"
        "    os.write(file, b'x')\n"
        "    print('begin', event['id'], end='')\n"
        "    if event['do'] == 'exit':\n        sys.exit(1)\n"
        "    if event['do'] == 'kill':\n        os.kill(os.getpid(), 9)\n"
        "    if event['do'] == 'raise':\n        raise ValueError(event['id'])\n"
        "    return {'id': event['id'], 'pad': 'x' * event.get('size', 0)}\n"
    )

    def client(who: int) -> None:
        dice = random.Random(who)
        connection = None
        for n in range(40):
            identity = f"{who}-{n}"
            if connection is None or dice.random() < 0.3:
                connection = one.connect()
            deed = dice.choice(["good", "good", "large", "raise", "exit", "kill", "leave", "nonsense", "init", "get"])
            value = {"id": identity, "do": deed, "size": 300_000 if deed == "large" else 0}
            if deed == "leave":
                connection.send(http_request("POST", "/run", json.dumps({"value": value}).encode()))
                connection.close()
                connection = None
            elif deed == "nonsense":
                assert one.post("/run", b"{nonsense", client=connection).status == 400
            elif deed == "init":
                assert one.post("/init", {"value": {"code": "pass"}}, client=connection).status == 403
            elif deed == "get":
                assert connection.request("GET", "/run").status == 405
            else:
                answer = one.run(value, client=connection)
                assert answer.status == {"raise": 502, "exit": 400, "kill": 400}.get(deed, 200), (deed, answer)
                if deed in ("good", "large"):
                    assert answer.json == {"id": identity, "pad": "x" * value["size"]}
                if deed == "raise":
                    assert answer.error == identity

    for pending in [one.background(client, who) for who in range(8)]:
        pending.result()
    assert one.result({"id": "last", "do": "good"})["id"] == "last"
    # What a client sent before it left may come only now: connections are served in no order.
    wait_until(lambda: begun.stat().st_size == one.out.markers() == one.err.content().count(MARKER), "all have ended")
    outputs = one.out.activations()
    assert all(output.startswith(b"begin ") and output.count(b"\n") == 1 for output in outputs[:-1])
