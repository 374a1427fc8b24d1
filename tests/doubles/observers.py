"""An observer that remembers what it was told."""

from collections.abc import Callable

import trio

from partitioner.transport.observer import Observer

Fact = tuple[object, ...]
"""What was reported: the name of the fact, and what was said of it."""

FACT_NAMES = tuple(name for name in vars(Observer) if not name.startswith("_"))


class RecordingObserver(Observer):
    """Keeps every fact, in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self._told = trio.lowlevel.ParkingLot()

    def named(self, name: str) -> list[Fact]:
        """All facts of this name."""
        assert name in FACT_NAMES
        return [fact for fact in self.facts if fact[0] == name]

    async def wait_for(self, name: str, times: int = 1) -> Fact:
        """Wait until a fact of this name has been reported so many times; return the last of these."""
        while len(found := self.named(name)) < times:
            await self._told.park()
        return found[times - 1]

    def take(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._told.unpark_all()


def _recorder(name: str) -> Callable[..., None]:
    return lambda observer, *said: observer.take((name, *said))


for _name in FACT_NAMES:
    setattr(RecordingObserver, _name, _recorder(_name))
