"""Comments, tests and papers cite `protocol.md N.N` and `design.md N.N`: those places exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.papers import ROOT
from tests.tables import each_case

CITATION = re.compile(r"\b(protocol|design)\.md[\s#]+(\d+(?:\.\d+)*(?:(?:, | and |-)\d+(?:\.\d+)+)*)")
NUMBER = re.compile(r"\d+(?:\.\d+)*")
CITING = [
    path
    for folder in ("partitioner", "tests", "docs", "conf", "grafana", ".github", ".ci", ".")
    for path in ((ROOT / folder).rglob("*") if folder != "." else ROOT.glob("*"))
    if path.suffix in {".py", ".md", ".yml", ".toml", ".c", ".json", ".service", ".socket", ".conf", ""}
    and path.is_file()
    and "__pycache__" not in path.parts
]


def places(paper: str) -> set[str]:
    """Return the numbers of a paper's sections, and of the numbered items in them."""
    found, section = set[str](), ""
    for line in (ROOT / "docs" / paper).read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#{2,4} (\d+(?:\.\d+)*)\.? ", line):
            section = heading[1]
            found.add(section)
        elif item := re.match(r"(\d+)\. ", line):
            found.add(f"{section}.{item[1]}")
    return found


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Yield each place that a text cites: the paper, and the number of the section or item."""
    for paper, numbers in CITATION.findall(text):
        for number in NUMBER.findall(numbers):
            yield f"{paper}.md", number


CITED = sorted(
    {
        (*citation, str(path.relative_to(ROOT)))
        for path in CITING
        for citation in citations(path.read_text(encoding="utf-8"))
    }
)
PLACES = {paper: places(paper) for paper in ("protocol.md", "design.md")}


@each_case(("paper", "number", "cited_in"), CITED)
def test_a_cited_place_exists(paper: str, number: str, cited_in: str) -> None:
    """Every citation leads to a heading, or to a numbered item below one."""
    assert number in PLACES[paper]


@each_case(
    ("text", "expected"),
    [
        ("(protocol.md 10.1.9, design.md 6).", [("protocol.md", "10.1.9"), ("design.md", "6")]),
        ("see design.md\n    # 5.5.10 and 7.3", [("design.md", "5.5.10"), ("design.md", "7.3")]),
        ("protocol.md 6, rows 16 and 18", [("protocol.md", "6")]),
    ],
)
def test_citations_are_found_as_they_are_written(text: str, expected: list[tuple[str, str]]) -> None:
    """Several in a row, over the end of a line, and with words behind them."""
    assert expected == list(citations(text))


def test_the_papers_that_are_cited_are_the_repository_s() -> None:
    """A reader of a clone finds them."""
    assert {Path("docs/protocol.md"), Path("docs/design.md")} == {
        Path("docs") / paper for paper, _, _ in CITED
    }
