"""Is a backend of a router the router itself? The file alone does not tell where its host is a name.

A router that is its own backend asks itself for the canary and refuses that. Everything that an operator sees
then speaks of a state server that is ill. `config.rules` finds it where both addresses are spelt alike.
"""

import socket

import trio

from partitioner.config import Settings
from partitioner.errors import OutOfFiles, Problem, Unreachable
from partitioner.membership.backend import Address
from partitioner.transport.channel import hosts_of

PATIENCE = 1.0
"""Seconds for all look-ups together: a router starts although its name servers do not answer."""

_ANY_PORT = 9  # nothing is sent there


async def backends_that_lead_here(settings: Settings) -> list[Problem]:
    """Every address of a backend that leads to where this router listens, as a problem of the configuration.

    What cannot be looked up within PATIENCE is passed over.
    """
    found: dict[tuple[int, str], Problem] = {}

    async def examine(path: tuple[int, str], there: Address, here: Address, what: str) -> None:
        if await _leads_to(there, here):
            position, key = path
            message = f"{str(there)!r} is {what}; expected a state server"
            found[path] = Problem(f"backends[{position}].{key}", message)

    ours = (
        *((each, "where the router itself listens") for each in settings.listen),
        (settings.admin, "the router's admin address"),
    )
    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as at_once:
            for position, backend in enumerate(settings.pool_backends()):
                for key, there in (("address", backend.address), ("admin", backend.admin)):
                    for here, what in ours:
                        if there is not None and there.port == here.port != 0:
                            at_once.start_soon(examine, (position, key), there, here, what)
    return [found[path] for path in sorted(found)]


async def _leads_to(there: Address, here: Address) -> bool:
    try:
        hosts = await hosts_of(there)
        if here.is_everywhere:
            return any(map(is_own, hosts))
        return not hosts.isdisjoint(await hosts_of(here))
    except (Unreachable, OutOfFiles):
        return False


def is_own(host: str) -> bool:
    """Whether an IP address is one of this machine: then the system connects to it from that same address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probing:
        try:
            probing.connect((host, _ANY_PORT))
        except OSError:
            return False
        return Address(host, 1).is_loopback or bool(probing.getsockname()[0] == host)
