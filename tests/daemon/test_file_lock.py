"""A file that is in use by one process is refused to the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from partitioner.daemon.files import FileLock
from partitioner.errors import FileUnusable

TAKE = """
import sys, pathlib
from partitioner.daemon.files import FileLock
FileLock(pathlib.Path(sys.argv[1]))
"""


def takes_it(path: Path) -> str:
    """Have another process take the lock; the last line of what it says."""
    ended = subprocess.run([sys.executable, "-c", TAKE, str(path)], stderr=subprocess.PIPE, text=True)
    return (ended.stderr.splitlines() or [""])[-1]


def test_another_process_is_refused(tmp_path: Path) -> None:
    """It is told the path, and who has it; when that one has released it, it gets it."""
    lock = FileLock(tmp_path / "kept")
    refused = takes_it(tmp_path / "kept")
    lock.release()

    assert refused.endswith(f"FileUnusable: {tmp_path}/kept is in use by process {os.getpid()}")
    assert takes_it(tmp_path / "kept") == ""


def test_the_same_process_is_refused(tmp_path: Path) -> None:
    """Two parts of one program exclude each other as well."""
    lock = FileLock(tmp_path / "kept")
    with pytest.raises(FileUnusable, match=f"kept is in use by process {os.getpid()}"):
        FileLock(tmp_path / "kept")
    lock.release()


def test_an_unknown_holder(tmp_path: Path) -> None:
    """A holder that has not written its number yet is `another process`."""
    lock = FileLock(tmp_path / "kept")
    (tmp_path / "kept.lock").write_text("")
    with pytest.raises(FileUnusable, match="kept is in use by another process"):
        FileLock(tmp_path / "kept")
    lock.release()


def test_a_process_that_ended_leaves_no_lock(tmp_path: Path) -> None:
    """Its number stays in the lock file, and hinders no other process."""
    takes_it(tmp_path / "kept")
    FileLock(tmp_path / "kept").release()

    assert (tmp_path / "kept.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("place", ["missing/kept", "file/kept"])
def test_a_place_that_cannot_be_locked(place: str, tmp_path: Path) -> None:
    """The lock file, and what is wrong with it, are named."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FileUnusable, match=r"kept\.lock cannot be written: (No such file|Not a directory)"):
        FileLock(tmp_path / place)


def test_what_is_not_a_file_of_its_own_is_not_locked(tmp_path: Path) -> None:
    """Its number is written into no pipe, and into no file that has another name somewhere."""
    os.mkfifo(tmp_path / "pipe.lock")
    (tmp_path / "elsewhere").write_bytes(b"somebody's")
    (tmp_path / "linked.lock").hardlink_to(tmp_path / "elsewhere")
    for name, reason in (("pipe", "is not a regular file"), ("linked", "has 2 names")):
        with pytest.raises(FileUnusable, match=rf"{name}\.lock {reason}"):
            FileLock(tmp_path / name)

    assert b"somebody's" == (tmp_path / "elsewhere").read_bytes()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """No other user can have us write into a file elsewhere."""
    (tmp_path / "kept.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FileUnusable, match=r"kept\.lock cannot be written"):
        FileLock(tmp_path / "kept")
