"""The lines of the log that docs/troubleshooting.md names are lines that the program writes."""

import ast
import re

from tests.docs.papers import ROOT, code_spans
from tests.tables import each_case

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
FIRST_CELLS = re.findall(r"^\| (?!log line|---)(.+?) \|", PAGE, re.MULTILINE)
COMMAND = re.compile(r"partitioner [a-z]")
LINES = sorted({span for cell in FIRST_CELLS for span in code_spans(cell) if not COMMAND.match(span)})
FEWEST = 6  # letters of its own that an f-string must have, or it would match any line


def strings() -> tuple[list[str], list[re.Pattern[str]]]:
    """Return the program's strings: those that are constant, and patterns of its f-strings."""
    constants, patterns = [], []
    for path in sorted((ROOT / "partitioner").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
                if sum(map(len, parts)) >= FEWEST:
                    pattern = "".join(re.escape(part) if part else r"\S+" for part in parts)
                    patterns.append(re.compile(pattern))
    return constants, patterns


CONSTANTS, PATTERNS = strings()


def is_written(line: str) -> bool:
    """Whether the program has this text in a string, or in an f-string with a word for each value."""
    return any(line in constant for constant in CONSTANTS) or any(
        pattern.fullmatch(line) for pattern in PATTERNS
    )


@each_case("line", LINES)
def test_a_line_that_is_named_is_written(line: str) -> None:
    """Whoever searches the page for what the log says finds it."""
    assert is_written(line)


def test_a_line_that_nothing_writes_is_found_out() -> None:
    """The test above can fail: strings of the program match their own text alone."""
    assert is_written("reload refused")
    assert not is_written("backend is tired")
    assert not is_written("ghost lock freed")
