"""What is read from files of all ages and shapes, one at a time: .NET 1.1 to 4.8, IIS 7 to 10."""

import pytest

from partitioner.errors import WebConfigUnreadable
from partitioner.webfarm.document import read_document
from tests.tables import each_case
from tests.webfarm.gathered import SAMPLES, compared, in_keys, said, sample

ENCRYPTED = "encrypted with DataProtectionConfigurationProvider"
SOURCE = "in config\\session.config, which was not given"
OF_SESSION_STATE = (
    "sessionState mode, connection string, cookie name, cookieless, timeout, stateNetworkTimeout, "
    "compressionEnabled, partition resolver, session ID manager"
)


SAYS: list[tuple[str, dict[str, str | None], list[str]]] = [
    (
        "web-1.1.config",
        {"sessionState mode": "InProc", "cookieless": "UseCookies", "timeout": "20"},
        [
            "warning sessionState mode: InProc on here at here/web.config:36",
            'warning executionTimeout: compilation debug="true" on here at here/web.config:11',
        ],
    ),
    (
        "web-1.1-farm.config",
        {
            "machineKey": "key A",
            "machineKey algorithms": "validation=SHA1",
            "connection string": "tcpip=10.1.0.9:42424",
            "timeout": "45",
            "stateNetworkTimeout": "15",
            "executionTimeout": "90",
        },
        [],
    ),
    (
        "web-2.0.config",
        {
            "connection string": "tcpip=sessions:42424",
            "cookie name": "TicketSession",
            "cookieless": "AutoDetect",
        },
        ["warning executionTimeout: 900 s for reports on here at here/web.config:12"],
    ),
    (
        "web-3.5.config",
        {"sessionState mode": "SQLServer", "executionTimeout": "300", "session module": "present"},
        [
            "warning sessionState mode: SQLServer on here at here/web.config:17",
            "warning executionTimeout: 300 s on here at here/web.config:11",
            'warning executionTimeout: compilation debug="true" on here at here/web.config:12',
        ],
    ),
    (
        "web-4.0.config",
        {
            "target framework": "4.0",
            "connection string": "tcpip=loopback:42424",
            "compressionEnabled": "true",
            "timeout": "1440",
        },
        [],
    ),
    ("web-4.5-api.config", {"sessionState mode": "Off", "session module": "removed"}, []),
    (
        "web-4.6-async.config",
        {
            "target framework": "4.6.2",
            "sessionState mode": "Custom",
            "session module": "Microsoft.AspNet.SessionState.SessionStateModuleAsync",
        },
        ["warning sessionState mode: Custom on here at here/web.config:6"],
    ),
    (
        "web-4.8.config",
        {
            "target framework": "4.8",
            "machineKey": "key A",
            "machineKey algorithms": "validation=HMACSHA256 decryption=AES compatibilityMode=Framework45",
            "connection string": "tcpip=[fd00::5]:42424",
            "stateNetworkTimeout": "12",
        },
        ["warning executionTimeout: 1800 s for upload on here at here/web.config:22"],
    ),
    ("web-core.config", {}, ["note framework version: ASP.NET Core on here"]),
    (
        "web-portal.config",
        {
            "session module": "present",
            "partition resolver": "Contoso.Portal.SessionPartitions, Contoso.Portal",
            "timeout": "60",
        },
        ["warning sessionState mode: SQLServer on here at here/web.config:11"],
    ),
    (
        "web-partitions.config",
        {
            "sessionState mode": "StateServer",
            "session ID manager": "Contoso.Web.SessionIds, Contoso.Web",
            "connection string": None,
        },
        ["warning partition resolver: Contoso.Web.Partitions on here at here/web.config:5"],
    ),
    (
        "web-encrypted.config",
        {"target framework": "4.7.2", "sessionState mode": ENCRYPTED, "timeout": ENCRYPTED},
        [
            "note machineKey, machineKey algorithms: encrypted with RsaProtectedConfigurationProvider "
            "on here at here/web.config:5",
            f"note {OF_SESSION_STATE}: {ENCRYPTED} on here at here/web.config:12",
        ],
    ),
    (
        "web-sources.config",
        {"sessionState mode": SOURCE, "executionTimeout": "110"},
        [
            "note machineKey, machineKey algorithms: in config\\machineKey.config, which was not given "
            "on here at here/web.config:6",
            f"note {OF_SESSION_STATE}: {SOURCE} on here at here/web.config:7",
        ],
    ),
    ("session.config", {}, ["note web.config: here/session.config belongs to no application on here"]),
    (
        "web-utf16.config",
        {"connection string": "tcpip=sessions:42424"},
        ["warning stateNetworkTimeout: 8 s on here at here/web.config:5"],
    ),
    (
        "web-mistyped.config",
        {"sessionState mode": "stateserver"},
        [
            "error sessionState mode: stateserver on here at here/web.config:3",
            "error timeout: 0 on here at here/web.config:3",
            "error executionTimeout: 00:05:00 on here at here/web.config:4",
        ],
    ),
    (
        "web-mistyped-2.config",
        {"stateNetworkTimeout": "Infinite"},
        [
            "error connection string: TCPIP=sessions:42424 on here at here/web.config:1",
            "error timeout: 600000 on here at here/web.config:1",
            "warning stateNetworkTimeout: Infinite on here at here/web.config:1",
            "warning executionTimeout: 600 s on here at here/web.config:1",
        ],
    ),
    (
        "host-7.0.config",
        {
            "Default Web Site/: application ID": in_keys("/LM/W3SVC/1/ROOT"),
            "Default Web Site/: framework version": "not written",
            "tickets.example/: application ID": "/LM/W3SVC/823237502/ROOT",
            "tickets.example/: framework version": "v2.0",
            "tickets.example/Old: application ID": "/LM/W3SVC/823237502/ROOT/Old",
            "tickets.example/Old: framework version": "v1.1",
        },
        [],
    ),
    (
        "host-10.config",
        {
            "Shop/: application ID": in_keys("/LM/W3SVC/4/ROOT"),
            "Shop/: framework version": "v4.0",
            "Shop/Admin: application ID": in_keys("/LM/W3SVC/4/ROOT/Admin"),
            "Shop/Admin: timeout": "10",
        },
        [
            "warning sessionState mode: InProc on here",
            "note web.config: was not given on here",
        ],
    ),
    (
        "host-express.config",
        {
            "WebSite1/: application ID": in_keys("/LM/W3SVC/1/ROOT"),
            "WebSite1/: framework version": "v4.0",
            "Invoices/: application ID": in_keys("/LM/W3SVC/2/ROOT"),
            "Invoices/: framework version": "v4.0",
        },
        [],
    ),
    ("machine-2.0.config", {"sessionState mode": "InProc", "machineKey": "AutoGenerate"}, []),
    (
        "machine-4.0.config",
        {"sessionState mode": "StateServer", "machineKey": "key A", "timeout": "40"},
        [],
    ),
    ("root-web-4.0.config", {"cookie name": "FarmSession", "session module": "present"}, []),
]


@each_case(("name", "settings", "findings"), SAYS)
def test_what_is_said_of_a_file(name: str, settings: dict[str, str | None], findings: list[str]) -> None:
    """Settings, whoever wrote them and however; and what is wrong, with its line."""
    kind = name if name == "session.config" else {"h": "applicationHost.config"}.get(name[0], "web.config")
    report = compared({f"here/{kind}": sample(name)})
    read = {f"{each.name}: {row.setting}": row.value for each in report.applications for row in each.rows}
    of_only_one = {told.partition(": ")[2]: value for told, value in read.items()}

    assert settings == {told: (read | of_only_one).get(told) for told in settings}
    assert findings == said(report)


def test_every_sample_is_in_the_table() -> None:
    """But for the one that is no configuration of a web server."""
    assert {each.name for each in SAMPLES.iterdir()} - {"web-release.config"} == {name for name, _, _ in SAYS}


@each_case(
    ("name", "content", "reason"),
    [
        (
            "web.config",
            sample("web-release.config"),
            "is a transform that a build applies to a web.config; give the web.config that came of it",
        ),
        (
            "web.config",
            b"\n<!-- saved page -->\n<html></html>",
            "is not a configuration: its root element is <html>, expected <configuration>",
        ),
        (
            "packages.config",
            b"<packages />",
            "is not a configuration: its root element is <packages>, expected <configuration>",
        ),
    ],
)
def test_files_that_configure_no_web_server(name: str, content: bytes, reason: str) -> None:
    """One sentence says what they are instead."""
    with pytest.raises(WebConfigUnreadable) as refusal:
        compared({name: content})

    assert reason == str(refusal.value)
    assert refusal.value.line is not None


def maybe_refusal(content: bytes) -> WebConfigUnreadable | None:
    try:
        read_document(content)
    except WebConfigUnreadable as refusal:
        return refusal
    return None


@each_case("name", ["web-4.8.config", "web-utf16.config", "web-1.1-farm.config", "host-10.config"])
def test_damaged_files(name: str) -> None:
    """Cut off anywhere, or with any byte another one: read, or refused with a place, and never a crash."""
    content = sample(name)
    damaged = [content[:length] for length in range(len(content))]
    damaged += [content[:at] + bytes([content[at] ^ 0x11]) + content[at + 1 :] for at in range(len(content))]
    refusals = [refusal for each in damaged if (refusal := maybe_refusal(each)) is not None]

    assert len(content) <= len(refusals)
    assert [] == [refusal for refusal in refusals if refusal.line is None]
