"""Compares the web servers of a farm, application by application and setting by setting."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from partitioner.webfarm.files import ConfigFile
from partitioner.webfarm.findings import (
    Compared,
    Expectations,
    Finding,
    Report,
    Row,
    Severity,
    Subject,
)
from partitioner.webfarm.rules import broken_rules
from partitioner.webfarm.sections import Sections
from partitioner.webfarm.settings import NO_MANAGED_CODE, SETTINGS, KeyNames, Setting, Value
from partitioner.webfarm.sites import Application, applications, unclaimed

_WITHOUT_FILES = ("application ID", "framework version")
"""What is known of an application by applicationHost.config alone."""

_GIVE_HOST = "applicationHost.config of each web server"


@dataclass(frozen=True, slots=True)
class _Installed:
    """One application on one web server, with its sections."""

    application: Application
    sections: Sections

    @property
    def is_configured(self) -> bool:
        """Whether any file says something of its sessions."""
        return bool(self.application.files) or self.sections.has("system.web/sessionState")


_Group = dict[str, _Installed]
"""One application of the farm, by web server."""


def compare(files: Sequence[ConfigFile], expectations: Expectations) -> Report:
    """Say what these files' web servers share, what they do not, and what is wrong by itself."""
    by_server: dict[str, list[ConfigFile]] = {}
    for file in files:
        by_server.setdefault(file.server, []).append(file)
    found = {server: applications(given) for server, given in by_server.items()}
    names = KeyNames()
    compared: list[Compared] = []
    findings: list[Finding] = []
    for group in _groups(found, by_server):
        subject = _subject(group, names, expectations)
        if subject is None:
            continue
        rows: list[Row] = []
        for setting, values in subject.values.items():
            rows += _rows(setting, values)
            findings += _differences(subject.name, SETTINGS[setting], values)
        compared.append(Compared(subject.name, subject.servers, tuple(rows)))
        findings += broken_rules(subject)
        findings += _gaps(subject, group, tuple(by_server))
    for server, given in by_server.items():
        findings += _left_over(server, unclaimed(given, found[server]))
    return Report(tuple(by_server), tuple(compared), tuple(sorted(findings, key=_rank)))


def with_findings(report: Report, more: Iterable[Finding]) -> Report:
    """The same with what was found otherwise."""
    return replace(report, findings=tuple(sorted((*report.findings, *more), key=_rank)))


def _rank(finding: Finding) -> tuple[int, str, int]:
    order = list(SETTINGS)
    at = order.index(finding.setting) if finding.setting in order else len(order)
    return list(Severity).index(finding.severity), finding.application, at


def _groups(
    found: Mapping[str, Sequence[Application]], files: Mapping[str, Sequence[ConfigFile]]
) -> list[_Group]:
    """The applications of the farm, in the order in which they were found."""
    groups: dict[tuple[str, str], _Group] = {}
    hosted = [each for server in found.values() for each in server if each.host is not None]
    for server, installed in found.items():
        for application in installed:
            key = application.group if application.host else _group_of_folder(application, installed, hosted)
            groups.setdefault(key, {})[server] = _Installed(application, Sections(application, files[server]))
    return list(groups.values())


def _group_of_folder(
    application: Application, neighbours: Sequence[Application], hosted: Sequence[Application]
) -> tuple[str, str]:
    """The group of an application of which only the folder is known: that of others in such a folder."""
    folder = application.folders[-1][1]
    for other in hosted:
        there = other.folders[-1][1]
        if there and folder and (there == folder or there[1:] == folder):
            return other.group
    likely = {other.group for other in hosted if other.files}
    if len(likely) == 1 and len(neighbours) == 1:
        return likely.pop()
    return application.group


def _subject(group: _Group, names: KeyNames, expectations: Expectations) -> Subject | None:
    """The application with all values; None where it has nothing to do with ASP.NET's sessions."""
    if any(each.sections.has("system.webServer/aspNetCore") for each in group.values()):
        return None
    is_configured = any(each.is_configured for each in group.values())
    values: dict[str, dict[str, Value]] = {}
    for setting in SETTINGS.values():
        if not is_configured and setting.name not in _WITHOUT_FILES:
            continue
        read = {
            server: setting.read(each.application, each.sections, names)
            for server, each in group.items()
            if each.is_configured or setting.name in _WITHOUT_FILES
        }
        known = {server: value for server, value in read.items() if value is not None}
        if known:
            values[setting.name] = known
    versions = {each.shown for each in values.get("framework version", {}).values()}
    if versions == {NO_MANAGED_CODE}:
        return None
    names_given = [each.application.name for each in group.values() if each.application.site]
    name = (names_given or [each.application.name for each in group.values()])[0]
    return Subject(name, values, {server: each.sections for server, each in group.items()}, expectations)


def _by_value(values: Mapping[str, Value]) -> dict[str, list[str]]:
    """The web servers that have each value, those of which it is not known left out."""
    found: dict[str, list[str]] = {}
    for server, value in values.items():
        if not value.hidden:
            found.setdefault(value.compared, []).append(server)
    return found


def _expected(values: Mapping[str, Value]) -> str | None:
    """The value that most web servers have; None where no value is ahead."""
    counted = Counter(value.compared for value in values.values() if not value.hidden).most_common(2)
    if not counted or (len(counted) == 2 and counted[0][1] == counted[1][1]):
        return None
    return counted[0][0]


def _rows(setting: str, values: Mapping[str, Value]) -> Iterator[Row]:
    expected = _expected(values)
    has_others = len(_by_value(values)) > 1
    shown: dict[tuple[str, bool], list[str]] = {}
    for server, value in values.items():
        shown.setdefault((value.shown, value.hidden), []).append(server)
    for (text, hidden), servers in shown.items():
        is_odd = hidden or (has_others and text != expected)
        yield Row(setting, text, tuple(servers), values[servers[0]].origin, is_odd)


def _differences(application: str, setting: Setting, values: Mapping[str, Value]) -> Iterator[Finding]:
    """What is not the same everywhere, and what could not be compared."""
    by_value, expected = _by_value(values), _expected(values)
    severity = Severity.ERROR if setting.is_fatal else Severity.WARNING
    if len(by_value) > 1 and expected is None:
        told = [f"{value} on {_listed(servers)}" for value, servers in by_value.items()]
        servers = tuple(server for each in by_value.values() for server in each)
        yield _finding(
            severity, application, setting, servers, values, ", ".join(told), "the same on all of them"
        )
    elif len(by_value) > 1 and expected is not None:
        wanted = f"{expected}, as on {_listed(by_value[expected])}"
        for found, having in by_value.items():
            if found != expected:
                yield _finding(severity, application, setting, tuple(having), values, found, wanted)
    if len(values) > 1:
        hidden: dict[str, list[str]] = {}
        for server, value in values.items():
            if value.hidden:
                hidden.setdefault(value.shown, []).append(server)
        for found, having in hidden.items():
            wanted = "the same on all web servers, which could not be compared"
            yield _finding(Severity.UNKNOWN, application, setting, tuple(having), values, found, wanted)


def _finding(
    severity: Severity,
    application: str,
    setting: Setting,
    servers: tuple[str, ...],
    values: Mapping[str, Value],
    found: str,
    expected: str,
) -> Finding:
    origins = tuple(origin for each in servers if (origin := values[each].origin) is not None)
    return Finding(severity, application, setting.name, servers, origins, found, expected, setting.why)


def _gaps(subject: Subject, group: _Group, servers: Sequence[str]) -> Iterator[Finding]:
    """What could not be compared because a file was not given."""
    unknown = tuple(server for server, each in group.items() if each.application.host is None)
    if unknown and len(servers) > 1:
        why = SETTINGS["application ID"].why
        yield Finding(
            Severity.NOTE, subject.name, "application ID", unknown, (), "not known", _GIVE_HOST, why
        )
    if not any(each.is_configured for each in group.values()):
        return
    missing = tuple(each for each in servers if each not in group or not group[each].is_configured)
    if missing:
        why = "What it does not share with the others is not known"
        expected = f"that of {_listed(missing)} as well, if the application runs there"
        yield Finding(
            Severity.WARNING, subject.name, "web.config", missing, (), "was not given", expected, why
        )


def _left_over(server: str, files: Sequence[ConfigFile]) -> Iterator[Finding]:
    for file in files:
        why = "Nothing in it was compared"
        expected = "a file in the folder of an application, as applicationHost.config of its web server tells"
        origin = (file.path,)
        yield Finding(
            Severity.NOTE,
            "",
            "web.config",
            (server,),
            (),
            f"{origin[0]} belongs to no application",
            expected,
            why,
        )


def _listed(servers: Sequence[str]) -> str:
    """Names of web servers, the first of many."""
    shown = ", ".join(servers[:3])
    return shown if len(servers) <= 3 else f"{shown} and {len(servers) - 3} more"
