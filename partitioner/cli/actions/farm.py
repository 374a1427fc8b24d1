"""Reads the configuration files of web servers, and prints what they share and what they do not."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from os import fsdecode
from pathlib import Path

import click

from partitioner.cli.options import Refused
from partitioner.cli.output import print_json
from partitioner.cli.tables import print_rich, table
from partitioner.errors import NoWebConfig, WebConfigUnreadable
from partitioner.ops.printable import printable
from partitioner.webfarm.comparison import compare, with_findings
from partitioner.webfarm.document import LARGEST_FILE, read_document
from partitioner.webfarm.files import (
    NAMES,
    ConfigFile,
    Kind,
    Whereabouts,
    config_file,
    folder_parts,
    locate,
)
from partitioner.webfarm.findings import MOST_LISTED, Expectations, Finding, Report, Severity, listed
from partitioner.webfarm.mixed import mixed_applications, pair_of

MOST_FILES = 10_000
"""In one run: more than any farm has, and few enough for the memory."""

MIXED = "one session ID comes under two applications"
"""What the router's log calls it."""

SET_ASIDE = ".before-"
"""In the name of a backup; those are not read again."""


@dataclass(frozen=True, slots=True)
class Given:
    """A file that is to be read."""

    path: str
    server: str | None  # None: its path tells
    is_named: bool = True  # by the command line, and not just found in a folder


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read."""

    path: str
    reason: str
    line: int | None
    column: int | None

    def __str__(self) -> str:
        place = "" if self.line is None else f" (line {self.line}, column {self.column})"
        return printable(f"{self.path} {self.reason}{place}")


def compare_files(given: Sequence[Given], config: Path | None, url: str | None, *, as_json: bool) -> None:
    """Print what these files' web servers share; exit 1 if they are not one farm, or a file was not read.

    With a URL also what the router there saw of them.
    """
    files, unread = read_files(given)
    report = compare(files, expectations(config))
    if url is not None:
        report = with_findings(report, mixed_applications(report, seen_by_router(url)))
    if as_json:
        print_json(_as_json(report, unread))
    else:
        _print(report, unread, len(files))
    if unread or not report.is_one_farm:
        raise SystemExit(1)


def expectations(config: Path | None) -> Expectations:
    """What a router with this configuration asks of web servers; without a file, one with all defaults."""
    from partitioner.cli.configuration import (
        settings_of,
    )  # it takes long, and a wrong command line is told before

    settings = settings_of(config)
    ports = () if config is None else tuple(each.port for each in settings.listen)
    return Expectations(settings.timeouts.exchange, settings.session_timeout_max, ports)


def seen_by_router(url: str) -> list[tuple[str, str]]:
    """The pairs of applications that a router has lately seen mixed. Raises ClickException."""
    from partitioner.cli.admin_client import AdminClient

    told = [each.facts.get("applications", "") for each in AdminClient(url).events() if each.event == MIXED]
    return [pair for each in told if (pair := pair_of(each)) is not None]


def given_files(arguments: Iterable[str]) -> list[Given]:
    """The files that are meant by the command line: those of stdin in the place of its `-`, those in folders.

    Raises Refused where there are none, or too many.
    """
    found: list[Given] = []
    for argument in _names(arguments):
        server, equals, path = argument.partition("=")
        is_named = bool(equals) and not Path(argument).exists()
        whole = Path(path if is_named else argument)
        for each in _within(whole):
            found.append(Given(str(each), server if is_named else None, each == whole))
            if len(found) > MOST_FILES:
                raise Refused(f"more than {MOST_FILES} files; expected those of one farm")
    if not found:
        raise Refused("no configuration file was given; expected web.config and the like")
    return list(dict.fromkeys(found))


def _names(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument != "-":
            yield argument
            continue
        for line in sys.stdin.buffer:
            name = fsdecode(line.rstrip(b"\r\n"))
            if name:
                yield name


def _within(path: Path) -> Iterator[Path]:
    """The file itself, or the configuration files of a folder."""
    if not path.is_dir():
        yield path
        return
    for each in sorted(path.rglob("*")):
        if each.suffix.lower() == ".config" and SET_ASIDE not in each.name and each.is_file():
            yield each


def read_files(given: Sequence[Given]) -> tuple[list[ConfigFile], list[Unread]]:
    """Read all of these files; say of each that cannot be read why.

    What was just found in a folder may be the configuration of something else.
    """
    files, unread = [], []
    for each, where in zip(given, _whereabouts(given), strict=True):
        try:
            file = config_file(each.path, where, read_document(content_of(Path(each.path))))
        except NoWebConfig as error:
            if each.is_named or where.name in NAMES:
                unread.append(Unread(each.path, str(error), error.line, error.column))
        except WebConfigUnreadable as error:
            unread.append(Unread(each.path, str(error), error.line, error.column))
        else:
            if each.is_named or file.kind is not Kind.WEB or where.name in NAMES:
                files.append(file)
    return files, unread


def _whereabouts(given: Sequence[Given]) -> list[Whereabouts]:
    """Which web server each file is of."""
    unnamed = [Path(each.path) for each in given if each.server is None]
    told = iter(locate(unnamed) if unnamed else ())
    found = []
    for each in given:
        if each.server is None:
            found.append(next(told))
        else:
            path = Path(each.path)
            found.append(Whereabouts(each.server, folder_parts(path.parent.parts), path.name.lower()))
    return found


def content_of(path: Path) -> bytes:
    """The bytes of a file, and one more than are read at most. Raises WebConfigUnreadable."""
    try:
        if path.exists() and not path.is_file():
            raise WebConfigUnreadable("is not a regular file")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise WebConfigUnreadable(f"cannot be read: {error.strerror or error}") from error


def _as_json(report: Report, unread: Sequence[Unread]) -> dict[str, object]:
    return {
        "ok": report.is_one_farm and not unread,
        "unread": [asdict(each) for each in unread],
        "servers": report.servers,
        "applications": [asdict(each) for each in report.applications],
        "findings": [asdict(each) for each in report.findings],
    }


def _print(report: Report, unread: Sequence[Unread], read: int) -> None:
    for each in unread:
        click.echo(f"partitioner: {each}", err=True)
    servers = f"{_counted(len(report.servers), 'web server')}: {listed(report.servers) or 'none'}"
    print_rich(printable(f"{_counted(read, 'file')} of {servers}"))
    made = table("application", "setting", "value", "on", "where")
    for application in report.applications:
        name = application.name
        for row in application.rows:
            on = "all" if row.servers == application.servers else listed(row.servers)
            mark = "! " if row.is_odd else ""
            where = str(row.origin) if row.origin is not None else "default"
            made.add_row(*map(printable, (name, row.setting, f"{mark}{row.value}", on, where)))
            name = ""
    print_rich(made)
    for finding in report.findings:
        for line in _lines(finding):
            click.echo(line)  # whole, so that it can be found by a search
    click.echo(_conclusion(report, unread))


def _lines(finding: Finding) -> Iterator[str]:
    subject = f"{finding.application}: " if finding.application else ""
    on = f", on {listed(finding.servers)}" if finding.servers else ""
    yield printable(f"{finding.severity}: {subject}{finding.setting}: {finding.found}{on}")
    for origin in finding.origins[:MOST_LISTED]:
        yield printable(f"  at {origin}")
    yield printable(f"  expected: {finding.expected}")
    yield printable(f"  {finding.why}.")


def _conclusion(report: Report, unread: Sequence[Unread]) -> str:
    counted = [
        _counted(number, str(severity))
        for severity in (Severity.ERROR, Severity.WARNING)
        if (number := sum(each.severity is severity for each in report.findings))
    ]
    told = f"{', '.join(counted)}. " if counted else ""
    if unread:
        told += f"{_counted(len(unread), 'file')} could not be read. "
    if not report.applications:
        return f"{told}These files tell of no application of ASP.NET."
    if len(report.servers) == 1:
        return f"{told}These are files of one web server: there is none to compare it with."
    if report.is_one_farm:
        return f"{told}The web servers share what they must, as far as these files tell."
    return f"{told}The web servers are not set up as one farm."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
