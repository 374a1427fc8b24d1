"""A lock on a file that two processes must not use at the same time.

The lock is taken on a file beside it, `FILE.lock`, because FILE itself is replaced by renames. It is an
flock(2): the kernel drops it when the process ends, however it ends, so no lock is ever left behind. The
lock file stays, and holds the number of the process that has the lock, for the message to the next one that
wants it.

The lock belongs to the open file, not to the process: a child that was forked later shares it. The
descriptor is closed when another program is executed.

On NFS, Linux carries an flock out as a lock on the whole file at the server, so two machines do exclude each
other there; but a lock is lost without a word if the server forgets it, and mounts with `nolock` or
`local_lock=flock` keep it on one machine. A state file or directory belongs on a local disk.
"""

import errno
import fcntl
import os
from pathlib import Path

from partitioner.daemon.files import FOR_US_ALONE
from partitioner.errors import FileUnusable

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
            raise FileUnusable(f"{_beside(path)} cannot be locked: {error.strerror or error}") from error
        except BaseException:
            os.close(self._descriptor)
            raise

    def __repr__(self) -> str:
        return f"<FileLock on {self.path}>"

    def release(self) -> None:
        """Let another process have it. The lock file stays: removing it could remove somebody else's."""
        os.close(self._descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(_beside(path), flags, FOR_US_ALONE)
    except OSError as error:
        raise FileUnusable(f"{_beside(path)} cannot be written: {error.strerror or error}") from error


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


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
