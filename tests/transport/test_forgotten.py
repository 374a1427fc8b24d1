"""Connections that the network forgets: what was sent over them may be carried out yet (design.md 6)."""

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendNotAtFault, Phase
from partitioner.membership.backend import Address
from partitioner.membership.entry import WRITE
from partitioner.protocol.messages import Operation
from partitioner.transport.channel import dial_tcp
from partitioner.transport.half_closed import PATIENCE
from partitioner.transport.sockets import GIVE_UP_AFTER
from tests.doubles.backends import Hear, HearEnd, Say, greeting, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import CONTENT, GET, SET, request
from tests.transport.upstreams import Setting

FOUND = ok(CONTENT)


async def test_a_backend_that_does_not_acknowledge_is_given_up_in_time() -> None:
    """Connections to backends are broken by the kernel when nothing gets through for three seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = await dial_tcp(Address(*server.getsockname()))
        connected = channel.maybe_detach()
        assert connected is not None
        with connected:
            timeout = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert GIVE_UP_AFTER * 1000 == timeout


@pytest.mark.parametrize("asked", [GET, SET], ids=["get", "set"])
async def test_the_backend_is_not_to_blame(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """That nothing gets through says something of the connection alone, also where it had been kept idle."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(FOUND), Hear(asked)])
    await setting.ask(GET)
    failures = []

    async def fail() -> None:
        failures.append(await setting.fail(asked))

    async with trio.open_nursery() as asking:
        asking.start_soon(fail)
        await wait_all_tasks_blocked()
        setting.backend.streams[0].forget()

    assert [(BackendNotAtFault, Phase.READING)] == failures


async def test_what_was_sent_may_still_be_carried_out(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A write over such a connection is not worked off with it: its mark stays for all the patience."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(b"before")
    farm.servers[0].freeze()
    nursery.start_soon(farm.save, b"late")
    await wait_all_tasks_blocked()
    for stream in farm.servers[0].connections:
        stream.forget()
    farm.servers[0].thaw()
    await trio.sleep(PATIENCE - 10)
    marks = farm.ledger.marks(farm.key)
    during = {name: mark.open for name, mark in marks.items() if mark.reason == WRITE}
    await trio.sleep(20)

    assert {farm.names[0]: 1} == during
    assert set() == farm.marked


async def test_gets_go_on_over_a_new_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What may be asked twice is answered, and the other old connections are not used any more."""
    farm = MemoryFarm(nursery, 1, copies=1)
    await farm.start()
    await farm.save(CONTENT)
    for stream in farm.servers[0].connections:
        stream.forget()
    answer = await farm.ask(GET)

    assert answer.endswith(CONTENT)
    assert 0 == farm.router.roster.pool.members[farm.names[0]].record.failures


async def test_a_new_connection_is_answered_while_old_ones_are_silent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Idle connections as old as the silent one are given no more requests."""
    other = request(Operation.GET, b"%2fapp%2fother")
    setting = Setting(nursery, [*greeting(), Hear(GET), HearEnd()], [*greeting(), Hear(other), Say(FOUND)])
    nursery.start_soon(setting.fail, GET)
    await wait_all_tasks_blocked()
    await setting.ask(other)
    before = setting.upstream.idle
    setting.upstream.note_probed(trio.current_time() + 0.5)
    young = setting.upstream.idle
    setting.upstream.note_probed(trio.current_time() + 1.5)

    assert (1, 1, 0) == (before, young, setting.upstream.idle)
