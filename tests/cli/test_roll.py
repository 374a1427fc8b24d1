"""`partitioner roll`: the servers of a pool are restarted one after the other (design.md 7.6)."""

import sys
from collections.abc import Callable

import click
import pytest

from partitioner.cli.actions.roll import Roll, Said, Stopped, Time, _run
from partitioner.cli.admin_client import NoRouterAnswers
from partitioner.cli.options import Refused
from tests.cli.rolled_router import NAMES, RolledRouter
from tests.tables import each_case

WITHIN = 60.0


class Rolling:
    """A roll, what it said, and which servers were restarted."""

    def __init__(
        self, router: RolledRouter, *, drains: bool = False, restart: Callable[[str], None] | None = None
    ) -> None:
        self.now = 0.0
        self.said: list[Said] = []
        self.restarted: list[str] = []
        self.router = router
        self.roll = Roll(
            router,
            restart or self._restart,
            self.said.append,
            drains=drains,
            within=WITHIN,
            passing=Time(lambda: self.now, self._sleep),
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _restart(self, name: str) -> None:
        assert self.router.intents[name] == "maint"
        self.router.orders.append(("restart", name))
        self.restarted.append(name)

    @property
    def sentences(self) -> list[str]:
        return [each.sentence for each in self.said]


def test_all_servers_in_order() -> None:
    """Each is put aside, restarted and made ready before the next one is touched."""
    rolling = Rolling(RolledRouter())
    rolling.roll.run(())

    assert [(step, name) for name in NAMES for step in ("maint", "restart", "ready")] == rolling.router.orders
    assert "3 servers were restarted" == rolling.sentences[-1]


def test_what_is_said_of_one_server() -> None:
    """A line for each step; waiting says why."""
    rolling = Rolling(RolledRouter())
    rolling.roll.run(["state-2"])

    assert [
        ("begins", "state-2 is the next one, 1 of 1"),
        ("aside", "state-2 is left alone, and may be restarted"),
        ("returns", "state-2 does not serve yet: it is unknown"),
        ("serves", "state-2 serves again"),
        ("heals", "the pool is not redundant yet: a server was restarted"),
        ("redundant", "all servers serve, and every session has its copies"),
        ("done", "1 server was restarted"),
    ] == [(each.step, each.sentence) for each in rolling.said]
    assert {"state-2", None} == {each.server for each in rolling.said}


@each_case(("copies", "drains"), [(1, False), (2, True)])
def test_drained_first(copies: int, drains: bool) -> None:
    """Where sessions have no copies, and where that is wanted."""
    rolling = Rolling(RolledRouter(copies=copies), drains=drains)
    rolling.roll.run(["state-3"])

    assert ["drain", "maint", "restart", "ready"] == [order for order, _ in rolling.router.orders]


def test_until_it_is_safe() -> None:
    """Nothing is ordered while another server lacks copies."""
    router = RolledRouter()
    router.set_intent("state-1", "ready")
    rolling = Rolling(router)
    rolling.roll.run(["state-2"])

    assert "state-2 is not safe to stop yet: a server was restarted" in rolling.sentences


def test_another_server_goes_down() -> None:
    """It stops there, with nothing more ordered, and says how things stand."""
    router = RolledRouter()

    def restart(name: str) -> None:
        router.down.add("state-3")

    rolling = Rolling(router, restart=restart)
    with pytest.raises(Stopped, match="state-3 is down"):
        rolling.roll.run(())

    assert [("maint", "state-1"), ("ready", "state-1")] == router.orders
    assert "state-1 is wanted ready; `partitioner status` says how it fares" == rolling.roll.standing


def test_a_restart_that_fails() -> None:
    """The server stays aside, and the command to bring it back is said."""

    def restart(name: str) -> None:
        raise Stopped("it broke")

    rolling = Rolling(RolledRouter(), restart=restart)
    with pytest.raises(Stopped, match="it broke"):
        rolling.roll.run(())

    assert [("maint", "state-1")] == rolling.router.orders
    assert "state-1 stays in maint; `partitioner ready state-1` has it serve again" == rolling.roll.standing


def test_a_server_that_does_not_come_back() -> None:
    """Each wait has an end."""
    rolling = Rolling(RolledRouter(looks_until_back=10_000))
    with pytest.raises(Stopped, match="after 1m: state-1 does not serve yet: it is unknown"):
        rolling.roll.run(())

    assert WITHIN <= rolling.now < WITHIN + 2


def test_a_router_that_restarts_meanwhile() -> None:
    """For a minute no router may answer; after that nobody knows how things stand."""
    router = RolledRouter()
    rolling = Rolling(router)
    looks = iter([20, 0, 1000])

    def restart(name: str) -> None:
        router.silent_looks = next(looks)

    rolling = Rolling(router, restart=restart)
    with pytest.raises(NoRouterAnswers):
        rolling.roll.run(())

    assert "no router answers just now" in rolling.sentences
    assert "state-3 is wanted ready; `partitioner status` says how it fares" == rolling.roll.standing


@each_case(
    ("router", "names", "sentence"),
    [
        (RolledRouter(), ["stat-1"], "no backend is called 'stat-1'; did you mean 'state-1'?"),
        (RolledRouter(intents={"state-1": "drain"}), ["state-1"], "the intent of state-1 is drain; expected"),
        (RolledRouter(standby_because="another one is"), [], r"a standby \(another one is\); ask the active"),
        (RolledRouter(names=("state-1",)), [], "only 1 server is ready"),
    ],
)
def test_what_cannot_be_rolled(router: RolledRouter, names: list[str], sentence: str) -> None:
    """Exit 2, and nothing was done."""
    with pytest.raises(Refused, match=sentence):
        Rolling(router).roll.run(names)

    assert [] == router.orders


def test_the_command_gets_the_name() -> None:
    """As its last argument; what it ends with decides."""
    program = "import sys; sys.exit(sys.argv[1:] != ['a word', 'state-1'])"
    restart = _run(
        f"{sys.executable} -c {program!r} 'a word'".replace("'import", '"import').replace("])'", '])"')
    )
    restart("state-1")

    with pytest.raises(Stopped, match="ended with 1"):
        restart("state-2")


@each_case(
    ("command", "error", "sentence"),
    [
        ("", Refused, "--run is empty"),
        ("'open", Refused, "is not a command line: No closing quotation"),
        ("/nowhere/restart", Stopped, "/nowhere/restart cannot be run: No such file"),
    ],
)
def test_a_command_that_is_none(command: str, error: type[click.ClickException], sentence: str) -> None:
    """One sentence says why."""
    with pytest.raises(error, match=sentence):
        _run(command)("state-1")
