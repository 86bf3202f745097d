"""Properties that hold for any payload, found out with random ones."""

import json
import random

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from .harness import MARKER, http_request  # noqa: E402

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

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
