"""Text from outside, fit for a terminal, a page, and a log that is read line by line.

A newline would forge a line, an escape sequence recolour or rewrite what stands above it. A control for
right-to-left text turns a line around, so that `state-1` can be made to look like `state-2`.
"""

from textwrap import indent


def printable(text: str) -> str:
    """The text, with every character that is not seen as it stands written as Python writes it: `\\u202e`."""
    return text if text.isprintable() else "".join(map(_printable_character, text))


def printable_lines(text: str) -> str:
    """The same for several lines of ours: they stay, indented, so that none looks like a new entry."""
    return indent("\n".join(printable(line) for line in text.split("\n")), "  ")


def _printable_character(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
