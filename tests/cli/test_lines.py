"""Lines about what is waited for: each change at once, the same thing now and then."""

from partitioner.cli.actions.lines import EVERY, Lines


def test_what_is_said_and_when() -> None:
    """A new subject at once; news of the same subject after a while; never the same sentence twice."""
    now = [0.0]
    said: list[str] = []
    lines = Lines(said.append, lambda: now[0])
    for at, subject, sentence in (
        (0.0, "drain", "10 left"),
        (1.0, "drain", "9 left"),
        (EVERY + 1, "drain", "5 left"),
        (EVERY + 2, "heal", "not whole"),
        (EVERY * 3, "heal", "not whole"),
        (EVERY * 3 + 1, "drain", "5 left"),
    ):
        now[0] = at
        lines.tell(subject, sentence)

    assert ["10 left", "5 left", "not whole", "5 left"] == said
