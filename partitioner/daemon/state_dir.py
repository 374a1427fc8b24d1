"""What outlives a router on its machine: `state_dir`, with three small files for each router.

    NAME.record     the record, as it lies on the state servers too (design.md 5.2)
    NAME.ledger     locks and marks, written by a router that stops in order; good for one start
    NAME.events     the last hundred lines of the log, for the status page after a restart

A file that is damaged or foreign is set aside. A directory that cannot be written is complained of once; the
state servers have the record all the same.
"""

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from partitioner.config import DefaultStateDir, Settings
from partitioner.daemon.files import FileLock, check_usable, open_own, set_aside, write_whole
from partitioner.errors import FileUnusable, MalformedFile
from partitioner.membership.legacy import Legacy, read_legacy
from partitioner.membership.record_format import read_record
from partitioner.ops.event_log import Event, EventLog, read_events, write_events
from partitioner.ops.log import Log

EVENTS_EVERY = 1.0
"""Seconds between two writes of events, at least: as much of them a crash may lose."""


@dataclass(frozen=True, slots=True)
class StatePlace:
    """The directory of a router's state file, and whether the configuration asked for it."""

    directory: Path
    is_asked_for: bool

    def why_unusable(self) -> str | None:
        """Say why this process could not write there; None if it could. Nothing is left behind.

        The directory itself may have to be made. So an empty one is made and removed where that would be: the
        permissions that stand there do not tell of a file system that takes none.
        """
        directory = self.directory
        while not os.path.lexists(directory):
            directory = directory.parent
        if not directory.is_dir():
            return f"{directory} is not a directory"
        try:
            os.rmdir(tempfile.mkdtemp(prefix=".partitioner-check-", dir=directory))
        except PermissionError:
            return f"{directory} cannot be written to by this user"
        except OSError as error:
            # That is what /proc says.
            reason = "nothing can be made there" if error.errno == errno.ENOENT else error.strerror
            return f"{directory} cannot be written to: {reason}"
        return None

    def see_that_it_is_usable(self) -> None:
        """Raises FileUnusable, in the words of `check`."""
        reason = self.why_unusable()
        if reason is not None:
            raise FileUnusable(f"{reason}; expected a directory that can be, or `state_dir: none`")


def state_place(settings: Settings, environment: Mapping[str, str] = os.environ) -> StatePlace | None:
    """Find the directory; None where the router keeps nothing."""
    if settings.embedded:
        return None
    match settings.state_dir:
        case None:
            return None
        case DefaultStateDir():
            directory = _default(settings.name, environment)
            return None if directory is None else StatePlace(directory, is_asked_for=False)
        case configured:
            return StatePlace(configured, is_asked_for=True)


def _default(name: str, environment: Mapping[str, str]) -> Path | None:
    """The default directory; None for a user without a home."""
    by_systemd = environment.get("STATE_DIRECTORY", "").partition(":")[0]  # the first of several
    if by_systemd:
        return Path(by_systemd)
    state_home = Path(environment.get("XDG_STATE_HOME", ""))
    if not state_home.is_absolute():  # "should consider the path invalid and ignore it"
        home = environment.get("HOME", "")
        if not home:
            return None
        state_home = Path(home, ".local", "state")
    return state_home / "partitioner" / name


T = TypeVar("T")


class StateDir:
    """The files of one router. This is a Disk."""

    def __init__(self, directory: Path, name: str, log: Log) -> None:
        self.record_file = directory / f"{name}.record"
        self.ledger_file = directory / f"{name}.ledger"
        self.events_file = directory / f"{name}.events"
        self._name = name
        self._log = log
        self._record: bytes | None = None
        self._ledger: Legacy | None = None
        self._events: tuple[Event, ...] = ()
        self._is_failing = False

    def make_directory(self) -> None:
        """Make the directory if it is not there. Raises FileUnusable."""
        directory = self.record_file.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FileUnusable(f"{directory} cannot be used: {error.strerror or error}") from error

    def read(self) -> None:
        """Read what the router before this one has left, if anything.

        Raises FileUnusable.
        """
        self.make_directory()
        try:
            for path in (self.record_file, self.ledger_file, self.events_file):
                check_usable(path)
            self._record = self._read(self.record_file, self._checked_record)
            self._ledger = self._read(self.ledger_file, read_legacy)
            self._events = self._read(self.events_file, read_events) or ()
        except OSError as error:
            directory = self.record_file.parent
            raise FileUnusable(f"{directory} cannot be used: {error.strerror or error}") from error

    def _read(self, path: Path, understand: Callable[[bytes], T]) -> T | None:
        """What a file says, if it is there; one that makes no sense is set aside."""
        try:
            with open_own(path) as file:
                written = file.read()
        except FileNotFoundError:
            return None
        try:
            return understand(written)
        except MalformedFile as error:
            place = set_aside(path)
            self._log.complain("state file set aside", cause=f"{path} {error}", kept_as=str(place))
            return None

    def _checked_record(self, written: bytes) -> bytes:
        read_record(written, self._name, round(time.time() * 1000))
        return written

    def record(self) -> bytes | None:
        """The record that stands there."""
        return self._record

    def ledger(self) -> Legacy | None:
        """The locks and marks of a router that stopped in order."""
        return self._ledger

    def events(self) -> tuple[Event, ...]:
        """The last events of the router before this one, the youngest first."""
        return self._events

    async def keep_events(self, event_log: EventLog) -> None:
        """Have the events of this log stand there, again and again, for as long as the router runs."""
        written = 0
        while True:
            await trio.sleep(EVENTS_EVERY)
            if event_log.recorded != written:
                written, events = event_log.recorded, event_log.events()
                await trio.to_thread.run_sync(self.save_events, events)

    def save_events(self, events: Iterable[Event]) -> None:
        """Have these events stand there, the youngest first; complain if that fails."""
        with suppress(FileUnusable):
            self._save(self.events_file, write_events(events))

    async def save(self, written: bytes) -> None:
        """Have this record stand there. Raises FileUnusable."""
        await trio.to_thread.run_sync(self._save, self.record_file, written)
        self._record = written

    def save_ledger(self, written: bytes) -> None:
        """Have these locks and marks stand there; complain if that fails."""
        with suppress(FileUnusable):
            self._save(self.ledger_file, written)

    def _save(self, path: Path, written: bytes) -> None:
        try:
            write_whole(path, [written])
        except FileUnusable as error:
            if not self._is_failing:
                self._log.complain(
                    "state cannot be kept",
                    cause=str(error),
                    consequence="the next router has what the state servers tell it",
                )
            self._is_failing = True
            raise
        self._is_failing = False


def open_state_dir(settings: Settings, log: Log) -> StateDir | None:
    """Read what was known of this router's backends; None where it keeps nothing.

    The files are locked for as long as this process lives.

    Raises FileUnusable if the directory was asked for; a default one that cannot be used is a warning.
    """
    place = state_place(settings)
    if place is None:
        return None
    state_dir = StateDir(place.directory, settings.name, log)
    try:
        place.see_that_it_is_usable()
        _lock_and_read(state_dir)
    except FileUnusable as error:
        if place.is_asked_for:
            raise FileUnusable(f"state_dir: {error}") from error
        log.complain(
            "state is not kept",
            cause=str(error),
            consequence="a restarted router knows what the state servers tell it; `state_dir` says where to "
            "keep its state, or `none`",
        )
        return None
    return state_dir


def _lock_and_read(state_dir: StateDir) -> None:
    """Lock the files before anything near them is touched; read them. Raises FileUnusable."""
    state_dir.make_directory()
    lock = FileLock(state_dir.record_file)
    try:
        state_dir.read()
    except BaseException:
        lock.release()
        raise
