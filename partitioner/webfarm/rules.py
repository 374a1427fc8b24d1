"""What is wrong with a setting by itself, whatever the other web servers have."""

import re
from collections.abc import Callable, Iterator, Mapping

from partitioner.units import format_duration
from partitioner.webfarm.files import Origin
from partitioner.webfarm.findings import Finding, Severity, Subject
from partitioner.webfarm.sections import Told
from partitioner.webfarm.settings import (
    AUTO_GENERATE,
    COMPILATION,
    DEFAULT_EXECUTION_TIMEOUT,
    DEPLOYMENT,
    HTTP_RUNTIME,
    MODES,
    STATE_SERVER,
    Value,
)

LONGEST_TIMEOUT = 525_600
"""Minutes. Source: protocol.md 7."""

_CONNECTION = re.compile(r"tcpip=(?P<host>\[[0-9A-Fa-f:.]+(%\w+)?\]|[!-9;-~]+):(?P<port>\d{1,5})")
"""Source: protocol.md 8.3. The host is ASCII and has no colon."""

_LOOPBACK = re.compile(r"localhost|loopback|127(\.\d+){3}|\[::1\]|\.", re.I)

Complaint = tuple[Severity, str, str, str]
"""How bad it is, what was found, what was expected, and why it matters."""


def broken_rules(subject: Subject) -> Iterator[Finding]:
    """All that is wrong with the settings of an application, web servers with the same fault together."""
    for setting, rule in _RULES.items():
        complaints: dict[Complaint, list[tuple[str, Origin | None]]] = {}
        for server, value in subject.values.get(setting, {}).items():
            if not value.hidden:
                for complaint in rule(subject, server, value):
                    complaints.setdefault(complaint, []).append((server, value.origin))
        yield from _findings(subject, setting, complaints)
    yield from _findings(subject, "executionTimeout", _debugging(subject))
    yield from _findings(subject, "executionTimeout", _parts(subject))


def _findings(
    subject: Subject, setting: str, complaints: Mapping[Complaint, list[tuple[str, Origin | None]]]
) -> Iterator[Finding]:
    for (severity, found, expected, why), places in complaints.items():
        servers = tuple(dict.fromkeys(server for server, _ in places))
        origins = tuple(dict.fromkeys(origin for _, origin in places if origin is not None))
        yield Finding(severity, subject.name, setting, servers, origins, found, expected, why)


def _mode(subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    if value.shown not in MODES:
        why = "ASP.NET refuses to start the application; letters' case counts"
        yield Severity.ERROR, value.shown, f"one of {', '.join(MODES)}", why
    elif value.shown == "InProc":
        why = (
            "Sessions are kept in the memory of each web server: no other one sees them, and they are "
            "lost when its application pool is recycled"
        )
        yield Severity.ERROR if len(subject.servers) > 1 else Severity.WARNING, value.shown, STATE_SERVER, why
    elif value.shown in ("SQLServer", "Custom"):
        why = "These sessions are not on state servers, so a router does not see them"
        yield Severity.WARNING, value.shown, STATE_SERVER, why


def _connection(subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    match = _CONNECTION.fullmatch(value.shown)
    if match is None or int(match["port"]) > 65535:
        why = "ASP.NET refuses to start the application"
        yield Severity.ERROR, value.shown, "tcpip=HOST:PORT, in these letters", why
        return
    if _LOOPBACK.fullmatch(match["host"]) and len(subject.servers) > 1:
        why = "Each web server has a state server of its own then, and sessions of its own"
        yield Severity.ERROR, value.shown, "the address of the router", why
    elif subject.expectations.ports and int(match["port"]) not in subject.expectations.ports:
        ports = " or ".join(map(str, subject.expectations.ports))
        why = "The web server does not reach the router, unless something in between forwards this port"
        yield Severity.WARNING, value.shown, f"port {ports}, at which the router listens", why


def _resolver(subject: Subject, server: str, value: Value) -> Iterator[Complaint]:
    if value.shown != "none" and subject.values["sessionState mode"][server].shown == STATE_SERVER:
        why = (
            "It picks the state server in place of the connection string, and the router has taken over "
            "what it is for"
        )
        expected = "none, and the router's address in the connection string; or a resolver that returns that"
        yield Severity.WARNING, value.shown, expected, why


def _timeout(subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    minutes = _maybe_number(value.shown)
    longest = subject.expectations.session_timeout_max
    if minutes is None or not 1 <= minutes <= LONGEST_TIMEOUT:
        expected = f"minutes, 1 to {LONGEST_TIMEOUT}"
        yield Severity.ERROR, value.shown, expected, "ASP.NET refuses to start the application"
    elif minutes * 60 > longest:
        why = (
            "The router reckons with sessions that live so long at most: when servers join or leave, "
            "longer ones that nobody uses meanwhile may be lost, or come back older than they were"
        )
        expected = f"session_timeout_max of the router, {format_duration(longest)}, or less"
        yield Severity.WARNING, f"{value.shown} min", expected, why


def _network_timeout(subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    seconds = _maybe_number(value.shown)
    exchange = subject.expectations.exchange_timeout
    if value.shown == "Infinite":
        why = "A page waits for an answer that never comes until its executionTimeout is over"
        yield Severity.WARNING, value.shown, f"seconds, some more than {format_duration(exchange)}", why
    elif seconds is None or seconds < 1:
        yield Severity.ERROR, value.shown, "seconds, 1 or more", "ASP.NET refuses to start the application"
    elif seconds <= exchange:
        why = (
            "The web server gives up before the router does: a page fails that would have got its answer "
            "from the session's other server, and its lock has to be released afterwards"
        )
        expected = f"more than timeouts.exchange of the router, {format_duration(exchange)}"
        yield Severity.WARNING, f"{value.shown} s", expected, why


def _execution_timeout(_subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    seconds = _maybe_number(value.shown)
    if seconds is None or seconds < 1:
        yield Severity.ERROR, value.shown, "seconds, 1 or more", "ASP.NET refuses to start the application"
    elif seconds > DEFAULT_EXECUTION_TIMEOUT:
        yield Severity.WARNING, f"{value.shown} s", f"{DEFAULT_EXECUTION_TIMEOUT} s or less", _LONG_PAGES


_LONG_PAGES = (
    "A page may hold its session's lock for so long. A session whose web server has died stays locked as "
    "long; and after a takeover, or with another web server's shorter limit, a lock counts as abandoned "
    "after 110 s, so that a page that runs on collides with another one's save"
)


def _machine_key(subject: Subject, _server: str, value: Value) -> Iterator[Complaint]:
    if value.shown == AUTO_GENERATE and len(subject.servers) > 1:
        why = (
            "Each web server makes a key of its own: login cookies and view state of one are refused by "
            "the others; before 4.5 sessions are not shared either"
        )
        yield (
            Severity.ERROR,
            AUTO_GENERATE,
            "the same validationKey and decryptionKey on each web server",
            why,
        )


_RULES: Mapping[str, Callable[[Subject, str, Value], Iterator[Complaint]]] = {
    "sessionState mode": _mode,
    "connection string": _connection,
    "timeout": _timeout,
    "stateNetworkTimeout": _network_timeout,
    "executionTimeout": _execution_timeout,
    "machineKey": _machine_key,
    "partition resolver": _resolver,
}


def _debugging(subject: Subject) -> dict[Complaint, list[tuple[str, Origin | None]]]:
    """Where pages may run without end, whatever executionTimeout says."""
    why = (
        "executionTimeout does not count while this is on: a page that hangs is not ended, and other web "
        "servers break its lock under it"
    )
    complaint = (Severity.WARNING, 'compilation debug="true"', "false in production", why)
    places = []
    for server, sections in subject.sections.items():
        told = sections.attribute(COMPILATION, "debug")
        if _is_true(told) and not _is_true(sections.attribute(DEPLOYMENT, "retail")):
            places.append((server, told.origin))
    return {complaint: places} if places else {}


def _parts(subject: Subject) -> dict[Complaint, list[tuple[str, Origin | None]]]:
    """Parts of the application whose pages may run for longer than others wait for them."""
    found: dict[Complaint, list[tuple[str, Origin | None]]] = {}
    for server, sections in subject.sections.items():
        of_whole = subject.values.get("executionTimeout", {}).get(server)
        whole = None if of_whole is None else _maybe_number(of_whole.shown)
        for path, told in sections.parts(HTTP_RUNTIME, "executionTimeout"):
            seconds = _maybe_number(told.value or "")
            if seconds is not None and whole is not None and seconds > whole:
                why = (
                    "A page of another part that waits for the same session breaks the lock after "
                    f"{whole} s, while the page still runs: its save then collides with others"
                )
                complaint = (Severity.WARNING, f"{seconds} s for {path}", f"{whole} s, as elsewhere", why)
                found.setdefault(complaint, []).append((server, told.origin))
    return found


def _is_true(told: Told) -> bool:
    return (told.value or "").strip().lower() == "true"


def _maybe_number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
