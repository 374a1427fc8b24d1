"""`partitioner` in which a removed server that is down is forgotten after a second, not after a minute.

Nothing else is changed. The constant is set wherever the package has it, so it may move; where it is gone,
this fails, since a test would then wait for what it does not know.
"""

import importlib
import pkgutil
import sys

import partitioner

NAME, SECONDS = "DOWN_FOR_GOOD", 1.0


def main() -> None:
    """The same as the console script, with the constant set."""
    found = [module for module in map(sys.modules.get, _import_all()) if hasattr(module, NAME)]
    if not found:
        sys.exit(f"no module of {partitioner.__path__[0]} has {NAME} any more")
    for module in found:
        setattr(module, NAME, SECONDS)
    from partitioner.cli import run

    run()


def _import_all() -> list[str]:
    names = [each.name for each in pkgutil.walk_packages(partitioner.__path__, "partitioner.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    return names


if __name__ == "__main__":
    main()
