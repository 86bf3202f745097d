"""docs/messages.md has every message that the sources can emit, and no other."""

import ast
import pathlib
import re
from typing import Dict, Iterator, List, Set, Tuple

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


# --- all others

#: Texts that are parts of others, named in those.
FRAGMENTS = {
    "an array", "an object", "true or false", "exit status", "exit status …", "all interfaces", "no reason given",
    "the bootstrap", "before its configuration", "with its configuration", "import pip", "… is …",
    "Client Context", "Cognito Identity", "line … column …", "at the entry '…'", "at its end", "(core dumped)",
    "the end of its request", "the end of the answer", "PYACTION_CONVENTION says so", "pyaction: compiled",
    "--scf-port, PYACTION_SCF_PORT", "--port, PYACTION_PORT", "--status-port, PYACTION_STATUS_PORT", "GET, HEAD",
    "Error unmarshaling request:", "<frozen importlib", "yy:set_variable", "arn:aws:lambda:…:012345678912:function:…",
    "arn:aws:lambda:…:…:function:…", "# HELP … …", "# TYPE … …", "…_sum …", "…_count …",
    "the handler's function is called neither lambda_handler nor main_handler",
    "refused by libmicrohttpd", "Error processing request (HTTP response code is …", "Connection: close\\r",
    "Content-Length: …\\r", "Content-Type: application/json\\r",
    "the handler's function is called lambda_handler", "the handler's function is called main_handler",
}
#: Calls whose texts are no messages: help, what metrics are called, checks at compile time.
NO_MESSAGES = {"print_help", "write_head", "write_metric", "write_real", "write_histogram", "_Static_assert"}
#: Tables of such texts: the options' help, the log's events (above).
TABLES = {"options.c": "descriptions[OPTION_COUNT] = {", "server_log.c": "events[LOG_EVENT_COUNT] = {"}
#: What two words and more make a text that somebody reads.
SENTENCE = re.compile(r"[A-Za-z]{2}[ ,:]+[A-Za-z'{…]|…[ :,]+[a-z]{2}")


def shown(text: str) -> List[str]:
    """A format as the page has it: … for what is filled in, a line for each of its lines."""
    text = re.sub(r"%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z|t|j)?[diouxXcsgfp]", "…", text)
    lines = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\\\", "\\").split("\n")
    return [re.sub(r"\s+", " ", re.sub("…+", "…", line)).strip() for line in lines]


def c_texts(path: pathlib.Path) -> Iterator[str]:
    """The texts in a C source, pieces put together, but for those of NO_MESSAGES and TABLES."""
    words = tokens(without_table(path))
    open_calls = [""]
    index = 0
    while index < len(words):
        word = words[index]
        if word == "(":
            open_calls.append(words[index - 1])
        elif word == ")" and len(open_calls) > 1:
            open_calls.pop()
        elif word[0] == '"':
            pieces = []
            while words[index][0] == '"':
                pieces.append(words[index][1:-1])
                index += 1
            text = "".join(pieces)
            if not NO_MESSAGES.intersection(open_calls) and "\\n--\\n" not in text:
                yield text
            continue
        index += 1


def without_table(path: pathlib.Path) -> str:
    """The source without the table of TABLES, and without the function that prints the help."""
    text = path.read_text(encoding="utf-8")
    if path.name in TABLES:
        start = text.index(TABLES[path.name])
        text = text[:start] + text[text.index("\n};", start):]
    if "static void print_help(void)\n" in text:
        start = text.index("static void print_help(void)\n")
        text = text[:start] + text[text.index("\n}\n", start):]
    return text


def python_texts(path: pathlib.Path) -> Iterator[str]:
    """The texts in a Python source, but for what documents it, and for what it writes into archives."""
    documentation = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            documentation.add(body[0].value)
        if isinstance(node, ast.JoinedStr):
            documentation.update(node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            if "import " not in node.value and "exec " not in node.value:
                yield node.value


def emitted() -> Set[str]:
    """Every sentence in the sources of the proxy and the runner."""
    found = {line for path in sources("*.c") for text in c_texts(path) for line in shown(text)}
    found |= {line for path in sources("*.py") for text in python_texts(path) for line in shown(text)}
    return {line for line in found if SENTENCE.search(line)} - FRAGMENTS


def sources(pattern: str) -> List[pathlib.Path]:
    """The sources of what runs: of the proxy, the runner, and the programs beside it."""
    folders = ("proxy", "common", "pyrunner", "pyrunner/pyaction_bootstrap")
    return [path for folder in folders for path in sorted((ROOT / folder).glob(pattern)) if path.name != "embed.py"]


def documented() -> Set[str]:
    """The messages in the first column of each table of the page but the first."""
    page = PAGE[PAGE.index("\n## At the start\n"):]
    firsts = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    return {message for first in firsts for message in re.findall(r"`` ?(.+?) ?``|`([^`]+)`", first)
            for message in message if message}


def test_every_message_is_documented():
    assert sorted(emitted() - documented()) == []


def test_every_documented_message_is_there():
    assert sorted(documented() - emitted()) == []
