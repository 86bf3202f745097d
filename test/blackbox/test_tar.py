"""tar.gz archives: what is unpacked, how, and what must never happen."""

import gzip
import io
import os
import pathlib
import tarfile
from typing import Any

import pytest

from .test_archive import HELLO, LIST_FILES, assert_refused, outside  # noqa: F401

Entry = tarfile.TarInfo


def entry(name: str, content: Any = b"", **attributes: Any) -> Any:
    """A header and its content; attributes are those of tarfile.TarInfo."""
    info = Entry(name)
    info.mode = 0o644
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    data = content.encode() if isinstance(content, str) else content
    if info.isreg() and "size" not in attributes:
        info.size = len(data)
    return info, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Any:
    """A symbolic link, or with LNKTYPE a hard one."""
    return entry(name, type=kind, linkname=target)


def tar_of(*entries: Any, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A compressed archive of these entries in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header_of(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The compressed header of an entry that claims a size, and nothing behind it."""
    info = Entry(name)
    info.size, info.type = size, kind
    return gzip.compress(info.tobuf())


MAIN = entry("__main__.py", HELLO)
LIST_MAIN = entry("__main__.py", LIST_FILES)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_links_and_permissions(action, form):
    one = action(tar_of(
        LIST_MAIN, entry("run.sh", "#!/bin/sh\n", mode=0o755), entry("./a/b/deep.txt", "deep", mode=0o400),
        entry("empty/", type=tarfile.DIRTYPE, mode=0o755), link("dangling", "/nowhere/at/all"),
        link("hard", "run.sh", tarfile.LNKTYPE), entry("x" * 90 + "/" + "y" * 90, "long"), form=form))
    found = one.result()
    found.pop("__main__.py")
    assert found == {
        "run.sh": ["file", 0o755, "#!/bin/sh\n"], "hard": ["file", 0o755, "#!/bin/sh\n"],
        "a": ["dir", 0o755], "a/b": ["dir", 0o755], "a/b/deep.txt": ["file", 0o600, "deep"],
        "empty": ["dir", 0o755], "dangling": ["link", "/nowhere/at/all"],
        "x" * 90: ["dir", 0o755], "x" * 90 + "/" + "y" * 90: ["file", 0o644, "long"]}


def test_names_beyond_ascii(action):
    assert action(tar_of(LIST_MAIN, entry("é中.txt", "x"))).result()["é中.txt"][0] == "file"


def test_of_entries_with_the_same_name_the_last_one_stays(action):
    one = action(tar_of(entry("__main__.py", "def main(): return {'n': 1}"), MAIN))
    assert one.result() == {"hello": "zip"}


def test_a_package_and_a_handler_in_it(action):
    one = action(tar_of(entry("pkg/__init__.py"), entry("pkg/mod.py", "def fn(): return {'ok': 1}")), main="pkg/mod.fn")
    assert one.result() == {"ok": 1}


@pytest.mark.parametrize(("entries", "reason"), [
    ([entry("../outside/new", "x")], "leads out"),
    ([entry("a/../../outside/new", "x")], "leads out"),
    ([entry("OUTSIDE/new", "x")], "leads out"),
    ([link("way", "OUTSIDE"), entry("way/new", "x")], "at the entry 'way/new'"),
    ([link("a", "."), link("a/way", "OUTSIDE")], "at the entry 'a/way'"),
    ([link("way", "OUTSIDE/keep"), link("way2", "way", tarfile.LNKTYPE)], "no file of the archive"),
    ([link("hard", "../outside/keep", tarfile.LNKTYPE)], "leads out"),
    ([link("hard", "OUTSIDE/keep", tarfile.LNKTYPE)], "leads out"),
    ([link("hard", "missing", tarfile.LNKTYPE)], "at the entry 'hard'"),
    ([link("deep", "x" * 5000)], "longer than 4096 bytes"),
    ([entry("fifo", type=tarfile.FIFOTYPE)], "no file, directory or link"),
    ([entry("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "no file, directory or link"),
    ([entry("", "x")], "has no name"),
    ([entry("dir/", type=tarfile.DIRTYPE), entry("dir", "x")], "at the entry 'dir'"),
], ids=lambda value: None if isinstance(value, str) else value[-1][0].name[:20])
def test_hostile_entries(server, outside: pathlib.Path, entries: Any, reason: str) -> None:  # noqa: F811
    """Each is refused, and nothing outside changes."""
    for info, _ in entries:
        for attribute in ("name", "linkname"):
            setattr(info, attribute, getattr(info, attribute).replace("OUTSIDE", str(outside)))
    assert reason in assert_refused(server(), tar_of(MAIN, *entries))


def test_a_link_in_the_place_of_a_file_is_replaced(action, outside):  # noqa: F811
    """It is not written through."""
    one = action(tar_of(LIST_MAIN, link("file", str(outside / "keep")), entry("file", "new")))
    assert one.result()["file"] == ["file", 0o644, "new"]


@pytest.mark.parametrize(("archive", "reason"), [
    (tar_of(MAIN)[:-20], "not a valid tar.gz archive"),
    (tar_of(MAIN)[:40], "not a valid tar.gz archive"),
    (b"\x1f\x8b", "not a valid tar.gz archive"),
    (b"\x1f\x8bnothing", "not a valid tar.gz archive"),
    (gzip.compress(b"no tar"), "not a valid tar.gz archive"),
    (gzip.compress(b""), "not a valid tar.gz archive"),
    (gzip.compress(os.urandom(4096)), "not a valid tar.gz archive"),
    (header_of("big", 1 << 40), "unpacks to more than 1073741824 bytes"),
    (tar_of(entry("data.txt", "x")), "Zip file does not include '__main__.py'"),
], ids=["truncated", "shorter", "magic", "damaged", "no tar", "empty", "noise", "too large", "no main"])
def test_broken_archives(server, archive: bytes, reason: str) -> None:
    assert reason in assert_refused(server(), archive)


def test_bomb(server) -> None:
    """A gigabyte and more of zeros, in one file or in a header: refused, with little memory."""
    for start in (header_of("big", 2 << 30), header_of("x", 3 << 30, tarfile.XHDTYPE)):
        archive = start + gzip.compress(bytes(64 << 20)) * 50
        answer = server().init(archive)
        assert answer.status == 502, answer
