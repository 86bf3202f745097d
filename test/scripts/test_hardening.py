"""The built programs: what the compiler and the linker do for a program that reads hostile input, found in the files.

readelf is of binutils, as the linker is. What a stripped file does not tell is asked of the object files.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import List

import pytest

from .harness import ROOT

BUILD = Path(os.environ.get("PYACTION_BIN", ROOT / "build" / "pyaction")).resolve().parent
PROGRAMS = ["pyaction", "pyunpack", "pyrunner"]
COMPILER = os.environ.get("CC", "cc")

pytestmark = pytest.mark.skipif(
    "1" in (os.environ.get("PYACTION_SANITIZED"), os.environ.get("PYACTION_UNHARDENED")),
    reason="built without, for sanitizers or to count branches")


def readelf(path: Path, *options: str) -> str:
    """What readelf says about a file."""
    words = ["readelf", "--wide", *options, str(path)]
    return subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def segments(program: str, kind: str) -> List[str]:
    """The flags of the program's segments of that kind, like "RW" or "R E"."""
    rows = readelf(BUILD / program, "--program-headers").splitlines()
    pattern = re.compile(rf"^  {kind} +(?:0x[0-9a-f]+ +){{5}}([RWE ]{{3}})")
    return [match.group(1).strip() for match in map(pattern.match, rows) if match]


def imported(program: str) -> List[str]:
    """The functions that the program takes from libraries."""
    rows = [row.split() for row in readelf(BUILD / program, "--dyn-syms").splitlines()]
    return [row[7].partition("@")[0] for row in rows if len(row) > 7 and row[6] == "UND"]


def uses_shared_python() -> bool:
    """Whether pyrunner takes CPython from a library (Debian 13), not from the static one."""
    return "libpython" in readelf(BUILD / "pyrunner", "--dynamic")


@pytest.mark.parametrize("program", PROGRAMS)
def test_position_independent(program: str) -> None:
    """But for pyrunner with the static libpython: docs/architecture.md says why."""
    if program == "pyrunner" and not uses_shared_python():
        assert "EXEC (Executable file)" in readelf(BUILD / program, "--file-header"), "then the documents are wrong"
        return
    assert re.search(r"Type: +DYN ", readelf(BUILD / program, "--file-header"))
    assert re.search(r"\(FLAGS_1\) .*\bPIE\b", readelf(BUILD / program, "--dynamic"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_relocations_are_read_only(program: str) -> None:
    """Full RELRO: everything is bound at the start, and what was written for that cannot be written any more."""
    assert segments(program, "GNU_RELRO") == ["R"]
    assert re.search(r"\(FLAGS\) .*\bBIND_NOW\b", readelf(BUILD / program, "--dynamic"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_is_writable_and_executable(program: str) -> None:
    assert segments(program, "GNU_STACK") == ["RW"]
    loaded = segments(program, "LOAD")
    assert "R E" in loaded and "RW" in loaded
    assert not [flags for flags in loaded if "W" in flags and "E" in flags]
    assert "TEXTREL" not in readelf(BUILD / program, "--dynamic")


@pytest.mark.parametrize("program", PROGRAMS)
def test_libraries_are_the_system_s(program: str) -> None:
    dynamic = readelf(BUILD / program, "--dynamic")
    assert "(NEEDED)" in dynamic
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic


@pytest.mark.parametrize("program", PROGRAMS)
def test_stack_and_buffers_are_guarded(program: str) -> None:
    """The C library's checking variants are called. Those of the functions that print have no unchecked calls left: the
    compiler chooses them whatever it knows of the buffers."""
    names = imported(program)
    assert "__stack_chk_fail" in names
    assert "__vsnprintf_chk" in names
    if program != "pyrunner":  # which has CPython's own calls, too
        assert not {"printf", "fprintf", "vfprintf", "asprintf", "vasprintf", "sprintf"} & set(names)


def objects() -> List[Path]:
    """The object files of everything that is written here."""
    return sorted((BUILD / "obj").rglob("*.o"))


def knows(flag: str) -> bool:
    """Whether the compiler has it: gcc 10 of Debian 11 has not got all."""
    words = [COMPILER, "-Werror", flag, "-x", "c", "-c", "/dev/null", "-o", "/dev/null"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("flag", [
    "-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero", "-fPIE"])
def test_every_object_is_compiled_with(flag: str) -> None:
    """As the compiler has noted in what it tells a debugger."""
    if not knows(flag):
        pytest.skip("this compiler has no such flag")
    without = []
    for path in objects():
        if flag == "-fPIE" and path.parts[-3:-1] != ("proxy", "proxy"):
            continue
        producers = re.findall(r"DW_AT_producer .*", readelf(path, "--debug-dump=info"))
        if not producers:
            pytest.skip(f"{path.name} is compiled without -g")
        without += [path.name for text in producers if flag not in text]
    assert objects() and not without
