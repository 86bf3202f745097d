#!/usr/bin/python3 -IS
"""pyuntar DIRECTORY < ARCHIVE: unpacks a tar.gz archive; a sentence on stdout and exit status 1 when it cannot.

What pyunpack does with zip archives, with the same promises: nothing is written outside the directory, every entry is
opened component by component below it, no component through a symbolic link. The archive is hostile. In Python,
because its library knows the many forms of tar, and this form of code is rare.
"""

import os
import resource
import stat
import sys
import tarfile
import zlib
from typing import List

# As in limits.h.
BYTES_MAX = 1 << 30
ENTRIES_MAX = 200_000
LINK_TARGET_MAX = 4096
# A header may be as long as it says: one of gigabytes must not take them.
MEMORY_MAX = 1 << 30

_COPY_SIZE = 1 << 16
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """What is wrong with the archive: a sentence."""


def components(name: str) -> List[str]:
    """The parts of an entry's name. Raises Refused for one that leads out of the directory."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        raise Refused(f"the entry '{name}' leads out of the directory")
    return [part for part in parts if part not in ("", ".")]


class Unpacker:
    """Unpacks into the directory that root, a descriptor, is of."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._bytes_left = BYTES_MAX
        self._folders_left = ENTRIES_MAX

    def _enter(self, parts: List[str]) -> int:
        """A descriptor, for the caller to close, of a directory below the root, which is made where it is missing."""
        current = os.open(".", _DIRECTORY, dir_fd=self._root)
        for part in parts:
            try:
                try:
                    os.mkdir(part, 0o755, dir_fd=current)
                    self._folders_left -= 1
                except FileExistsError:
                    pass
                if self._folders_left < 0:  # one name may have thousands of them
                    raise Refused(f"it has more than {ENTRIES_MAX} folders")
                below = os.open(part, _DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = below
        return current

    def add(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        """Unpacks one entry. Raises Refused, OSError, and what reading the archive raises."""
        if entry.size < 0:  # would be gone back by, to the same headers again (CVE-2025-8194)
            raise Refused(f"the entry '{entry.name}' has a negative size")
        parts = components(entry.name)
        if entry.isdir():
            os.close(self._enter(parts))
            return
        if not parts:
            raise Refused(f"the entry '{entry.name}' has no name")
        parent = self._enter(parts[:-1])
        try:
            self._add_to(archive, entry, parent, parts[-1])
        finally:
            os.close(parent)

    def _add_to(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str) -> None:
        try:  # of entries with the same name the last one stays
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        if entry.isreg():
            self._write(archive, entry, parent, name)
        elif entry.issym():
            if len(os.fsencode(entry.linkname)) > LINK_TARGET_MAX:
                raise Refused(f"the target of the link '{entry.name}' is longer than {LINK_TARGET_MAX} bytes")
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.islnk():
            self._link(entry, parent, name)
        else:
            raise Refused(f"the entry '{entry.name}' is no file, directory or link")

    def _write(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str) -> None:
        if entry.size > self._bytes_left:
            raise Refused(f"it unpacks to more than {BYTES_MAX} bytes")
        self._bytes_left -= entry.size
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        source = archive.extractfile(entry)
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
            while source is not None:
                data = source.read(_COPY_SIZE)
                if not data:
                    break
                file.write(data)
            os.fchmod(file.fileno(), entry.mode & 0o777 | 0o600)

    def check_rest(self, archive: tarfile.TarFile) -> None:
        """Reads what is behind the last entry: damage shows in the checksum at the very end. Raises Refused."""
        while archive.fileobj is not None and archive.fileobj.read(_COPY_SIZE):
            self._bytes_left -= _COPY_SIZE
            if self._bytes_left < 0:
                raise Refused(f"it unpacks to more than {BYTES_MAX} bytes")

    def _link(self, entry: tarfile.TarInfo, parent: int, name: str) -> None:
        """A hard link: to a file that an earlier entry made, and to nothing else."""
        parts = components(entry.linkname)
        folder = self._enter(parts[:-1])
        try:
            if not parts or not stat.S_ISREG(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                raise Refused(f"the target of the link '{entry.name}' is no file of the archive")
            os.link(parts[-1], name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)


def unpack(directory: str) -> None:
    """Unpacks the archive on stdin. Raises Refused."""
    name = ""
    try:
        unpacker = Unpacker(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        if sys.stdin.buffer.seekable():  # the proxy has just written it
            sys.stdin.buffer.seek(0)
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r:gz") as archive:
            for count, entry in enumerate(archive):
                name = f" at the entry '{entry.name}'"
                if count >= ENTRIES_MAX:
                    raise Refused(f"it has more than {ENTRIES_MAX} entries")
                unpacker.add(archive, entry)
                archive.members = []  # type: ignore[attr-defined]  # which would keep every entry
            name = " at its end"
            unpacker.check_rest(archive)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, ValueError) as error:
        raise Refused(f"not a valid tar.gz archive{name}: {error}") from None
    except MemoryError:
        raise Refused(f"not a valid tar.gz archive{name}: a header that takes too much memory") from None
    except OSError as error:
        raise Refused(f"cannot unpack the archive{name}: {error.strerror or error}") from None


def main() -> int:
    """Entry point; returns the exit status."""
    if len(sys.argv) != 2:
        print("usage: pyuntar DIRECTORY < ARCHIVE")
        return 2
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    try:
        unpack(sys.argv[1])
    except Refused as error:
        sys.stdout.buffer.write(str(error).replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
