"""What fuzz_tar.c checks: proxy/untar.py unpacks an archive, or says why not; nothing else.

The first byte of an input says how to take the rest: as a script of entries, or as the archive itself.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import sys
import tarfile
from typing import List

# As in unpacking.h.
UNPACKED_MAX = 1 << 16
ENTRIES_MAX = 48

COMPONENTS = (
    "a", "b", "c", "canary", "witness", "out", "inner", "base", "..", ".", "", "\u00e9", "\udcff", "n" * 255, "n" * 256,
)
TYPES = (
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE, tarfile.LNKTYPE,
    tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE, tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE,
    tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"z",
)
WITHOUT_CONTENTS = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
PREFIXES = ("", "", "", "../", "/", "/proc/self/cwd/", "./", "../../")


def load_untar() -> "tarfile.ModuleType":  # type: ignore[name-defined]
    """The program as a module, with limits that inputs can reach."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../proxy/untar.py")
    spec = importlib.util.spec_from_file_location("untar", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.BYTES_MAX = UNPACKED_MAX  # type: ignore[attr-defined]
    module.ENTRIES_MAX = ENTRIES_MAX  # type: ignore[attr-defined]
    return module


untar = load_untar()


class Checked(untar.Unpacker):  # type: ignore[misc, name-defined]
    """Sees to it that the limit of what an archive unpacks to comes nearer, and nothing else."""

    def add(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        before = self._bytes_left
        super().add(archive, entry)
        assert 0 <= self._bytes_left <= before, f"{self._bytes_left} bytes left, before it {before}"


untar.Unpacker = Checked
_first_fd = 0  # of those that a run opens


class Script:
    """An input, read byte by byte; zeros at its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def path(self) -> str:
        """Components, the last one marked by its highest bit, behind what the first byte says."""
        prefix = PREFIXES[self.byte() & 7]
        parts: List[str] = []
        while self and len(parts) < 12:
            choice = self.byte()
            parts.append(COMPONENTS[(choice & 0x7F) % len(COMPONENTS)])
            if choice & 0x80:
                break
        return prefix + "/".join(parts)


def make_entry(script: Script) -> bytes:
    """A header, with its extended headers, and the contents."""
    choice, flags = script.byte(), script.byte()
    entry = tarfile.TarInfo(script.path())
    entry.type = TYPES[choice % len(TYPES)]
    entry.mode = (0o644, 0o4755, 0, 0o7777)[flags & 3]
    if entry.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        entry.linkname = script.path()
    length = script.byte() if flags & 4 == 0 else script.byte() * 300
    # What is behind the header of another type is the next header.
    contents = bytes() if entry.type in WITHOUT_CONTENTS else bytes([choice, flags]) * length
    entry.size = len(contents)
    if flags & 0xF0 == 0x10:  # a lie
        entry.size = (-512, -1, 1 << 40, len(contents) + 1)[script.byte() % 4]
    if flags & 0xF0 == 0x20:
        entry.pax_headers = {("path", "linkpath", "size", "GNU.sparse.map")[script.byte() % 4]: script.path()}
    head = entry.tobuf(FORMATS[flags >> 2 & 3 if flags >> 2 & 3 < 3 else 0], "utf-8", "surrogateescape")
    return head + contents + bytes(-len(contents) % 512)


def make_archive(data: bytes) -> bytes:
    """The tar file that an input stands for."""
    if data[:1] != b"s":
        return data[1:]
    script, out = Script(data[1:]), io.BytesIO()
    for _ in range(12):
        if not script:
            break
        try:
            out.write(make_entry(script))
        except (ValueError, UnicodeError):  # a name too long for the format
            continue
    return out.getvalue() + bytes(1024)


class Stdin:
    """sys.stdin, of which only the buffer is used."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def check(data: bytes) -> None:
    """data: the input."""
    global _first_fd
    if _first_fd == 0:
        _first_fd = os.dup(0)
        os.close(_first_fd)
    archive = make_archive(data)
    compressed = archive if data[:1] == b"g" else gzip.compress(archive, 1)
    stdin, sys.stdin = sys.stdin, Stdin(compressed)  # type: ignore[assignment]
    try:
        untar.unpack("out")
    except untar.Refused as refused:
        assert str(refused)
    finally:
        sys.stdin = stdin
        os.closerange(_first_fd, _first_fd + 8)  # that of the directory, which the program leaves to its end
