"""What the web servers of a farm share and what they do not (partitioner/webfarm/comparison.py)."""

from pathlib import PurePath

from partitioner.webfarm.files import locate
from partitioner.webfarm.findings import Expectations
from partitioner.webfarm.mixed import mixed_applications, pair_of
from tests.tables import each_case
from tests.webfarm.gathered import compared, in_keys, said, sample, values


def web(session_state: str = "", *, more: str = "", beside: str = "", key: str = "A1") -> str:
    """A web.config that is good for a farm, but for what is asked for."""
    return (
        f'<configuration>\n<system.web>\n<machineKey validationKey="{key}" decryptionKey="B2" />\n'
        f'<sessionState mode="StateServer" stateConnectionString="tcpip=router:42424" {session_state}/>\n'
        f"{more}\n</system.web>{beside}</configuration>"
    )


def host(site: int, *applications: tuple[str, str], runtime: str = "v4.0") -> str:
    """An applicationHost.config with the site `Shop` and these applications: path and folder."""
    shown = "\n".join(
        f'<application path="{path}" applicationPool="P">'
        f'<virtualDirectory path="/" physicalPath="{folder}" /></application>'
        for path, folder in applications
    )
    return (
        "<configuration><system.applicationHost><applicationPools>"
        f'<add name="P" managedRuntimeVersion="{runtime}" /></applicationPools>\n<sites>\n'
        f'<site name="Shop" id="{site}">{shown}</site></sites></system.applicationHost></configuration>'
    )


def three(odd: str, usual: str = web()) -> dict[str, bytes | str]:
    """Three web servers, the last of which has a web.config of its own."""
    return {"WEB1/web.config": usual, "WEB2/web.config": usual, "WEB3/web.config": odd}


OWN_MODULE = '<add name="Session" type="Contoso.Sessions, Contoso" />'


@each_case(
    ("odd", "finding"),
    [
        (web(key="A2"), "error machineKey: key B on WEB3 at WEB3/web.config:3"),
        (
            web(more='<machineKey validation="AES" />'),
            "error machineKey algorithms: validation=AES on WEB3 at WEB3/web.config:5",
        ),
        (web('cookieName="Other" '), "error cookie name: Other on WEB3 at WEB3/web.config:4"),
        (web('cookieless="UseUri" '), "error cookieless: UseUri on WEB3 at WEB3/web.config:4"),
        (web('timeout="21" '), "error timeout: 21 on WEB3 at WEB3/web.config:4"),
        (web('compressionEnabled="true" '), "error compressionEnabled: true on WEB3 at WEB3/web.config:4"),
        (web('stateNetworkTimeout="20" '), "warning stateNetworkTimeout: 20 on WEB3 at WEB3/web.config:4"),
        (
            web(more='<httpRuntime executionTimeout="60" />'),
            "warning executionTimeout: 60 on WEB3 at WEB3/web.config:5",
        ),
        (
            web(more='<httpRuntime targetFramework="4.8" />'),
            "warning target framework: 4.8 on WEB3 at WEB3/web.config:5",
        ),
        (
            web(beside='<system.webServer><modules><remove name="Session" /></modules></system.webServer>'),
            "error session module: removed on WEB3 at WEB3/web.config:6",
        ),
        (
            web(beside=f"<system.webServer><modules>{OWN_MODULE}<clear /></modules></system.webServer>"),
            "error session module: removed on WEB3 at WEB3/web.config:6",
        ),
        (
            web(beside=f"<system.webServer><modules><clear />{OWN_MODULE}</modules></system.webServer>"),
            "error session module: Contoso.Sessions on WEB3 at WEB3/web.config:6",
        ),
        (
            web('sessionIDManagerType="Contoso.Ids" '),
            "error session ID manager: Contoso.Ids on WEB3 at WEB3/web.config:4",
        ),
        (
            web().replace("router:42424", "state-1:42424"),
            "error connection string: tcpip=state-1:42424 on WEB3 at WEB3/web.config:4",
        ),
    ],
)
def test_one_setting_that_differs(odd: str, finding: str) -> None:
    """It is found on the web server that is alone with it, with the line of its value."""
    found = said(compared(three(odd)))

    assert [finding] == [each for each in found if not each.startswith("note")]


@each_case(
    "odd",
    [
        web(),
        web('cookieless="false" cookieName="asp.net_sessionid" timeout=" 20 " compressionEnabled="False" '),
        web('stateNetworkTimeout="10" ', more='<httpRuntime executionTimeout="110" />', key="a1"),
        web().replace("tcpip=router", "tcpip=ROUTER"),
        web(more='<compilation debug="true" /><deployment retail="true" />'),
        web(more='<compilation debug="false" /><!-- <sessionState mode="Off" /> -->'),
        web(beside='<system.webServer><modules><clear/><add name="Session"/></modules></system.webServer>'),
    ],
)
def test_what_means_the_same(odd: str) -> None:
    """Defaults that are written out, other spellings of a value, and comments make no difference."""
    report = compared(three(odd))

    assert ["note application ID: not known on WEB1 WEB2 WEB3"] == said(report)
    assert report.is_one_farm


@each_case(
    ("files", "finding"),
    [
        (
            {"WEB1/web.config": web(key="A1"), "WEB2/web.config": web(key="A2")},
            "error machineKey: key A on WEB1, key B on WEB2 on WEB1 WEB2 at WEB1/web.config:3",
        ),
        (
            dict.fromkeys(("WEB1/web.config", "WEB2/web.config"), web(key="AutoGenerate,IsolateApps")),
            "error machineKey: AutoGenerate on WEB1 WEB2 at WEB1/web.config:3",
        ),
        (
            dict.fromkeys(("WEB1/web.config", "WEB2/web.config"), web().replace("router", "127.0.0.1")),
            "error connection string: tcpip=127.0.0.1:42424 on WEB1 WEB2 at WEB1/web.config:4",
        ),
        (
            dict.fromkeys(("WEB1/web.config", "WEB2/web.config"), web().replace("42424", "70000")),
            "error connection string: tcpip=router:70000 on WEB1 WEB2 at WEB1/web.config:4",
        ),
        (
            dict.fromkeys(("WEB1/web.config", "WEB2/web.config"), web().replace("StateServer", "InProc")),
            "error sessionState mode: InProc on WEB1 WEB2 at WEB1/web.config:4",
        ),
        (
            {"WEB1/web.config": web(), "WEB2/web.config": sample("web-encrypted.config")},
            "unknown machineKey, machineKey algorithms: encrypted with RsaProtectedConfigurationProvider "
            "on WEB2 at WEB2/web.config:5",
        ),
        (
            {
                "WEB1/applicationHost.config": host(2, ("/", r"C:\shop")),
                "WEB2/applicationHost.config": host(2, ("/", r"C:\shop"), runtime="v2.0"),
            },
            "error framework version: v4.0 on WEB1, v2.0 on WEB2 on WEB1 WEB2 at "
            "WEB1/applicationHost.config:1",
        ),
        (
            {
                "WEB1/applicationHost.config": host(2, ("/", r"C:\shop"), ("/Admin", r"C:\admin")),
                "WEB2/applicationHost.config": host(2, ("/", r"C:\shop"), ("/admin", r"C:\admin")),
            },
            f"error application ID: {in_keys('/LM/W3SVC/2/ROOT/Admin')} on WEB1, "
            f"{in_keys('/LM/W3SVC/2/ROOT/admin')} on WEB2 on WEB1 WEB2 "
            "at WEB1/applicationHost.config:3",
        ),
        (
            {
                "WEB1/machine.config": sample("machine-4.0.config"),
                "WEB2/machine.config": sample("machine-2.0.config"),
            },
            "error machineKey: key A on WEB1, AutoGenerate on WEB2 on WEB1 WEB2 at WEB1/machine.config:10",
        ),
    ],
)
def test_two_web_servers(files: dict[str, bytes | str], finding: str) -> None:
    """Where nobody is in the majority, all are named; so are those that are wrong in the same way."""
    report = compared(files)

    assert finding in said(report)
    assert not report.is_one_farm


@each_case(
    ("expectations", "finding"),
    [
        (Expectations(12.0, 86_400.0, ()), "warning stateNetworkTimeout: 10 s on WEB1"),
        (Expectations(8.0, 1_199.0, ()), "warning timeout: 20 min on WEB1"),
        (
            Expectations(8.0, 86_400.0, (42425, 42426)),
            "warning connection string: tcpip=router:42424 on WEB1",
        ),
    ],
)
def test_what_the_router_asks_of_web_servers(expectations: Expectations, finding: str) -> None:
    """Its configuration tells how long it takes, how long sessions may live, and where it listens."""
    found = said(compared({"WEB1/web.config": web()}, expectations))

    assert [finding] == [each.partition(" at ")[0] for each in found]


OUTER_30 = '<configuration><system.web><sessionState timeout="30" /></system.web></configuration>'
TIMEOUT_40 = '<sessionState timeout="40" />'
HOSTED: dict[str, bytes | str] = {
    "WEB1/applicationHost.config": host(2, ("/", r"C:\shop"), ("/admin", r"D:\admin")),
    "WEB1/C/shop/web.config": web('timeout="30" '),
    "WEB1/D/admin/web.config": "<configuration />",
}


def framework(folder: str, timeout: int) -> dict[str, bytes | str]:
    """The machine.config of one framework, where it lies on a web server."""
    text = f'<configuration><system.web><sessionState timeout="{timeout}" /></system.web></configuration>'
    return {f"WEB1/C/Windows/Microsoft.NET/{folder}/Config/machine.config": text}


FRAMEWORKS = {
    **framework("Framework/v2.0.50727", 1),
    **framework("Framework64/v2.0.50727", 2),
    **framework("Framework/v4.0.30319", 32),
    **framework("Framework64/v4.0.30319", 4),
    "WEB1/C/shop/web.config": web(),
}
SHOP_2_0 = host(2, ("/", r"C:\shop"), ("/admin", r"D:\admin"), runtime="v2.0")
SHOP_32_BIT = host(2, ("/", r"C:\shop"), ("/admin", r"D:\admin")).replace(
    'name="P"', 'name="P" enable32BitAppOnWin64="true"'
)

ALONE = 'inheritInChildApplications="false"'


def at(path: str, attributes: str = "") -> str:
    """A `location` with a time-out of its own."""
    return f'<location path="{path}" {attributes}><system.web>{TIMEOUT_40}</system.web></location>'


@each_case(
    ("files", "application", "timeout"),
    [
        ({"WEB1/web.config": web(), "WEB1/machine.config": OUTER_30}, "the application", "30"),
        ({"WEB1/web.config": web('timeout="50" '), "WEB1/machine.config": OUTER_30}, "the application", "50"),
        (HOSTED, "Shop/admin", "30"),
        (HOSTED | {"WEB1/D/admin/web.config": web('timeout="50" ')}, "Shop/admin", "50"),
        (HOSTED | {"WEB1/C/shop/web.config": web(beside=at("admin"))}, "Shop/admin", "40"),
        (HOSTED | {"WEB1/C/shop/web.config": web(beside=at("admin"))}, "Shop/", "20"),
        (HOSTED | {"WEB1/C/shop/web.config": web(beside=at("admin/pages"))}, "Shop/admin", "20"),
        (HOSTED | {"WEB1/C/shop/web.config": web(beside=at("."))}, "Shop/admin", "40"),
        (
            HOSTED | {"WEB1/C/shop/web.config": web(beside=at("", ALONE))},
            "Shop/admin",
            "20",
        ),
        (
            HOSTED | {"WEB1/C/shop/web.config": web(beside=at("", ALONE))},
            "Shop/",
            "40",
        ),
        (
            HOSTED | {"WEB1/root-web.config": f"<configuration>{at('shop/Admin')}</configuration>"},
            "Shop/admin",
            "40",
        ),
        (
            HOSTED | {"WEB1/machine.config": f"<configuration>{at('Other/admin')}</configuration>"},
            "Shop/admin",
            "30",
        ),
        (
            {
                "WEB1/web.config": '<configuration><system.web><sessionState configSource="a\\B.config" />'
                "</system.web></configuration>",
                "WEB1/a/b.config": '<sessionState mode="StateServer" timeout="60" />',
            },
            "the application",
            "60",
        ),
        (
            {
                "WEB1/machine.config": sample("web-encrypted.config"),
                "WEB1/web.config": web('timeout="70" '),
            },
            "the application",
            "70",
        ),
        (HOSTED | FRAMEWORKS, "Shop/admin", "4"),
        (HOSTED | FRAMEWORKS | {"WEB1/applicationHost.config": SHOP_2_0}, "Shop/admin", "2"),
        (HOSTED | FRAMEWORKS | {"WEB1/applicationHost.config": SHOP_32_BIT}, "Shop/admin", "32"),
        (FRAMEWORKS | {"WEB1/web.config": web()}, "the application", "4"),
    ],
)
def test_what_counts_for_an_application(
    files: dict[str, bytes | str], application: str, timeout: str
) -> None:
    """Outer files, `location`, folders on the way and `configSource`, as ASP.NET puts them together."""
    assert {"WEB1": timeout} == values(compared(files), application)["timeout"]


def test_pages_of_a_folder_that_may_run_longer() -> None:
    """By the web.config of a folder that is no application; that of an application is its own."""
    slow = '<configuration><system.web><httpRuntime executionTimeout="{}" /></system.web></configuration>'
    files = HOSTED | {
        "WEB1/C/shop/reports/web.config": slow.format(900),
        "WEB1/D/admin/web.config": slow.format(30),
        "WEB1/D/admin/slow/web.config": slow.format(60),
    }

    assert [
        "warning executionTimeout: 900 s for reports on WEB1 at WEB1/C/shop/reports/web.config:1",
        "warning executionTimeout: 60 s for slow on WEB1 at WEB1/D/admin/slow/web.config:1",
    ] == [each for each in said(compared(files)) if "executionTimeout" in each]


def test_folders_that_are_no_applications() -> None:
    """Without an applicationHost.config, a nested web.config is one only if it sets what one alone may."""
    files = {
        "WEB1/web.config": web(),
        "WEB1/Views/web.config": "<configuration />",
        "WEB1/shop/web.config": web(),
    }

    assert ["the application", "/shop"] == [each.name for each in compared(files).applications]


@each_case(
    ("others", "names"),
    [
        (
            {"applicationHost.config": host(2, ("/", r"E:\elsewhere")).replace('"Shop"', '"Shop on WEB2"')},
            ["Shop/"],
        ),
        (
            {"applicationHost.config": host(3, ("/", r"C:\shop")).replace('"Shop"', '"Shop on WEB2"')},
            ["Shop/", "Shop on WEB2/"],
        ),
        ({"applicationHost.config": host(2, ("/shop", r"C:\shop"))}, ["Shop/", "Shop/shop"]),
        ({"C/shop/web.config": web(), "D/admin/web.config": web()}, ["Shop/", "/d/admin"]),
        ({"shop/web.config": web(), "admin/web.config": web()}, ["Shop/", "/admin"]),
        ({"web.config": web()}, ["Shop/"]),
    ],
)
def test_which_applications_are_one(others: dict[str, str], names: list[str]) -> None:
    """Those of one site and path, with one application ID, or in one folder; and the only ones there are."""
    files: dict[str, bytes | str] = {
        "WEB1/applicationHost.config": host(2, ("/", r"C:\shop")),
        "WEB1/C/shop/web.config": web(),
    }
    files |= {f"WEB2/{name}": text for name, text in others.items()}

    assert names == [each.name for each in compared(files).applications]


def test_a_farm_of_many_applications() -> None:
    """Files are found by the folders of applicationHost.config, on whatever disks they were gathered."""
    shop, admin = sample("web-4.8.config"), sample("web-sources.config")
    files: dict[str, bytes | str] = {}
    for name, folder in (("WEB1", "C/inetpub/shop"), ("WEB2", "c$/INETPUB/Shop"), ("WEB3", "inetpub/shop")):
        files[f"{name}/applicationHost.config"] = sample("host-10.config")
        files[f"{name}/{folder}/web.config"] = shop
        disk = f"{name}/E" if name != "WEB3" else name
        files[f"{disk}/apps/shop-admin/web.config"] = admin
        files[f"{disk}/apps/shop-admin/config/session.config"] = sample("session.config")
        files[f"{disk}/apps/shop-admin/config/machineKey.config"] = '<machineKey validationKey="A1" />'
    report = compared(files)
    found = {each.name: each for each in report.applications}

    assert ["Shop/", "Shop/Admin"] == list(found)
    assert ("WEB1", "WEB2", "WEB3") == found["Shop/"].servers
    assert (
        dict.fromkeys(found["Shop/"].servers, in_keys("/LM/W3SVC/4/ROOT/Admin"))
        == values(report, "Shop/Admin")["application ID"]
    )
    assert (
        dict.fromkeys(found["Shop/"].servers, "tcpip=sessions.example:42424")
        == values(report, "Shop/Admin")["connection string"]
    )
    assert ["executionTimeout", "machineKey"] == sorted({each.setting for each in report.findings})


@each_case(
    ("paths", "servers"),
    [
        (["web.config"], ["web server"]),
        (["shop/web.config"], ["shop"]),
        (["g/WEB1/web.config", "g/WEB2/web.config"], ["WEB1", "WEB2"]),
        (["g/WEB1/web.config", "g/WEB1/machine.config", "g/WEB2/a/web.config"], ["WEB1", "WEB1", "WEB2"]),
        (["WEB1/applicationHost.config", "WEB1/C/shop/web.config"], ["WEB1", "WEB1"]),
        (["WEB1/C/shop/web.config", "WEB1/D/admin/web.config"], ["WEB1", "WEB1"]),
        (
            ["WEB1/Windows/System32/inetsrv/config/applicationHost.config", "WEB1/www/web.config"],
            ["WEB1", "WEB1"],
        ),
        (["WEB1/web.config", "WEB1/admin/web.config"], ["WEB1", "WEB1"]),
        (["g/web1.config", "g/web2.config"], ["web1", "web2"]),
        (["web1-web.config", "web1-machine.config", "web2_web.config"], ["web1", "web1", "web2"]),
        (["/one/WEB1/x/web.config", "/two/WEB2/x/web.config"], ["one", "two"]),
        (["../WEB1/web.config", "../WEB2/web.config"], ["WEB1", "WEB2"]),
    ],
)
def test_which_web_server_a_file_is_of(paths: list[str], servers: list[str]) -> None:
    """By what the paths do not have in common."""
    assert servers == [each.server for each in locate([PurePath(each) for each in paths])]


def test_what_a_router_saw_mixed() -> None:
    """Each of its applications is that of some web servers by their files, or of none."""
    report = compared(
        {
            "WEB1/applicationHost.config": host(2, ("/", r"C:\shop")),
            "WEB2/applicationHost.config": host(3, ("/", r"C:\shop")),
        }
    )
    pair = pair_of("/LM/W3SVC/2/ROOT(oXvpnxcu...) and /LM/W3SVC/3/ROOT(54AfKD59...)")
    assert pair is not None
    (finding,) = mixed_applications(report, [pair, pair])

    assert ("Shop/", ("WEB1",)) == (finding.application, finding.servers)
    assert pair_of("no pair") is None
