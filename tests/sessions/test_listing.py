"""Which sessions are there? A walk over the table, page by page, while it changes."""

from collections.abc import Iterator
from random import Random

import pytest

from partitioner.protocol.messages import Operation, RequestHead, Status
from partitioner.sessions.shards import SHARDS
from partitioner.sessions.table import SessionTable
from tests.tables import each_case

PAGE = 100


def store(table: SessionTable, key: bytes) -> None:
    head = RequestHead(b"", Operation.SET, key, 4, timeout_minutes=20)
    assert table.apply(head, key, b"body", 0.0).status is Status.OK


def remove(table: SessionTable, key: bytes) -> None:
    head = RequestHead(b"", Operation.REMOVE, key)
    assert table.apply(head, key, b"", 0.0).status is Status.OK


def filled(keys: range) -> SessionTable:
    table = SessionTable()
    for number in keys:
        store(table, b"%d" % number)
    return table


def pages(table: SessionTable, at_least: int = PAGE) -> Iterator[list[bytes]]:
    """A walk from the first page to the last one."""
    cursor: int | None = 0
    while cursor is not None:
        keys, cursor = table.page(cursor, at_least)
        yield keys


def test_an_empty_table_has_one_empty_page() -> None:
    """That nothing is there is said at once."""
    assert [[]] == list(pages(SessionTable()))


def test_a_walk_finds_every_key_once() -> None:
    """Of a table that does not change each key is listed exactly once, whatever the size of a page."""
    table = filled(range(5000))
    expected = sorted(b"%d" % number for number in range(5000))

    for at_least in (1, 7, 1000, 10_000):
        assert expected == sorted(key for page in pages(table, at_least) for key in page)


def test_a_page_is_about_as_long_as_asked_for() -> None:
    """All pages but the last have what is asked for, and no more than one piece of the table besides."""
    lengths = [len(page) for page in pages(filled(range(40_000)))]

    assert PAGE == min(lengths[:-1])
    assert max(lengths) < PAGE + 4 * 40_000 / SHARDS


@each_case("seed", range(20))
def test_what_is_there_all_the_time_is_listed(seed: int) -> None:
    """Whatever comes and goes between two pages, a key that stays is not missed."""
    random = Random(seed)
    table = filled(range(2000))
    staying = {b"%d" % number for number in range(0, 2000, 2)}
    going = [b"%d" % number for number in range(1, 2000, 2)]
    random.shuffle(going)
    listed: set[bytes] = set()
    for number, page in enumerate(pages(table, 50)):
        listed.update(page)
        for key in [going.pop() for _ in range(min(20, len(going)))]:
            remove(table, key)
        for index in range(random.randrange(100)):
            store(table, b"new-%d-%d" % (number, index))

    assert listed >= staying


@pytest.mark.parametrize("cursor", [-1, SHARDS])
def test_a_cursor_that_is_none_is_refused(cursor: int) -> None:
    """What no page has ever said leads nowhere."""
    with pytest.raises(ValueError, match="is no cursor"):
        SessionTable().page(cursor, PAGE)
