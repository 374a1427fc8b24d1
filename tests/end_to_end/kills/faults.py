"""What happens to the processes of a site; each leaves everything running again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.site import Site

DOWN_FOR = 1.5
FROZEN_ON = 1.0
"""Seconds for which a server stays dead, and stays frozen after the router has noticed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of thing that goes wrong, or that operators do."""

    name: str
    happen: Callable[[Site, str, float], Awaitable[None]]
    """Is told the site, the server that it happens to, and T_max in seconds."""

    longest_outage: Callable[[HealthPolicy], float | None] = lambda policy: None
    """Seconds for which one session may be out of reach, if there is a promise."""

    def __str__(self) -> str:
        return self.name


async def _kill(site: Site, name: str, longest_life: float) -> None:
    here = site.end_of_log
    site.kill(name)
    await trio.sleep(DOWN_FOR)
    await site.start_server(name)
    await site.log_says(f"backend is back.*backend={name}.*starts empty", here)


async def _freeze(site: Site, name: str, longest_life: float) -> None:
    here = site.end_of_log
    site.freeze(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await trio.sleep(FROZEN_ON)
    site.thaw(name)
    await site.log_says(f"backend is back.*backend={name}.*still holds", here)


async def _restart(site: Site, name: str, longest_life: float) -> None:
    here = site.end_of_log
    await site.stop(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await site.start_server(name)
    await site.log_says(f"backend is back.*backend={name}.*still holds", here)


async def _kill_router(site: Site, name: str, longest_life: float) -> None:
    site.kill_router()
    await trio.sleep(DOWN_FOR)
    await site.start_router()


async def _join(site: Site, name: str, longest_life: float) -> None:
    newcomer = site.new_name()
    await site.start_server(newcomer)
    here = site.end_of_log
    site.intents[newcomer] = "ready"
    await site.reload()
    await site.log_says(f"backend is up.*backend={newcomer}", here)


async def _drain_and_kill(site: Site, name: str, longest_life: float) -> None:
    """A drain has ended when the longest life has passed: all that was touched has moved by then."""
    site.intents[name] = "drain"
    await site.reload()
    await trio.sleep(longest_life)
    here = site.end_of_log
    site.kill(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await site.start_server(name)
    await site.log_says(f"backend is back.*backend={name}.*starts empty", here)
    site.intents[name] = "ready"
    await site.reload()


def _refused(policy: HealthPolicy) -> float:
    """A closed port is proof: three refusals come one after the other."""
    return 2.0


def _silent(policy: HealthPolicy) -> float:
    return policy.fall * policy.interval + policy.timeout + 1.0


KILL = Fault("SIGKILL", _kill, _refused)
FREEZE = Fault("SIGSTOP, then SIGCONT", _freeze, _silent)
RESTART = Fault("SIGTERM and started again", _restart, _refused)
KILL_ROUTER = Fault("router killed and started again", _kill_router)
JOIN = Fault("join by reload", _join, _refused)
DRAIN_AND_KILL = Fault("drain, then SIGKILL", _drain_and_kill, _refused)

IN_TURN = (KILL, FREEZE, KILL, FREEZE, KILL, KILL_ROUTER, FREEZE, RESTART, JOIN, DRAIN_AND_KILL)
"""What a long run goes through."""
