"""What a dashboard is made of, before it is Grafana's JSON: sections of panels, and how each one looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum


class Colour(StrEnum):
    """Colours by their names in Grafana: green is well, amber is worth a look, red hurts somebody."""

    GREEN = "green"
    AMBER = "orange"
    RED = "red"
    BLUE = "blue"
    PURPLE = "purple"
    YELLOW = "yellow"
    GREY = "text"


Steps = tuple[tuple[float | None, Colour], ...]
"""From which value on a colour is shown; the first one has no lower end."""

PLAIN: Steps = ((None, Colour.GREY),)
"""A number that is neither good nor bad."""


def bad_from(amber: float, red: float) -> Steps:
    """Low is well."""
    return ((None, Colour.GREEN), (amber, Colour.AMBER), (red, Colour.RED))


def bad_at_all(colour: Colour = Colour.RED) -> Steps:
    """Zero is well. A half and not a one, because Prometheus may extrapolate one event to less than one."""
    return ((None, Colour.GREEN), (0.5, colour))


def bad_below(red: float, amber: float) -> Steps:
    """High is well: what is less than `red` is red, and less than `amber` amber."""
    return ((None, Colour.RED), (red, Colour.AMBER), (amber, Colour.GREEN))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a number stands for."""

    text: str
    colour: Colour


Meanings = Mapping[int, Meaning]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus."""

    expression: str  # PromQL, with Grafana's variables in it
    legend: str = ""  # the name of each series; {{label}} stands for that label's value


@dataclass(frozen=True, slots=True)
class Stat:
    """One number, large, on a ground of its colour."""

    sparkline: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over time, or areas that add up."""

    is_stacked: bool = False
    colours: Mapping[str, Colour] = field(default_factory=dict)  # of series, by their legends


@dataclass(frozen=True, slots=True)
class Timeline:
    """One band a series, which has the colour of its state at each moment."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One horizontal bar a series, as long as its present value."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a query that answers one number for each row."""

    title: str
    expression: str
    unit: str = "short"
    steps: Steps = PLAIN
    meanings: Meanings = field(default_factory=dict)
    decimals: int | None = None
    is_hidden: bool = False  # asked for its labels alone


@dataclass(frozen=True, slots=True)
class Table:
    """One row for each value of a label, put together from its columns."""

    key: str  # the label
    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()  # further ones that are shown


Look = Stat | Lines | Timeline | Bars | Table


class Expected(Enum):
    """What a panel shows while all is well, where that is nothing. Tests hold it to that."""

    EMPTY = "empty"  # no series at all: its `when_empty` says so
    ZERO = "zero"  # nothing but zeros


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: a question, and its answer."""

    title: str
    description: str  # what it tells, and what to look at next
    queries: tuple[Query, ...]
    look: Look
    width: int  # of 24
    height: int
    unit: str = "short"
    decimals: int | None = None
    steps: Steps = PLAIN
    meanings: Meanings = field(default_factory=dict)
    when_empty: str = "no data"
    expected: Expected | None = None

    @property
    def is_instant(self) -> bool:
        """Whether the present values are asked for, and not their course."""
        match self.look:
            case Stat(sparkline):
                return not sparkline
            case Table() | Bars():
                return True
            case Lines() | Timeline():
                return False


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading."""

    title: str  # "" for those on top, which need none
    panels: tuple[Panel, ...]
    for_each: str = ""  # the variable for each value of which the section is repeated, folded


@dataclass(frozen=True, slots=True)
class Annotation:
    """Events that are drawn into all panels: the query is above zero while one happens."""

    name: str
    expression: str
    title: str  # {{label}} stands for that label's value
    labels: tuple[str, ...]
    colour: Colour


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice on top of the dashboard, filled with the values of a label."""

    name: str
    title: str
    query: str
    all_value: str = ""  # what "All" stands for; "" for the alternation of all values


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in the order in which they are read."""
        return tuple(panel for section in self.sections for panel in section.panels)


# --- shorthands for the panels that there are most of ---


def stat(
    title: str,
    expression: str,
    description: str,
    *,
    unit: str = "short",
    decimals: int | None = None,
    steps: Steps = PLAIN,
    meanings: Meanings | None = None,
    sparkline: bool = False,
    width: int = 3,
    height: int = 4,
    when_empty: str = "no data",
    expected: Expected | None = None,
) -> Panel:
    """A panel with one number."""
    return Panel(
        title,
        description,
        (Query(expression),),
        Stat(sparkline),
        width,
        height,
        unit,
        decimals,
        steps,
        meanings or {},
        when_empty,
        expected,
    )


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = PLAIN,
    is_stacked: bool = False,
    colours: Mapping[str, Colour] | None = None,
    width: int = 8,
    height: int = 7,
    when_empty: str = "no data",
    expected: Expected | None = None,
) -> Panel:
    """A panel with lines over time."""
    look = Lines(is_stacked, colours or {})
    return Panel(
        title, description, queries, look, width, height, unit, None, steps, {}, when_empty, expected
    )


def timeline(
    title: str,
    description: str,
    query: Query,
    meanings: Meanings,
    *,
    width: int = 8,
    height: int = 7,
) -> Panel:
    """A panel with states over time."""
    return Panel(title, description, (query,), Timeline(), width, height, "none", None, PLAIN, meanings)


def table(
    title: str,
    description: str,
    key: str,
    *columns: Column,
    labels: tuple[str, ...] = (),
    width: int = 24,
    height: int = 8,
    when_empty: str = "no data",
    expected: Expected | None = None,
) -> Panel:
    """A panel with one row for each value of the label `key`."""
    return Panel(
        title,
        description,
        tuple(Query(column.expression) for column in columns),
        Table(key, columns, labels),
        width,
        height,
        when_empty=when_empty,
        expected=expected,
    )
