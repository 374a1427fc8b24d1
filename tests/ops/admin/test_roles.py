"""What the routers of a farm tell of who is active, and how an operator changes that (design.md 5.3)."""

from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import MockClock

from partitioner.daemon.notify import Rate, router_status
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.standing import IS_STANDBY
from partitioner.protocol.messages import Operation
from partitioner.routing.succession import TenurePolicy
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.network import Network
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target
from tests.ops.admin.apis import admin_api_of
from tests.ops.admin.asking import Operator

ANOTHER_IS_USED = "another router is active and used"


@dataclass
class FarmRouter:
    """One of the routers, and its operator."""

    router: MemoryRouter
    operator: Operator

    async def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.operator.get(path)).json()
        return found

    async def post(self, path: str) -> tuple[int, dict[str, Any]]:
        answer = await self.operator.ask("POST", path)
        return answer.status_code, answer.json()


class Routers:
    """Routers in front of the same three state servers."""

    def __init__(self, nursery: trio.Nursery, servers: "Routers | None" = None) -> None:
        """`servers`: other routers in front of the same servers."""
        self._nursery = nursery
        self._network: Network = Network(nursery) if servers is None else servers._network
        self.servers: list[MemoryStateServer] = [] if servers is None else servers.servers

    async def start(self) -> FarmRouter:
        """Start one more of them."""
        counters, policy = Counters(), TenurePolicy(ROUTER_NAME, lost_after=3.0, wall_clock=lambda: 1.7e9)
        router = MemoryRouter(
            self._nursery, 3, copies=2, network=self._network, watcher=counters, tenure=policy
        )
        if not self.servers:
            self.servers += [MemoryStateServer(self._network, each.address) for each in router.backends]
        admin_api = admin_api_of(router.core, name=ROUTER_NAME, counters=counters)
        started = FarmRouter(router, Operator(router_app(admin_api, AccessPolicy(is_loopback=True))))
        await router.start()
        return started

    async def start_two(self) -> tuple[FarmRouter, FarmRouter]:
        """An active router that is used, and a standby that has seen that."""
        active = await self.start()
        self._nursery.start_soon(_use, active.router)
        standby = await self.start()
        await standby.router.observer.wait_for("active_router_seen")
        return active, standby


async def _use(router: MemoryRouter) -> None:
    """Be a web server that asks this router for ever, whichever router is active."""
    while True:
        await router.ask_once(request(Operation.SET, target(1)))
        await trio.sleep(0.5)


ROLE = ("role", "ready", "standby_because", "servers_seen", "serving", "superseded")


async def test_the_active_router(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It has a term; nothing is told of what only a standby sees."""
    active, _ = await Routers(nursery).start_two()
    status = await active.get("/api/v1/status")

    assert ("active", True, None, None, 3, 0) == tuple(status[each] for each in ROLE)
    assert str(status["term"]).startswith("1-")
    assert status["watched_for"] is None


async def test_a_standby(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It says whom it waits for, and is ready as long as a server answers it."""
    _, standby = await Routers(nursery).start_two()
    await trio.sleep(10)
    status, readyz = await standby.get("/api/v1/status"), await standby.operator.get("/readyz")

    assert ("standby", True, ANOTHER_IS_USED, 3, 3, 0) == tuple(status[each] for each in ROLE)
    expected = {"ready": True, "role": "standby", "reasons": [], "warnings": []}
    assert (200, expected) == (readyz.status_code, readyz.json())
    assert status["term"] is None
    assert [IS_STANDBY] == status["not_redundant"]
    assert ["up"] * 3 == [each["health"] for each in status["backends"]]


async def test_a_standby_whom_no_server_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It could not take over, so no load balancer should think that it can."""
    routers = Routers(nursery)
    _, standby = await routers.start_two()
    for server in routers.servers:
        server.freeze()
    await trio.sleep(5)
    readyz = await standby.operator.get("/readyz")

    assert (503, ["this router is a standby, and no backend answers it"]) == (
        readyz.status_code,
        readyz.json()["reasons"],
    )


async def test_orders_go_to_the_active_router(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A standby says so in one sentence, and changes nothing."""
    _, standby = await Routers(nursery).start_two()
    refused = [
        await standby.post(f"/api/v1/backends/state-1/{order}") for order in ("drain", "ready", "maint")
    ]

    assert [(409, {"error": IS_STANDBY})] * 3 == refused


async def test_a_claim(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The standby is the active router at once; the other one notices, and goes on as a standby."""
    active, standby = await Routers(nursery).start_two()
    code, claimed = await standby.post("/api/v1/claim")
    await active.router.observer.wait_for("superseded")
    roles = [(await each.get("/readyz"))["role"] for each in (active, standby)]
    status = await active.get("/api/v1/status")

    assert (200, False) == (code, claimed["was_active"])
    assert str(claimed["term"]).startswith("2-")
    assert ["standby", "active"] == roles
    assert (1, None) == (status["superseded"], status["term"])


async def test_a_claim_of_the_active_router(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It says that it is that already, by the term that it has; no other claim is made."""
    active, _ = await Routers(nursery).start_two()
    before = await active.get("/api/v1/status")
    answer = await active.post("/api/v1/claim")

    assert (200, {"term": before["term"], "was_active": True, "took": 0.0}) == answer


async def test_a_claim_that_no_server_takes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The reason is told, and it stays a standby."""
    routers = Routers(nursery)
    _, standby = await routers.start_two()
    for server in routers.servers:
        server.kill()
    code, told = await standby.post("/api/v1/claim")

    assert (409, "this router could not become the active one: no server took the claim of this router") == (
        code,
        told["error"],
    )
    assert "standby" == (await standby.get("/readyz"))["role"]


async def test_a_router_with_servers_of_its_own(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No other router can have them: it is active without a term."""
    router = MemoryRouter(nursery, 1)
    operator = Operator(router_app(admin_api_of(router.core), AccessPolicy(is_loopback=True)))
    status = (await operator.get("/api/v1/status")).json()
    claimed = (await operator.ask("POST", "/api/v1/claim")).json()

    assert ("active", None) == (status["role"], status["term"])
    assert {"term": None, "was_active": True, "took": 0.0} == claimed


async def test_what_a_server_may_lack(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is written down before anybody is answered in its place, and told here."""
    routers = Routers(nursery)
    active, _ = await routers.start_two()
    routers.servers[1].kill()
    await active.router.observer.wait_for("backend_ejected")
    await trio.sleep(10)
    found = (await active.get("/api/v1/status"))["backends"]

    assert [[], ["write"], []] == [each["dirty"] for each in found]


async def test_the_line_of_systemctl_status(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A standby says that it is one, who answers it, and why it is one."""
    _, standby = await Routers(nursery).start_two()
    await trio.sleep(10)
    line = router_status(standby.router.core, Rate(lambda: 0, trio.current_time), trio.current_time())

    assert f"standby, 3 of 3 answer: {ANOTHER_IS_USED}" == line


async def test_a_standby_loses_the_active_router(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It reports once that it sees one, and once that it sees none any more."""
    routers = Routers(nursery)
    async with trio.open_nursery() as machine:
        await Routers(machine, routers).start()
        standby = await routers.start()
        await standby.router.observer.wait_for("active_router_seen")
        await trio.sleep(30)
        machine.cancel_scope.cancel()
    await standby.router.observer.wait_for("active_router_lost")
    await trio.sleep(30)

    facts = ("active_router_seen", "active_router_lost")
    assert [1, 1] == [len(standby.router.observer.named(each)) for each in facts]
