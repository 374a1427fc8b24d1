"""A slice of what `python -m tests.fuzz` tries for as long as one likes."""

from tests.fuzz import heads


def test_heads() -> None:
    """They are read, refused or waited for, the same in whatever pieces."""
    assert heads.try_slice(1, 300) >= 300
