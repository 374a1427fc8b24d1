"""Lists that docstrings give are whole, and name nothing that is gone."""

import ast
import re
from pathlib import Path

from partitioner import errors
from tests import simulation
from tests.tables import each_case

PACKAGE = Path(errors.__file__).parent


def test_the_page_of_failures_has_all_of_them() -> None:
    """Every class that is raised for something foreseen, and no other."""
    classes = {name for name, each in vars(errors).items() if isinstance(each, type)}
    failures = {name for name in classes if issubclass(getattr(errors, name), errors.PartitionerError)}
    tree = (errors.__doc__ or "").partition("PartitionerError\n")[2]

    assert failures - {"PartitionerError"} == set(
        re.findall(r"[A-Z][a-z]+[A-Z]\w+|Refused|Unreachable", tree)
    )


def listing(room: Path) -> set[str]:
    """The files that the docstring of a package lists; nothing if it has no list."""
    documented = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")), clean=False)
    return set(re.findall(r"^    (\w+\.py) ", documented or "", re.MULTILINE))


ROOMS = ("transport", "routing", "fastpath", "membership", "ops", "ops/admin", "ops/metrics")
"""Those with so many files that a newcomer needs a guide."""


@each_case("room", [*(PACKAGE / each for each in ROOMS), Path(simulation.__path__[0])], ids=str)
def test_the_files_of_a_room_are_listed(room: Path) -> None:
    """So that a newcomer finds the room for a new line, or a new fault of the simulation."""
    files = {each.name for each in room.glob("*.py")}
    others = {"__init__.py", "__main__.py", *(each for each in files if each.startswith("test_"))}

    assert files - others == listing(room)
