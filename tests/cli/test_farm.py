"""`partitioner farm`: what web servers must share and do not, by files that were gathered from them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from partitioner.cli import main
from partitioner.cli.actions.farm_set import Rewritten, write_file
from partitioner.placement.application import name_of
from partitioner.webfarm.document import read_document
from partitioner.webfarm.rewriting import with_connection
from tests.cli.test_http_client import listening
from tests.ops.logged import lines
from tests.tables import each_case

HOST = """<configuration><system.applicationHost>
  <applicationPools><add name="Shop" managedRuntimeVersion="v4.0" /></applicationPools>
  <sites>
    <site name="Shop" id="{site}">
      <application path="/" applicationPool="Shop">
        <virtualDirectory path="/" physicalPath="%SystemDrive%\\inetpub\\shop" />
      </application>
    </site>
  </sites>
</system.applicationHost></configuration>
"""
WEB = """<configuration>
  <system.web>
    <machineKey validationKey="{key}" decryptionKey="0E5B" />
    <sessionState mode="StateServer" stateConnectionString="tcpip={router}:42424" />
  </system.web>
</configuration>
"""


def run(*arguments: str, lines: str = "") -> Result:
    return CliRunner().invoke(main, ["farm", *arguments], input=lines)


def gather(folder: Path, server: str, *, site: int = 2, key: str = "5EC2E7", router: str = "router") -> None:
    """Put the files of one web server into a folder of its own."""
    web = folder / server / "C" / "inetpub" / "shop" / "web.config"
    web.parent.mkdir(parents=True)
    web.write_text(WEB.format(key=key, router=router), encoding="utf-8")
    (folder / server / "applicationHost.config").write_text(HOST.format(site=site), encoding="utf-8")


def test_web_servers_of_one_farm(tmp_path: Path) -> None:
    """Exit 0, with all settings in one table."""
    gather(tmp_path, "WEB1")
    gather(tmp_path, "WEB2")

    ended = run(str(tmp_path))

    assert 0 == ended.exit_code, ended.output
    assert "The web servers share what they must, as far as these files tell." in ended.stdout
    assert "/LM/W3SVC/2/ROOT" in ended.stdout


def test_one_web_server_that_differs(tmp_path: Path) -> None:
    """Exit 1; each finding has file and line, what the others have, and the reason. Keys are not printed."""
    gather(tmp_path, "WEB1")
    gather(tmp_path, "WEB2")
    gather(tmp_path, "WEB3", site=3, key="0DDBA11", router="state-1")

    ended = run("--json", str(tmp_path))
    findings = {each["setting"]: each for each in json.loads(ended.stdout)["findings"]}
    host, web = tmp_path / "WEB3" / "applicationHost.config", tmp_path / "WEB3/C/inetpub/shop/web.config"

    assert 1 == ended.exit_code
    assert {"application ID", "machineKey", "connection string"} == set(findings)
    assert {("Shop/", "error", ("WEB3",))} == {
        (each["application"], each["severity"], tuple(each["servers"])) for each in findings.values()
    }
    assert [{"file": str(host), "line": 4}] == findings["application ID"]["origins"]
    assert "/LM/W3SVC/2/ROOT(oXvpnxcu...), as on WEB1, WEB2" == findings["application ID"]["expected"]
    assert [{"file": str(web), "line": 4}] == findings["connection string"]["origins"]
    assert all(each["why"] for each in findings.values())
    shown = run(str(tmp_path)).stdout
    assert "0DDBA11" not in ended.stdout + shown
    assert ["! key B"] == [line[line.index("!") :][:7] for line in shown.splitlines() if "key B  " in line]


def test_what_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """One sentence for each on stderr, with its place; the others are compared; exit 1."""
    gather(tmp_path, "WEB1")
    gather(tmp_path, "WEB2", site=3)
    broken = tmp_path / "WEB2" / "broken.config"
    broken.write_text("<configuration>\n  <system.web>\n</configuration>", encoding="utf-8")
    names = "\n".join([str(tmp_path / "WEB1"), str(tmp_path / "WEB2"), f"WEB3={tmp_path}/nowhere.config"])

    ended = run("-", lines=names)

    assert 1 == ended.exit_code
    assert (
        f"partitioner: {broken} is not well-formed XML: mismatched tag (line 3, column 3)\n"
        f"partitioner: {tmp_path}/nowhere.config cannot be read: No such file or directory\n"
    ) == ended.stderr
    assert "error: Shop/: application ID" in ended.stdout


def test_other_files_of_a_folder(tmp_path: Path) -> None:
    """What configures something else is passed over, unless it is named or has the name of a web.config."""
    gather(tmp_path, "WEB1")
    gather(tmp_path, "WEB2")
    shop = tmp_path / "WEB2/C/inetpub/shop"
    (shop / "packages.config").write_text("<packages />")
    (shop / "Shop.dll.config").write_text(
        "<configuration><system.web><sessionState/></system.web></configuration>"
    )
    (shop / "picture.png").write_bytes(b"\x89PNG")
    passed_over = run(str(tmp_path))
    (tmp_path / "WEB2" / "Web.config").write_text("<html></html>")
    named = run(str(tmp_path), str(shop / "packages.config"))

    assert (0, "") == (passed_over.exit_code, passed_over.stderr)
    assert "4 files of 2 web servers" in passed_over.stdout
    assert 1 == named.exit_code
    assert ["WEB2/Web.config", "WEB2/C/inetpub/shop/packages.config"] == [
        str(Path(line.split()[1]).relative_to(tmp_path)) for line in named.stderr.splitlines()
    ]


SITE_2 = b"/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"
SITE_9 = b"/LM/W3SVC/9/ROOT(fs3fLXNlwMC2AkuM0XIrgFSVZ8u5Iz+FxMXRL0p4QZ4=)/"


def test_what_the_router_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its log names two applications; the files tell which web servers make them, if any does."""
    gather(tmp_path, "WEB1")
    (line,) = lines(capsys, lambda log: log.applications_mixed(name_of(SITE_2), name_of(SITE_9)))
    event = {
        "at": "",
        "ago": 1.0,
        "level": "warning",
        "event": line["event"],
        "cause": None,
        "consequence": None,
    }
    body = json.dumps({"events": [event | {"facts": {"applications": line["applications"]}}]}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    with listening(answer=answer) as there:
        ended = run("--json", "--admin", f"127.0.0.1:{there.port}", str(tmp_path))
    (finding,) = (each for each in json.loads(ended.stdout)["findings"] if each["severity"] == "error")

    assert 1 == ended.exit_code
    assert (
        "one session ID under /LM/W3SVC/2/ROOT(oXvpnxcu...), by WEB1 "
        "and /LM/W3SVC/9/ROOT(fs3fLXNl...), by no web server of these files"
    ) == finding["found"]
    assert "applicationHost.config" in finding["origins"][0]["file"]


def test_another_connection_string(tmp_path: Path) -> None:
    """`--set` shows what would change; with `--write` it is written, and the file as it was is kept."""
    gather(tmp_path, "WEB1", router="state-1")
    file = tmp_path / "WEB1/C/inetpub/shop/web.config"
    before = file.read_bytes()
    difference = (
        f"--- {file}\n+++ {file}\n@@ line 4 @@\n"
        '-<sessionState mode="StateServer" stateConnectionString="tcpip=state-1:42424" />\n'
        '+<sessionState mode="StateServer" stateConnectionString="tcpip=router:42425" />\n'
    )
    shown = run("--set", "tcpip=router:42425", str(tmp_path))
    unchanged = file.read_bytes()
    file.chmod(0o640)
    written = run("--set", "tcpip=router:42425", "--write", str(tmp_path))
    (backup,) = file.parent.glob("web.before-*.config")

    assert (0, before) == (shown.exit_code, unchanged)
    assert f"{difference}1 to be changed, and nothing was written. --write writes.\n" == shown.stdout
    assert f"{difference}{file}: written; as it was: {backup}\n" == written.stdout
    assert before == backup.read_bytes()
    assert before.replace(b"state-1:42424", b"router:42425") == file.read_bytes()
    assert 0o640 == file.stat().st_mode & 0o777 == backup.stat().st_mode & 0o777
    assert (
        "Nothing is to be changed.\n" == run("--set", "tcpip=router:42425", "--write", str(tmp_path)).stdout
    )


NO_CONNECTION = "expected tcpip=HOST:PORT, such as tcpip=router:42424"


def test_a_file_that_was_changed_meanwhile(tmp_path: Path) -> None:
    """It is not written: what somebody else has put there stays, and there is no backup of something else."""
    file = tmp_path / "web.config"
    file.write_text(WEB.format(key="1", router="b"))
    read = WEB.format(key="1", router="a").encode()
    rewriting = with_connection(read_document(read), "tcpip=router:42424")

    with pytest.raises(OSError, match="somebody else has changed it"):
        write_file(Rewritten(str(file), read, rewriting))

    assert [file] == list(tmp_path.iterdir())
    assert "tcpip=b:" in file.read_text()


@each_case(
    ("arguments", "complaint"),
    [
        (("--write", "x"), "--write goes with --set"),
        (
            ("--set", "router:42424", "x"),
            f"--set router:42424: {NO_CONNECTION}",
        ),
        (
            ("--set", "tcpip=a&b:1", "x"),
            f"--set tcpip=a&b:1: {NO_CONNECTION}",
        ),
        ((), "Missing argument 'FILE...'."),
        (
            (str(Path(__file__).parents[1] / "golden"),),
            "no configuration file was given; expected web.config and the like",
        ),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], complaint: str) -> None:
    """Exit 2, with one sentence."""
    ended = run(*arguments)

    assert (2, f"partitioner: {complaint}") == (ended.exit_code, ended.stderr.splitlines()[-1])
