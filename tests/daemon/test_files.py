"""Files that outlive a process: whole or not at all, and nothing is ever overwritten by mistake."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partitioner.daemon.files import check_usable, open_own, put_away, set_aside, write_whole
from partitioner.errors import FileUnusable


def directory_gone(path: Path) -> None:
    path.parent.rmdir()


def a_directory(path: Path) -> None:
    path.mkdir()


def beside_it_a_directory(path: Path) -> None:
    path.with_name(path.name + ".writing").mkdir()


def a_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"")
    path.symlink_to(path.with_name("elsewhere"))


def a_second_name(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name("elsewhere").hardlink_to(path)


def writable_by_others(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o620)


def a_link_laid_beside_it(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"somebody's")
    path.with_name(path.name + ".writing").symlink_to(path.with_name("elsewhere"))


def a_pipe_laid_beside_it(path: Path) -> None:
    os.mkfifo(path.with_name(path.name + ".writing"))


def a_second_name_laid_beside_it(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"somebody's")
    path.with_name(path.name + ".writing").hardlink_to(path.with_name("elsewhere"))


def a_file_for_all_laid_beside_it(path: Path) -> None:
    beside = path.with_name(path.name + ".writing")
    beside.write_bytes(b"")
    beside.chmod(0o666)


LAID = [
    a_link_laid_beside_it,
    a_pipe_laid_beside_it,
    a_second_name_laid_beside_it,
    a_file_for_all_laid_beside_it,
]
"""What somebody may have put where a file is written before it gets its name."""


UNUSABLE = [
    (directory_gone, "No such file or directory"),
    (a_directory, "is not a regular file"),
    (beside_it_a_directory, "Is a directory"),
    (os.mkfifo, "is not a regular file"),
    (a_link, "symbolic links"),
    (a_second_name, "has 2 names; expected a file without further links"),
    (writable_by_others, "can be written by others; expected the mode 0600"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "directory"
    directory.mkdir()
    return directory / "kept"


def test_written_whole(path: Path) -> None:
    """What was written is there, and nothing beside it."""
    write_whole(path, [b"one ", b"two"])

    assert (b"one two", [path]) == (path.read_bytes(), list(path.parent.iterdir()))


def test_written_over(path: Path) -> None:
    """A file that was there is replaced, and so are the leavings of a process that died while it wrote."""
    path.write_bytes(b"old")
    path.with_name("kept.writing").write_bytes(b"half of what somebody wrote, and then died")
    write_whole(path, [b"new"])

    assert (b"new", [path]) == (path.read_bytes(), list(path.parent.iterdir()))


def test_for_nobody_else(path: Path) -> None:
    """Sessions are personal data: only the owner of the process may read them."""
    write_whole(path, [b"secret"])

    assert path.stat().st_mode & 0o777 == 0o600


def test_failing_midway(path: Path) -> None:
    """A write that does not come to its end leaves the old file as it was."""

    def full_disk() -> Iterator[bytes]:
        yield b"new"
        raise OSError(28, "No space left on device")

    path.write_bytes(b"old")
    with pytest.raises(FileUnusable, match="kept cannot be written: No space left on device"):
        write_whole(path, full_disk())

    assert (b"old", [path]) == (path.read_bytes(), list(path.parent.iterdir()))


@pytest.mark.parametrize(("spoil", "reason"), UNUSABLE, ids=[spoil.__name__ for spoil, _ in UNUSABLE])
def test_unusable(spoil: Callable[[Path], None], reason: str, path: Path) -> None:
    """What would fail at the end is found out at the start."""
    spoil(path)

    with pytest.raises(FileUnusable, match=reason):
        check_usable(path)


@pytest.mark.parametrize(("spoil", "reason"), UNUSABLE[3:], ids=[spoil.__name__ for spoil, _ in UNUSABLE[3:]])
def test_unusable_files_are_not_read(spoil: Callable[[Path], None], reason: str, path: Path) -> None:
    """A file that another user could have written is not believed; a pipe without a writer holds up
    nothing."""
    spoil(path)

    with pytest.raises(FileUnusable, match=reason):
        open_own(path)


def test_somebody_else_s_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said whose it is, and whose it has to be."""
    path.write_bytes(b"crafted")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(FileUnusable, match=f"kept belongs to the user {owner}; expected {owner + 1}"):
        open_own(path)


def test_own_files_are_read(path: Path) -> None:
    """As they were written; one that is not there is not there."""
    with pytest.raises(FileNotFoundError):
        open_own(path)
    write_whole(path, [b"own"])
    with open_own(path) as file:
        assert b"own" == file.read()


@pytest.mark.parametrize("lay", LAID, ids=[lay.__name__ for lay in LAID])
def test_what_lies_beside_is_not_written_to(lay: Callable[[Path], None], path: Path) -> None:
    """A file is made anew, for its owner alone; whatever was laid in its way is taken out of it."""
    lay(path)
    check_usable(path)
    lay(path.with_name("again"))
    write_whole(path.with_name("again"), [b"new"])

    made = path.with_name("again").lstat()
    assert (b"new", 0o100600, 1) == (path.with_name("again").read_bytes(), made.st_mode, made.st_nlink)
    elsewhere = path.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"somebody's"


@pytest.mark.parametrize("content", [None, b"kept"])
def test_usable(content: bytes | None, path: Path) -> None:
    """Looking changes nothing, whether there is a file yet or not."""
    if content is not None:
        path.write_bytes(content)
    check_usable(path)

    assert ([path] if content else []) == list(path.parent.iterdir())


def test_put_away(path: Path) -> None:
    """An older file at the new place gives way."""
    path.write_bytes(b"new")
    path.with_name("kept.loaded").write_bytes(b"old")
    put_away(path, path.with_name("kept.loaded"))

    assert {"kept.loaded": b"new"} == {each.name: each.read_bytes() for each in path.parent.iterdir()}


def test_put_away_what_is_not_there(path: Path) -> None:
    """It is said what could not be renamed."""
    with pytest.raises(FileUnusable, match=r"kept cannot be renamed to kept\.loaded"):
        put_away(path, path.with_name("kept.loaded"))


def test_set_aside_again_and_again(path: Path) -> None:
    """Each file that is set aside gets a name that nothing had; none is overwritten."""
    places = []
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content)
        places.append(set_aside(path))

    assert [b"first", b"second", b"third"] == [place.read_bytes() for place in places]
    assert sorted(places) == sorted(path.parent.iterdir())
