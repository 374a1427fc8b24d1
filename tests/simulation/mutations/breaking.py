"""How a rule is broken for a while, and the table of all mutations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Mutation = Callable[[], Iterator[None]]
MUTATIONS: dict[str, Mutation] = {}
"""By name: the function's, with spaces."""


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Run with this rule broken."""
    yield from MUTATIONS[name]()


def mutation(mutate: Mutation) -> Mutation:
    MUTATIONS[mutate.__name__.replace("_", " ")] = mutate
    return mutate


def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have an attribute of a class or a module be something else for a while."""
    original = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


without = contextmanager(replaced)
"""The same as a context manager, for mutations that change what one call sees."""


def nothing(*_: Any, **__: Any) -> None:
    pass


async def nothing_later(*_: Any, **__: Any) -> None:
    pass
