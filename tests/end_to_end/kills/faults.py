"""What happens to the processes of a site; each leaves everything running again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.load import Load
from tests.end_to_end.kills.site import LOOPBACK, Site

DOWN_FOR = 1.5
FROZEN_ON = 2.5
"""Seconds for which a server stays dead, and stays frozen after the router has noticed: long enough for
many saves to pass it by."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of thing that goes wrong, or that operators do."""

    name: str
    happen: Callable[[Site, Load, str], Awaitable[None]]
    """Is told the site, its users, and the server that it happens to."""

    longest_outage: Callable[[HealthPolicy], float | None] = lambda policy: None
    """Seconds for which one session may be out of reach, if there is a promise."""

    def __str__(self) -> str:
        return self.name


async def _kill(site: Site, load: Load, name: str) -> None:
    here = site.end_of_log
    site.kill(name)
    await trio.sleep(DOWN_FOR)
    await site.start_server(name)
    await site.log_says(f"backend is back.*backend={name}.*starts empty", here)


async def _freeze(site: Site, load: Load, name: str) -> None:
    here = site.end_of_log
    site.freeze(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await trio.sleep(FROZEN_ON)
    site.thaw(name)
    await site.log_says(_answers_again(name), here)


async def _restart(site: Site, load: Load, name: str) -> None:
    here = site.end_of_log
    await site.stop(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await site.start_server(name)
    await site.log_says(_answers_again(name), here)


async def _kill_router(site: Site, load: Load, name: str) -> None:
    site.kill_router()
    await trio.sleep(DOWN_FOR)
    await site.start_router()


async def _restart_router(site: Site, load: Load, name: str) -> None:
    await site.stop_router()
    await site.start_router()


async def _kill_router_while_away(site: Site, load: Load, name: str) -> None:
    """No router that runs knows what the frozen server has missed."""
    await _freeze_until_missed(site, name)
    site.kill_router()
    await site.start_router()
    await trio.sleep(FROZEN_ON)
    here = site.end_of_log
    site.thaw(name)
    await site.log_says(f"backend is (back|up|recovering).*backend={name}", here)


async def _kill_router_during_repair(site: Site, load: Load, name: str) -> None:
    await _freeze_until_missed(site, name)
    await _thaw_until_back(site, name)
    site.kill_router()
    await site.start_router()


async def _stop_router_during_repair(site: Site, load: Load, name: str) -> None:
    await _freeze_until_missed(site, name)
    await _thaw_until_back(site, name)
    await _restart_router(site, load, name)


async def _take_over(site: Site, load: Load, name: str) -> None:
    await site.take_over()
    await load.wait_for_rounds(1)


async def _take_over_during_repair(site: Site, load: Load, name: str) -> None:
    await _freeze_until_missed(site, name)
    await _thaw_until_back(site, name)
    await site.take_over()


async def _rename(site: Site, load: Load, name: str) -> None:
    site.rename(name)
    await _reload_and_use(site, load)


async def _rename_while_away(site: Site, load: Load, name: str) -> None:
    """A server has missed changes when it comes back under another name."""
    await _freeze_until_missed(site, name)
    new_name = site.rename(name)
    await site.reload()
    here = site.end_of_log
    site.thaw(new_name)
    # Where a probe by its former name comes first, that one is back, and is found at the new one next.
    await site.log_says(f"backend (is (back|up|recovering)|has moved) .*backend={new_name}", here)


async def _respell(site: Site, load: Load, name: str) -> None:
    """The other of two ways to write its address."""
    site.hosts[name] = LOOPBACK if site.hosts.get(name) == "localhost" else "localhost"
    await _reload_and_use(site, load)


async def _swap(site: Site, load: Load, name: str) -> None:
    site.swap(name, next(each for each in site.intents if each != name))
    await _reload_and_use(site, load)


async def _reweigh(site: Site, load: Load, name: str) -> None:
    site.weights[name] = 3.0 if site.weights.get(name, 1.0) == 1.0 else 1.0
    await _reload_and_use(site, load)


async def _reload_and_use(site: Site, load: Load) -> None:
    """Reload, and have every session touched before anything else happens."""
    await site.reload()
    await load.wait_for_rounds(1)


async def _freeze_until_missed(site: Site, name: str) -> None:
    here = site.end_of_log
    site.freeze(name)
    await site.log_says(f"backend is down.*backend={name}", here)
    await trio.sleep(FROZEN_ON)


def _answers_again(name: str) -> str:
    """What the log says of a server with all that it held: a router that began meanwhile may doubt it."""
    return f"backend is (back.*backend={name}.*still holds|recovering.*backend={name})"


async def _thaw_until_back(site: Site, name: str) -> None:
    here = site.end_of_log
    site.thaw(name)
    await site.log_says(_answers_again(name), here)


async def _join(site: Site, load: Load, name: str) -> None:
    newcomer = site.new_name()
    await site.start_server(newcomer)
    here = site.end_of_log
    site.intents[newcomer] = "ready"
    await site.reload()
    await site.log_says(f"backend is up.*backend={newcomer}", here)


async def _drain_and_kill(site: Site, load: Load, name: str) -> None:
    """A drain has ended when everything has moved; what is locked when it is touched moves the next time."""
    site.intents[name] = "drain"
    await site.reload()
    await load.wait_for_rounds(3)
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

RESTART_ROUTER = Fault("router stopped and started again", _restart_router)
KILL_ROUTER_WHILE_AWAY = Fault("router killed while a server is frozen", _kill_router_while_away)
KILL_ROUTER_DURING_REPAIR = Fault("router killed during repair", _kill_router_during_repair)
STOP_ROUTER_DURING_REPAIR = Fault("router stopped during repair", _stop_router_during_repair)
TAKE_OVER = Fault("takeover", _take_over)
TAKE_OVER_DURING_REPAIR = Fault("takeover during repair", _take_over_during_repair)
RENAME = Fault("renamed by reload", _rename)
RENAME_WHILE_AWAY = Fault("frozen, then renamed by reload", _rename_while_away)
RESPELL = Fault("address respelt by reload", _respell)
SWAP = Fault("two swapped by reload", _swap)
REWEIGH = Fault("weight changed by reload", _reweigh)

IN_TURN = (KILL, FREEZE, KILL, FREEZE, KILL, KILL_ROUTER, FREEZE, RESTART, JOIN, DRAIN_AND_KILL)
"""What a long run goes through."""

OF_ROUTERS = (
    KILL_ROUTER,
    RESTART_ROUTER,
    KILL_ROUTER_WHILE_AWAY,
    KILL_ROUTER_DURING_REPAIR,
    STOP_ROUTER_DURING_REPAIR,
)
TAKEOVERS = (TAKE_OVER, TAKE_OVER_DURING_REPAIR)
RELOADS = (RENAME, RENAME_WHILE_AWAY, RESPELL, SWAP, REWEIGH)

ALL = (KILL, FREEZE, RESTART, DRAIN_AND_KILL, *OF_ROUTERS, *TAKEOVERS, *RELOADS)
"""What faults are drawn from. No more servers join here: they would be more and more."""
