"""Does each `admin` address lead to the server that it is written at? For `partitioner check --connect`.

Each server is given an item of its own, under a random key that is nobody's session, and must list it. Where
it does not, the items of the others say whose address it is.
"""

from collections.abc import Mapping, Sequence
from secrets import token_hex

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address, Backend
from partitioner.protocol.target import encode_target, server_key
from partitioner.routing.inventory import ListSessions
from partitioner.transport.channel import Dial
from partitioner.transport.checkup import remove_item, store_item


async def find_wrong_admins(
    backends: Sequence[Backend], dial: Dial, list_sessions: ListSessions, within: float
) -> dict[str, str]:
    """What is wrong with the admin addresses of these servers, by name; those that are right are left out.

    Nothing is left behind on them, unless one stops answering: then for a minute.
    """
    targets: dict[str, bytes] = {}
    listed = [each for each in backends if each.admin is not None]
    for backend in listed:
        target = encode_target(f"/partitioner-check/{token_hex(12)}")
        if await store_item(backend, dial, target, within):
            targets[backend.name] = target
    try:
        return await _troubles(listed, targets, list_sessions)
    finally:
        for backend in listed:
            if backend.name in targets:
                await remove_item(backend, dial, targets[backend.name], within)


async def _troubles(
    backends: Sequence[Backend], targets: Mapping[str, bytes], list_sessions: ListSessions
) -> dict[str, str]:
    troubles = {}
    for backend in backends:
        if backend.name not in targets or backend.admin is None:
            continue
        try:
            if not await _lists(backend.admin, targets[backend.name], list_sessions):
                troubles[backend.name] = await _whose(backend.admin, backends, targets, list_sessions)
        except ListingFailed as error:
            troubles[backend.name] = f"its sessions cannot be listed: {error}"
    return troubles


async def _whose(
    admin: Address, backends: Sequence[Backend], targets: Mapping[str, bytes], list_sessions: ListSessions
) -> str:
    """Say that an admin address is another server's, and which one's if that is in the pool."""
    for other in backends:
        if other.name in targets and await _lists(admin, targets[other.name], list_sessions):
            return f"its admin address {admin} is that of {other.name}; are the two swapped?"
    return f"its admin address {admin} is that of another server, which is not in this configuration"


async def _lists(admin: Address, target: bytes, list_sessions: ListSessions) -> bool:
    """Whether this item is listed there. Raises ListingFailed."""
    key = server_key(target)
    page = await list_sessions(admin, key)
    return bool(page.listed) and page.listed[0].key == key
