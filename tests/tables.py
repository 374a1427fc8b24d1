"""Tables of cases that one test walks.

`pytest.mark.parametrize` makes a test of every row. That suits a table of behaviours, each with a name of its
own. It does not suit a rule that has to hold for 586 flipped bits: the list of tests then tells no story, and
most of the time is spent on setting up and reporting tests. `each_case` is written in the same way, but the
rows stay in one test. It walks all of them, whatever fails, and then names every case that failed, and how.

Rows do not touch each other. An asynchronous test runs in its own `trio.run`, with its own virtual clock and
nursery if it takes `autojump_clock` or `nursery`. Other fixtures are set up once and shared by all rows, so a
test may take only those that one row cannot change for the next.

`ONLY_CASE='seed=4' pytest FILE::TEST` runs the rows of that name alone, or those with that name in one of
their stacked tables.
"""

import functools
import inspect
import itertools
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pytest
import trio
from trio.testing import MockClock

Ids: TypeAlias = Iterable[str] | Callable[..., str | None] | None
KnownIds: TypeAlias = Sequence[str] | Callable[..., str | None] | None

FAILURES = (Exception, pytest.fail.Exception, BaseExceptionGroup)
SEPARATOR = ", "  # between the names of one row in stacked tables
RENEWED = frozenset({"autojump_clock", "nursery"})  # made anew for each row
LONGEST_VALUE = (
    120  # characters of a value in the name of a case; the number of the row tells longer ones apart
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table: what it is called in a failure, and the arguments that it gives."""

    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Table:
    """A test and the rows that it is to be run with."""

    test: Callable[..., object]
    cases: tuple[Case, ...]


def each_case(
    names: str | Sequence[str], rows: Iterable[object], ids: Ids = None
) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """Run the decorated test once with each row, in one test that names every row that fails.

    `names`, `rows` and `ids` are those of `pytest.mark.parametrize`, and stacked tables multiply as they do
    there. A row without an id is called by its values.
    """
    listed = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    cases = tuple(_cases(listed, rows, ids if ids is None or callable(ids) else list(ids)))
    assert cases, f"a table of {names} without rows proves nothing"

    def decorate(test: Callable[..., object]) -> Callable[..., None]:
        inner = getattr(test, "table", Table(test, (Case("", {}),)))
        return _walker(Table(inner.test, tuple(_product(cases, inner.cases))))

    return decorate


def _cases(names: Sequence[str], rows: Iterable[object], ids: KnownIds) -> Iterator[Case]:
    for number, row in enumerate(rows):
        given = None
        if isinstance(row, type(pytest.param())):
            values, given = tuple(row.values), row.id
        elif len(names) == 1:
            values = (row,)
        else:
            assert isinstance(row, Iterable)
            values = tuple(row)
        assert len(names) == len(values), f"{len(names)} names, but {len(values)} values in {row!r}"
        arguments = dict(zip(names, values, strict=True))
        yield Case(str(given) if given is not None else _name(arguments, ids, number), arguments)


def _name(arguments: Mapping[str, object], ids: KnownIds, number: int) -> str:
    if ids is None:
        return SEPARATOR.join(f"{name}={_shown(value, number)}" for name, value in arguments.items())
    if callable(ids):
        return "-".join(ids(value) or repr(value) for value in arguments.values())
    return ids[number]


def _shown(value: object, number: int) -> str:
    whole = repr(value)
    return whole if len(whole) <= LONGEST_VALUE else f"{whole[:LONGEST_VALUE]}... (row {number})"


def _product(outer: Iterable[Case], inner: Sequence[Case]) -> Iterator[Case]:
    for one, other in itertools.product(outer, inner):
        yield Case(SEPARATOR.join(filter(None, [one.name, other.name])), {**one.arguments, **other.arguments})


def _walker(table: Table) -> Callable[..., None]:
    """Return the test that walks the table; pytest sees those of its parameters that are fixtures."""
    given = table.cases[0].arguments
    parameters = inspect.signature(table.test).parameters
    assert given.keys() <= parameters.keys(), f"{table.test.__name__} does not take {given.keys()}"
    renewed = RENEWED if inspect.iscoroutinefunction(table.test) else frozenset[str]()

    @functools.wraps(table.test)
    def walk(**shared: object) -> None:
        wanted = _wanted(table)
        offenders = [
            (case, failure)
            for case in wanted
            if (failure := _failure(table.test, {**shared, **case.arguments}))
        ]
        if offenders:
            raise AssertionError(_report(offenders, len(wanted))) from offenders[0][1]

    del walk.__wrapped__  # pytest would read the signature of the test itself
    left = [each for name, each in parameters.items() if name not in given and name not in renewed]
    walk.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
    walk.table = table  # type: ignore[attr-defined]
    return walk


def _wanted(table: Table) -> Sequence[Case]:
    only = os.environ.get("ONLY_CASE")
    if only is None:
        return table.cases
    wanted = [case for case in table.cases if only == case.name or only in case.name.split(SEPARATOR)]
    assert wanted, f"{table.test.__name__} has no case {only!r}; its first is {table.cases[0].name!r}"
    return wanted


def _failure(test: Callable[..., object], arguments: Mapping[str, object]) -> BaseException | None:
    try:
        if inspect.iscoroutinefunction(test):
            _run_alone(test, arguments)
        else:
            test(**arguments)
    except FAILURES as failure:
        if isinstance(failure, BaseExceptionGroup) and failure.subgroup(KeyboardInterrupt):
            raise
        return _unwrapped(failure)
    return None


def _run_alone(test: Callable[..., object], arguments: Mapping[str, object]) -> None:
    parameters = inspect.signature(test).parameters
    clock = MockClock(autojump_threshold=0) if "autojump_clock" in parameters else None

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            renewed = {"autojump_clock": clock, "nursery": nursery}
            wanted = {name: each for name, each in renewed.items() if name in parameters}
            running = test(**wanted, **arguments)
            assert inspect.isawaitable(running)
            await running
            nursery.cancel_scope.cancel()

    trio.run(run, clock=clock)


def _unwrapped(failure: BaseException) -> BaseException:
    """Return the one failure in groups of one, which nurseries wrap around it."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure


def _report(offenders: Sequence[tuple[Case, BaseException]], cases: int) -> str:
    lines = [f"{len(offenders)} of {cases} cases failed"]
    for case, failure in offenders:
        lines.append(f"[{case.name}]")
        lines += [
            f"    {line}" for each in traceback.format_exception_only(failure) for line in each.splitlines()
        ]
    return "\n".join(lines)
