"""Text from outside, fit for a terminal and for a log that is read line by line.

A newline would forge a line, an escape sequence recolour or rewrite what stands above it, and a control
for right-to-left text turn a line around.
"""

from textwrap import indent


def printable(text: str) -> str:
    """The text; if it holds anything that is not seen as it stands, then with escapes in its place."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def printable_lines(text: str) -> str:
    """The same for several lines of ours: they stay, indented, so that none looks like a new entry."""
    return indent("\n".join(printable(line) for line in text.split("\n")), "  ")
