"""Shows one session, and releases its lock."""

from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import RenderableType

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import age, print_json
from partitioner.cli.tables import print_rich, table
from partitioner.ops.admin.session_reports import (
    ContentsReport,
    CopyReport,
    LockSeen,
    SessionReport,
    SessionSeen,
)
from partitioner.ops.printable import printable

MOST_ITEMS = 50
"""Items that people are shown; --json has all of them."""


def show_session(url: str, key: str, *, as_json: bool) -> None:
    """Print what is known of a session; exit 1 if that is nothing. Raises ClickException."""
    report = AdminClient(url).session(key)
    if as_json:
        print_json(asdict(report))
    else:
        for seen in report.sessions:
            print_rich(*_lines(key, seen))
        for sentence in _not_found(report):
            print_rich(sentence)
    if not report.sessions:
        raise SystemExit(1)


def unlock_session(url: str, key: str, *, force: bool, as_json: bool) -> None:
    """Release the lock that is seen. Raises ClickException where there is none, or not one."""
    client = AdminClient(url)
    report = client.session(key)
    locked = [each for each in report.sessions if each.lock is not None]
    if not locked:
        reason = "the session is not locked" if report.sessions else "; ".join(_not_found(report))
        raise click.ClickException(printable(reason))
    if len(locked) > 1:
        targets = ", ".join(each.target for each in locked)
        raise click.ClickException(f"{len(locked)} applications have locked sessions of that ID: {targets}")
    lock = locked[0].lock
    assert lock is not None
    released = client.unlock(locked[0].target, lock.cookie, force=force)
    if as_json:
        print_json(asdict(released))
    else:
        click.echo(
            printable(
                f"released: the session of {released.application} was locked for {age(released.lock.age)}, "
                f"with cookie {released.lock.cookie}"
            )
        )


def _not_found(report: SessionReport) -> list[str]:
    """What is to be said of what was not found."""
    sentences = [] if report.sessions else ["there is no such session on any server that was asked"]
    sentences += [
        f"{name} was not searched for the ID: {printable(why)}" for name, why in report.not_searched.items()
    ]
    if not report.sessions and report.not_searched:
        sentences.append("the target of a request says which session is meant: %2fLM%2f...%2fID")
    return sentences


def _lines(key: str, seen: SessionSeen) -> Iterator[RenderableType]:
    yield printable(f"{key} of {seen.application}")
    belongs = ", ".join(seen.belongs) or "no server, because none serves"
    yield f"belongs on {belongs}; {_settled(seen)}"
    yield "not locked" if seen.lock is None else _lock(seen.lock)
    yield _copies(seen.copies)
    if seen.contents is not None:
        yield from _contents(seen.contents)


def _settled(seen: SessionSeen) -> str:
    if seen.settled:
        return "settled: it is there, and nowhere else"
    return "not settled: it may still be elsewhere"


def _lock(lock: LockSeen) -> str:
    return f"locked for {age(lock.age)}, since {lock.since}, with cookie {lock.cookie}"


def _copies(copies: tuple[CopyReport, ...]) -> RenderableType:
    rows = table("server", "holds it", "size", "digest", "idle", "time left", "lock", numbers=("size",))
    for copy in copies:
        rows.add_row(
            copy.server,
            _holds(copy),
            "" if copy.size is None else f"{copy.size:,}",
            copy.digest or "",
            "" if copy.idle is None else age(copy.idle),
            _left(copy),
            "" if copy.lock is None else f"{age(copy.lock.age)}, cookie {copy.lock.cookie}",
        )
    return rows


def _holds(copy: CopyReport) -> str:
    if copy.held is None:
        return printable(f"unknown: {copy.trouble}")
    words = ["yes" if copy.held else "no"]
    if copy.held and not copy.belongs:
        words.append("though it belongs elsewhere")
    if copy.marked:
        words.append("not read until it is put right")
    if copy.is_new:
        words.append("new")
    return ", ".join(words)


def _left(copy: CopyReport) -> str:
    if copy.left is not None:
        return age(copy.left)
    return "never expires" if copy.timeout_minutes == 0 else ""


def _contents(contents: ContentsReport) -> Iterator[RenderableType]:
    how = "inflated, " if contents.compressed else ""
    yield f"items, as {contents.server} has them ({how}{contents.size:,} bytes in all):"
    rows = table("item", "type", "bytes", numbers=("bytes",))
    shown = sorted(contents.items, key=lambda each: -(each.size or 0))[:MOST_ITEMS]
    for item in shown:
        name = "(no name)" if item.name is None else item.name
        rows.add_row(
            printable(f"{name} (static object)" if item.static else name),
            printable(item.type or "not reached"),
            "" if item.size is None else f"{item.size:,}",
        )
    if shown:
        yield rows
    left_out = contents.left_out + len(contents.items) - len(shown)
    if left_out:
        yield f"{left_out} smaller items are not shown"
    if contents.unread is not None:
        yield printable(f"not readable from byte {contents.unread.at}: {contents.unread.why}")
