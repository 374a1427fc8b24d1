"""An observer that writes what the router reports into the history."""

from collections.abc import Callable

import trio

from partitioner.transport.observer import Observer

_UNTOLD = frozenset({"exchange_finished", "copy_written"})


class ClaimObserver(Observer):
    """Notes when a router becomes the active one."""

    def __init__(self, claims: list[float]) -> None:
        self._claims = claims

    def claimed(self, term: str, cause: str, duration: float) -> None:
        self._claims.append(trio.current_time())


class HistoryObserver(Observer):
    """Tells every fact as a line of text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell


def _teller(name: str) -> Callable[..., None]:
    def tell(observer: HistoryObserver, *said: object) -> None:
        observer._tell(f"  router: {name} {', '.join(str(each) for each in said)}")

    return tell


for _name in vars(Observer):
    if not _name.startswith("_") and _name not in _UNTOLD:
        setattr(HistoryObserver, _name, _teller(_name))
