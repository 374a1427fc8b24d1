"""The files of a router in its state directory: read, set aside, and written."""

import json
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock
from xxhash import xxh3_64_hexdigest

from partitioner.config import Settings, parse
from partitioner.daemon.state_dir import EVENTS_EVERY, StateDir, open_state_dir
from partitioner.errors import FileUnusable
from partitioner.membership.items import Term
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.legacy import restore_ledger, write_legacy
from partitioner.membership.record import Record
from partitioner.membership.record_format import write_record
from partitioner.ops.event_log import LONGEST_FACT, MOST_EVENTS, EventLog, Level
from partitioner.ops.log import Log
from partitioner.ops.log_output import configure_log
from tests.identities import STATE_2
from tests.membership.ledgers import KEY, NOW, marked
from tests.tables import each_case

Screen = pytest.CaptureFixture[str]

RECORD = Record("router-1", "lineage", 7, "word", 3, 0, 3600.0, ())


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    structlog.reset_defaults()


def state_dir_in(directory: Path) -> StateDir:
    configure_log(as_json=True)
    return StateDir(directory, "router-1", Log())


def opened(directory: Path) -> StateDir:
    state_dir = state_dir_in(directory)
    state_dir.read()
    return state_dir


def said(capsys: Screen) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_the_first_start(tmp_path: Path) -> None:
    """Where nothing was kept there is nothing; the directory is made."""
    state_dir = opened(tmp_path / "some" / "where")

    assert (None, None) == (state_dir.record(), state_dir.ledger())
    assert (tmp_path / "some" / "where").is_dir()


async def test_what_was_kept(tmp_path: Path) -> None:
    """The next router finds the record, and the marks that go with it."""
    left = opened(tmp_path)
    await left.save(write_record(RECORD))
    left.save_ledger(write_legacy(marked(STATE_2), RECORD.order, NOW))
    found = opened(tmp_path)
    legacy, book = found.ledger(), Ledger(LedgerPolicy())
    assert legacy is not None
    restore_ledger(book, legacy, NOW)

    assert write_record(RECORD) == found.record()
    assert (Term(7, "word"), 3) == legacy.order
    assert ["state-2"] == list(book.marks(KEY))


@each_case("file", ["router-1.record", "router-1.ledger", "router-1.events"])
def test_damage(tmp_path: Path, capsys: Screen, file: str) -> None:
    """A damaged file is set aside with one line, and is as good as none."""
    directory = Path(tempfile.mkdtemp(dir=tmp_path))
    (directory / file).write_bytes(b"not ours")
    state_dir = opened(directory)

    assert (None, None, ()) == (state_dir.record(), state_dir.ledger(), state_dir.events())
    assert b"not ours" == (directory / f"{file}.damaged-1").read_bytes()
    assert ["state file set aside"] == [line["event"] for line in said(capsys)]


async def test_events(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Those of the router before this one stand after its own; there are a hundred, each of them bounded."""
    left, log = opened(tmp_path), EventLog(clock=lambda: 7.5)
    for number in range(MOST_EVENTS):
        log.record(Level.WARNING, f"event {number}", {"cause": "x" * 2 * LONGEST_FACT, "backend": "state-1"})
    with trio.move_on_after(3 * EVENTS_EVERY):
        await left.keep_events(log)
    found, next_log = opened(tmp_path), EventLog()
    next_log.record(Level.INFO, "started", {})
    next_log.prepend(found.events())

    assert log.events() == found.events()
    assert ["started", "event 99", "event 98"] == [each.what for each in next_log.events()[:3]]
    assert MOST_EVENTS == len(next_log.events())
    assert MOST_EVENTS * 2 * LONGEST_FACT > (tmp_path / "router-1.events").stat().st_size


def test_the_record_of_another_farm(tmp_path: Path, capsys: Screen) -> None:
    """It is set aside: what it says is about other servers."""
    (tmp_path / "router-1.record").write_bytes(write_record(Record("other", "x", 1, "w", 1, 0, 0.0, ())))
    state_dir = opened(tmp_path)

    assert state_dir.record() is None
    assert "belongs to the farm 'other'" in said(capsys)[0]["cause"]


async def test_a_file_that_cannot_be_written_any_more(tmp_path: Path, capsys: Screen) -> None:
    """It is said once, and each write is told of it."""
    state_dir = opened(tmp_path / "directory")
    (tmp_path / "directory").rmdir()
    for _ in range(3):
        with pytest.raises(FileUnusable):
            await state_dir.save(b"record")
    complaints = [line["event"] for line in said(capsys)]
    (tmp_path / "directory").mkdir()
    await state_dir.save(b"record")

    assert ["state cannot be kept"] == complaints
    assert b"record" == state_dir.record()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """One sentence says which key, which directory, and what was expected, in the words of `check`."""
    (tmp_path / "file").touch()

    settings = parse(f"backends: [{{name: a, address: 'a:1'}}]\nstate_dir: {tmp_path}/file")
    with pytest.raises(FileUnusable) as refused:
        open_state_dir(settings, Log())
    assert (
        f"state_dir: {tmp_path}/file is not a directory; expected a directory that can be, or "
        "`state_dir: none`"
    ) == str(refused.value)


# --- Files that are not what they should be --------------------------------------------------------------


def as_file(kind: str, version: int, plain: bytes) -> bytes:
    """A file of this kind and format that says this, with a right checksum."""
    content = zlib.compress(plain)
    checksum = xxh3_64_hexdigest(content).encode()
    return b"partitioner %b, format %d, checksum %b\n" % (kind.encode(), version, checksum) + content


@each_case(
    ("kind", "content", "sentence"),
    [
        ("record", b"", "is foreign or damaged"),
        ("record", write_record(RECORD)[:-1], "has a wrong checksum"),
        ("record", as_file("record", 2, b"{}"), "does not say what a record says"),
        ("record", write_record(RECORD).replace(b"format 2", b"format 99"), "has the format 99"),
        ("ledger", b"", "is foreign or damaged"),
        ("ledger", as_file("ledger", 1, b"{}"), "does not say what a ledger says"),
        ("ledger", write_record(RECORD), "is foreign or damaged"),
        (
            "events",
            b'{"at": 1, "level": "loud"}',
            "does not say what a file of events",
        ),
    ],
)
def test_why_a_file_was_set_aside(tmp_path: Path, kind: str, content: bytes, sentence: str) -> None:
    """The line says which file, why, and where it is now; the router starts all the same."""
    directory, event_log = Path(tempfile.mkdtemp(dir=tmp_path)), EventLog()
    (directory / f"router-1.{kind}").write_bytes(content)
    configure_log(as_json=True)
    StateDir(directory, "router-1", Log(event_log)).read()
    kept = directory / f"router-1.{kind}.damaged-1"
    (entry,) = event_log.events()

    assert content == kept.read_bytes()
    assert f"router-1.{kind}" in entry.facts["cause"]
    assert sentence in entry.facts["cause"]
    assert str(kept) == entry.facts["kept_as"]


async def test_a_damaged_ledger_does_not_cost_the_record(tmp_path: Path) -> None:
    """Each file stands for itself: without marks and locks, what is dirty is in doubt, and no more."""
    await opened(tmp_path).save(write_record(RECORD))
    (tmp_path / "router-1.ledger").write_bytes(b"not ours")
    state_dir = opened(tmp_path)

    assert (write_record(RECORD), None) == (state_dir.record(), state_dir.ledger())


async def test_another_router_in_the_same_directory(tmp_path: Path) -> None:
    """Files are named after their router, and those of others are left alone."""
    await opened(tmp_path).save(write_record(RECORD))
    other = StateDir(tmp_path, "router-2", Log())
    other.read()
    await other.save(b"of another one")

    assert write_record(RECORD) == opened(tmp_path).record()


# --- A crash, or a disk that fails -----------------------------------------------------------------------


async def test_a_crash_while_it_was_written(tmp_path: Path) -> None:
    """What was half written lies beside, and what stood there before still does."""
    await opened(tmp_path).save(write_record(RECORD))
    (tmp_path / "router-1.record.writing").write_bytes(write_record(RECORD)[:20])
    found = opened(tmp_path)
    before = found.record()
    later = write_record(replace(RECORD, serial=4))
    await found.save(later)

    assert write_record(RECORD) == before
    assert later == opened(tmp_path).record()


async def test_a_write_that_fails(tmp_path: Path, capsys: Screen) -> None:
    """The former record stands; marks that cannot be left are no reason not to stop."""
    state_dir = opened(tmp_path)
    await state_dir.save(write_record(RECORD))
    for kind in ("record", "ledger"):
        (tmp_path / f"router-1.{kind}.writing").mkdir()
    with pytest.raises(FileUnusable, match=r"router-1\.record cannot be written"):
        await state_dir.save(b"later")
    state_dir.save_ledger(b"later")
    complaints = [line["event"] for line in said(capsys)]
    for kind in ("record", "ledger"):
        (tmp_path / f"router-1.{kind}.writing").rmdir()

    assert ["state cannot be kept"] == complaints
    assert write_record(RECORD) == state_dir.record()
    assert (write_record(RECORD), None) == (opened(tmp_path).record(), opened(tmp_path).ledger())


async def test_a_disk_that_fails_again(tmp_path: Path, capsys: Screen) -> None:
    """It is said once each time that it begins to fail."""
    state_dir, beside = opened(tmp_path), tmp_path / "router-1.record.writing"
    for _ in range(2):
        beside.mkdir()
        for _ in range(2):
            with pytest.raises(FileUnusable):
                await state_dir.save(b"record")
        beside.rmdir()
        await state_dir.save(b"record")

    assert 2 * ["state cannot be kept"] == [line["event"] for line in said(capsys)]


async def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    """The keys of sessions are bearer secrets."""
    state_dir = opened(tmp_path / "state")
    await state_dir.save(write_record(RECORD))
    state_dir.save_ledger(write_legacy(marked(STATE_2), RECORD.order, NOW))
    files = [each for each in (tmp_path / "state").iterdir() if each.is_file()]

    assert ["router-1.ledger", "router-1.record"] == sorted(each.name for each in files)
    assert {0o600} == {stat.S_IMODE(each.stat().st_mode) for each in files}
    assert 0o700 == stat.S_IMODE((tmp_path / "state").stat().st_mode)


# --- Opened by a process ----------------------------------------------------------------------------------


def settings(directory: Path | None) -> Settings:
    where = "" if directory is None else f"state_dir: {directory}\n"
    return parse(f"name: router-1\nbackends: [{{name: a, address: 10.0.0.1:42424}}]\n{where}")


def test_one_that_is_in_use(tmp_path: Path) -> None:
    """Two routers of one name would write over each other: the second one does not start."""
    configure_log(as_json=True)
    first = open_state_dir(settings(tmp_path), Log())

    assert first is not None
    with pytest.raises(FileUnusable, match="in use"):
        open_state_dir(settings(tmp_path), Log())


def test_a_default_one_that_is_in_use(
    tmp_path: Path, capsys: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not asked for, so it is a warning, and nothing is kept there."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    configure_log(as_json=True)
    first = open_state_dir(settings(None), Log())
    second = open_state_dir(settings(None), Log())

    assert first is not None
    assert second is None
    assert ["state is not kept"] == [line["event"] for line in said(capsys)]


def test_a_refused_one_is_not_held(tmp_path: Path) -> None:
    """A directory that cannot be used is not locked either: what is mended can be opened at once."""
    configure_log(as_json=True)
    (tmp_path / "router-1.record.writing").mkdir()
    with pytest.raises(FileUnusable):
        open_state_dir(settings(tmp_path), Log())
    (tmp_path / "router-1.record.writing").rmdir()

    assert open_state_dir(settings(tmp_path), Log()) is not None
