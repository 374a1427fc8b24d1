"""Where a state server's sessions are between two runs of its process: `--state-file`.

A file is good for one start. It is renamed away before the first connection is accepted: a server that
took it in and crashed later must not come back with sessions as they were long ago.

Reading and writing block the event loop. No client is served yet when the file is read, and none any
more when it is written, so there is no one to hold up; and a thread would have to walk over the table
while the loop could change it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from partitioner.daemon.files import FileLock, check_usable, open_own, put_away, set_aside, write_whole
from partitioner.errors import FileUnusable, MalformedFile
from partitioner.ops.log import Log
from partitioner.sessions.snapshot import Restored, read_snapshot, write_snapshot
from partitioner.sessions.table import SessionTable
from partitioner.units import format_length, format_size


@dataclass(frozen=True, slots=True)
class StateFile:
    """The file of one state server."""

    path: Path
    log: Log

    def lock(self) -> None:
        """Keep every other process from using the file, for as long as this one lives.

        Find out as well what would fail at the end. Raises FileUnusable.
        """
        try:
            self._lock()
        except FileUnusable as error:
            raise FileUnusable(f"--state-file: {error}") from error

    def _lock(self) -> None:
        directory = self.path.parent
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "is not there"
            raise FileUnusable(f"{directory} {what}; expected a directory that this user can write to")
        FileLock(self.path)
        check_usable(self.path)

    def read(self, max_memory: int | None) -> SessionTable:
        """The table that the server before this one has left; an empty one if it left nothing of use.

        Raises FileUnusable.
        """
        table = SessionTable(max_memory)
        try:
            restored = self._read_into(table)
        except FileNotFoundError:
            self.log.note("starts empty", cause=f"there is no state file {self.path}")
            return table
        except MalformedFile as error:
            place = set_aside(self.path)
            self.log.complain(
                "state file set aside",
                cause=f"{self.path} {error}",
                kept_as=str(place),
                consequence="the server starts empty",
            )
            return SessionTable(max_memory)
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be read: {error.strerror}") from error
        put_away(self.path, self.path.with_name(f"{self.path.name}.loaded"))
        self.log.note(
            "sessions taken from the state file",
            sessions=restored.sessions,
            expired_meanwhile=restored.expired,
            after=format_length(round(restored.downtime)),
        )
        return table

    def why_not_writable(self, table: SessionTable) -> str | None:
        """Say why the sessions of this table could not be written now; None if they could."""
        try:
            check_usable(self.path)
        except FileUnusable as error:
            return f"its {len(table)} sessions could not be kept: {error}"
        free = disk_usage(self.path.parent).free
        if free >= table.used_memory:
            return None
        sizes = f"they take up to {format_size(table.used_memory)}, and {format_size(free)} are free"
        return f"its {len(table)} sessions could not be kept in {self.path}: {sizes}"

    def write(self, table: SessionTable) -> None:
        """Leave all sessions to the next server. Raises FileUnusable; an older file is still there then."""
        self.log.note("writing the state file", sessions=len(table), file=str(self.path))
        try:
            write_whole(self.path, write_snapshot(table, time.time(), time.monotonic()))
        except FileUnusable as error:
            self.log.complain("sessions could not be kept", cause=str(error), sessions_lost=len(table))
            raise

    def _read_into(self, table: SessionTable) -> Restored:
        with open_own(self.path) as file:
            return read_snapshot(file.read, table, time.time(), time.monotonic())
