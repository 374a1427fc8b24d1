"""Text from outside, harmless on a terminal, on a page and in a log."""

from hypothesis import given
from hypothesis import strategies as st

from partitioner.ops.printable import printable, printable_lines
from tests.tables import each_case

HOSTILE = [
    ("state-1", "state-1"),
    ("größer", "größer"),
    ("two\nlines", r"two\nlines"),
    ("\u202e1-etats", r"\u202e1-etats"),
    ("zero\u200bwidth", r"zero\u200bwidth"),
    ("\ud800", r"\ud800"),
    ("\0", r"\x00"),
]


@each_case(("text", "expected"), HOSTILE)
def test_what_cannot_be_seen_is_made_visible(text: str, expected: str) -> None:
    """Nothing is left that turns the direction of writing, ends a line, or is no character at all."""
    assert expected == printable(text)


@given(st.text(st.characters(codec=None)))
def test_what_is_visible_is_printable(text: str) -> None:
    """Whatever it was."""
    assert printable(text).isprintable()


@given(st.text(st.characters(codec=None)))
def test_lines_of_ours_stay_and_are_indented(text: str) -> None:
    """None of them begins as an entry of the log does."""
    written = printable_lines(text).split("\n")

    assert text.count("\n") == len(written) - 1
    assert [] == [line for line in written if not line.isprintable() or not (line == "" or line[0] == " ")]
