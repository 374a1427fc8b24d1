"""Shows what another connection string would change in the files of web servers, and writes it."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from partitioner.cli.actions.farm import SET_ASIDE, Given, Unread, content_of
from partitioner.cli.options import Refused
from partitioner.cli.output import print_json
from partitioner.errors import WebConfigUnreadable
from partitioner.ops.printable import printable
from partitioner.webfarm.document import read_document
from partitioner.webfarm.rewriting import Rewriting, is_connection, with_connection


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file, as it is and as it is to be."""

    path: str
    before: bytes
    rewriting: Rewriting


def set_connection(given: Sequence[Given], connection: str, *, write: bool, as_json: bool) -> None:
    """Show the changes, then carry them out if that is wanted; exit 1 if a file could not be read or changed.

    Raises Refused if the connection string is none.
    """
    if not is_connection(connection):
        raise Refused(f"--set {connection}: expected tcpip=HOST:PORT, such as tcpip=router:42424")
    rewritten, unread = _rewritten(given, connection)
    if not as_json:
        _print_changes(rewritten)
    backups: dict[str, str] = {}
    if write:
        for each in rewritten:
            if each.rewriting.changes:
                try:
                    backups[each.path] = write_file(each)
                except OSError as error:
                    unread.append(
                        Unread(each.path, f"cannot be written: {error.strerror or error}", None, None)
                    )
    if as_json:
        print_json(_as_json(rewritten, unread, backups))
    else:
        _print_outcome(rewritten, unread, backups, write=write)
    if unread:
        raise SystemExit(1)


def _rewritten(given: Sequence[Given], connection: str) -> tuple[list[Rewritten], list[Unread]]:
    done, unread = [], []
    for each in given:
        try:
            content = content_of(Path(each.path))
            document = read_document(content)
            if document.encoded(document.text) != content:
                raise WebConfigUnreadable("could not be written back with all other bytes as they are")
            done.append(Rewritten(each.path, content, with_connection(document, connection)))
        except WebConfigUnreadable as error:
            unread.append(Unread(each.path, str(error), error.line, error.column))
    return done, unread


def write_file(file: Rewritten) -> str:
    """Keep the file as it was beside its place, and put the new one there; return the name of the backup.

    Raises OSError; then the file is as it was.
    """
    path = Path(file.path).resolve()
    if path.read_bytes() != file.before:
        raise OSError("somebody else has changed it meanwhile")
    backup = path.with_name(f"{path.stem}{SET_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
    beside = path.with_name(f"{path.name}.writing")
    mode = path.stat().st_mode & 0o777
    _put(backup, file.before, mode)
    try:
        _put(beside, file.rewriting.content, mode)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    return str(backup)


def _put(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _print_changes(rewritten: Sequence[Rewritten]) -> None:
    """A difference, as `diff -u0` prints one, of the tags alone: other text in a line may hold secrets."""
    for each in rewritten:
        if each.rewriting.changes:
            click.echo(printable(f"--- {each.path}"))
            click.echo(printable(f"+++ {each.path}"))
        for change in each.rewriting.changes:
            click.echo(f"@@ line {change.line} @@")
            for mark, text in (("-", change.before), ("+", change.after)):
                for line in text.splitlines():
                    click.echo(f"{mark}{printable(line.expandtabs())}")


def _print_outcome(
    rewritten: Sequence[Rewritten], unread: Sequence[Unread], backups: dict[str, str], *, write: bool
) -> None:
    for each in unread:
        click.echo(f"partitioner: {each}", err=True)
    for file in rewritten:
        for sentence in file.rewriting.left_alone:
            click.echo(printable(f"{file.path}: left as it is: {sentence}"))
    for path, backup in backups.items():
        click.echo(printable(f"{path}: written; as it was: {backup}"))
    changed = sum(bool(each.rewriting.changes) for each in rewritten)
    if not changed:
        click.echo("Nothing is to be changed.")
    elif not write:
        click.echo(f"{changed} to be changed, and nothing was written. --write writes.")


def _as_json(
    rewritten: Sequence[Rewritten], unread: Sequence[Unread], backups: dict[str, str]
) -> dict[str, object]:
    return {
        "ok": not unread,
        "unread": [{"path": each.path, "reason": each.reason} for each in unread],
        "files": [
            {
                "path": each.path,
                "changes": [
                    {"line": change.line, "before": change.before, "after": change.after}
                    for change in each.rewriting.changes
                ],
                "left_alone": each.rewriting.left_alone,
                "backup": backups.get(each.path),
            }
            for each in rewritten
        ],
    }
