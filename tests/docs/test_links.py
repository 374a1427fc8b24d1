"""What the papers point to is there: files, folders, and headings."""

import re
from pathlib import Path

from tests.docs.papers import NOT_BUILT, PAPERS, ROOT, anchors, code_spans, links
from tests.tables import each_case

LINKS = [(paper, target) for paper in PAPERS for target in links(paper.read_text(encoding="utf-8"))]
PATH = re.compile(r"(?:partitioner|tests|conf|docs|grafana|\.ci|\.github)/[\w./-]*")
NAMED = [
    (paper, span)
    for paper in PAPERS
    for span in code_spans(paper.read_text(encoding="utf-8"))
    if PATH.fullmatch(span)
]


@each_case(("paper", "target"), LINKS)
def test_a_link_leads_somewhere(paper: Path, target: str) -> None:
    """To a file or folder of the repository, and to a heading in it where one is named."""
    name, _, anchor = target.partition("#")
    led_to = (paper.parent / name).resolve() if name else paper

    assert led_to.exists()
    assert led_to.is_relative_to(ROOT)
    assert anchor in {"", *anchors(led_to.read_text(encoding="utf-8") if led_to.is_file() else "")}


@each_case(("paper", "path"), NAMED)
def test_a_path_that_is_named_exists(paper: Path, path: str) -> None:
    """A paper that names a file of the repository names one that is there."""
    assert (ROOT / path).exists()


def test_every_paper_can_be_found() -> None:
    """The README, or a paper that it points to, leads to each."""
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        paper = waiting.pop()
        seen.add(paper)
        targets = (target.partition("#")[0] for target in links(paper.read_text(encoding="utf-8")))
        found = {(paper.parent / target).resolve() for target in targets if target.endswith(".md")}
        waiting += found - seen - set(waiting)

    assert set() == set(PAPERS) - seen


def test_what_is_not_built_is_marked_in_one_way() -> None:
    """So that whoever builds it finds the marks."""
    odd = re.compile(r"\[not (?:yet )?(?:built|implemented)[^\]]*\]", re.IGNORECASE)
    marks = [mark for paper in PAPERS for mark in odd.findall(paper.read_text(encoding="utf-8"))]

    assert {NOT_BUILT} == set(marks)
