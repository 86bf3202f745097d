"""pyaction_ignore against git itself, which defines the syntax."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Dict, Iterable, List, Set

import pytest

from pyaction_ignore import IgnoreRules

PATHS = [
    "a", "b", "ab", "abc", "a-b", "!a", "#a", "[a]", "a b", "a ", "A", "a]",
    "-", "1", "x*y", "a\\b", "d/a", "d/ab", "d/e/a", "d/e/f/b", "e/a",
    "e/d/a", "f/b/c", "ab.d/cd/ef", "d/a b", "d/e/A", "d/!a", "d/1", "d/-",
]

CASES: Dict[str, List[str]] = {
    "nothing": [],
    "comment and blank line": ["# a", "", "   "],
    "name at every depth": ["a"],
    "star": ["a*"],
    "star stops at a slash": ["d/*/a"],
    "question mark": ["a?", "?"],
    "anchored by a slash in front": ["/a"],
    "anchored by a slash within": ["e/a"],
    "not anchored by a slash at the end": ["e/"],
    "directory only": ["a/"],
    "double star in front": ["**/a"],
    "double star at the end": ["d/**"],
    "double star within": ["d/**/a"],
    "double star is a star in a name": ["**b"],
    "negation": ["*", "!a"],
    "negation below an excluded directory": ["d/", "!d/a"],
    "negation with the directory taken back in": ["d/*", "!d/e/", "d/e/*", "!d/e/a"],
    "last match decides": ["!a", "a"],
    "escaped marks": ["\\!a", "\\#a"],
    "escaped star": ["x\\*y"],
    "trailing spaces": ["a  ", "b"],
    "escaped trailing space": ["a\\ "],
    "space within": ["a b"],
    "set": ["[ab]"],
    "set that excludes": ["[!ab]"],
    "set with a range": ["[a-c]b"],
    "set with a bracket": ["a[]]"],
    "set with a dash at the end": ["[a-]"],
    "set with an escape": ["[\\]a]"],
    "set with a class": ["[[:digit:]]"],
    "set with an unknown class": ["[[:number:]]"],
    "set never matches a slash": ["d[!x]a"],
    "set that is not closed": ["[a"],
    "range the wrong way round": ["[c-a]"],
    "backslash at the end": ["a\\"],
    "carriage return at the end": ["a\r"],
    "slash alone": ["/"],
    "case counts": ["A"],
}


class Git:
    """Asks git which of the paths a list of patterns excludes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        subprocess.run(["git", "init", "-q", str(directory)], check=True)

    def excluded(self, patterns: Iterable[str]) -> Set[str]:
        text = "".join(f"{pattern}\n" for pattern in patterns)
        (self.directory / ".gitignore").write_bytes(text.encode())
        answer = subprocess.run(
            ["git", "-C", str(self.directory), "-c", "core.ignorecase=false"]
            + ["check-ignore", "--no-index", "--stdin", "-z"],
            input="".join(f"{path}\0" for path in PATHS).encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        assert answer.returncode in (0, 1)  # 1: nothing is excluded
        return set(answer.stdout.decode().split("\0")) - {""}


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("git"))


def excluded(patterns: List[str]) -> Set[str]:
    rules = IgnoreRules(f"{pattern}\n" for pattern in patterns)
    return {path for path in PATHS if rules.ignores(path)}


@pytest.mark.parametrize("patterns", CASES.values(), ids=CASES.keys())
def test_excludes_what_git_excludes(git: Git, patterns: List[str]) -> None:
    assert excluded(patterns) == git.excluded(patterns)


def test_the_cases_exclude_something() -> None:
    harmless = {
        "nothing", "comment and blank line", "set with an unknown class",
        "set never matches a slash", "set that is not closed", "slash alone",
        "backslash at the end", "directory only",
    }
    idle = {name for name, patterns in CASES.items() if not excluded(patterns)}
    assert idle == harmless


PIECES = [
    "a", "b", "c", "d", "e", "f", "/", "/", "*", "**", "/**", "**/", "/**/",
    "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[", "]", "!", "#", "\\",
    "\\*", "\\ ", " ", "[[:alpha:]]", "[[:digit:]]", "[a-", "[\\]a]", "1",
    "[a\\-c]", "[a\\\\-c]", "[--0]", "[!]a-]", "[c-a]", "A", "-", "***",
    "[[:foo:]]", "[:alpha:]", "[[:alpha]", "[[a]", "[a[:digit:]-c]",
]
# git up to 2.40 reads one character before the pattern here, so that what it
# answers depends on what is in memory.
UNDEFINED_IN_GIT = re.compile(r"[^/]\*\*+/")


@pytest.mark.parametrize("seed", range(8))
def test_excludes_what_git_excludes_at_random(git: Git, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        patterns = [
            "".join(chance.choices(PIECES, k=chance.randint(1, 5)))
            for _ in range(chance.randint(1, 4))
        ]
        patterns = [p for p in patterns if not UNDEFINED_IN_GIT.search(p)]
        assert excluded(patterns) == git.excluded(patterns), patterns


def test_directory_only_pattern_spares_a_file_of_that_name() -> None:
    rules = IgnoreRules(["a/"])
    assert rules.ignores("a", is_directory=True)
    assert rules.ignores("x/a", is_directory=True)
    assert rules.ignores("a/b")
    assert not rules.ignores("a")


def test_question_mark_is_a_character_also_beyond_ascii() -> None:
    assert IgnoreRules(["?.py"]).ignores("é.py")
    assert IgnoreRules(["[à-ê].py"]).ignores("é.py")
