"""Lists that docstrings give are whole, and name nothing that is gone."""

import re
from pathlib import Path

from partitioner import errors
from tests import simulation


def test_the_page_of_failures_has_all_of_them() -> None:
    """Every class that is raised for something foreseen, and no other."""
    classes = {name for name, each in vars(errors).items() if isinstance(each, type)}
    failures = {name for name in classes if issubclass(getattr(errors, name), errors.PartitionerError)}
    tree = (errors.__doc__ or "").partition("PartitionerError\n")[2]

    assert failures - {"PartitionerError"} == set(
        re.findall(r"[A-Z][a-z]+[A-Z]\w+|Refused|Unreachable", tree)
    )


def test_the_files_of_the_simulation_are_listed() -> None:
    """So that a newcomer finds the room for a new fault."""
    files = {each.name for each in Path(simulation.__path__[0]).glob("*.py")}
    others = {"__init__.py", "__main__.py", *(each for each in files if each.startswith("test_"))}
    listed = set(re.findall(r"^    (\w+\.py)", simulation.__doc__ or "", re.MULTILINE))

    assert files - others == listed
