"""Files that outlive a process: written whole or not at all, and never lost by a mistake of ours.

A file is written beside its place, forced to the disk, and then put into its place by a rename, which
is forced to the disk, too. Whatever happens in between, a crash of the machine included, the place
holds either the old file or the new one.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from itertools import count
from pathlib import Path

from partitioner.errors import FileUnusable

FOR_US_ALONE = 0o600
"""Sessions are personal data, and their keys are bearer secrets (protocol.md 12)."""


def write_whole(path: Path, pieces: Iterable[bytes], writer: str = "") -> None:
    """Have these bytes stand in a file. Of several processes that do so, each is another `writer`.

    Raises FileUnusable; what stood there before still does.
    """
    beside = _beside(path, writer)
    try:
        try:
            with _create(beside) as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(path)
            _force_directory(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileUnusable(f"{path} cannot be written: {_reason(error)}") from error


def check_usable(path: Path, writer: str = "") -> None:
    """Find out now whether the file could be read, if it is there, and written.

    Raises FileUnusable.
    """
    beside = _beside(path, writer)
    try:
        _create(beside).close()
        beside.unlink()
    except OSError as error:
        raise FileUnusable(f"{path} cannot be written: {_reason(error)}") from error
    with suppress(FileNotFoundError):
        open_own(path).close()


def open_own(path: Path) -> BufferedReader:
    """Open a file to be read, if only this process's user can have written it.

    What is read decides what web servers are sent, and they execute what is crafted well. So a link, a pipe,
    a file of another user, one that others may write to or that has a second name are refused. The checks
    are of the file that was opened, which cannot be exchanged any more.

    Raises FileNotFoundError, or FileUnusable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {_reason(error)}") from error
    try:
        _check_own(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_own(descriptor: int, path: Path) -> None:
    """Raises FileUnusable where others may have had a hand in an open file."""
    seen, user = os.fstat(descriptor), os.geteuid()
    if not stat.S_ISREG(seen.st_mode):
        raise FileUnusable(f"{path} is not a regular file, and will not be replaced")
    if seen.st_uid != user:
        raise FileUnusable(
            f"{path} belongs to the user {seen.st_uid}; expected {user}, who runs this program"
        )
    if seen.st_nlink > 1:
        raise FileUnusable(f"{path} has {seen.st_nlink} names; expected a file without further links")
    if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FileUnusable(f"{path} can be written by others; expected the mode 0600")


def put_away(path: Path, place: Path) -> None:
    """Rename a file, and have that outlive a crash of the machine.

    Raises FileUnusable.
    """
    try:
        path.rename(place)
        _force_directory(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be renamed to {place.name}: {_reason(error)}") from error


def set_aside(path: Path) -> Path:
    """Rename a file that is of no use to us, to a name that nothing has yet; return where it is now.

    Raises FileUnusable.
    """
    places = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    place = next(place for place in places if not os.path.lexists(place))
    put_away(path, place)
    return place


def _beside(path: Path, writer: str) -> Path:
    """Where a file is written before it is put into its place: always the same, so that none pile up."""
    return path.with_name(f"{path.name}.{writer}.writing" if writer else f"{path.name}.writing")


def _create(path: Path) -> BufferedWriter:
    """Make a file anew: whatever lies there is a leaving of ours, or was laid there to be written through."""
    with suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, FOR_US_ALONE), "wb")


def _force_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


_NUMBER_LENGTH = 32  # bytes; more than any process number takes


class FileLock:
    """The lock on one file. It is held from the moment it is made until `release`, or the process's end."""

    def __init__(self, path: Path) -> None:
        """Take the lock on `path`, which need not exist; its directory must.

        Raises FileUnusable, with the holder's process number where it is known, if another process has it.
        """
        self.path = path
        self._descriptor = _open(path)
        try:
            _lock(self._descriptor, path)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise FileUnusable(f"{_lock_path(path)} cannot be locked: {error.strerror or error}") from error
        except BaseException:
            os.close(self._descriptor)
            raise

    def __repr__(self) -> str:
        return f"<FileLock on {self.path}>"

    def release(self) -> None:
        """Let another process have it. The lock file stays: its name may be in use again."""
        os.close(self._descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(_lock_path(path), flags, FOR_US_ALONE)
    except OSError as error:
        raise FileUnusable(f"{_lock_path(path)} cannot be written: {error.strerror or error}") from error
    try:
        _check_own(descriptor, _lock_path(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise FileUnusable(f"{path} is in use by {_holder(descriptor)}") from error


def _holder(descriptor: int) -> str:
    """Name the process that has the lock."""
    number = os.pread(descriptor, _NUMBER_LENGTH, 0).strip()
    return f"process {int(number)}" if number.isdigit() else "another process"


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
