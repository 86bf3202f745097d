"""Short versions of `make torture` and `make soak`; and that both see what goes wrong."""

import dataclasses
import os
import pathlib
import subprocess
from typing import Any, Callable, Dict, List, Type

import pytest

from blackbox.harness import MARKER, ROOT, SANITIZED, Server, Settings

from . import life as lives
from . import soak
from .__main__ import torture
from .faults import SERVING
from .init_faults import INIT
from .load import Ledger, Request, Shape, Violation
from .logs import CloudStream, EventStream, InvokeStream, Stream

CLIENT = os.environ.get("SOAK_CLIENT", str(ROOT / "build" / "soak-client"))


def test_faults() -> None:
    """Each kind that is possible here, at least once."""
    report = torture(100 if SANITIZED else 200, "check", 2, [*SERVING, *INIT])
    assert report.problems == []
    assert sum(row.count for row in report.rows.values()) >= 100


@pytest.mark.usefixtures("freed_at_once")
def test_soak(tmp_path: pathlib.Path) -> None:
    """All kinds of requests; latencies are not judged."""
    assert soak.soak(CLIENT, 20_000, 1, tmp_path, steps=10, judge_latency=False) == []


# --- the log's audit


def stream_of(text: bytes, markers_per_end: int = 1) -> Stream:
    """One that has read this, byte by byte."""
    stream = Stream("log", markers_per_end)
    for index in range(len(text)):
        stream.feed(text[index:index + 1])
    stream.end()
    return stream


def test_log_of_good_activations() -> None:
    stream = stream_of(b"#7 o 0 2 xx\n#7 o 1 0 \n" + MARKER + MARKER + b"#9 o 0 1 x\n" + MARKER)
    assert stream.problems == []
    assert [(one.number, one.out, one.torn) for one in stream.segments] == [(7, 2, False), (None, 0, False),
                                                                            (9, 1, False)]


def test_log_of_both_streams() -> None:
    stream = stream_of(b"#7 o 0 0 \n#7 e 0 0 \n" + MARKER + MARKER, 2)
    assert stream.problems == []
    assert [(one.number, one.out, one.err) for one in stream.segments] == [(7, 1, 1)]


def test_torn_line_is_no_problem_in_itself() -> None:
    stream = stream_of(b"#7 o 0 3 xxx\n#7 o 1 3 xx\n" + MARKER)
    assert stream.problems == []
    assert stream.segments[0].torn and stream.segments[0].out == 1


@pytest.mark.parametrize(
    "text",
    [
        b"#7 o 0 0 \n#8 o 0 0 \n" + MARKER,
        b"#7 o 0 0 \n#7 o 2 0 \n" + MARKER,
        b"#7 o 1 0 \n" + MARKER,
        b"#7 o 0 2 x\n#7 o 1 0 \n" + MARKER,
        b"#7 o 0 0 " + MARKER,
        b"x" + MARKER,
        b"==1==ERROR: AddressSanitizer: heap-use-after-free\n" + MARKER,
    ],
    ids=["another's line", "line missing", "first line missing", "goes on after a torn line", "marker not alone",
         "marker behind something", "sanitizer"],
)
def test_log_that_is_wrong(text: bytes) -> None:
    assert stream_of(text).problems


@pytest.mark.parametrize("text", [MARKER, MARKER + b"#7 o 0 0 \n" + MARKER], ids=["half an end", "line between"])
def test_log_of_both_streams_that_is_wrong(text: bytes) -> None:
    assert stream_of(text, 2).problems


INVOKED = b"START RequestId: a Version: 1\n#7 o 0 0 \nEND RequestId: a\nREPORT RequestId: a\tDuration: 1 ms\n"
CALLED = b"START RequestId:a\n#7 o 0 0 \nResponse RequestId:a RetMsg:{}\nEND RequestId:a\nReport RequestId:a D\n"
COLD = CALLED.replace(b"#7", b"Init Report RequestId: a Coldstart: 1ms\n#7")


def problems_of(stream: Stream, text: bytes) -> List[str]:
    """What a stream that has read this complains of."""
    stream.feed(text)
    stream.end()
    return stream.problems


def test_log_of_clouds() -> None:
    for stream, text in ((InvokeStream("log"), INVOKED * 2), (EventStream("log"), COLD + CALLED),
                         (EventStream("log"), CALLED.replace(b"Response", b"ERROR"))):
        assert problems_of(stream, text) == []
        assert {(one.number, one.out, one.foreign) for one in stream.segments} == {(7, 1, 0)}


@pytest.mark.parametrize("stream, text", [
    (InvokeStream, INVOKED.replace(b"END RequestId: a\n", b"")),
    (InvokeStream, INVOKED.replace(b"END RequestId: a\n", b"") + b"END RequestId: a\n"),
    (InvokeStream, INVOKED.replace(b"REPORT RequestId: a", b"REPORT RequestId: b")),
    (InvokeStream, INVOKED[:INVOKED.index(b"REPORT")] + INVOKED),
    (InvokeStream, INVOKED + b"#7 o 1 0 \n"),
    (EventStream, CALLED + MARKER),
    (EventStream, CALLED.replace(b"Response RequestId:a RetMsg:{}\n", b"")),
    (EventStream, CALLED.replace(b"END RequestId:a\n", b"ERROR RequestId:a\nEND RequestId:a\n")),
    (EventStream, CALLED.replace(b"END RequestId:a\n", b"#7 o 1 0 \nEND RequestId:a\n")),
    (EventStream, COLD.replace(b"Init Report RequestId: a Coldstart: 1ms\n#7 o 0 0 \n",
                               b"#7 o 0 0 \nInit Report RequestId: b Coldstart: 1ms\n")),
])
def test_log_of_clouds_that_is_wrong(stream: Type[CloudStream], text: bytes) -> None:
    assert problems_of(stream("log"), text)


# --- the audit of a whole life


class Printed:
    """In place of a witness."""

    def __init__(self, counts: Dict[int, Any]) -> None:
        self.counts = counts

    def printed(self, number: int) -> Any:
        """What an activation has printed."""
        return self.counts.get(number, (0, 0))


class FakeLife:
    """What audit() looks at: two good activations, and one that died."""

    def __init__(self) -> None:
        self.ledger = Ledger(10)
        for label in ("200", "400 exited", "200"):
            request = self.ledger.new(Shape(lines=1))
            request.label, request.activated, request.sent = label, True, 1.0
        self.witness = Printed({0: (1, 1), 2: (1, 1)})
        self.lethal, self.interrupts, self.init_markers, self.blind = 1, 0, 0, False
        self.out = b"#0 o 0 0 \n" + MARKER + MARKER + b"#2 o 0 0 \n" + MARKER
        self.err = b"#0 e 0 0 \n" + MARKER + MARKER + b"#2 e 0 0 \n" + MARKER

    def is_short(self, _request: Request) -> bool:
        """Nothing is."""
        return False

    def problems(self) -> List[str]:
        """The audit's."""
        self.streams = [Stream("stdout"), Stream("stderr")]
        self.streams[0].feed(self.out)
        self.streams[1].feed(self.err)
        return list(lives.audit(self))  # type: ignore[arg-type]


def test_audit_of_a_good_life() -> None:
    assert FakeLife().problems() == []


def lose_marker(life: FakeLife) -> None:
    life.err = life.err[:-len(MARKER)]


def lose_both_markers(life: FakeLife) -> None:
    life.err, life.out = life.err[:-len(MARKER)], life.out[:-len(MARKER)]


def write_too_many(life: FakeLife) -> None:
    life.err, life.out = life.err + MARKER, life.out + MARKER


def lose_line(life: FakeLife) -> None:
    life.out = life.out.replace(b"#2 o 0 0 \n", b"")


def lose_line_before_death(life: FakeLife) -> None:
    life.witness.counts[1] = (1, 0)


def exchange_streams(life: FakeLife) -> None:
    life.err = MARKER + b"#0 e 0 0 \n" + MARKER + b"#2 e 0 0 \n" + MARKER


def run_twice(life: FakeLife) -> None:
    life.out = life.out.replace(MARKER + MARKER, MARKER + b"#0 o 0 0 \n" + MARKER)


def die_without_cause(life: FakeLife) -> None:
    life.lethal = 0


def refuse_what_ran(life: FakeLife) -> None:
    life.ledger.requests[2].activated = False


@pytest.mark.parametrize(
    "spoil",
    [lose_marker, lose_both_markers, write_too_many, lose_line, lose_line_before_death, exchange_streams, run_twice,
     die_without_cause, refuse_what_ran],
)
def test_audit_sees(spoil: Callable[[FakeLife], None]) -> None:
    """Each of these is a promise broken."""
    life = FakeLife()
    spoil(life)
    assert life.problems()


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b'{"token": "another", "in": 0, "padding": ""}'),
        (200, b"{}"),
        (400, b'{"error": "something else"}'),
        (502, b"no document"),
        (204, b""),
    ],
)
def test_answer_that_is_not_ones_own(status: int, body: bytes) -> None:
    with pytest.raises(Violation):
        Ledger(1).new(Shape()).judge(status, body)


# --- the soak test's own checks


def samples(**changes: Any) -> List[soak.Sample]:
    """Ten good steps; `changes` are made to the last one."""
    figures = {"p50_us": 50.0, "small": 10.0}
    good = [soak.Sample(dict(figures), 5000, 11000, 7) for _ in range(10)]
    good[-1].figures["p50_us"] = changes.pop("p50_us", 50.0)
    return [*good[:-1], dataclasses.replace(good[-1], **changes)]


def test_soak_of_a_steady_server() -> None:
    assert list(soak.check_memory(samples())) == []
    assert list(soak.check_latency(samples())) == []
    assert list(soak.check_memory(samples(runner=8, runner_kb=18000))) == []


def test_soak_sees_growth() -> None:
    assert list(soak.check_memory(samples(proxy_kb=6100)))
    assert list(soak.check_memory(samples(runner_kb=18000)))
    assert list(soak.check_latency(samples(p50_us=90.0)))


def test_soak_client_sees_a_wrong_answer(tmp_path: pathlib.Path) -> None:
    """A function that is wrong once in a thousand."""
    server = Server(tmp_path, Settings())
    try:
        wrong = "\n_main = main\ndef main(event):\n    return {} if event['n'] == 999 else _main(event)\n"
        assert server.init(soak.FUNCTION.read_text() + wrong).status == 200
        result = subprocess.run([CLIENT, str(server.port), "2000", "1", "1"], input="\n", capture_output=True,
                                text=True, check=False)
    finally:
        server.finish()
    assert result.returncode == 1
    assert "request 999" in result.stderr
