"""How a table of cases is walked: which rows run, in what surroundings, and how a failing row is named."""

import pytest
import trio
from trio.testing import MockClock

from tests.tables import each_case


def test_every_row_runs() -> None:
    """Every row is given to the test, also after one that failed; stacked tables multiply."""
    walked = []

    @each_case(("a", "b"), [(1, 2), (3, 4)])
    @each_case("c", "xy")
    def walk(a: int, b: int, c: str) -> None:
        walked.append((a, b, c))
        assert a != 1

    with pytest.raises(AssertionError):
        walk()

    assert [(1, 2, "x"), (1, 2, "y"), (3, 4, "x"), (3, 4, "y")] == walked


def test_every_failing_row_is_named() -> None:
    """The message counts the rows that failed and gives for each its name and what went wrong."""

    @each_case("number", [1, 2, 3])
    def walk(number: int) -> None:
        if number > 1:
            raise ValueError(f"{number} is too much")

    with pytest.raises(AssertionError) as failed:
        walk()

    assert str(failed.value).splitlines() == [
        "2 of 3 cases failed",
        "[number=2]",
        "    ValueError: 2 is too much",
        "[number=3]",
        "    ValueError: 3 is too much",
    ]
    assert isinstance(failed.value.__cause__, ValueError)


def test_an_exception_that_is_missing_is_a_failure() -> None:
    """A row in which `pytest.raises` waits in vain has failed."""

    @each_case("text", ["one", "1"])
    def walk(text: str) -> None:
        with pytest.raises(ValueError):
            int(text)

    with pytest.raises(AssertionError, match=r"1 of 2 cases failed\n\[text='1'\]"):
        walk()


NAMED = [
    pytest.param([1], ["first"], "[first]", id="a list of names"),
    pytest.param([1], lambda value: f"the {value}", "[the 1]", id="a function"),
    pytest.param([pytest.param(1, id="mine")], None, "[mine]", id="with the row"),
    pytest.param([b"x" * 1000], None, "... (row 0)]", id="a long value is cut"),
]


@pytest.mark.parametrize(("rows", "ids", "name"), NAMED)
def test_names(rows: list[object], ids: list[str] | None, name: str) -> None:
    """Rows are named as `pytest.mark.parametrize` names them."""

    @each_case("value", rows, ids=ids)
    def walk(value: object) -> None:
        raise ValueError

    with pytest.raises(AssertionError) as failed:
        walk()

    assert name in str(failed.value)


def test_one_row_can_be_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONLY_CASE names it, wholly or by one of its tables; a name that no row has is no success."""
    walked = []

    @each_case("seed", [1, 2, 12])
    @each_case("farm", ["three", "one"], ids=["three", "one"])
    def walk(seed: int, farm: str) -> None:
        walked.append((seed, farm))

    for only in ("seed=12, one", "seed=1"):
        monkeypatch.setenv("ONLY_CASE", only)
        walk()
    monkeypatch.setenv("ONLY_CASE", "seed=3")
    with pytest.raises(AssertionError, match="walk has no case 'seed=3'"):
        walk()

    assert [(12, "one"), (1, "three"), (1, "one")] == walked


def test_a_table_without_rows_is_refused() -> None:
    """A test that runs with no row could not fail."""
    with pytest.raises(AssertionError, match="without rows"):
        each_case("value", [])


def test_each_row_has_its_own_clock_and_nursery() -> None:
    """Virtual time starts anew, it costs no real time, and no task of one row is left for the next."""
    began = []

    @each_case("row", [1, 2])
    async def walk(row: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        began.append((trio.current_time(), len(nursery.child_tasks)))
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(10_000 * row)

    walk()

    assert [(0.0, 0), (0.0, 0)] == began


def test_a_task_that_fails_beside_the_row_fails_it() -> None:
    """What goes wrong in the nursery of a row is told with the row, without the group around it."""

    @each_case("row", [1, 2])
    async def walk(row: int, nursery: trio.Nursery) -> None:
        if row == 2:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    async def fail() -> None:
        raise ValueError("beside")

    with pytest.raises(AssertionError, match=r"1 of 2 cases failed\n\[row=2\]\n    ValueError: beside"):
        walk()


SHARED = ["first", "second"]


@each_case("row", SHARED)
def test_other_fixtures_are_passed_on(row: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A fixture that is no part of the table is pytest's."""
    assert tmp_path_factory.getbasetemp().is_dir()
    assert row in SHARED
