"""The papers of the repository: their text, code blocks, inline code, links and headings."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "conf").rglob("*.md")])
NOT_BUILT = "[not built]"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,4} (.+)$", re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks in a language, those of list items without their indentation."""
    return [dedent(code) for _, named, code in _FENCE.findall(text) if named == language]


def prose(text: str) -> str:
    """Return the text without its code blocks."""
    return _FENCE.sub("", text)


def code_spans(text: str) -> list[str]:
    """Return what stands between backticks in the prose, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def links(text: str) -> list[str]:
    """Return where the links of the prose lead, those into the web left out."""
    return [target for target in _LINK.findall(prose(text)) if ":" not in target]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(text)))
    return {heading.replace(" ", "-") for heading in kept}


def shown_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in the `sh` blocks; those that are joined by `&&` or `|` apart."""
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                ends = [at for at, word in enumerate(words) if word in ("&&", "|", ">", ";")]
                end = ends[0] if ends else len(words)
                yield words[:end]
                words = words[end + 1 :] if ends and words[end] != ">" else []
