"""Compares the web servers of a farm, application by application and setting by setting."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from partitioner.webfarm.files import ConfigFile, Kind, Origin
from partitioner.webfarm.findings import (
    Compared,
    Expectations,
    Finding,
    Report,
    Row,
    Severity,
    Subject,
    listed,
)
from partitioner.webfarm.groups import Group, groups
from partitioner.webfarm.rules import broken_rules
from partitioner.webfarm.settings import NO_MANAGED_CODE, SETTINGS, KeyNames, Setting, Value
from partitioner.webfarm.sites import applications, unclaimed

_WITHOUT_FILES = ("application ID", "framework version")
"""What is known of an application by applicationHost.config alone."""

_CORE = "system.webServer/aspNetCore"

_OWN_FILE = "web.config"

_GIVE_HOST = "applicationHost.config of each web server"


def compare(files: Sequence[ConfigFile], expectations: Expectations) -> Report:
    """Say what these files' web servers share, what they do not, and what is wrong by itself."""
    by_server: dict[str, list[ConfigFile]] = {}
    for file in files:
        by_server.setdefault(file.server, []).append(file)
    found = {server: applications(given) for server, given in by_server.items()}
    servers, names = tuple(by_server), KeyNames()
    compared: list[Compared] = []
    findings: list[Finding] = []
    for group in groups(found, by_server):
        subject = _subject(group, names, expectations)
        if subject is None:
            findings += _foreign(group)
        else:
            compared.append(Compared(subject.name, subject.servers, tuple(_all_rows(subject))))
            findings += _all_findings(subject, group, servers)
    for server, given in by_server.items():
        findings += _left_over(server, unclaimed(given, found[server]))
    return with_findings(Report(servers, tuple(compared), ()), findings)


def with_findings(report: Report, more: Iterable[Finding]) -> Report:
    """The same with what was found otherwise."""
    return replace(report, findings=tuple(sorted((*report.findings, *more), key=_rank)))


def _rank(finding: Finding) -> tuple[int, str, int]:
    order = list(SETTINGS)
    at = order.index(finding.setting) if finding.setting in order else len(order)
    return list(Severity).index(finding.severity), finding.application, at


def _subject(group: Group, names: KeyNames, expectations: Expectations) -> Subject | None:
    """The application with all values; None where it has nothing to do with ASP.NET's sessions."""
    if any(each.sections.has(_CORE) for each in group.values()):
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


def _all_rows(subject: Subject) -> Iterator[Row]:
    for setting, values in subject.values.items():
        yield from _rows(setting, values)


def _all_findings(subject: Subject, group: Group, servers: Sequence[str]) -> Iterator[Finding]:
    for setting, values in subject.values.items():
        yield from _differences(subject.name, SETTINGS[setting], values)
    yield from _hidden(subject)
    if any(each.application.path for each in group.values()):
        yield from broken_rules(subject)
    yield from _gaps(subject, group, servers)


def _by_value(values: Mapping[str, Value]) -> dict[str, list[str]]:
    """The web servers that have each value, those of which it is not known left out; by what is compared."""
    found: dict[str, list[str]] = {}
    for server, value in values.items():
        if not value.hidden:
            found.setdefault(value.compared, []).append(server)
    return found


def _expected(values: Mapping[str, Value]) -> str | None:
    """What most web servers have; None where nothing is ahead."""
    counted = Counter(value.compared for value in values.values() if not value.hidden).most_common(2)
    if not counted or (len(counted) == 2 and counted[0][1] == counted[1][1]):
        return None
    return counted[0][0]


def _rows(setting: str, values: Mapping[str, Value]) -> Iterator[Row]:
    expected = _expected(values)
    has_others = len(_by_value(values)) > 1
    shown: dict[str, list[str]] = {}
    for server, value in values.items():
        shown.setdefault(value.shown, []).append(server)
    for text, servers in shown.items():
        first = values[servers[0]]
        is_odd = first.hidden or (has_others and first.compared != expected)
        yield Row(setting, text, tuple(servers), first.origin, is_odd)


def _differences(application: str, setting: Setting, values: Mapping[str, Value]) -> Iterator[Finding]:
    """What is not the same everywhere."""
    by_value, expected = _by_value(values), _expected(values)
    if len(by_value) < 2:
        return
    severity = Severity.ERROR if setting.is_fatal else Severity.WARNING
    if expected is None:
        told = [f"{values[having[0]].shown} on {listed(having)}" for having in by_value.values()]
        servers = tuple(server for having in by_value.values() for server in having)
        yield _finding(
            severity, application, setting, servers, values, ", ".join(told), "the same on all of them"
        )
        return
    usual = by_value.pop(expected)
    wanted = f"{values[usual[0]].shown}, as on {listed(usual)}"
    for having in by_value.values():
        found = values[having[0]].shown
        yield _finding(severity, application, setting, tuple(having), values, found, wanted)


def _hidden(subject: Subject) -> Iterator[Finding]:
    """What could not be compared: settings of one section are hidden together."""
    severity = Severity.UNKNOWN if len(subject.servers) > 1 else Severity.NOTE
    reasons: dict[str, dict[str, list[str]]] = {}
    origins: dict[tuple[str, str], Origin | None] = {}
    for setting, values in subject.values.items():
        for server, value in values.items():
            if value.hidden:
                reasons.setdefault(value.shown, {}).setdefault(server, []).append(setting)
                origins[value.shown, server] = value.origin
    for reason, settings in reasons.items():
        alike: dict[str, list[str]] = {}
        for server, names in settings.items():
            alike.setdefault(", ".join(names), []).append(server)
        for names_of_all, servers in alike.items():
            places = tuple(origin for each in servers if (origin := origins[reason, each]) is not None)
            yield Finding(
                severity,
                subject.name,
                names_of_all,
                tuple(servers),
                places,
                reason,
                "values that can be compared: decrypted on the web server, or the file that is named",
                "Nothing is known of these settings, so they may differ",
            )


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


def _gaps(subject: Subject, group: Group, servers: Sequence[str]) -> Iterator[Finding]:
    """What could not be compared because a file was not given."""
    unknown = tuple(server for server, each in group.items() if each.application.host is None)
    if unknown and len(servers) > 1:
        why = SETTINGS["application ID"].why
        yield Finding(
            Severity.NOTE, subject.name, "application ID", unknown, (), "not known", _GIVE_HOST, why
        )
    if not any(each.is_configured for each in group.values()):
        return
    bare = tuple(server for server, each in group.items() if each.is_configured and not each.has_own_file)
    if bare:
        why = "If the application has one, it counts before all that is shown here"
        yield Finding(
            Severity.NOTE, subject.name, _OWN_FILE, bare, (), "was not given", "it, if there is one", why
        )
    missing = tuple(each for each in servers if each not in group or not group[each].is_configured)
    if missing:
        why = "What it does not share with the others is not known"
        expected = f"that of {listed(missing)} as well, if the application runs there"
        yield Finding(Severity.WARNING, subject.name, _OWN_FILE, missing, (), "was not given", expected, why)


def _foreign(group: Group) -> Iterator[Finding]:
    """Applications whose sessions are not ASP.NET's."""
    cores = [each for each in group.values() if each.sections.has(_CORE)]
    if cores:
        name, servers = cores[0].application.name, tuple(group)
        why = "It has no sessionState: what it calls a session is another thing, and was not compared"
        yield Finding(Severity.NOTE, name, "framework version", servers, (), "ASP.NET Core", "ASP.NET", why)


def _left_over(server: str, files: Sequence[ConfigFile]) -> Iterator[Finding]:
    for file in files:
        why = "Nothing in it was compared"
        expected = "the folder of an application, by the applicationHost.config of its web server"
        if file.kind is Kind.SECTION:
            expected = "a `configSource` that names it"
        found = f"{file.path} belongs to no application"
        yield Finding(Severity.NOTE, "", _OWN_FILE, (server,), (), found, expected, why)
