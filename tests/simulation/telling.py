"""An observer that writes what the router reports into the history."""

from collections.abc import Callable

from partitioner.net.observer import Observer

_UNTOLD = frozenset({"exchange_finished", "copy_written"})


class TellingObserver(Observer):
    """Tells every fact as a line of text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell


def _teller(name: str) -> Callable[..., None]:
    def tell(observer: TellingObserver, *said: object) -> None:
        observer._tell(f"  router: {name} {', '.join(str(each) for each in said)}")

    return tell


for _name in vars(Observer):
    if not _name.startswith("_") and _name not in _UNTOLD:
        setattr(TellingObserver, _name, _teller(_name))
