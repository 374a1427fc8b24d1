"""Memory for bodies: one bound, given out in order, and given back once (design.md 6)."""

from random import Random

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.limits import BodyBudget
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target
from tests.tables import each_case

LARGE = b"x" * (4 * HELD_BODY)


async def hold(memory: BodyBudget, count: int, log: list[int], duration: float = 1.0) -> None:
    body = memory.hold(count)
    try:
        await body.grow(count)
        log.append(count)
        await trio.sleep(duration)
    finally:
        body.give_back()


async def test_up_to_the_bound_nobody_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """So many bytes are there, to the last one."""
    memory = BodyBudget(100)
    await memory.hold(60).grow(60)
    await memory.hold(40).grow(40)

    assert (100, 0.0) == (memory.used, trio.current_time())


async def test_beyond_the_bound_one_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the limit no client is refused: a request that needs more waits until others have finished."""
    memory = BodyBudget(100)
    log: list[int] = []
    async with trio.open_nursery() as waiting:
        waiting.start_soon(hold, memory, 60, log)
        await wait_all_tasks_blocked()
        waiting.start_soon(hold, memory, 41, log)

    assert ([60, 41], 2.0, 0) == (log, trio.current_time(), memory.used)


async def test_a_large_one_is_not_overtaken_for_ever(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Memory is given out in the order in which it is asked for, else a large body would starve."""
    memory = BodyBudget(100)
    log: list[int] = []
    async with trio.open_nursery() as waiting:
        for count in (60, 100, 1):
            waiting.start_soon(hold, memory, count, log)
            await wait_all_tasks_blocked()

    assert [60, 100, 1] == log


async def test_several_small_ones_follow_a_large_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What a large body gives back serves all that fit in."""
    memory = BodyBudget(100)
    log: list[int] = []
    async with trio.open_nursery() as waiting:
        for count in (100, 30, 30, 30):
            waiting.start_soon(hold, memory, count, log)
            await wait_all_tasks_blocked()

    assert 2.0 == trio.current_time()


async def test_who_gives_up_lets_those_behind_have_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client that leaves while it waits frees the way for smaller ones behind it."""
    memory = BodyBudget(100)
    log: list[int] = []
    async with trio.open_nursery() as waiting:
        waiting.start_soon(hold, memory, 60, log, 10.0)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            waiting.start_soon(hold, memory, 30, log)
            await memory.hold(100).grow(100)
        await wait_all_tasks_blocked()
        at_once = list(log)

    assert ([60, 30], 0) == (at_once, memory.used)


async def test_who_gives_up_in_the_moment_in_which_it_is_served(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What is given out to a request that gives up in that very moment goes back."""
    memory = BodyBudget(100)
    first = memory.hold(100)
    await first.grow(100)
    impatience = trio.CancelScope()

    async def wait_impatiently() -> None:
        body = memory.hold(100)
        try:
            with impatience:
                await body.grow(100)
        finally:
            body.give_back()

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait_impatiently)
        await wait_all_tasks_blocked()
        impatience.cancel()
        first.give_back()

    assert 0 == memory.used


async def test_what_is_told_reserves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body of which little has come leaves room for one that is whole."""
    memory = BodyBudget(100)
    await memory.hold(100).grow(1)
    await memory.hold(99).grow(99)

    assert (100, 0.0) == (memory.used, trio.current_time())


async def test_two_that_are_half_here_do_not_wait_for_each_other(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The second one is let in when the first has come to its end."""
    memory = BodyBudget(100)
    first, second = memory.hold(100), memory.hold(100)
    await first.grow(50)
    nursery.start_soon(second.grow, 50)
    await wait_all_tasks_blocked()
    await first.grow(50)
    held = second.held
    first.give_back()
    await wait_all_tasks_blocked()

    assert (0, 50) == (held, second.held)


@each_case("seed", range(20))
async def test_bodies_of_any_sizes_all_come_to_their_ends(seed: int, autojump_clock: MockClock) -> None:
    """In whatever pieces, with some that break off; never more is held than the limit."""
    rng, memory, most, done = Random(seed), BodyBudget(1000), [0], [0]

    async def come_in() -> None:
        body = memory.hold(rng.randrange(1, 1001))
        left = body.told
        try:
            while left and rng.random() < 0.98:
                await trio.sleep(rng.random())
                piece = rng.randrange(1, min(left, 300) + 1)
                await body.grow(piece)
                left -= piece
                most[0] = max(most[0], memory.used)
        finally:
            body.give_back()
            done[0] += 1

    with trio.fail_after(10_000):
        async with trio.open_nursery() as coming:
            for _ in range(60):
                coming.start_soon(come_in)

    assert (60, 0, True) == (done[0], memory.used, 500 < most[0] <= 1000)


# --- bodies of clients ---


async def router_of_two(nursery: trio.Nursery, memory: int) -> MemoryRouter:
    router = MemoryRouter(nursery, 2, copies=2, body_memory=memory)
    for each in router.backends:
        MemoryStateServer(router.network, each.address)
    await router.probe_on()
    return router


async def test_a_held_body_is_given_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The memory of a body is free again when it and its copies are written."""
    router = await router_of_two(nursery, len(LARGE))
    answers = [
        await router.client().ask(request(Operation.SET, target(number), body=LARGE)) for number in range(3)
    ]

    assert [b"200 OK"] * 3 == [answer[:6] for answer in answers]
    assert 0 == router.memory.used


async def test_reading_pauses_at_the_bound(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While others hold all the memory a client's body is not read; it is answered in its turn."""
    router = await router_of_two(nursery, len(LARGE) + 1)
    slow, waiting = router.client(), router.client()
    first, second = (request(Operation.SET, target(number), body=LARGE) for number in (1, 2))
    await slow.send(first[:-1])
    await wait_all_tasks_blocked()
    await waiting.send(second[:HELD_BODY])
    await trio.sleep(3)
    during = router.memory.used
    nursery.start_soon(waiting.send, second[HELD_BODY:])
    await slow.send(first[-1:])

    assert (await waiting.receive_answer())[:6] == b"200 OK"
    assert (len(LARGE) - 1, 3.0) == (during, trio.current_time())


async def test_a_body_that_breaks_off_is_given_back_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client that leaves in the middle of its body gives back what it had, and not more."""
    router = await router_of_two(nursery, 10 * len(LARGE))
    client = router.client()
    await client.send(request(Operation.SET, target(1), body=LARGE)[:-1])
    await wait_all_tasks_blocked()
    client.reset()
    await wait_all_tasks_blocked()

    assert 0 == router.memory.used


async def test_who_leaves_while_it_waits_for_memory_gives_nothing_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What was never given out does not come back."""
    router = await router_of_two(nursery, len(LARGE))
    slow, waiting = router.client(), router.client()
    await slow.send(request(Operation.SET, target(1), body=LARGE)[:-1])
    await wait_all_tasks_blocked()
    await waiting.send(request(Operation.SET, target(2), body=LARGE)[:HELD_BODY])
    await wait_all_tasks_blocked()
    await trio.sleep(8)

    assert b"" == await waiting.receive_rest()
    assert 0 == router.memory.used  # by now the slow one's time is over as well
