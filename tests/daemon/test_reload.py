"""A reload of a running router: wholly or not at all (design.md 7.6)."""

import json
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from ipaddress import ip_network

import pytest
import trio
from trio.testing import MockClock

from partitioner.config import Settings, parse
from partitioner.daemon.notify import Notifier
from partitioner.daemon.open_files import BESIDE_CONNECTIONS
from partitioner.daemon.reload import Outcome, Reloader
from partitioner.errors import ConfigurationInvalid, Refused, WouldLose
from partitioner.membership.backend import Address, Intent
from partitioner.membership.losses import LossPolicy, LostSessions
from partitioner.ops.log import Log
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.observer import Observer
from tests.doubles.backends import MemoryStateServer, ScriptedBackend, greeting, incarnation_of
from tests.doubles.network import Fault
from tests.doubles.routers import CONVERSATION, MemoryRouter
from tests.identities import STATE_2

TWO = """
backends:
  - {name: state-1, address: 10.0.0.1:42424}
  - {name: state-2, address: 10.0.0.2:42424}
"""
THREE = TWO + "  - {name: state-3, address: 10.0.0.3:42424}\n"


class RecordingLog(Log):
    """Keeps what is said of the program itself."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, dict[str, object]]] = []

    def note(self, event: str, **facts: object) -> None:
        self.said.append((event, facts))

    def complain(self, event: str, **facts: object) -> None:
        self.said.append((event, facts))


class Operator:
    """A router with state-1 and state-2, the file that it was made of, and its log."""

    def __init__(self, nursery: trio.Nursery, file: str = TWO) -> None:
        self.file = file
        self.has_read = trio.Event()
        settings = parse(file)
        self.router = MemoryRouter(nursery, 2, copies=settings.copies_kept())
        self.router.take_in()
        self.log = RecordingLog()
        policy = DownstreamPolicy(settings.allow_clients, 10, replace(CONVERSATION))
        self.downstream = Downstream(self.router.router.respond, policy, Observer())
        self.reloader = Reloader(settings, self.read, self.router.core, self.downstream, self.log, Notifier())

    def read(self) -> Settings:
        self.has_read.set()
        return parse(self.file)

    async def reload(self, file: str, *, force: bool = False) -> tuple[Outcome, list[str]]:
        """Write the file and reload it; return what came of it, and every reason or change."""
        self.file = file
        report = await self.reloader.reload("a test", force=force)
        return report.outcome, [str(each) for each in (*report.problems, *report.changes)]

    @property
    def intents(self) -> dict[str, Intent]:
        """Who is in the pool, and not merely remembered, and what is wanted of them."""
        members = self.router.roster.pool.members
        return {
            each.backend.name: each.backend.intent for each in members.values() if each.removed_at is None
        }

    def state(self) -> tuple[object, ...]:
        """All that a reload can change."""
        return (
            self.router.roster.pool,
            self.router.core.losses.policy,
            self.downstream.allowed,
            self.reloader.settings,
        )


@pytest.fixture
def operator(nursery: trio.Nursery, autojump_clock: MockClock) -> Operator:
    return Operator(nursery)


@pytest.fixture
def few_files() -> Iterator[int]:
    """A low limit of open files for as long as a test runs; returns how high it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield sys.maxsize if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_server_joins(operator: Operator) -> None:
    """It is in the pool from the next request on; the others stay as they are, and UP."""
    outcome, changes = await operator.reload(THREE)

    pool = operator.router.roster.pool
    assert outcome is Outcome.APPLIED
    assert list(pool.places) == ["state-1", "state-2", "state-3"]
    assert {"state-1", "state-2"} == pool.eligible
    assert len(changes) == 1
    assert changes[0].startswith("state-3 joins at 10.0.0.3:42424: takes 3")


async def test_the_share_that_moves_is_that_of_who_joins(operator: Operator) -> None:
    """The plan counts what the change moves: a third, to the third server."""
    operator.file = THREE
    report = await operator.reloader.reload("a test")

    assert report.moved_share == pytest.approx(1 / 3, abs=0.02)


async def test_a_server_leaves_and_is_still_asked(operator: Operator) -> None:
    """It has no place any more; it is remembered as one that may hold sessions (design.md 5)."""
    file = "backends: [{name: state-1, address: 10.0.0.1:42424}]"
    await operator.reload(file)
    again, _ = await operator.reload(file)

    pool = operator.router.roster.pool
    assert ["state-1"] == list(pool.places)
    assert pool.members[STATE_2].removed_at is not None
    assert again is Outcome.UNCHANGED


async def test_a_weight_and_an_address_change(operator: Operator) -> None:
    """Both take effect together, and a server at a new address is a new one with the old one's place."""
    outcome, _ = await operator.reload("""
        backends:
          - {name: state-1, address: 10.0.0.1:42424, weight: 3}
          - {name: state-2, address: 10.0.0.9:42424}
    """)

    pool = operator.router.roster.pool
    assert outcome is Outcome.APPLIED
    assert pool.ranking.weights == {"state-1": 3.0, "state-2": 1.0}
    assert str(pool.members[pool.places["state-2"]].backend.address) == "10.0.0.9:42424"


async def test_all_changes_are_one_epoch(operator: Operator) -> None:
    """No request sees the pool half changed."""
    before = operator.router.roster.pool.epoch
    await operator.reload("copies: 1\n" + THREE.replace("10.0.0.2", "10.0.0.9"))

    assert operator.router.roster.pool.epoch == before + 1
    assert operator.router.roster.pool.copies == 1


async def test_a_server_is_drained_and_made_ready_by_the_file(operator: Operator) -> None:
    """The intent in the file is put in force."""
    drained = TWO.replace("10.0.0.2:42424", "10.0.0.2:42424, intent: drain")
    await operator.reload(drained, force=True)
    while_drained = operator.intents
    await operator.reload(TWO)

    assert {"state-1": Intent.READY, "state-2": Intent.DRAIN} == while_drained
    assert {"state-1": Intent.READY, "state-2": Intent.READY} == operator.intents


async def test_the_file_wins_over_a_command(operator: Operator) -> None:
    """An intent that was set at run time lasts until the next reload, which says that it ends it."""
    operator.router.roster.set_intent("state-2", Intent.DRAIN)
    outcome, changes = await operator.reload(TWO)

    assert (Outcome.APPLIED, Intent.READY) == (outcome, operator.intents["state-2"])
    assert len(changes) == 1
    assert changes[0].startswith("state-2 intent drain -> ready (drain was set at run time; the file wins)")


async def test_a_command_that_the_file_confirms(operator: Operator) -> None:
    """Who drains by command and then writes it down changes nothing, and starts nothing anew."""
    operator.router.roster.set_intent("state-2", Intent.DRAIN)
    pool = operator.router.roster.pool
    outcome, _ = await operator.reload(TWO.replace("10.0.0.2:42424", "10.0.0.2:42424, intent: drain"))

    assert outcome is Outcome.UNCHANGED
    assert operator.router.roster.pool is pool


async def test_keys_beside_the_pool(operator: Operator) -> None:
    """They are applied without a new epoch: sessions are as settled as before."""
    pool = operator.router.roster.pool
    outcome, changes = await operator.reload(
        TWO + "lost_sessions: close\nlost_after: 2m\nallow_clients: [10.0.0.0/8]"
    )

    assert (Outcome.APPLIED, 3) == (outcome, len(changes))
    assert operator.router.core.losses.policy == LossPolicy(LostSessions.CLOSE, 120.0)
    assert operator.downstream.allowed == (ip_network("10.0.0.0/8"),)
    assert operator.router.roster.pool is pool
    assert (await operator.reload(operator.file))[0] is Outcome.UNCHANGED


async def test_health_timeouts_and_limits(operator: Operator, autojump_clock: MockClock) -> None:
    """A server that hangs is ejected as the new file has it, and clients are talked to by its limits."""
    MemoryStateServer(operator.router.network, operator.router.backends[0].address)
    await operator.router.probe_on()
    outcome, changes = await operator.reload(
        TWO
        + "health: {interval: 100ms, timeout: 100ms, fall: 1}\n"
        + "timeouts: {exchange: 2s, copy: 1s}\n"
        + "limits: {connections: 3, body: 1KiB, body_memory: 2MiB, ledger: 7, per_backend_connections: 2}\n"
    )
    core, began_at = operator.router.core, trio.current_time()
    operator.router.network.disturb(operator.router.backends[0].address, Fault.HANG)
    await operator.router.observer.wait_for("backend_ejected")
    ejected_after = trio.current_time() - began_at

    assert (Outcome.APPLIED, 10) == (outcome, len(changes))
    assert ejected_after < 2.5
    assert (3, 7) == (operator.downstream.most_connections, core.policy.ledger.keys)
    assert (2 * 2**20, 2**18) == (core.body_budget.limit, core.precedence.window)
    assert 1.0 == core.internal_requests.patience
    assert operator.reloader.settings.timeouts.exchange == 2.0


async def test_files_for_more_connections(operator: Operator, few_files: int) -> None:
    """A larger pool may open more connections; the process's limit follows, as far as it may."""
    await operator.reload(THREE)

    wanted = 10_000 + 3 * 256 + BESIDE_CONNECTIONS
    assert min(wanted, few_files) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_nothing_has_changed(operator: Operator) -> None:
    """The same file again changes nothing, not even the epoch, and says so."""
    before = operator.state()
    report = await operator.reload(TWO + "# a remark\n")

    assert (Outcome.UNCHANGED, []) == report
    assert before == operator.state()
    assert [("configuration reloaded", "none: the file says what is in force already")] == [
        (event, facts["consequence"]) for event, facts in operator.log.said
    ]


async def test_an_invalid_file_changes_nothing(operator: Operator) -> None:
    """Every problem is told, and logged; what was in force goes on."""
    before = operator.state()
    report = await operator.reload(THREE + "helth: {}\ncopies: 9\n")

    problems = [
        "helth: unknown key; did you mean 'health'? (line 6)",
        "copies: 9 copies are more than the pool can hold; expected at most 3, for it has 3 servers (line 7)",
    ]
    assert (Outcome.INVALID, problems) == report
    assert before == operator.state()
    assert [("reload invalid", problem) for problem in problems] == [
        (event, facts["problem"]) for event, facts in operator.log.said
    ]


async def test_a_key_that_takes_a_restart_has_the_whole_reload_refused(operator: Operator) -> None:
    """A new server beside a new listen address: nothing of it is applied, not even the server."""
    before = operator.state()
    report = await operator.reload(THREE + "listen: 127.0.0.1:1\n")

    sentence = "listen: changed from 127.0.0.1:42424 to 127.0.0.1:1, which takes a restart of the router"
    assert (Outcome.REFUSED, [sentence]) == report
    assert before == operator.state()
    assert [("reload refused", sentence)] == [(event, facts["problem"]) for event, facts in operator.log.said]


async def test_a_report_for_those_who_expect_errors(operator: Operator) -> None:
    """A good report is itself, and has a form in JSON; another one is raised with every reason."""
    operator.file = THREE
    applied = await operator.reloader.reload("a test")
    operator.file = "backends: []"
    invalid = await operator.reloader.reload("a test")
    operator.file = THREE + "name: x\nlisten: 127.0.0.1:1\n"
    refused = await operator.reloader.reload("a test")

    assert applied.or_raise() is applied
    assert json.loads(json.dumps(asdict(applied)))["outcome"] == "applied"
    with pytest.raises(ConfigurationInvalid) as raised:
        invalid.or_raise()
    assert invalid.problems == tuple(raised.value.problems)
    with pytest.raises(Refused, match=r"name: changed from .*; listen: changed from "):
        refused.or_raise()


@pytest.mark.parametrize("file", ["backends: []", TWO.replace("42424}", "42424, intent: maint}")])
async def test_the_last_ready_server_stays(operator: Operator, file: str) -> None:
    """A file that leaves no server to serve is no right file."""
    before = operator.state()
    outcome, _ = await operator.reload(file)

    assert outcome is Outcome.INVALID
    assert before == operator.state()


async def test_without_a_file(operator: Operator) -> None:
    """A router that was started without one says so."""
    core, downstream = operator.router.core, operator.downstream
    reloader = Reloader(operator.reloader.settings, None, core, downstream, operator.log, Notifier())
    report = await reloader.reload("SIGHUP")

    expected = "there is no file to read: the router was started without -c"
    assert (Outcome.REFUSED, expected) == (report.outcome, str(report.problems[0]))


async def test_the_plan_is_logged_before_it_is_applied(operator: Operator) -> None:
    """One line for each change, with its consequence, and then what moves in all."""
    epochs: list[int] = []
    note: Callable[..., None] = operator.log.note

    def note_epoch(event: str, **facts: object) -> None:
        epochs.append(operator.router.roster.pool.epoch)
        note(event, **facts)

    operator.log.note = note_epoch  # type: ignore[method-assign]
    before = operator.router.roster.pool.epoch
    await operator.reload(THREE + "lost_sessions: close")

    assert [before, before, before + 1] == epochs
    assert ["reload", "reload", "configuration reloaded"] == [event for event, _ in operator.log.said]
    assert ["state-3", "lost_sessions"] == [facts["subject"] for _, facts in operator.log.said[:2]]
    assert operator.log.said[2][1]["cause"] == "a test"


async def test_a_command_during_the_plan_is_not_overlooked(operator: Operator) -> None:
    """The plan is counted while requests and commands go on; what is told is what is changed."""
    operator.file = THREE
    reports = []

    async def reload() -> None:
        reports.append(await operator.reloader.reload("a test"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        await operator.has_read.wait()
        operator.router.roster.set_intent("state-2", Intent.DRAIN)

    assert ["state-2", "state-3"] == [change.subject for change in reports[0].changes]
    assert operator.intents["state-2"] is Intent.READY


async def test_two_reloads_at_once_are_one_after_the_other(operator: Operator) -> None:
    """The second one finds done what the first one did."""
    operator.file = THREE + "lost_sessions: close"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operator.reloader.reload, "first")
        nursery.start_soon(operator.reloader.reload, "second")

    assert operator.reloader.last_report is not None
    assert operator.reloader.last_report.outcome is Outcome.UNCHANGED


# --- which server is at which address ---


async def test_one_server_twice_has_the_reload_refused(operator: Operator) -> None:
    """Its canary is read before anything is applied; the sentence names both entries, and nothing changes."""
    ScriptedBackend(operator.router.network, Address("10.0.0.3", 42424), greeting(incarnation_of(1)))
    before = operator.state()
    report = await operator.reload(THREE)

    sentence = (
        "backends: state-3 (10.0.0.3:42424) is the same server as state-1 (10.0.0.1:42424); "
        "expected each server once"
    )
    assert (Outcome.REFUSED, [sentence]) == report
    assert before == operator.state()
    assert [("reload refused", sentence)] == [(event, facts["problem"]) for event, facts in operator.log.said]


async def test_a_renamed_server_is_the_same_one(operator: Operator) -> None:
    """By its canary it is known, and goes on without a pause; no other server is asked for what it holds."""
    ScriptedBackend(operator.router.network, Address("10.0.0.2", 42424), greeting(incarnation_of(2)))
    outcome, changes = await operator.reload(TWO.replace("state-2", "other"))

    pool = operator.router.roster.pool
    assert outcome is Outcome.APPLIED
    assert [
        "other renamed from state-2: "
        "it is the same server and keeps what it holds; sessions move as its new name places them"
    ] == changes
    assert {"state-1": "state-1", "other": "state-2"} == pool.places
    assert {"state-1", "state-2"} == pool.eligible == set(pool.members)


async def test_who_does_not_answer_is_taken_for_new(operator: Operator, autojump_clock: MockClock) -> None:
    """A reload waits no longer than a probe for servers that it does not know."""
    operator.router.network.disturb(Address("10.0.0.3", 42424), Fault.HANG)
    began_at = trio.current_time()
    outcome, _ = await operator.reload(THREE)

    assert outcome is Outcome.APPLIED
    assert operator.router.health.timeout == trio.current_time() - began_at
    assert "state-3" in operator.router.roster.pool.places


async def test_a_file_that_takes_last_copies_away(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is refused with one line that says how to force it, and what was in force goes on."""
    single = "copies: 1\n" + TWO
    operator = Operator(nursery, single)
    before = operator.state()
    without = single.replace("  - {name: state-2, address: 10.0.0.2:42424}\n", "")
    outcome, problems = await operator.reload(without)
    after, said = operator.state(), list(operator.log.said)
    forced, _ = await operator.reload(without, force=True)

    sentence = (
        "backends: state-2 holds an unknown number of sessions that may have no good copy elsewhere: the "
        "sessions on state-2 have no copies: copies is 1; drain it first; `partitioner reload --force` "
        "applies the file all the same"
    )
    assert (Outcome.REFUSED, [sentence]) == (outcome, problems)
    assert before == after
    assert [("reload refused", sentence)] == [(event, facts["problem"]) for event, facts in said]
    assert (Outcome.APPLIED, ["state-1"]) == (forced, list(operator.intents))


async def test_who_asked_is_told_the_number(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Over the admin port it is a refusal of its own kind."""
    operator = Operator(nursery, "copies: 1\n" + TWO)
    operator.file = operator.file.replace("10.0.0.2:42424", "10.0.0.2:42424, intent: maint")
    report = await operator.reloader.reload("a test")

    with pytest.raises(WouldLose, match="state-2 holds an unknown number") as refused:
        report.or_raise()
    assert refused.value.sessions is None
