"""Match paths against gitignore patterns, for the `.ignore` file of a function.

The rules are those of gitignore(5): the last pattern that matches decides,
`!` takes a path back in, a pattern with a slash that is not its last character
is anchored to the folder, one that ends in a slash matches directories only,
`**` crosses directories, and nothing below an excluded directory can be taken
back in. Unlike git, `?` and `[...]` stand for a character and not for a byte,
as they do in the deployer of DigitalOcean.
"""

from __future__ import annotations

import re
import string
from typing import Iterable, List, NamedTuple, Optional, Tuple

# The character classes of POSIX in the C locale, which git uses.
_POSIX_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": "".join(map(chr, range(33, 127))),
    "lower": string.ascii_lowercase,
    "print": "".join(map(chr, range(32, 127))),
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


class _Pattern(NamedTuple):
    regex: "re.Pattern[str]"
    negated: bool  # "!": a match takes the path back in
    directory_only: bool
    anchored: bool  # matched against the whole path, else its last part


class _Malformed(Exception):
    """A pattern that git takes to match nothing, such as `a[`."""


class IgnoreRules:
    """The patterns of one `.ignore` file.

    Args:
        lines: the lines of the file, with or without their line ends.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        patterns = (_parse_line(line) for line in lines)
        self._patterns = [pattern for pattern in patterns if pattern]

    def ignores(self, path: str, is_directory: bool = False) -> bool:
        """Tell whether a path is excluded, by itself or with a directory.

        Args:
            path: relative to the folder of the file, with `/` between parts.
            is_directory: a symlink to a directory is none, as for git.
        """
        parts = path.split("/")
        for count in range(1, len(parts)):
            if self._decide("/".join(parts[:count]), True):
                return True
        return self._decide(path, is_directory)

    def _decide(self, path: str, is_directory: bool) -> bool:
        basename = path.rpartition("/")[2]
        for pattern in reversed(self._patterns):
            if pattern.directory_only and not is_directory:
                continue
            subject = path if pattern.anchored else basename
            if pattern.regex.fullmatch(subject):
                return not pattern.negated
        return False


def _parse_line(line: str) -> Optional[_Pattern]:
    text = _strip_trailing_spaces(line.rstrip("\n").rstrip("\r"))
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:]
    directory_only = text.endswith("/")
    if directory_only:
        text = text[:-1]
    anchored = "/" in text
    if text.startswith("/"):
        text = text[1:]
    try:
        regex = re.compile(_translate(text), re.DOTALL)
    except _Malformed:
        return None
    return _Pattern(regex, negated, directory_only, anchored)


def _strip_trailing_spaces(text: str) -> str:
    """Drop spaces at the end unless a backslash quotes the first of them."""
    end = len(text.rstrip(" "))
    backslashes = end - len(text[:end].rstrip("\\"))
    if end < len(text) and backslashes % 2:
        end += 1
    return text[:end]


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern, as git's wildmatch reads it.

    Raises:
        _Malformed: an unclosed bracket or a backslash at the end.
    """
    out: List[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            piece, at = _translate_stars(pattern, at)
        elif char == "?":
            piece, at = "[^/]", at + 1
        elif char == "[":
            piece, at = _translate_bracket(pattern, at)
        elif char == "\\":
            if at + 1 == len(pattern):
                raise _Malformed
            piece, at = re.escape(pattern[at + 1]), at + 2
        else:
            piece, at = re.escape(char), at + 1
        out.append(piece)
    return "".join(out)


def _translate_stars(pattern: str, start: int) -> Tuple[str, int]:
    """Translate a run of stars; only `**` between slashes crosses them."""
    end = start
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    after = pattern[end : end + 1]
    whole_part = end - start > 1 and pattern[start - 1 : start] in ("", "/")
    if whole_part and after == "":
        # Without any slash this is a plain name, where `**` is `*`.
        return ".*", end
    if whole_part and after == "/":
        return "(?:.*/)?", end + 1
    return "[^/]*", end


def _translate_bracket(pattern: str, start: int) -> Tuple[str, int]:
    """Translate `[...]`; the rules are those of wildmatch, not of `re`.

    Returns:
        The expression and the index after the closing bracket.
    """
    at = start + 1
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    first = at
    members: List[str] = []
    previous = ""  # a possible start of a range
    while at == first or pattern[at : at + 1] != "]":
        char, quoted, at = _bracket_char(pattern, at)
        ahead = pattern[at : at + 1]
        if len(char) > 1:
            members.append(re.escape(_POSIX_CLASSES[char]))
            previous = ""
        elif char == "-" and not quoted and previous and ahead not in ("", "]"):
            at += ahead == "\\"
            last = pattern[at : at + 1]
            if not last:
                raise _Malformed
            at += 1
            if previous <= last:
                members.append(f"{re.escape(previous)}-{re.escape(last)}")
            previous = ""
        else:
            members.append(re.escape(char))
            previous = char
    inside = "".join(members)
    if negated:
        return f"[^/{inside}]", at + 1
    return (f"(?!/)[{inside}]" if inside else "(?!)"), at + 1


def _bracket_char(pattern: str, at: int) -> Tuple[str, bool, int]:
    """Read one member of a bracket.

    Returns:
        A character, or the name of a `[:class:]`; whether a backslash quoted
        it; the index after it.
    """
    if pattern.startswith("[:", at):
        end = pattern.find("]", at + 2)
        if end < 0:
            raise _Malformed
        if end > at + 2 and pattern[end - 1] == ":":
            name = pattern[at + 2 : end - 1]
            if name not in _POSIX_CLASSES:
                raise _Malformed
            return name, False, end + 1
    quoted = pattern.startswith("\\", at)
    at += quoted
    if at >= len(pattern):
        raise _Malformed
    return pattern[at], quoted, at + 1
