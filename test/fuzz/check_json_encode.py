"""What fuzz_json_encode.c checks: any object a function may return becomes the text json has for it, or an error."""

from __future__ import annotations

import collections
import enum
import json
import struct
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Union

import _pyaction

DEPTH_MAX = 40
CHUNK = 4096  # of json_encode.c, which writes strings in pieces


class Text(str):
    """Subclasses of what JSON has: json encodes them as their base."""

    def __repr__(self) -> str:
        return "not this"


class Integer(int):
    def __repr__(self) -> str:
        return "not this"


class Converted(int):
    def __int__(self) -> int:
        return 12


class Real(float):
    def __repr__(self) -> str:
        return "not this"


class Items(List[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([1, *list.__iter__(self)])


class Raising(List[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise ValueError("not to be iterated over")


class Mapping(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [("first", 1), *dict.items(self)]


class NoPairs(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [(1, 2, 3)]


class Point(NamedTuple):
    x: Any
    y: Any


class Color(enum.IntEnum):
    RED = 1


class Growing(dict):  # type: ignore[type-arg]
    """Changes its parent while it is encoded; what comes out then is nobody's promise."""

    parent: Any = None

    def items(self) -> Any:
        parent, self.parent = self.parent, None
        if isinstance(parent, dict):
            parent.clear()
            parent["new"] = "x" * 100
        elif isinstance(parent, list):
            del parent[:]
        return [("a", 1)]


class Script:
    """The input, and what was made of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.has_subclass = False
        self.changes = False

    def byte(self) -> int:
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value

    def take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken


def make_float(script: Script) -> float:
    """Any bits, or a decimal with few digits."""
    if script.byte() & 1:
        return float(struct.unpack("<d", script.take(8).ljust(8, b"\0"))[0])
    return int.from_bytes(script.take(4), "little", signed=True) / 10.0 ** (script.byte() % 25)


def make_text(script: Script) -> str:
    """All widths of CPython's strings, lone surrogates, and lengths around those that the encoder cuts at."""
    kind = script.byte()
    data = script.take(kind >> 3)
    text = (
        data.decode("latin-1"),
        data.decode("utf-8", "replace"),
        data.decode("utf-16-le", "surrogatepass") if len(data) % 2 == 0 else "",
        "".join(chr(0x10000 + byte * 4099 % 0x100000) for byte in data),
        data.decode("ascii", "surrogateescape"),
        (data.decode("latin-1") or "a") * (CHUNK // max(len(data), 1)),
        "x" * (CHUNK - 4) + data.decode("latin-1"),
        "x" * (script.byte() + 1) + data.decode("utf-8", "replace"),
    )[kind & 7]
    return text


def make_key(script: Script) -> Any:
    choice = script.byte() % 16
    if choice < 8:
        return make_text(script)
    return (
        lambda: None,
        lambda: True,
        lambda: script.byte(),
        lambda: int.from_bytes(script.take(12), "little", signed=True),
        lambda: make_float(script),
        lambda: Text(make_text(script)),
        lambda: Integer(script.byte()),
        lambda: (1, 2),
    )[choice - 8]()


def make_subclass(script: Script, outer: List[Any]) -> Any:
    script.has_subclass = True
    choice = script.byte() % 14
    parts = [make(script, outer) for _ in range(script.byte() % 3)]
    makers: List[Callable[[], Any]] = [
        lambda: Text(make_text(script)),
        lambda: Integer(script.byte()),
        lambda: Converted(script.byte()),
        lambda: Real(make_float(script)),
        lambda: Items(parts),
        lambda: Raising(parts),
        lambda: Mapping(enumerate(parts)),
        lambda: NoPairs(enumerate(parts)),
        lambda: Point(script.byte(), parts),
        lambda: Color.RED,
        lambda: collections.OrderedDict((str(index), part) for index, part in enumerate(parts)),
        lambda: collections.defaultdict(int, {make_text(script): script.byte()}),
        lambda: collections.Counter(range(len(parts))),
        lambda: make_growing(script, outer),
    ]
    return makers[choice]()


def make_growing(script: Script, outer: List[Any]) -> Growing:
    script.changes = True
    growing = Growing(a=1)
    growing.parent = outer[-1] if outer else None
    return growing


def make_container(script: Script, outer: List[Any]) -> Any:
    choice = script.byte()
    container: Union[List[Any], "dict[Any, Any]"] = [] if choice & 1 else {}
    if len(outer) >= DEPTH_MAX:
        return container
    outer.append(container)
    for _ in range(choice >> 1 & 7):
        if isinstance(container, list):
            container.append(make(script, outer))
        else:
            key = make_key(script)
            container[key] = make(script, outer)
    outer.pop()
    return tuple(container) if isinstance(container, list) and choice & 0x80 else container


def make(script: Script, outer: List[Any]) -> Any:
    """An object. outer: the containers it is going to be in."""
    choice = script.byte() % 20
    if choice < 6:
        return make_container(script, outer)
    if choice < 9:
        return make_text(script)
    makers: List[Callable[[], Any]] = [
        lambda: None,
        lambda: True,
        lambda: False,
        lambda: script.byte() - 128,
        lambda: int.from_bytes(script.take(script.byte() % 24), "little", signed=True),
        lambda: make_float(script),
        lambda: make_float(script),
        lambda: make_subclass(script, outer),
        lambda: outer[script.byte() % len(outer)] if outer else [],
        lambda: (set(), b"", object(), 1j, range(3))[script.byte() % 5],
        lambda: 10 ** (script.byte() * 20),
    ]
    return makers[choice - 9]()


def expected_of(value: Any, ensure_ascii: bool) -> Optional[bytes]:
    """What json makes of it; None where it refuses."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return None


def check(data: bytes) -> None:
    """data: the input."""
    script = Script(data)
    value = make(script, [])
    if script.changes:
        try:
            _pyaction.encode(value)
        except (TypeError, ValueError, RuntimeError):
            pass
        return
    try:
        encoded = _pyaction.encode(value)
    except (TypeError, ValueError):
        encoded = None
    expected = expected_of(value, False)
    assert encoded == expected, f"{encoded!r}, json has {expected!r}"
    if encoded is not None:
        assert b"\n" not in encoded
        assert repr(_pyaction.decode(encoded)) == repr(json.loads(encoded))
    for ensure_ascii in (False, True):
        try:
            plain = _pyaction.encode_plain(value, ensure_ascii)
        except (TypeError, ValueError):
            plain = None
        expected = expected_of(value, ensure_ascii)
        assert plain == expected or (plain is None and script.has_subclass), f"{plain!r}, json has {expected!r}"
