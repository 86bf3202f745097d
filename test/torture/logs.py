"""The server's two log streams: read as they come, checked line by line, never kept."""

import asyncio
import dataclasses
import re
from typing import IO, Dict, List, Optional, Tuple, Type

from blackbox.harness import MARKER

MARKER_LINE = MARKER.rstrip(b"\n")
LINE = re.compile(rb"#(\d+) ([oe]) (\d+) (\d+) (x*)")


@dataclasses.dataclass
class Segment:
    """What stands before one activation's marker.

    number: the activation that printed there, None where none has. out, err: its whole lines of each stream.
    torn: its last line is not whole, as a death leaves it. foreign: how many other lines there are.
    """

    number: Optional[int] = None
    out: int = 0
    err: int = 0
    torn: bool = False
    foreign: int = 0


class Stream:
    """One stream of the server, as its bytes come in.

    markers_per_end: 2 where both streams lead here, else 1.
    """

    def __init__(self, name: str, markers_per_end: int = 1) -> None:
        self.name = name
        self.problems: List[str] = []
        self.segments: List[Segment] = []
        self.report: List[bytes] = []  # of a sanitizer
        self.bytes = 0
        self._markers_per_end = markers_per_end
        self._markers = 0
        self._now = Segment()
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.bytes += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._take(line)

    def end(self) -> Segment:
        """No more will come. Returns what follows the last marker."""
        if self._rest:
            self._take(self._rest)
            self._rest = b""
        if self.report:
            self.problems.insert(0, f"{self.name}: " + b"\n".join(self.report[:100]).decode(errors="replace"))
        if self._markers:
            self.problems.append(f"{self.name}: half of the markers of an activation at the end")
        return self._now

    def _take(self, line: bytes) -> None:
        if line == MARKER_LINE:
            self._markers += 1
            if self._markers == self._markers_per_end:
                self.segments.append(self._now)
                self._now, self._markers = Segment(), 0
            return
        if self._markers:
            self.problems.append(f"{self.name}: a line between the two markers: {line[:200]!r}")
        if MARKER_LINE in line:
            self.problems.append(f"{self.name}: a marker is not alone on its line: {line[-200:]!r}")
        self._take_other(line)

    def _take_other(self, line: bytes) -> None:
        match = LINE.match(line)
        if match:
            self._take_own(match, line)
        else:
            self._take_foreign(line)

    def _take_own(self, match: "re.Match[bytes]", line: bytes) -> None:
        now, number, stream = self._now, int(match[1]), match[2]
        whole = match.end() == len(line) and len(match[5]) == int(match[4])
        if now.number is not None and now.number != number:
            self.problems.append(f"{self.name}: activation {number} prints into the part of {now.number}")
        if now.torn:
            self.problems.append(f"{self.name}: activation {number} goes on after a torn line")
        now.number = number
        if not whole:
            now.torn = True
        elif int(match[3]) != (now.out if stream == b"o" else now.err):
            self.problems.append(f"{self.name}: line {int(match[3])} of activation {number} is out of order")
        elif stream == b"o":
            now.out += 1
        else:
            now.err += 1

    def _take_foreign(self, line: bytes) -> None:
        # A line that death has torn may end anywhere, also in front of what makes it one of ours.
        if line.startswith(b"#"):
            self._now.torn = True
            return
        if b"pyaction:" in line:
            self.problems.append(f"{self.name}: {line[:500]!r}")
        if self.report or b"Sanitizer" in line or b"runtime error:" in line:
            self.report.append(line)
        self._now.foreign += 1


class CloudStream(Stream):
    """Both streams of a server whose requests come through the door of a cloud, with that cloud's lines.

    OWN: what they are like, the kind and the id of the activation in each. BEGIN: the kinds in front of the output, in
    their order; only the first one is always there. END: those behind it, one of each group.
    """

    OWN: "re.Pattern[bytes]"
    BEGIN: Tuple[bytes, ...] = ()
    END: Tuple[Tuple[bytes, ...], ...] = ()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._id = b""  # of the activation that has begun
        self._kinds: List[bytes] = []  # of the lines that it has had

    def _take_kind(self, kind: bytes, identity: bytes, line: bytes) -> None:
        ended = [one for one in self._kinds if one not in self.BEGIN]
        if kind == self.BEGIN[0]:
            good = not self._id
            self._id, self._kinds, self._now = identity, [], Segment()
        elif kind in self.BEGIN:
            good = identity == self._id and not ended and kind not in self._kinds
        else:
            good = identity == self._id and len(ended) < len(self.END) and kind in self.END[len(ended)]
        if not good:
            self.problems.append(f"{self.name}: {line[:200]!r} in the part of {self._id!r} behind {self._kinds}")
        self._kinds.append(kind)
        if kind in self.END[-1]:
            self.segments.append(self._now)
            self._id, self._kinds, self._now = b"", [], Segment()

    def _take(self, line: bytes) -> None:
        match = self.OWN.match(line)
        if match:
            self._take_kind(match[1], match[2], line)
        elif MARKER_LINE in line:
            self.problems.append(f"{self.name}: a marker: {line[:200]!r}")
        elif LINE.match(line) and (not self._id or self._kinds[-1] not in self.BEGIN):
            self.problems.append(f"{self.name}: a line outside of its activation: {line[:200]!r}")
        else:
            self._take_other(line)


class InvokeStream(CloudStream):
    """Of Lambda."""

    OWN = re.compile(rb"(START|END|REPORT) RequestId: (\S+)")
    BEGIN = (b"START",)
    END = ((b"END",), (b"REPORT",))


class EventStream(CloudStream):
    """Of SCF."""

    OWN = re.compile(rb"(START|Init Report|Response|ERROR|END|Report) RequestId: ?(\S+)")
    BEGIN = (b"START", b"Init Report")
    END = ((b"Response", b"ERROR"), (b"END",), (b"Report",))


#: By door.
CLOUD_STREAMS: Dict[str, Type[CloudStream]] = {"lambda": InvokeStream, "scf": EventStream}


class Reader(asyncio.Protocol):
    """Reads a pipe into a Stream.  stall() and go_on() stop it for a while, as a reader that hangs."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.ended = asyncio.get_running_loop().create_future()
        self._transport: Optional[asyncio.ReadTransport] = None

    @classmethod
    async def start(cls, pipe: IO[bytes], stream: Stream) -> "Reader":
        """Begin to read `pipe`, which is closed in the end."""
        loop = asyncio.get_running_loop()
        transport, reader = await loop.connect_read_pipe(lambda: cls(stream), pipe)
        reader._transport = transport
        return reader

    def data_received(self, data: bytes) -> None:
        """Of asyncio.Protocol."""
        self.stream.feed(data)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """Of asyncio.Protocol."""
        if not self.ended.done():
            self.ended.set_result(exc)

    def stall(self) -> None:
        """Read nothing."""
        assert self._transport is not None
        self._transport.pause_reading()

    def leave(self) -> None:
        """Close the reading end."""
        assert self._transport is not None
        self._transport.close()

    def go_on(self) -> None:
        """Read again."""
        assert self._transport is not None
        self._transport.resume_reading()
