"""docs/messages.md has every message that the sources can emit, and no other."""

import re
from typing import Dict, Iterator, List, Tuple

from .harness import ROOT

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")


def rows(heading: str) -> List[List[str]]:
    """The cells of the table's lines below a heading."""
    section = PAGE[PAGE.index(f"\n## {heading}\n"):].split("\n## ")[1]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


# --- the server's own log


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_]\w*|\S""", re.S)


def tokens(text: str) -> List[str]:
    """The tokens of C, as far as they matter here: literals, names, and single characters; no comments."""
    found = (match.group() for match in TOKEN.finditer(text))
    return [token for token in found if not token.startswith(("//", "/*"))]


def source(name: str) -> str:
    """A source file of the proxy."""
    return (ROOT / "proxy" / name).read_text(encoding="utf-8")


def calls(text: str, functions: Tuple[str, ...]) -> Iterator[List[str]]:
    """The tokens of the arguments of each call of one of these functions."""
    words = tokens(text)
    for start in [index + 2 for index, word in enumerate(words) if word in functions and words[index + 1] == "("]:
        end, depth = start, 1
        while depth > 0:
            depth += {"(": 1, ")": -1}.get(words[end], 0)
            end += 1
        yield words[start:end - 1]


def logged_events() -> Dict[str, str]:
    """The level of each event, from the table in server_log.c."""
    table = re.findall(r'\[(EVENT_\w+)\] = \{\s*"(\w+)",\s*LOG_LEVEL_(\w+),\s*"', source("server_log.c"))
    for constant, name, _ in table:
        assert constant == f"EVENT_{name.upper()}"
    return {name: level.lower() for _, name, level in table}


def logged_fields() -> Dict[str, List[str]]:
    """The fields of each event, in the order in which the calls that log it name them."""
    fields: Dict[str, List[str]] = {}
    for path in sorted((ROOT / "proxy").glob("*.c")):
        for call in calls(path.read_text(encoding="utf-8"), ("server_log", "write_event")):
            if not call[0].startswith("EVENT_"):
                continue
            known = fields.setdefault(call[0][len("EVENT_"):].lower(), [])
            for index, token in enumerate(call):
                if token in ("LOG_TEXT", "LOG_NUMBER", "LOG_MS"):
                    name = next(word for word in call[index:] if word.startswith('"')).strip('"')
                    known += [name] if name not in known else []
    return fields


def test_events():
    documented = rows("The server's own log")
    assert {row[0].strip("`"): row[1] for row in documented} == logged_events()
    assert len(documented) == len(logged_events())
    enumerated = re.findall(r"^\tEVENT_(\w+),$", source("server_log.h"), re.M)
    assert {name.lower() for name in enumerated} == set(logged_events())


def test_fields_of_events():
    documented = {row[0].strip("`"): re.findall(r"`(\w+)`", row[2]) for row in rows("The server's own log")}
    logged = {name: logged_fields().get(name, []) for name in logged_events()}
    assert documented == logged
