"""The key gate: one exchange of a key at a time, in the order in which they came (design.md 6)."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.routing.key_gate import KeyGate
from tests.tables import each_case

KEY, OTHER = b"/app/one", b"/app/another"


async def pass_through(gate: KeyGate, key: bytes, log: list[str], name: str, duration: float = 1.0) -> None:
    """Enter, stay for a while, and leave."""
    await gate.enter(key)
    try:
        log.append(name)
        await trio.sleep(duration)
    finally:
        gate.leave(key)


async def test_a_free_key_is_entered_at_once() -> None:
    """Of a key that no other exchange waits for the gate costs nothing, not even a turn of the scheduler."""
    gate = KeyGate()
    with trio.CancelScope() as scope:
        scope.cancel()
        await gate.enter(KEY)
    was_free = gate.is_free(KEY)
    gate.leave(KEY)

    assert (False, True) == (was_free, gate.is_free(KEY))


async def test_first_come_first_served(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Requests of one key pass in the order in which they came, one after another."""
    gate = KeyGate()
    log: list[str] = []
    async with trio.open_nursery() as waiting:
        for name in ("first", "second", "third"):
            waiting.start_soon(pass_through, gate, KEY, log, name)
            await wait_all_tasks_blocked()

    assert (["first", "second", "third"], 3.0) == (log, trio.current_time())


async def test_other_keys_do_not_wait(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The gate is one key's: others pass beside it."""
    gate = KeyGate()
    log: list[str] = []
    async with trio.open_nursery() as waiting:
        waiting.start_soon(pass_through, gate, KEY, log, "one")
        waiting.start_soon(pass_through, gate, OTHER, log, "another")

    assert 1.0 == trio.current_time()


async def test_nobody_overtakes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who comes in the very moment in which another leaves is behind those who have waited."""
    gate = KeyGate()
    log: list[str] = []
    await gate.enter(KEY)
    async with trio.open_nursery() as waiting:
        waiting.start_soon(pass_through, gate, KEY, log, "waited")
        await wait_all_tasks_blocked()
        gate.leave(KEY)
        await pass_through(gate, KEY, log, "came later")

    assert ["waited", "came later"] == log


async def test_who_gives_up_waiting_is_skipped(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request whose time is over while it waits leaves the queue; the others move up."""
    gate = KeyGate()
    log: list[str] = []
    async with trio.open_nursery() as waiting:
        waiting.start_soon(pass_through, gate, KEY, log, "first")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            waiting.start_soon(pass_through, gate, KEY, log, "third")
            await gate.enter(KEY)
        await wait_all_tasks_blocked()

    assert (["first", "third"], 0) == (log, len(gate))


async def test_who_gives_up_in_the_moment_of_its_turn_lets_the_next_pass(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A turn that comes together with the end of patience is passed on, and not lost."""
    gate = KeyGate()
    log: list[str] = []
    await gate.enter(KEY)
    impatience = trio.CancelScope()

    async def wait_impatiently() -> None:
        with impatience:
            await gate.enter(KEY)
            log.append("impatient")

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait_impatiently)
        await wait_all_tasks_blocked()
        waiting.start_soon(pass_through, gate, KEY, log, "next")
        await wait_all_tasks_blocked()
        impatience.cancel()
        gate.leave(KEY)  # before the cancelled one has had a chance to run

    assert (["next"], 0) == (log, len(gate))


@each_case("count", [1, 2, 5])
async def test_nothing_is_left_behind(nursery: trio.Nursery, autojump_clock: MockClock, count: int) -> None:
    """Of a key that is not busy the gate remembers nothing."""
    gate = KeyGate()
    log: list[str] = []
    async with trio.open_nursery() as waiting:
        for number in range(count):
            waiting.start_soon(pass_through, gate, KEY, log, str(number))
        await wait_all_tasks_blocked()
        while_busy = len(gate)

    assert (1, 0) == (while_busy, len(gate))
