"""One observer in front of several: each fact goes to those who listen for it, and to no others."""

from collections.abc import Callable, Sequence

from partitioner.store.observer import StoreObserver
from partitioner.transport.observer import Observer

FACTS = tuple(name for name in vars(Observer) if not name.startswith("_"))
STORE_FACTS = tuple(name for name in vars(StoreObserver) if not name.startswith("_"))


class Fanout(Observer):
    """Hands facts on.

    Who hears what is settled once: a fact that one observer overrides is a direct call of it, and one that
    no observer overrides costs an empty call.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in FACTS:
            listeners = [getattr(each, name) for each in observers if _listens(each, name)]
            if listeners:
                setattr(self, name, listeners[0] if len(listeners) == 1 else _all(listeners))


class StoreFanout(StoreObserver):
    """Hands on what a store reports; all who are here hear all of it."""

    def __init__(self, *observers: StoreObserver) -> None:
        for name in STORE_FACTS:
            setattr(self, name, _all([getattr(each, name) for each in observers]))


def _listens(observer: Observer, name: str) -> bool:
    return getattr(type(observer), name) is not getattr(Observer, name)


def _all(listeners: Sequence[Callable[..., None]]) -> Callable[..., None]:
    if len(listeners) == 2:  # the log and the counters, once in every exchange
        return _both(*listeners)

    def tell(*said: object) -> None:
        for listener in listeners:
            listener(*said)

    return tell


def _both(one: Callable[..., None], other: Callable[..., None]) -> Callable[..., None]:
    def tell(*said: object) -> None:
        one(*said)
        other(*said)

    return tell
