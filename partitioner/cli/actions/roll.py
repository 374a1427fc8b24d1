"""Restarts the state servers of a pool, one after the other (design.md 7.6).

    for each server:   safe to stop? ──▶ [drained] ──▶ maint ──▶ restarted ──▶ ready ──▶ serves ──▶ redundant

It only asks the router and gives it orders, so it may be ended at any moment: nothing is lost then, and the
router has whatever order was given last. It stops at the first thing that is not as it should be.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import click

from partitioner.cli.actions.lines import Lines
from partitioner.cli.actions.patience import GLANCE, Patient
from partitioner.cli.admin_client import AdminClient
from partitioner.cli.options import Refused
from partitioner.cli.output import print_json, progress
from partitioner.errors import UnknownBackend
from partitioner.ops.admin.reports import BackendReport, Status
from partitioner.ops.printable import printable
from partitioner.units import format_duration


class Rollable(Protocol):
    """A router that servers are restarted behind."""

    def status(self) -> Status: ...

    def set_intent(self, name: str, intent: str) -> BackendReport: ...


class Stopped(click.ClickException):
    """Something is not as it should be; the message says what."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that is told of a roll."""

    server: str | None
    step: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Time:
    """How time passes: seconds."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def roll_now(
    url: str, names: Sequence[str], command: str | None, *, drains: bool, within: float, as_json: bool
) -> None:
    """Roll, and say what goes on. Raises Refused or ClickException, having said how things stand."""
    restart = _asked_for if command is None else _run(command)
    tell = _tell_as_json if as_json else _tell_people
    roll = Roll(AdminClient(url, timeout=30.0), restart, tell, drains=drains, within=within)
    try:
        roll.run(names)
    except (KeyboardInterrupt, click.ClickException):
        tell(Said(roll.server, "ended", roll.standing))
        raise


class Roll:
    """One roll over a pool."""

    def __init__(
        self,
        router: Rollable,
        restart: Callable[[str], None],
        tell: Callable[[Said], None],
        *,
        drains: bool,
        within: float,
        passing: Time | None = None,
    ) -> None:
        """`restart` returns when a server was restarted, and raises Stopped if it was not.

        `within` is for each wait, in seconds.
        """
        self.server: str | None = None  # the one that is being restarted
        self.standing = "no server was taken out"
        self._router = router
        self._restart = restart
        self._tell = tell
        self._drains = drains
        self._within = within
        self._time = passing or Time()
        self._patient = Patient(self._time.clock)

    def run(self, names: Sequence[str]) -> None:
        """Restart these servers, or all that are ready. Raises Refused, Stopped or NoRouterAnswers."""
        chosen = _chosen(self._router.status(), names)
        for number, name in enumerate(chosen, 1):
            self.server = name
            self._say("begins", f"{name} is the next one, {number} of {len(chosen)}")
            self._take_out(name)
            self._restart(name)
            self._bring_back(name)
        self.server = None
        count = "1 server was" if len(chosen) == 1 else f"{len(chosen)} servers were"
        self._say("done", f"{count} restarted")

    def _take_out(self, name: str) -> None:
        """Have the router ask nothing of this server any more, once that is safe."""
        is_single = self._router.status().copies < 2
        if not is_single:
            self._wait_for(name, "waits", _why_not_safe)
        if self._drains or is_single:
            self.standing = f"{name} goes on handing its sessions off; `partitioner ready {name}` ends that"
            self._order(name, "drain")
            self._wait_for(name, "drains", _why_not_drained)
        self.standing = f"{name} stays in maint; `partitioner ready {name}` has it serve again"
        self._order(name, "maint")
        self._say("aside", f"{name} is left alone, and may be restarted")

    def _bring_back(self, name: str) -> None:
        """Have the router use this server again, and wait until another one may be stopped."""
        self._order(name, "ready")
        self.standing = f"{name} is wanted ready; `partitioner status` says how it fares"
        self._wait_for(name, "returns", _why_not_back)
        self._say("serves", f"{name} serves again")
        self.standing = f"{name} was restarted, and no server is out"
        self._wait_for(name, "heals", _why_not_redundant)
        self._say("redundant", "all servers serve, and every session has its copies")

    def _order(self, name: str, intent: str) -> None:
        """Give an order; the router may be restarting."""
        while self._patient.maybe_ask(lambda: self._router.set_intent(name, intent)) is None:
            self._time.sleep(GLANCE)

    def _wait_for(self, name: str, step: str, why_not: Callable[[Status, BackendReport], str | None]) -> None:
        """Look until nothing stands in the way any more. Raises Stopped."""
        give_up_at = self._time.clock() + self._within
        lines = Lines(lambda sentence: self._say(step, sentence), self._time.clock)
        while True:
            status = self._patient.maybe_ask(self._router.status)
            reason = "no router answers just now"
            if status is not None:
                backend = _backend(status, name)
                _see_that_all_is_well(status, name)
                told = why_not(status, backend)
                if told is None:
                    return
                reason = told
            lines.tell(reason.partition(":")[0], reason)
            if self._time.clock() >= give_up_at:
                raise Stopped(f"after {format_duration(self._within)}: {reason}")
            self._time.sleep(GLANCE)

    def _say(self, step: str, sentence: str) -> None:
        self._tell(Said(self.server, step, printable(sentence)))


def _chosen(status: Status, names: Sequence[str]) -> list[str]:
    """The servers to restart, in the order in which they were named, or that of the pool. Raises Refused."""
    if status.standby_because is not None:
        raise Refused(f"this router is a standby ({status.standby_because}); ask the active one")
    there = {each.name: each for each in status.backends if not each.removed}
    for name in names:
        if name not in there:
            raise Refused(str(UnknownBackend.called(name, there)))
        if there[name].intent != "ready":
            raise Refused(f"the intent of {name} is {there[name].intent}; expected ready")
    chosen = list(dict.fromkeys(names)) or [each.name for each in status.wanted]
    if len(status.wanted) < 2:
        raise Refused("only 1 server is ready: nobody would serve while it restarts; expected at least 2")
    return chosen


def _backend(status: Status, name: str) -> BackendReport:
    for each in status.backends:
        if each.name == name and not each.removed:
            return each
    raise Stopped(f"{name} was removed from the configuration meanwhile")


def _see_that_all_is_well(status: Status, name: str) -> None:
    """Raises Stopped if another server is down, or this router is not the active one any more."""
    if status.standby_because is not None:
        raise Stopped(f"this router became a standby: {status.standby_because}")
    for each in status.wanted:
        if each.name != name and each.health == "down":
            raise Stopped(f"{each.name} is down{'' if each.trouble is None else f': {each.trouble}'}")


def _why_not_safe(status: Status, backend: BackendReport) -> str | None:
    if backend.safe_to_stop:
        return None
    return f"{backend.name} is not safe to stop yet: {'; '.join(backend.not_safe_to_stop)}"


def _why_not_drained(status: Status, backend: BackendReport) -> str | None:
    if backend.intent != "drain":
        raise Stopped(f"{backend.name} was meanwhile ordered otherwise: its intent is {backend.intent}")
    if backend.drain is not None and backend.drain.done:
        return None
    how_far = "" if backend.drain is None else f": {progress(backend.drain)}"
    return f"{backend.name} hands its sessions off{how_far}"


def _why_not_back(status: Status, backend: BackendReport) -> str | None:
    if backend.intent != "ready":
        raise Stopped(f"{backend.name} was meanwhile ordered otherwise: its intent is {backend.intent}")
    if backend.serves:
        return None
    return f"{backend.name} does not serve yet: it {backend.why_out or f'is {backend.health}'}"


def _why_not_redundant(status: Status, backend: BackendReport) -> str | None:
    out = [each.name for each in status.wanted if not each.serves]
    if out:
        return f"not all servers serve: {', '.join(out)}"
    if status.copies < 2 or status.redundant_since is not None:
        return None
    return f"the pool is not redundant yet: {'; '.join(status.not_redundant)}"


def _run(command: str) -> Callable[[str], None]:
    """Restarts a server by a command of the operator's. Raises Refused if that is none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"--run {command!r} is not a command line: {error}") from error
    if not words:
        raise Refused("--run is empty; expected a command that restarts a server")

    def restart(name: str) -> None:
        try:
            code = subprocess.run([*words, name], stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:
            raise Stopped(f"{words[0]} cannot be run: {error.strerror}") from error
        if code:
            raise Stopped(f"{shlex.join([*words, name])} ended with {code}")

    return restart


def _asked_for(name: str) -> None:
    click.echo(f"Restart {name} now, and press Enter when it is up again: ", err=True, nl=False)
    if not sys.stdin.readline():
        raise Stopped("nobody said that it was restarted: standard input has ended; --run takes a command")


def _tell_people(said: Said) -> None:
    click.echo(f"{datetime.now():%H:%M:%S} {said.sentence}")


def _tell_as_json(said: Said) -> None:
    at = datetime.now().astimezone().isoformat(timespec="milliseconds")
    print_json({"at": at, "server": said.server, "step": said.step, "sentence": said.sentence})
