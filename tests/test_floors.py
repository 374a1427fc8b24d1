"""The house has floors: who may import whom, and what the pure floors may not import at all (design.md 2)."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path

import partitioner
from tests.tables import each_case

ROOT = "partitioner"

BOTTOM = frozenset({"", "errors", "units"})  # "" is the package itself, with its version

DECIDING = BOTTOM | {"protocol", "payload", "placement", "membership", "sessions"}
"""What decides, and never waits."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    "": frozenset(),
    "errors": frozenset(),
    "signals": frozenset(),
    "token_file": frozenset(),
    "units": frozenset(),
    "protocol": BOTTOM,
    "payload": BOTTOM,
    "placement": BOTTOM | {"protocol"},
    "membership": BOTTOM | {"protocol", "placement"},
    "sessions": BOTTOM | {"protocol"},
    "webfarm": BOTTOM | {"placement"},
    "transport": DECIDING,
    "store": DECIDING | {"transport"},
    "routing": DECIDING | {"transport"},
    "fastpath": DECIDING | {"transport", "store", "routing"},
    "ops": DECIDING | {"transport", "store", "routing"},
    "config": DECIDING | {"token_file", "transport", "store", "routing", "ops"},
    "daemon": DECIDING | {"signals", "transport", "store", "routing", "fastpath", "ops", "config"},
    "bench": DECIDING | {"transport", "store", "routing", "ops", "config"},
    "cli": DECIDING
    | {
        "signals",
        "token_file",
        "transport",
        "store",
        "routing",
        "fastpath",
        "ops",
        "config",
        "daemon",
        "bench",
        "webfarm",
    },
    "__main__": frozenset({"signals", "cli"}),
}
"""For each module or package of the house, those below it. Within one of them imports are free."""

PURE = frozenset({"protocol", "payload", "placement", "membership", "sessions", "webfarm"})

WORLDLY = frozenset(
    {
        "asyncio",
        "datetime",
        "logging",
        "os",
        "random",
        "select",
        "socket",
        "structlog",
        "subprocess",
        "threading",
        "time",
        "trio",
    }
)
"""What reaches a socket, a clock, a die or a log."""


def violations(module: str, source: str) -> list[str]:
    """Say which imports of a module, named with its dots (`partitioner.routing.router`), break the rules."""
    here = room(module)
    found = []
    for line, imported in imports(module, source):
        outermost = imported.partition(".")[0]
        if outermost == ROOT:
            there = room(imported)
            if there != here and there not in MAY_IMPORT[here]:
                found.append(f"{module}:{line} imports {imported}, which is not below it")
        elif here in PURE and outermost in WORLDLY:
            found.append(f"{module}:{line} imports {imported}, and is on a pure floor")
    return found


def room(module: str) -> str:
    """The part of a module's name that stands in MAY_IMPORT."""
    return module.removesuffix(".__init__").removeprefix(ROOT).removeprefix(".").partition(".")[0]


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """All that a module imports, wherever in it: the line, and the absolute name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            for alias in node.names:
                # `from partitioner import routing` names a room; `from partitioner import __version__` does
                # not.
                is_room = origin == ROOT and alias.name in MAY_IMPORT
                yield node.lineno, f"{origin}.{alias.name}" if is_room else origin


def absolute(module: str, node: ast.ImportFrom) -> str:
    """Where a `from` statement imports from, its leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    parents = module.split(".")[: -node.level]
    return ".".join([*parents, node.module] if node.module else parents)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package's own module ends in `.__init__`."""
    top = Path(partitioner.__file__).parent
    return {
        ".".join((ROOT, *path.relative_to(top).with_suffix("").parts)): path for path in top.rglob("*.py")
    }


@each_case("module", sorted(modules()))
def test_module_is_on_a_known_floor(module: str) -> None:
    """Every module belongs to a floor; a new one is given its place in the table above (design.md 2)."""
    assert room(module) in MAY_IMPORT


@each_case("module", sorted(modules()))
def test_module_keeps_the_rules(module: str) -> None:
    """A module imports only from below, and a pure one nothing that reaches the world (design.md 2)."""
    found = violations(module, modules()[module].read_text(encoding="utf-8"))

    assert found == []


@each_case("name", sorted(PURE | {"errors", "units"}))
def test_the_walk_finds_the_pure_floors(name: str) -> None:
    """The walk over the package sees the floors that it is meant to judge."""
    assert name in {room(module) for module in modules()}


def import_circles(sources: dict[str, str]) -> list[list[str]]:
    """The groups of modules that import each other, wherever in them, and for type checkers alone as well.

    Modules are named with their dots; each group is sorted, and so are the groups.
    """
    graph = {module: imported_modules(module, source, sources) for module, source in sources.items()}
    reached = {module: reachable(module, graph) for module in graph}
    circles = {
        tuple(sorted({module} | {each for each in reached[module] if module in reached[each]}))
        for module in graph
        if module in reached[module]
    }
    return [list(circle) for circle in sorted(circles)]


def imported_modules(module: str, source: str, known: Container[str]) -> set[str]:
    """Those of the known modules that a module imports; what it imports from a package may be one, too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            inner = [f"{origin}.{alias.name}" for alias in node.names]
            names = [each if is_known(each, known) else origin for each in inner]
        else:
            continue
        found |= {each if each in known else f"{each}.__init__" for each in names if is_known(each, known)}
    return found


def is_known(name: str, known: Container[str]) -> bool:
    return name in known or f"{name}.__init__" in known


def reachable(module: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules to which imports lead from this one, itself only if there is a circle."""
    seen: set[str] = set()
    due = [*graph[module]]
    while due:
        each = due.pop()
        if each not in seen:
            seen.add(each)
            due += graph[each]
    return seen


def test_no_import_circle() -> None:
    """No module of the package leads back to itself, not even for a type checker (design.md 2)."""
    sources = {module: path.read_text(encoding="utf-8") for module, path in modules().items()}

    assert import_circles(sources) == []


CIRCLES = [
    ("import partitioner.b", "", []),
    ("from partitioner.b import B", "", []),
    ("from partitioner.b import B", "from partitioner.a import A", [["partitioner.a", "partitioner.b"]]),
    ("from partitioner import b", "def f():\n    import partitioner.a", [["partitioner.a", "partitioner.b"]]),
    ("from . import b", "if TYPE_CHECKING:\n    from .a import A", [["partitioner.a", "partitioner.b"]]),
    ("from partitioner.c import C", "", [["partitioner.a", "partitioner.c.__init__", "partitioner.c.d"]]),
    ("import partitioner.a", "", [["partitioner.a"]]),
]


@each_case(("first", "second", "expected"), CIRCLES)
def test_circles_are_found(first: str, second: str, expected: list[list[str]]) -> None:
    """The checker finds circles whichever way they are closed, over packages as well."""
    sources = {
        "partitioner.a": first,
        "partitioner.b": second,
        "partitioner.c.__init__": "from partitioner.c.d import D",
        "partitioner.c.d": "from partitioner.a import A",
    }

    assert expected == import_circles(sources)


LAWFUL = [
    ("partitioner.protocol.reader", "from partitioner.errors import MalformedRequest"),
    ("partitioner.protocol.reader", "from partitioner.protocol import grammar"),
    ("partitioner.protocol.reader", "from . import grammar"),
    ("partitioner.protocol.reader", "from .. import errors"),
    ("partitioner.membership.pool", "from partitioner.placement.rendezvous import Ranking"),
    ("partitioner.membership.pool", "import partitioner.protocol.messages"),
    ("partitioner.sessions.table", "from partitioner.protocol.messages import Answer"),
    ("partitioner.transport.channel", "import trio, time, socket"),
    ("partitioner.routing.roster", "from partitioner.transport.channel import Channel"),
    ("partitioner.fastpath.router", "from partitioner.routing.core import RouterCore"),
    ("partitioner.routing.router", "from partitioner.sessions.table import SessionTable"),
    ("partitioner.config", "from partitioner.ops import metrics"),
    ("partitioner.config.model", "from partitioner.ops import metrics"),
    ("partitioner.bench.load", "from partitioner.transport.channel import Channel"),
    ("partitioner.cli.__init__", "from partitioner import __version__"),
    ("partitioner.cli.__init__", "from partitioner import daemon, bench"),
    ("partitioner.placement.rendezvous", "import timeit_of_mine"),
]

UNLAWFUL = [
    ("partitioner.errors", "from partitioner.units import parse_size"),
    ("partitioner.units", "import partitioner.protocol"),
    ("partitioner.__init__", "from partitioner.cli import main"),
    ("partitioner.protocol.reader", "from partitioner.placement import rendezvous"),
    ("partitioner.protocol.reader", "from partitioner import placement"),
    ("partitioner.protocol.reader", "from ..placement import rendezvous"),
    ("partitioner.protocol.reader", "from .. import placement"),
    ("partitioner.placement.moves", "import partitioner.membership.pool"),
    ("partitioner.placement.moves", "def later():\n    from partitioner.membership import pool"),
    ("partitioner.membership.pool", "from partitioner.sessions.table import SessionTable"),
    ("partitioner.membership.pool", "from partitioner.routing.roster import Roster"),
    ("partitioner.sessions.table", "from partitioner.placement.rendezvous import Ranking"),
    ("partitioner.sessions.table", "from partitioner.membership.pool import Pool"),
    ("partitioner.routing.router", "from partitioner.ops.metrics import Metrics"),
    ("partitioner.transport.channel", "from partitioner.routing.roster import Roster"),
    ("partitioner.transport.listener", "from partitioner.fastpath.task import FastPathTask"),
    ("partitioner.routing.router", "from partitioner.fastpath.router import FastRouter"),
    ("partitioner.ops.metrics", "from partitioner.fastpath.router import FastRouter"),
    ("partitioner.ops.metrics", "from partitioner.config import Configuration"),
    ("partitioner.config.model", "from partitioner.daemon import serve"),
    ("partitioner.daemon", "from partitioner.bench import load"),
    ("partitioner.bench.load", "import partitioner.cli"),
    *[("partitioner.protocol.reader", f"import {name}") for name in sorted(WORLDLY)],
    ("partitioner.placement.moves", "from os.path import join"),
    ("partitioner.membership.health", "import logging.handlers as log"),
    ("partitioner.sessions.table", "from time import monotonic"),
    ("partitioner.sessions.table", "if TYPE_CHECKING:\n    import trio"),
]


@each_case(("module", "source"), LAWFUL)
def test_a_lawful_import_is_passed(module: str, source: str) -> None:
    """The checker lets pass what the rules allow."""
    assert violations(module, source) == []


@each_case(("module", "source"), UNLAWFUL)
def test_an_unlawful_import_is_found(module: str, source: str) -> None:
    """The checker finds each way in which a module can break the rules, and counts it once."""
    assert len(violations(module, source)) == 1
