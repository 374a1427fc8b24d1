"""Says what a configuration with a store amounts to; examines its engine, if that is wanted."""

from pathlib import Path

import trio
from rich.table import Table

from partitioner.cli.output import print_json, warn
from partitioner.cli.tables import print_rich, table
from partitioner.config import Settings
from partitioner.ops.printable import printable
from partitioner.store.checkup import Examination, examine
from partitioner.transport.channel import dial_tcp
from partitioner.units import format_duration, format_size


def check_store(
    settings: Settings, config: Path | None, warnings: list[str], *, connect: bool, as_json: bool
) -> int:
    """Print what it amounts to, and with `connect` what its engine is; 1 if that cannot be used, else 0."""
    policy = settings.store_policy()
    assert policy is not None
    for sentence in warnings:
        warn(sentence)
    found = trio.run(examine, policy, dial_tcp) if connect else None
    if as_json:
        print_json(_as_json(settings, found))
    else:
        print_rich(f"{config} is valid.", _key_settings(settings))
        if found is not None:
            _print_examination(found)
    return int(found is not None and found.trouble is not None)


def _key_settings(settings: Settings) -> Table:
    policy, store = settings.store_policy(), settings.store
    assert policy is not None
    assert store is not None
    rows = table("setting", "value")
    rows.add_row("name", settings.name)
    rows.add_row("listen", settings.listens_at())
    rows.add_row("allow_clients", ", ".join(str(network) for network in settings.allow_clients))
    rows.add_row("admin", str(settings.admin))
    rows.add_row("store", f"{store.engine.value}, {policy.place}")
    rows.add_row("store.prefix", store.prefix)
    rows.add_row("store.acknowledge", f"{store.acknowledge.value}, otherwise {store.otherwise.value}")
    rows.add_row("store.timeouts.answer", format_duration(store.timeouts.answer))
    rows.add_row("lost_sessions", policy.lost_sessions.value)
    rows.add_row("workers", str(settings.workers))
    rows.add_row("timeouts.exchange", format_duration(settings.timeouts.exchange))
    rows.add_row("limits.body", format_size(settings.largest_body()))
    return rows


def _print_examination(found: Examination) -> None:
    findings = table("examined", "finding")
    for sentence in found.says:
        findings.add_row("engine", printable(sentence))
    for sentence in found.warnings:
        findings.add_row("warning", printable(sentence))
    findings.add_row("verdict", printable(found.trouble or "good: it runs the scripts"))
    print_rich(findings)


def _as_json(settings: Settings, found: Examination | None) -> dict[str, object]:
    policy = settings.store_policy()
    assert policy is not None
    told: dict[str, object] = {"ok": found is None or found.trouble is None, "store": policy.place}
    if found is not None:
        told["examined"] = {"says": found.says, "warnings": found.warnings, "trouble": found.trouble}
    return told
