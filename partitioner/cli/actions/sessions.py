"""Shows what takes the memory of state servers: sessions, applications, and names of items."""

from collections.abc import Mapping
from dataclasses import asdict

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import age, percent, print_json
from partitioner.cli.tables import print_rich, table
from partitioner.ops.admin.session_reports import ItemReport, LargestReport
from partitioner.ops.printable import printable

MOST_OF_A_TYPE = 60
"""Characters of a type's name that people are shown in a row."""


def show_largest(url: str, at_most: int, *, as_json: bool) -> None:
    """Print the largest sessions, and what each application takes. Raises ClickException."""
    report = AdminClient(url).largest_sessions(at_most)
    if as_json:
        print_json(asdict(report))
        return
    print_rich(f"{report.sessions:,} sessions, {report.bytes:,} bytes on all servers together")
    _print_applications(report)
    rows = table(
        "session (hash)", "application", "bytes", "on", "idle", "its largest items", numbers=("bytes",)
    )
    for each in report.largest:
        rows.add_row(
            each.session,
            printable(each.application),
            f"{each.bytes:,}",
            ", ".join(each.servers) + (", locked" if each.locked else ""),
            "-" if each.idle is None else age(each.idle),
            printable(", ".join(_item(item) for item in sorted(each.items, key=_size, reverse=True))),
        )
    print_rich(rows)
    _print_rest(report.refused, is_complete=report.complete)


def show_items(url: str, at_most: int, *, as_json: bool) -> None:
    """Print the items that take most memory. Raises ClickException."""
    report = AdminClient(url).heaviest_items(at_most)
    if as_json:
        print_json(asdict(report))
        return
    print_rich(
        f"{report.sessions:,} sessions of {report.bodies:,} bytes, with {report.bytes:,} bytes of items"
    )
    headers = ("item", "type", "application", "sessions", "bytes", "share", "each")
    rows = table(*headers, numbers=("sessions", "bytes", "share", "each"))
    for each in report.items:
        rows.add_row(
            printable("(no name)" if each.name is None else each.name),
            printable((each.type or "-")[:MOST_OF_A_TYPE]),
            printable(each.application),
            f"{each.count:,}",
            f"{each.bytes:,}",
            percent(each.bytes / report.bytes) if report.bytes else "-",
            f"{each.bytes // each.count:,}" if each.count else "-",
        )
    print_rich(rows)
    if report.left_out:
        print_rich(f"{report.left_out:,} lighter ones are not shown")
    if report.unread:
        print_rich(f"{report.unread:,} sessions could not be read to their end")
    _print_rest(report.refused, is_complete=report.complete)


def _print_applications(report: LargestReport) -> None:
    rows = table("application", "sessions", "bytes", "share", numbers=("sessions", "bytes", "share"))
    for each in report.applications:
        share = percent(each.bytes / report.bytes) if report.bytes else "-"
        rows.add_row(printable(each.application), f"{each.sessions:,}", f"{each.bytes:,}", share)
    print_rich(rows)


def _print_rest(refused: Mapping[str, str], *, is_complete: bool) -> None:
    for name, reason in refused.items():
        print_rich(f"{name} was not looked at: {printable(reason)}")
    if not is_complete:
        print_rich("it took too long, and was given up: this is of a part of the sessions")


def _size(item: ItemReport) -> int:
    return item.size or 0


def _item(item: ItemReport) -> str:
    name = "(no name)" if item.name is None else item.name
    return name if item.size is None else f"{name} {item.size:,}"
