"""Checks a configuration, and says what it amounts to; examines its servers, if that is wanted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import trio
from rich.table import Table

from partitioner.cli.actions.check_machine import Need, needs_of
from partitioner.cli.configuration import listing
from partitioner.cli.output import percent, print_json, warn
from partitioner.cli.tables import print_rich, table
from partitioner.config import Settings, load, trust_warnings
from partitioner.daemon.own_addresses import backends_that_lead_here
from partitioner.daemon.state_dir import state_place
from partitioner.errors import ConfigurationInvalid
from partitioner.membership.backend import Backend, Intent
from partitioner.ops.printable import printable
from partitioner.transport.channel import dial_tcp
from partitioner.transport.checkup import examine, find_twins, is_router
from partitioner.units import format_duration, format_size


def check_configuration(config: Path | None, *, connect: bool, as_json: bool) -> None:
    """Print all problems of a configuration and exit 2, or print what it amounts to.

    With `connect`, examine its servers too, and what this machine has; exit 1 if anything is wrong with one
    of them, or keeps `serve` from starting.
    """
    context = click.get_current_context()
    try:
        settings = load(config)
        if problems := trio.run(backends_that_lead_here, settings):
            raise ConfigurationInvalid(problems)
    except ConfigurationInvalid as invalid:
        if as_json:
            told = [{"path": each.path, "message": each.message} for each in invalid.problems]
            print_json({"ok": False, "problems": told})
        else:
            click.echo(f"partitioner: {listing(invalid.problems, config)}", err=True)
        context.exit(2)
    if settings.store is not None:
        from partitioner.cli.actions.check_store import check_store

        found = [
            *warnings_of_clients(settings),
            *warnings_of_state(settings),
            *trust_warnings(settings, config),
        ]
        context.exit(check_store(settings, config, found, connect=connect, as_json=as_json))
    for sentence in [*warnings(settings, config), *warnings_of_state(settings)]:
        warn(sentence)
    troubles = trio.run(_examine_all, settings) if connect else {}
    needs = needs_of(settings) if connect else []
    report(settings, config, troubles, needs, as_json=as_json)
    context.exit(any(troubles.values()) or any(each.keeps_from_serving for each in needs))


async def _examine_all(settings: Settings) -> dict[str, str | None]:
    """Examine every listed server that is spoken to, at once; return what is wrong with each, by name."""
    troubles: dict[str, str | None] = {}

    async def examine_one(backend: Backend) -> None:
        within = settings.timeouts.exchange
        if await is_router(backend, dial_tcp, within):
            troubles[backend.name] = "is a router, this one or another; expected a state server"
        else:
            troubles[backend.name] = await examine(backend, dial_tcp, within)

    async with trio.open_nursery() as at_once:
        for backend in settings.pool_backends():
            if backend.intent is not Intent.MAINT:
                at_once.start_soon(examine_one, backend)
    good = [each for each in settings.pool_backends() if troubles.get(each.name, "") is None]
    for name, twin in (await find_twins(good, dial_tcp, settings.timeouts.exchange)).items():
        troubles[name] = f"is the same server as {twin.name} ({twin.address}); expected each server once"
    good = [each for each in good if troubles[each.name] is None]
    troubles.update(await _examine_admins(good, settings))
    return troubles


async def _examine_admins(backends: list[Backend], settings: Settings) -> dict[str, str]:
    """What is wrong with the admin addresses; without a token they list nothing, which is a warning."""
    token = settings.backends_token()
    if token is None or all(each.admin is None for each in backends):
        return {}
    import httpx  # it takes long, and few configurations are checked so

    from partitioner.ops.admin.admin_checkup import find_wrong_admins
    from partitioner.ops.admin.listing import HttpInventory

    async with httpx.AsyncClient(trust_env=False) as http:
        listing = HttpInventory(http, token)
        return await find_wrong_admins(backends, dial_tcp, listing, settings.timeouts.exchange)


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server of the pool, as `check` prints it."""

    name: str
    address: str | None  # an embedded server has none
    weight: float
    intent: str
    share: float  # of all sessions, 0 to 1, while every server is well


def report(
    settings: Settings,
    config: Path | None,
    troubles: dict[str, str | None],
    needs: Sequence[Need],
    *,
    as_json: bool,
) -> None:
    """Print what a valid configuration amounts to, and how the servers fared that were examined."""
    if as_json:
        result: dict[str, object] = {
            "ok": not (any(troubles.values()) or any(each.keeps_from_serving for each in needs)),
            "copies": settings.copies_kept(),
            "backends": [asdict(row) for row in server_rows(settings)],
        }
        if troubles:
            result["examined"] = [
                {"name": name, "ok": trouble is None, "trouble": trouble}
                for name, trouble in troubles.items()
            ]
        if needs:
            result["needed"] = [
                {"name": each.name, "ok": not each.keeps_from_serving, "finding": each.finding}
                for each in needs
            ]
        print_json(result)
        return
    source = config or "The default configuration"
    print_rich(f"{source} is valid.", _pool_table(settings), _key_settings(settings))
    if troubles or needs:
        print_rich(_findings(settings, troubles, needs))


def _findings(settings: Settings, troubles: dict[str, str | None], needs: Sequence[Need]) -> Table:
    findings = table("examined", "finding")
    for row in server_rows(settings):
        if row.name in troubles:
            findings.add_row(row.name, printable(troubles[row.name] or "good: it is a state server"))
    for need in needs:
        findings.add_row(f"this machine, {need.name}", printable(need.finding))
    return findings


def server_rows(settings: Settings) -> list[ServerRow]:
    """Every server of the pool, in the order of the file."""
    ready = settings.ready_weights()
    listed = {backend.name: backend for backend in settings.pool_backends()}
    total = sum(ready.values())
    return [
        ServerRow(
            name=name,
            address=str(listed[name].address) if name in listed else None,
            weight=weight,
            intent=(listed[name].intent if name in listed else Intent.READY).value,
            share=ready.get(name, 0.0) / total,
        )
        for name, weight in settings.weights().items()
    ]


def warnings(settings: Settings, config: Path | None = None) -> list[str]:
    """What is allowed and probably not meant; `config` is the file that the settings were read from."""
    found = [*warnings_of_clients(settings), *_warnings_of_copies(settings)]
    return [*found, *trust_warnings(settings, config)]


def warnings_of_clients(settings: Settings) -> list[str]:
    """The same, of those who may connect."""
    sentences = []
    if not settings.admin.is_loopback and all(net.is_loopback for net in settings.admin_allow):
        sentences.append(
            f"admin is {settings.admin}, but admin_allow holds only loopback networks: "
            "no other machine reaches it"
        )
    if settings.listens_for_others() and all(net.is_loopback for net in settings.allow_clients):
        sentences.append(
            f"listen is {settings.listens_at()}, but allow_clients holds only loopback networks: "
            "every web server on another machine will be refused"
        )
    return sentences


def _warnings_of_copies(settings: Settings) -> list[str]:
    copies, servers, ready = settings.copies_kept(), len(settings.weights()), len(settings.ready_weights())
    if copies == 1 and servers > 1:
        return [
            f"copies is 1: the sessions of a server that dies are lost with it; "
            f"the other {'one' if servers == 2 else 'ones'} could hold a second copy of each"
        ]
    if copies > ready:
        count = "1 server is" if ready == 1 else f"{ready} servers are"
        return [
            f"copies is {copies}, but {count} ready: until more are, sessions have fewer copies than that"
        ]
    return []


def warnings_of_state(settings: Settings) -> list[str]:
    """What a router that this user starts here would meet with when it keeps its state."""
    place = state_place(settings)
    reason = None if place is None else place.why_unusable()
    if place is None or reason is None:
        return []
    consequence = "the router will not start" if place.is_asked_for else "the router will start without"
    return [f"state_dir is {place.directory}, but {reason}: {consequence}, if it runs here as this user"]


def _pool_table(settings: Settings) -> Table:
    pool = table("name", "address", "weight", "intent", "share", numbers=("weight", "share"))
    for row in server_rows(settings):
        address = row.address or "in this process"
        pool.add_row(row.name, address, f"{row.weight:g}", row.intent, percent(row.share))
    return pool


def _key_settings(settings: Settings) -> Table:
    """What an operator looks for first when something does not work."""
    timeouts, limits = settings.timeouts, settings.limits
    rows = table("setting", "value")
    rows.add_row("name", settings.name)
    rows.add_row("listen", settings.listens_at())
    rows.add_row("allow_clients", ", ".join(str(network) for network in settings.allow_clients))
    rows.add_row("admin", str(settings.admin))
    rows.add_row("copies", str(settings.copies_kept()))
    rows.add_row("lost_sessions", settings.lost_sessions.value)
    rows.add_row("lost_after", format_duration(settings.lost_after))
    rows.add_row("hash_key", settings.hash_key.value)
    rows.add_row("timeouts.connect", format_duration(timeouts.connect))
    rows.add_row("timeouts.exchange", format_duration(timeouts.exchange))
    place = state_place(settings)
    rows.add_row("state_dir", "none" if place is None else str(place.directory))
    rows.add_row("limits.connections", str(limits.connections))
    rows.add_row("limits.body", format_size(limits.body))
    return rows
