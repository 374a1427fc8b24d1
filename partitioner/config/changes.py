"""What a new configuration changes in a running router: what takes a restart, and what follows from the rest.

Pure: it compares, and says in words what the comparison means. daemon.reload applies it.

The pool is compared as it is, not as the last file had it: operators also change intents at run time.
The file wins over those, and the change says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from partitioner.config.settings import HealthSettings, LimitSettings, Section, Settings, TimeoutSettings
from partitioner.errors import Problem
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.losses import LostSessions
from partitioner.placement.moves import Plan
from partitioner.units import format_duration, format_share, format_size

_SECTIONS: Mapping[str, type[Section]] = {
    "health": HealthSettings,
    "timeouts": TimeoutSettings,
    "limits": LimitSettings,
}
"""Sections of which every key can be changed by a reload."""

APPLIED_AT_ONCE = frozenset(
    {
        *("allow_clients", "backends", "copies", "heal.rate", "log_level", "lost_after", "lost_sessions"),
        *(
            f"{section}.{field.alias or name}"
            for section, settings in _SECTIONS.items()
            for name, field in settings.model_fields.items()
        ),
    }
)
"""Keys that a reload can change; in conf/partitioner.yml they have a line "Reload"."""

APPLIED_TO_A_STORE = frozenset({"allow_clients"})
"""The same of a state server whose sessions are on an engine."""

_SECRETS = frozenset(
    {"admin_token", "admin_token_file", "backend_token_file", "store.password", "store.sentinel.password"}
)
_SIZES = frozenset({"limits.body", "limits.body_memory"})
_NONE_SEEN: Mapping[str, str] = MappingProxyType({})
_PLAIN_NUMBERS = frozenset({"health.max_down_share"})  # of the floats; all others are durations


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan: what becomes different, and what follows from it."""

    subject: str  # the backend's name, or the key
    what: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.subject} {self.what}: {self.consequence}"


def restarts_needed(
    running: Settings, wanted: Settings, applied: frozenset[str] = APPLIED_AT_ONCE
) -> list[Problem]:
    """Every changed key that cannot be applied to a running router, with its old and its new value."""
    if running.embedded:
        applied -= {"limits.body"}  # its state servers have it as well
    found = []
    for path, old, new in _differences(running, wanted):
        if path not in applied:
            change = f" from {_written(path, old)} to {_written(path, new)}" if path not in _SECRETS else ""
            found.append(Problem(path, f"changed{change}, which takes a restart of the router"))
    return found


def key_changes(running: Settings, wanted: Settings) -> list[Change]:
    """What becomes different beside the backends."""
    found = []
    old, new = running.copies_kept(), wanted.copies_kept()
    if old != new:
        consequence = "sessions get theirs as they are saved" if new > old else "those too many expire"
        found.append(Change("copies", f"{old} -> {new}", consequence))
    if running.lost_sessions is not wanted.lost_sessions:
        what = f"{running.lost_sessions.value} -> {wanted.lost_sessions.value}"
        found.append(Change("lost_sessions", what, _FATE[wanted.lost_sessions]))
    if running.lost_after != wanted.lost_after:
        old_after, new_after = (_written("lost_after", each.lost_after) for each in (running, wanted))
        consequence = "so long a server must have timed out before what only it has counts as lost"
        found.append(Change("lost_after", f"{old_after} -> {new_after}", consequence))
    if running.heal.rate != wanted.heal.rate:
        consequence = "so many sessions a second are put right from now on"
        found.append(Change("heal.rate", f"{running.heal.rate} -> {wanted.heal.rate}", consequence))
    if running.log_level is not wanted.log_level:
        what = f"{running.log_level.value} -> {wanted.log_level.value}"
        found.append(Change("log_level", what, "lesser lines are not written; the status page has them"))
    if running.allow_clients != wanted.allow_clients:
        old_networks, new_networks = (
            _written("allow_clients", each.allow_clients) for each in (running, wanted)
        )
        consequence = "who connects from now on is let in by it; open connections stay"
        found.append(Change("allow_clients", f"{old_networks} -> {new_networks}", consequence))
    for path, before, after in _differences(running, wanted):
        if (section := path.partition(".")[0]) in _SECTIONS:
            what = f"{_written(path, before)} -> {_written(path, after)}"
            found.append(Change(path, what, _FROM_THEN_ON[section]))
    return found


_FROM_THEN_ON = {
    "health": "servers are judged by it from the next probe on",
    "timeouts": "for what begins from now on",
    "limits": "from now on; what is open or held already stays",
}


_FATE = {
    LostSessions.NEW: "users whose session is only on servers that are down start anew",
    LostSessions.CLOSE: "users whose session is only on servers that are down are refused",
}


def backend_changes(
    before: Sequence[Backend],
    after: Sequence[Backend],
    running: Settings,
    plan: Plan,
    same: Mapping[str, str] = _NONE_SEEN,
) -> list[Change]:
    """What becomes different of the backends: those that stay or join in their new order, then who leaves.

    `before` is the pool as it is, `running` the file that it was made of, and `plan` counts what moves.
    `same` says by a backend's name what its server is called in the pool, where its memory has told that.
    """
    in_pool = {backend.name: backend for backend in before}
    in_file = {backend.name: backend.intent for backend in running.backends}
    found: list[Change] = []
    going_on = set()
    for backend in after:
        is_same = backend.name in same
        former = same.get(backend.name, backend.name)
        # Where the server of this name has got another one, it is a new server that is called so now.
        if former in in_pool and (is_same or former not in same.values()):
            going_on.add(former)
            found += _changes_of(in_pool[former], backend, in_file.get(former), plan, is_same=is_same)
        else:
            found.append(Change(backend.name, f"joins at {_facts(backend)}", _service(backend, plan)))
    leaving = [each for each in before if each.name not in going_on]
    return found + [Change(each.name, "leaves", _hand_over(each, plan)) for each in leaving]


def _changes_of(
    old: Backend, new: Backend, in_file: Intent | None, plan: Plan, *, is_same: bool
) -> Iterator[Change]:
    """What becomes different of one backend. Its memory has told that it `is_same`, or else its name."""
    if old.name != new.name:
        consequence = (
            "it is the same server and keeps what it holds; sessions move as its new name places them"
        )
        yield Change(new.name, f"renamed from {old.name}", consequence)
    if old.address != new.address:
        consequence = (
            "it is the same server and keeps what it holds"
            if is_same
            else "its sessions are fetched from the old address, for as long as that answers"
        )
        yield Change(new.name, f"moves from {old.address} to {new.address}", consequence)
    if old.weight != new.weight:
        shares = f"{format_share(plan.share_before(old.name))} to {format_share(plan.share_after(new.name))}"
        consequence = f"its share of the sessions goes from {shares}"
        yield Change(new.name, f"weight {old.weight:g} -> {new.weight:g}", consequence)
    if old.intent is not new.intent:
        is_run_time = in_file is new.intent
        why = f" ({old.intent.value} was set at run time; the file wins)" if is_run_time else ""
        consequence = (
            _service(new, plan)
            if new.intent is not Intent.DRAIN
            else _hand_over(replace(new, name=old.name), plan)
        )
        yield Change(new.name, f"intent {old.intent.value} -> {new.intent.value}{why}", consequence)
    if old.admin != new.admin:
        consequence = "is drained in bulk" if new.admin else "is drained as its sessions are used"
        what = f"admin {_written('admin', old.admin)} -> {_written('admin', new.admin)}"
        yield Change(new.name, what, consequence)


def _facts(backend: Backend) -> str:
    weight = "" if backend.weight == 1 else f", weight {backend.weight:g}"
    return f"{backend.address}{weight}" + (
        "" if backend.intent is Intent.READY else f", {backend.intent.value}"
    )


def _service(backend: Backend, plan: Plan) -> str:
    match backend.intent:
        case Intent.READY:
            return f"takes {format_share(plan.share_after(backend.name))} of the sessions, as they are used"
        case Intent.DRAIN:
            return "takes no sessions; it is asked for those that it holds"
        case Intent.MAINT:
            return "is not spoken to; its sessions are served by their copies, where they have any"


def _hand_over(backend: Backend, plan: Plan) -> str:
    share = plan.share_before(backend.name)
    if share == 0:
        return "it had no share of the sessions; it is asked for what it still holds"
    moves = f"its {format_share(share)} of the sessions move as they are used"
    return f"{moves}; until then leave it running" if backend.intent is not Intent.MAINT else moves


def _differences(running: Section, wanted: Section, above: str = "") -> Iterator[tuple[str, object, object]]:
    """Every key of which the values differ, as it is spelt in the file; sections are looked into."""
    for name, field in type(running).model_fields.items():
        path, old, new = above + (field.alias or name), getattr(running, name), getattr(wanted, name)
        if isinstance(old, Section) and isinstance(new, Section):
            yield from _differences(old, new, f"{path}.")
        elif old != new:
            yield path, old, new


def _written(path: str, value: object) -> str:
    """A value as it would be written in the file."""
    match value:
        case None:
            return "none"
        case Enum():
            return str(value.value)
        case (only,) if path == "listen":
            return str(only)
        case tuple():
            return f"[{', '.join(str(each) for each in value)}]"
        case float() if path not in _PLAIN_NUMBERS:
            return format_duration(value)
        case int() if path in _SIZES:
            return format_size(value)
    return str(value)
