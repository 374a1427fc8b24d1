"""The log's queue, with a pipe that its reader does not read."""

import os
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from partitioner.ops.log_queue import MOST_BYTES, LogQueue, lines_dropped, writer_to

PATIENCE = 60.0
"""Seconds that the thread may take for what it does at once."""

LINE = "x" * 1023 + "\n"


class StalledReader:
    """The queue of a log whose reader can stop reading, and begin again."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.told = Event()
        self.queue = LogQueue(writer_to(self.write_end), self._tell)
        self.queue.start()

    def _tell(self, count: int) -> None:
        self.queue.put(f"{count} dropped\n")
        self.told.set()

    def read(self, count: int) -> list[str]:
        """So many lines."""
        with open(self.read_end, closefd=False) as reader:
            return [reader.readline() for _ in range(count)]

    def close(self) -> None:
        """Read on to the end, so that the queue's thread can end."""
        reading = Thread(target=self._read_to_the_end)
        reading.start()
        self.queue.close(PATIENCE)
        os.close(self.write_end)
        reading.join()
        os.close(self.read_end)

    def _read_to_the_end(self) -> None:
        while os.read(self.read_end, 65_536):
            pass


@pytest.fixture
def stalled() -> Iterator[StalledReader]:
    stalled = StalledReader()
    yield stalled
    stalled.close()


def put_until_full(queue: LogQueue) -> tuple[int, int]:
    """Put lines until ten are dropped: how many were kept, and how many dropped."""
    kept = dropped = 0
    while dropped < 10:
        if queue.put(LINE):
            kept += 1
        else:
            dropped += 1
    return kept, dropped


def test_lines_are_written_in_order(stalled: StalledReader) -> None:
    """All of them, whole."""
    for number in range(100):
        stalled.queue.put(f"line {number}\n")

    assert [f"line {number}\n" for number in range(100)] == stalled.read(100)


def test_who_writes_never_waits_for_the_reader(stalled: StalledReader) -> None:
    """Beyond the pipe, the queue holds so many bytes; further lines are dropped and counted."""
    before = lines_dropped()
    kept, dropped = put_until_full(stalled.queue)

    assert before + dropped <= lines_dropped()
    assert MOST_BYTES - len(LINE) <= kept * len(LINE) <= MOST_BYTES + 1_048_576


def test_what_was_dropped_is_told_when_the_reader_reads_on(stalled: StalledReader) -> None:
    """After the lines that were kept, none of which is lost."""
    kept, dropped = put_until_full(stalled.queue)
    written = stalled.read(kept + 1)

    assert stalled.told.wait(PATIENCE)
    assert kept == written.count(LINE)
    assert [f"{dropped} dropped\n"] == [line for line in written if line != LINE]


def test_the_end_waits_for_what_is_queued(stalled: StalledReader) -> None:
    """The last lines are those that are wanted most."""
    stalled.queue.put("the last one\n")
    stalled.queue.close(PATIENCE)

    assert ["the last one\n"] == stalled.read(1)


def test_the_end_does_not_wait_for_a_reader_that_does_not_read(stalled: StalledReader) -> None:
    """The process is to stop."""
    put_until_full(stalled.queue)
    stalled.queue.close(0.01)


def test_a_reader_that_has_died_ends_nothing() -> None:
    """Its lines are lost, and the next ones as well."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    queue = LogQueue(writer_to(write_end), lambda count: None)
    queue.start()
    for _ in range(3):
        queue.put(LINE)
    queue.close(PATIENCE)
    os.close(write_end)

    assert "0 lines wait" in repr(queue)
