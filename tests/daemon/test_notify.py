"""What is said to a service manager, and that nothing about it can hurt."""

import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from partitioner.daemon.notify import STATUS_INTERVAL, Notifier, take_notifier
from tests.tables import each_case


class Ear:
    """A notify socket that reads only when it is asked."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages since this was last asked."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@each_case(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "/run/x"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}, 30.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "-1"}, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
    ],
)
def test_the_environment_is_taken(environment: dict[str, str], watchdog: float | None) -> None:
    """It says who listens and how often the watchdog wants food; children inherit nothing of it."""
    given = {**environment, "HOME": "/"}
    notifier = take_notifier(given)

    assert watchdog == notifier.watchdog
    assert {"HOME": "/"} == given


@each_case("address", ["", "relative", "vsock:2:1", "/no", "@no", "/" * 500, "/\0x"])
async def test_where_nobody_listens_nothing_happens(address: str, autojump_clock: MockClock) -> None:
    """Errors of the socket do not matter."""
    notifier = take_notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    notifier.tell_ready()
    with notifier.reloading():
        pass
    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.keep_telling, lambda: "all is well")
            nursery.start_soon(notifier.feed_watchdog)
    notifier.tell_stopping("the end")


async def test_a_status_is_told_when_it_changes(tmp_path: Path, autojump_clock: MockClock) -> None:
    """At most once a second, and never after the end has begun."""
    ear, told = Ear(tmp_path / "notify"), iter(["one", "one", "two", "two", "one\nREADY=1", "late"])
    notifier = Notifier(str(tmp_path / "notify"))
    with trio.move_on_after(STATUS_INTERVAL * 4.5):
        await notifier.keep_telling(lambda: next(told))
    notifier.tell_stopping("the end")
    notifier.tell_status("late")
    notifier.tell_ready()
    notifier.tell_stopping("writing")
    heard = ear.heard()
    ear.close()

    expected = ["STATUS=one", "STATUS=two", "STATUS=one READY=1", "STOPPING=1\nSTATUS=the end"]
    assert [*expected, "STOPPING=1\nSTATUS=writing"] == heard


def test_a_reload_is_over_however_it_went(tmp_path: Path) -> None:
    """A service manager that waits for the end of a reload is not left waiting."""
    ear = Ear(tmp_path / "notify")
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.tell_ready()
    with notifier.reloading():
        pass
    with pytest.raises(ZeroDivisionError), notifier.reloading():
        raise ZeroDivisionError("ours")
    heard = [message.partition("\n")[0] for message in ear.heard()]
    ear.close()

    assert ["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1"] == heard


def test_a_reload_before_and_after_is_not_told(tmp_path: Path) -> None:
    """READY at the end of one would say that clients are served, which is not so yet, or not any more."""
    ear = Ear(tmp_path / "notify")
    notifier = Notifier(str(tmp_path / "notify"))
    with notifier.reloading():
        pass
    notifier.tell_ready()
    with notifier.reloading():
        notifier.tell_stopping("the end")
    with notifier.reloading():
        pass
    heard = [message.partition("\n")[0] for message in ear.heard()]
    ear.close()

    assert ["READY=1", "RELOADING=1", "STOPPING=1"] == heard


async def test_the_watchdog_is_fed_twice_in_its_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    """One meal that comes late does no harm."""
    ear = Ear(tmp_path / "notify")
    notifier = Notifier(str(tmp_path / "notify"), watchdog=30.0)
    with trio.move_on_after(59):
        await notifier.feed_watchdog()
    heard = ear.heard()
    ear.close()

    assert ["WATCHDOG=1"] * 4 == heard


async def test_what_was_not_taken_is_told_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A service manager that comes late, or is restarted, hears how things are."""
    notifier = Notifier(str(tmp_path / "notify"))
    notifier.tell_status("all is well")
    ear = Ear(tmp_path / "notify")
    notifier.tell_status("all is well")
    heard = ear.heard()
    ear.close()

    assert ["STATUS=all is well"] == heard


def test_a_full_socket_holds_nobody_up(tmp_path: Path) -> None:
    """A supervisor that does not listen any more misses something."""
    ear = Ear(tmp_path / "notify")
    notifier = Notifier(str(tmp_path / "notify"))
    for number in range(5000):
        notifier.tell_status(str(number))
    heard = ear.heard()
    ear.close()

    assert 0 < len(heard) < 5000
