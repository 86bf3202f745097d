"""docs/conventions.md says what the tests run, and the pages' links lead somewhere."""

import re
from typing import Dict, List, Set

import pytest

from .harness import ROOT
from .test_conventions import BROKEN, GONE, KNATIVE, MATRIX, Cell

PAGE = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
LABELS = {"openwhisk": "OpenWhisk", "lambda": "Lambda", "scf": "SCF"}
#: Their names, in italics in the tables, to their texts.
DOCUMENTS = dict(re.findall(r"^- \*(.+?)\*: `(.*)`$", PAGE, re.M))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "test" / "functions" / "README.md",
         *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").glob("*/README.md"))]


def rows(heading: str) -> List[List[str]]:
    """The cells of the lines below a table's first line."""
    lines = PAGE[PAGE.index(heading):].lstrip().split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def text_of(shown: str) -> str:
    """A body as it is from what a table shows of it: pieces in `…`, and names of documents in *…*."""
    pieces = re.findall(r"`([^`]*)`|\*([^*]+)\*", re.sub(r"\*\*error\*\*", "", shown))
    return "".join(piece or DOCUMENTS[name] for piece, name in pieces)


def shown(cell: Cell) -> str:
    """A cell's status, error mark and body, as text_of() gives them."""
    body = cell.body.rstrip("\n").replace("\xff", r"\xff").replace("\0", r"\x00")
    return f"{cell.status} {'error ' if cell.error else ''}{body}"


def told(text: str) -> str:
    """The same of a table's cell."""
    return f"{text.split()[0]} {'error ' if '**error**' in text else ''}{text_of(text)}"


def conventions(label: str) -> Set[str]:
    """The conventions that a row is about."""
    return set(LABELS) if label == "all" else {key for key, name in LABELS.items() if name in label.split(", ")}


def test_table_of_outcomes():
    found = {}
    for outcome, label, *cells in rows("| outcome | convention |"):
        for convention in conventions(label):
            assert (outcome, convention) not in found
            found[outcome, convention] = [told(cell) for cell in cells]
    assert found == {key: [shown(cell) for cell in cells] for key, cells in MATRIX.items()}


def test_table_of_knative():
    found = {}
    for outcome, label, cell in rows("| outcome | convention | `POST /` |"):
        found.update({(outcome, convention): told(cell) for convention in conventions(label)})
    assert found == {key: shown(cell) for key, cell in KNATIVE.items()}


def test_table_of_code_that_cannot_be_loaded():
    found: Dict[object, str] = {}
    for wrong, label, cell in rows("| what is wrong | convention |"):
        found.update({(wrong, convention): told(cell) for convention in conventions(label)})
    assert found == {key: shown(Cell(502, body)) for key, (_, body) in BROKEN.items()}


def test_table_of_code_that_is_gone():
    found = {}
    for label, *cells in rows("\n| convention | `/run` |"):
        found.update({convention: [told(cell) for cell in cells] for convention in conventions(label)})
    assert found == {key: [shown(cell) for cell in cells] for key, cells in GONE.items()}


def test_table_of_vectors():
    """Each test that it names is there, and where it names a number, the number is in the file."""
    named = [test for row in rows("| vector | is |") for test in re.findall(r"`([^`]+)`", row[2])]
    assert len(named) > 90
    for test in named:
        file, _, name = test.partition("::")
        name, _, vector = name.rstrip("]").partition("[")
        folder = "blackbox" if (ROOT / "test" / "blackbox" / file).exists() else "unit/bootstrap"
        path = ROOT / "test" / folder / file
        source = path.read_text(encoding="utf-8")
        assert f"def {name}(" in source and vector in source, test


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    text = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), link
