"""What outlives a router: `state_dir`, with one small file for each router that keeps its state there.

The file is written after every change of the pool, at most once a second, and at the end. What happens
in the last second before a router is killed may be missing in it.
"""

import time
from pathlib import Path

import trio

from partitioner.config import Settings
from partitioner.daemon.file_lock import FileLock
from partitioner.daemon.files import check_usable, set_aside, write_whole
from partitioner.daemon.state_place import state_place
from partitioner.errors import FileUnusable, MalformedFile
from partitioner.membership.health import HealthPolicy
from partitioner.membership.memory import (
    Memory,
    doubt_everybody,
    read_memory,
    recall,
    recall_departed,
    recall_holes,
    remember,
    write_memory,
)
from partitioner.membership.pool import Pool
from partitioner.net.lane import Lane
from partitioner.ops.log import LogObserver
from partitioner.units import format_duration

AT_MOST_EVERY = 1.0
AT_LEAST_EVERY = 60.0
"""The longest life of a session can grow without any change of the pool."""


class StateDir:
    """The file of one router."""

    def __init__(self, directory: Path, name: str, longest_life: float, observer: LogObserver) -> None:
        """`longest_life` is T_max as far as it is known without the file."""
        self.path = directory / f"{name}.state"
        self._longest_life = longest_life
        self._observer = observer
        self._memory: Memory | None = None
        self._is_damaged = False
        self._is_failing = False

    def make_directory(self) -> None:
        """Make the directory if it is not there. Raises FileUnusable."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be used: {error.strerror or error}") from error

    def read(self) -> None:
        """Read what the router before this one has left, if anything.

        Raises FileUnusable.
        """
        self.make_directory()
        try:
            check_usable(self.path)
            if self.path.exists():
                self._memory = read_memory(self.path.read_bytes())
        except MalformedFile as error:
            self._is_damaged = True
            place = set_aside(self.path)
            self._observer.complain("state file set aside", cause=f"{self.path} {error}", kept_as=str(place))
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be used: {error.strerror or error}") from error

    # --- at the start ---

    def recall_pool(self, pool: Pool, policy: HealthPolicy) -> Pool:
        """The pool to start with, from the one that knows nothing."""
        now = trio.current_time()
        if self._is_damaged:
            self._tell_that_all_are_doubted(pool)
            return doubt_everybody(pool, now + self._longest_life, now)
        return pool if self._memory is None else recall(self._memory, pool, policy, now, _offset())

    def recall_rest(self, lane: Lane) -> None:
        """Tell the parts of a router what else was known."""
        if self._memory is None:
            return
        now, offset = trio.current_time(), _offset()
        lane.ledger.note_longest_life(self._memory.longest_life)
        lane.roster.departed |= recall_departed(self._memory, offset)
        lane.roster.redundancy.recall(recall_holes(self._memory, now, offset))

    def _tell_that_all_are_doubted(self, pool: Pool) -> None:
        names = " ".join(pool.places)
        self._observer.complain(
            "no backend can be read",
            cause="what they missed stood in the damaged file",
            consequence=f"all sessions are refused for {format_duration(self._longest_life)} unless somebody "
            "vouches for the backends: `partitioner ready NAME` for each that was well, and was not out "
            "while another one was written to",
            backends=names,
        )

    # --- from then on ---

    async def keep(self, lane: Lane) -> None:
        """Write down every change, for as long as the router runs."""
        written: tuple[int, float] | None = None
        while True:
            while (present := (lane.roster.pool.epoch, lane.ledger.longest_life)) == written:
                with trio.move_on_after(AT_LEAST_EVERY):
                    await lane.roster.wait_for_change()
            memory = self._remember(lane)
            if await trio.to_thread.run_sync(self._write, memory):
                written = present
            await trio.sleep(AT_MOST_EVERY)

    def keep_last(self, lane: Lane) -> None:
        """Write down how things are at the end."""
        self._write(self._remember(lane))

    def _remember(self, lane: Lane) -> bytes:
        roster, now = lane.roster, trio.current_time()
        holes, longest_life = roster.redundancy.holes, lane.ledger.longest_life
        return write_memory(remember(roster.pool, roster.departed, holes, longest_life, now, _offset()))

    def _write(self, memory: bytes) -> bool:
        """Write it, and answer whether that went well; complain only the first time that it does not."""
        try:
            write_whole(self.path, [memory])
        except FileUnusable as error:
            if not self._is_failing:
                self._observer.complain(
                    "state cannot be kept",
                    cause=str(error),
                    consequence="a router that is started now would believe what stood in the file before",
                )
            self._is_failing = True
            return False
        self._is_failing = False
        return True


def open_state_dir(settings: Settings, observer: LogObserver) -> StateDir | None:
    """Read what was known of this router's backends; None where it keeps nothing.

    The file is locked for as long as this process lives.

    Raises FileUnusable if the directory was asked for; a default one that cannot be used is a warning.
    """
    place = state_place(settings)
    if place is None:
        return None
    longest_life = min(settings.session_timeout, settings.session_timeout_max)
    state_dir = StateDir(place.directory, settings.name, longest_life, observer)
    try:
        _lock_and_read(state_dir)
    except FileUnusable as error:
        if place.is_asked_for:
            raise
        observer.complain(
            "state is not kept",
            cause=str(error),
            consequence="a restarted router will not know what servers that were down have missed; "
            "`state_dir` says where to keep it, or `none`",
        )
        return None
    return state_dir


def _lock_and_read(state_dir: StateDir) -> None:
    """Lock the file before anything near it is touched; read it. Raises FileUnusable."""
    state_dir.make_directory()
    lock = FileLock(state_dir.path)
    try:
        state_dir.read()
    except BaseException:
        lock.release()
        raise


def _offset() -> float:
    """What has to be added to monotonic time to get the time on the wall."""
    return time.time() - trio.current_time()
