"""Rules of the router, each broken on purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

MUTATIONS: dict[str, Callable[[], Iterator[None]]] = {}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Run with this rule broken."""
    yield from MUTATIONS[name]()
