"""Has this machine what `serve` will need? For `partitioner check --connect`: ports, files, and state_dir.

What is tried is given back at once. A port that is in use is no trouble by itself: it may be the router that
runs here already, and whose new configuration is checked.
"""

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from partitioner.config import Settings
from partitioner.daemon.policies import connections_wanted
from partitioner.daemon.state_dir import state_place
from partitioner.membership.backend import Address


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that `serve` needs."""

    name: str  # the configuration's key
    finding: str
    keeps_from_serving: bool = False


def needs_of(settings: Settings) -> list[Need]:
    """What a router that this user starts here will meet with."""
    return [
        *(_port("listen", address) for address in settings.listen),
        _port("admin", settings.admin),
        _files(settings),
        *_state(settings),
    ]


def _port(key: str, address: Address) -> Need:
    reason = _why_not_ours(address)
    if reason is None:
        return Need(key, f"good: {address} is free")
    if reason.errno == errno.EADDRINUSE:
        return Need(key, f"{address} is in use: by a router that runs already, or by another program")
    return Need(key, f"{address} cannot be listened on: {reason.strerror or reason}", keeps_from_serving=True)


def _why_not_ours(address: Address) -> OSError | None:
    """What comes of listening there, if that fails."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, place in found:
            with closing(socket.socket(family, kind, protocol)) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind(place)
                listener.listen(1)
    except OSError as error:
        return error
    return None


def _files(settings: Settings) -> Need:
    wanted = connections_wanted(settings, len(settings.weights()))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitted = wanted if most == resource.RLIM_INFINITY else wanted.fitted(most)
    if fitted == wanted:
        return Need("limits", f"good: {wanted.files} files may be open")
    return Need(
        "limits",
        f"{most} files may be open, and {wanted.files} are wanted: {fitted.clients} clients are taken, and "
        f"{fitted.per_backend} connections to each server; raise LimitNOFILE of the unit, or `ulimit -n`",
    )


def _state(settings: Settings) -> Iterator[Need]:
    place = state_place(settings)
    if place is None:
        return
    reason = place.why_unusable()
    if reason is None:
        yield Need("state_dir", f"good: {place.directory} can be written to")
    else:
        yield Need("state_dir", reason, keeps_from_serving=place.is_asked_for)
