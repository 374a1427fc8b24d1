"""Which connections of routers are closed when another router claims (design.md 5.3)."""

from partitioner.membership.fencing import Fence, RouterConnection, is_lower, maybe_term
from partitioner.membership.items import Term, TermItem
from tests.tables import each_case

FARM = b"farm"
ONE, TWO = Term(1, "a"), Term(2, "a")


class Setting:
    """A fence, and the reasons for which its connections were closed."""

    def __init__(self) -> None:
        self.fence = Fence()
        self.reasons: list[str] = []

    def connection(
        self, seen: Term | None, *, may_write: bool = True, farm: bytes = FARM
    ) -> RouterConnection:
        """A connection over which the canary was read, while this term was stored."""
        connection = RouterConnection(self.fence, self.reasons.append)
        self.fence.canary_read(connection, farm, seen)
        connection.may_write = may_write
        return connection


@each_case(
    ("seen", "stored", "expected"),
    [
        (None, None, False),
        (None, ONE, True),
        (ONE, None, False),
        (ONE, ONE, False),
        (ONE, TWO, True),
        (TWO, ONE, False),
        (Term(2, "a"), Term(2, "b"), True),
        (Term(2, "b"), Term(2, "a"), False),
        (Term(9, "a"), Term(10, "a"), True),
    ],
)
def test_which_term_is_lower(seen: Term | None, stored: Term | None, expected: bool) -> None:
    """By number, then by word; none is the lowest of all."""
    assert expected is is_lower(seen, stored)


@each_case("seen", [None, ONE])
def test_a_lower_term(seen: Term | None) -> None:
    """Connections on which the canary was read under a lower term, or under none, are to be closed."""
    setting = Setting()
    former, later = setting.connection(seen), setting.connection(TWO)

    assert [former] == setting.fence.term_stored(FARM, TWO)
    assert later not in setting.fence.term_stored(FARM, TWO)


def test_another_farm() -> None:
    """The term of one farm says nothing of the routers of another one."""
    setting = Setting()
    setting.connection(ONE, farm=b"other")

    assert [] == setting.fence.term_stored(FARM, TWO)


def test_a_router_that_is_about_to_read_the_term() -> None:
    """A connection over which nothing but canaries and terms was asked for stays open."""
    setting = Setting()
    setting.connection(ONE, may_write=False)

    assert [] == setting.fence.term_stored(FARM, TWO)


def test_a_term_that_was_read() -> None:
    """A router that has read the higher term, or sent it, is not superseded by it."""
    setting = Setting()
    connection = setting.connection(ONE)
    setting.fence.term_seen(connection, FARM, TWO)

    assert [] == setting.fence.term_stored(FARM, TWO)


def test_a_term_without_its_canary() -> None:
    """Who has not read the canary of a farm is no router of it."""
    setting = Setting()
    connection = setting.connection(ONE, farm=b"other")
    setting.fence.term_seen(connection, FARM, ONE)

    assert [] == setting.fence.term_stored(FARM, TWO)


def test_cut() -> None:
    """A connection is closed once, with the reason, may write nothing more, and is forgotten."""
    setting = Setting()
    connection = setting.connection(ONE)
    connection.cut("superseded")
    connection.cut("again")

    assert ["superseded"] == setting.reasons
    assert (True, False) == (connection.is_closed, connection.may_write)
    assert 0 == len(setting.fence)


def test_forgotten() -> None:
    """A connection that its router has closed is not closed again."""
    setting = Setting()
    connection = setting.connection(ONE)
    connection.forget()
    connection.cut("superseded")

    assert [] == setting.reasons
    assert [] == setting.fence.term_stored(FARM, TWO)


@each_case("content", [None, b"", b"1", b"one word", b"1 Word", b"\xff\xfe", b"1 word 2"])
def test_what_is_no_term(content: bytes | None) -> None:
    """A term that cannot be read counts as none."""
    assert maybe_term(content) is None


def test_a_term_is_read_without_earlier_ones() -> None:
    """The terms whose records may be there say nothing of who may write."""
    assert TWO == maybe_term(TermItem(TWO, (ONE,)).written())
