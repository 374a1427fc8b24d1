"""Shows people what a running router sees: itself, its state servers, and the locks on them."""

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import age, healed, progress
from partitioner.cli.pool_table import backends_table, summary
from partitioner.cli.tables import print_rich, table, width_of_stdout
from partitioner.ops.admin.units import doubts
from partitioner.ops.printable import printable


def show_status(url: str) -> None:
    """Print what the router at this URL sees."""
    seen = AdminClient(url).status()
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
