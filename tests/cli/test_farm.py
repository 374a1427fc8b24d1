"""`partitioner farm`: what web servers must share and do not, by files that were gathered from them."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from partitioner.cli import main

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
    assert "/LM/W3SVC/2/ROOT, as on WEB1, WEB2" == findings["application ID"]["expected"]
    assert [{"file": str(web), "line": 4}] == findings["connection string"]["origins"]
    assert all(each["why"] for each in findings.values())
    assert "0DDBA11" not in ended.stdout + run(str(tmp_path)).stdout


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
