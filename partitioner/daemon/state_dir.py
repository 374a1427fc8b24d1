"""What outlives a router on its machine: `state_dir`, with two small files for each router.

    NAME.record     the record, as it lies on the state servers too (design.md 5.2)
    NAME.ledger     locks and marks, written by a router that stops in order; good for one start

A file that is damaged or foreign is set aside. A directory that cannot be written is complained of once; the
state servers have the record all the same.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from partitioner.config import Settings
from partitioner.daemon.file_lock import FileLock
from partitioner.daemon.files import check_usable, set_aside, write_whole
from partitioner.daemon.state_place import state_place
from partitioner.errors import FileUnusable, MalformedFile
from partitioner.membership.legacy import Legacy, read_legacy
from partitioner.membership.record import read_record
from partitioner.ops.log import LogObserver

T = TypeVar("T")


class StateDir:
    """The files of one router. This is a Disk."""

    def __init__(self, directory: Path, name: str, observer: LogObserver) -> None:
        self.record_file = directory / f"{name}.record"
        self.ledger_file = directory / f"{name}.ledger"
        self._name = name
        self._observer = observer
        self._record: bytes | None = None
        self._ledger: Legacy | None = None
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
            for path in (self.record_file, self.ledger_file):
                check_usable(path)
            self._record = self._read(self.record_file, self._checked_record)
            self._ledger = self._read(self.ledger_file, read_legacy)
        except OSError as error:
            directory = self.record_file.parent
            raise FileUnusable(f"{directory} cannot be used: {error.strerror or error}") from error

    def _read(self, path: Path, understand: Callable[[bytes], T]) -> T | None:
        """What a file says, if it is there; one that makes no sense is set aside."""
        if not path.exists():
            return None
        try:
            return understand(path.read_bytes())
        except MalformedFile as error:
            place = set_aside(path)
            self._observer.complain("state file set aside", cause=f"{path} {error}", kept_as=str(place))
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

    async def save(self, written: bytes) -> None:
        """Have this record stand there. Raises FileUnusable."""
        await trio.to_thread.run_sync(self._save, self.record_file, written)
        self._record = written

    def save_ledger(self, written: bytes) -> None:
        """Have these locks and marks stand there; complain if that fails."""
        try:
            self._save(self.ledger_file, written)
        except FileUnusable:
            return

    def _save(self, path: Path, written: bytes) -> None:
        try:
            write_whole(path, [written])
        except FileUnusable as error:
            if not self._is_failing:
                self._observer.complain(
                    "state cannot be kept",
                    cause=str(error),
                    consequence="the next router has what the state servers tell it",
                )
            self._is_failing = True
            raise
        self._is_failing = False


def open_state_dir(settings: Settings, observer: LogObserver) -> StateDir | None:
    """Read what was known of this router's backends; None where it keeps nothing.

    The files are locked for as long as this process lives.

    Raises FileUnusable if the directory was asked for; a default one that cannot be used is a warning.
    """
    place = state_place(settings)
    if place is None:
        return None
    state_dir = StateDir(place.directory, settings.name, observer)
    try:
        _lock_and_read(state_dir)
    except FileUnusable as error:
        if place.is_asked_for:
            raise
        observer.complain(
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
