"""Shows people what a running router sees: itself, its state servers, and the locks on them."""

from rich.table import Table

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import age, healed, percent, progress
from partitioner.cli.pool_table import backends_table, summary
from partitioner.cli.tables import print_rich, table, width_of_stdout
from partitioner.ops.admin.reports import StoreStatus
from partitioner.ops.admin.units import doubts
from partitioner.ops.printable import printable


def show_status(url: str) -> None:
    """Print what the router at this URL sees."""
    client = AdminClient(url)
    if client.has_store():
        _show_store(client.store_status())
        return
    seen = client.status()
    print_rich(summary(seen), backends_table(seen.backends, width_of_stdout()))
    for backend in seen.backends:
        for sentence in doubts(backend):
            print_rich(f"{printable(sentence)}.")
    for drain in seen.drains:
        print_rich(f"{drain.backend} drains: {progress(drain)}")
    if seen.healing is not None:
        print_rich(f"Healing: {healed(seen.healing)}")
    for name, reason in seen.not_healed.items():
        print_rich(f"{name} cannot be healed: {reason}.")


def _show_store(seen: StoreStatus) -> None:
    """The same of a state server whose sessions are on an engine."""
    state = "ready" if seen.ready else f"not ready: {'; '.join(seen.reasons)}"
    print_rich(f"{seen.name}, {seen.version}, {state}. {seen.clients} clients, {seen.requests} requests.")
    rows = table("primary", "state", "replicas", "memory used", "clock ahead by")
    for shard in seen.shards:
        state = "serves" if shard.trouble is None else printable(shard.trouble)
        rows.add_row(
            shard.primary or "-",
            f"{state}, degraded" if shard.is_degraded else state,
            "-" if shard.replicas is None else str(shard.replicas),
            "-" if shard.memory_used is None else percent(shard.memory_used),
            "-" if shard.clock_offset is None else f"{shard.clock_offset * 1000:.0f} ms",
        )
    print_rich(rows)
    if seen.workers:
        print_rich(_workers(seen))
    if seen.locks_to_give_back:
        print_rich(f"{seen.locks_to_give_back} locks of pages that have failed are being given back.")


def _workers(seen: StoreStatus) -> Table:
    rows = table(
        *("worker", "process", "state", "for", "clients", "requests", "restarts"),
        numbers=("clients", "requests", "restarts"),
    )
    for each in seen.workers:
        rows.add_row(
            str(each.number),
            "-" if each.pid is None else str(each.pid),
            "serves" if each.is_serving else "does not serve",
            age(each.uptime),
            str(each.clients),
            str(each.requests),
            str(each.restarts),
        )
    return rows


def show_backends(url: str) -> None:
    """Print its state servers, and how they fare."""
    print_rich(backends_table(AdminClient(url).backends(), width_of_stdout()))


def show_locks(url: str) -> None:
    """Print its locks, the oldest first."""
    held = AdminClient(url).locks()
    rows = table("session (hash)", "held on", "for", numbers=("for",))
    for lock in held.locks:
        where = lock.server if lock.reachable else f"{lock.server}, which is away: the router stands for it"
        rows.add_row(lock.key, where, age(lock.age))
    print_rich(rows, f"{held.held} held, {len(held.locks)} shown.")
