"""Zip archives of every kind a function may come in, honest and hostile."""

import dataclasses
import io
import stat
import struct
import zipfile
import zlib
from typing import Any, List, Mapping, Optional, Union

Content = Union[str, bytes]

#: `create_system` of the zip format: the high half of the external attributes is a Unix mode.
UNIX = 3
#: `create_system` written by Java's tools: no Unix mode at all.
MSDOS = 0

FLAG_ENCRYPTED = 0x1
FLAG_DATA_DESCRIPTOR = 0x8
FLAG_UTF8 = 0x800


def as_bytes(content: Content) -> bytes:
    """The bytes of a file given as text or bytes."""
    return content.encode("utf-8") if isinstance(content, str) else content


def zip_of(files: Mapping[str, Content]) -> bytes:
    """An ordinary archive of these files by name; a name that ends in / is a directory."""
    return zip_of_entries([Entry(name, content) for name, content in files.items()])


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of an archive; `mode` is a full st_mode, or None to write no Unix mode."""

    name: str
    content: Content = b""
    mode: Optional[int] = None


def file_entry(name: str, content: Content, permissions: int = 0o644) -> Entry:
    """A regular file with these permission bits."""
    return Entry(name, content, stat.S_IFREG | permissions)


def link_entry(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, target, stat.S_IFLNK | 0o777)


def directory_entry(name: str, permissions: int = 0o755) -> Entry:
    """A directory; its name must end in /."""
    return Entry(name, b"", stat.S_IFDIR | permissions)


def zip_of_entries(entries: List[Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with these entries in this order, repeated names and all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name)
            info.compress_type = method
            if entry.mode is None:
                info.create_system = MSDOS
            else:
                info.create_system = UNIX
                info.external_attr = entry.mode << 16
            archive.writestr(info, as_bytes(entry.content))
    return buffer.getvalue()


def raw_zip(
    name: bytes,
    data: bytes,
    *,
    size: Optional[int] = None,
    crc: Optional[int] = None,
    flags: int = 0,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """An archive of one entry, written by hand so that its fields may lie.

    name: its bytes as they stand in the archive.
    data: the entry as stored, that is compressed already when `method` says so.
    size, crc: of the plain content; true for stored data when left out.
    """
    plain = len(data) if size is None else size
    check = zlib.crc32(data) if crc is None else crc
    fields = (20, flags, method, 0, 0x21, check, len(data), plain, len(name), 0)
    local = b"PK\x03\x04" + struct.pack("<5H3I2H", *fields) + name + data
    central = b"PK\x01\x02" + struct.pack("<6H3I5H2I", 20 | UNIX << 8, *fields, *(0,) * 3,
                                          (stat.S_IFREG | 0o644) << 16, 0) + name
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def join_zips(*archives: bytes) -> bytes:
    """One archive with the only entry of each; all must come from raw_zip."""
    entries = central = b""
    for local, record in map(_split, archives):
        central += record[:42] + struct.pack("<I", len(entries)) + record[46:]
        entries += local
    count = len(archives)
    end = struct.pack("<4H2IH", 0, 0, count, count, len(central), len(entries), 0)
    return entries + central + b"PK\x05\x06" + end


def many_names(archive: bytes, count: int) -> bytes:
    """The only entry of a raw_zip repeated, its name's last two bytes counting up."""
    name = archive[30:30 + struct.unpack("<H", archive[26:28])[0]]
    numbered = (archive.replace(name, name[:-2] + b"%02d" % n) for n in range(count))
    return join_zips(*numbered)


def _split(archive: bytes) -> List[bytes]:
    end = archive.rindex(b"PK\x05\x06")
    size, offset = struct.unpack("<2I", archive[end + 12:end + 20])
    return [archive[:offset], archive[offset:offset + size]]


def java_zip(files: Mapping[str, Content]) -> bytes:
    """An archive as java.util.zip writes it to a stream: data descriptors and no Unix modes."""
    buffer: Any = _Unseekable()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system = MSDOS
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, as_bytes(content))
    data = buffer.getvalue()
    assert struct.unpack("<H", data[6:8])[0] & FLAG_DATA_DESCRIPTOR
    return data


class _Unseekable(io.RawIOBase):
    """A stream that zipfile cannot seek in, which makes it write data descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: List[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def, override]
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def getvalue(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)


def deflated_zeros(megabytes: int) -> bytes:
    """A raw deflate stream of so many MiB of zero bytes, made without compressing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    return block * megabytes + end


def bomb(megabytes: int, *, claimed_bytes: Optional[int] = None) -> bytes:
    """`__main__.py` that unpacks to so many MiB of zeros; its header may claim another size.

    The checksum is wrong: nobody should get as far as comparing it.
    """
    size = megabytes << 20 if claimed_bytes is None else claimed_bytes
    return raw_zip(
        b"__main__.py", deflated_zeros(megabytes), size=size, crc=0, method=zipfile.ZIP_DEFLATED
    )


def corrupt(archive: bytes, content: bytes) -> bytes:
    """The archive with one bit of the stored `content` turned; its checksum no longer fits."""
    at = archive.index(content)
    return archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1:]
