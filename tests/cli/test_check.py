"""`partitioner check`: every problem, or the pool and its shares (design.md 9.1)."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from partitioner.cli.check import check
from tests.tables import each_case

POOL = """
backends:
  - {name: big-1, address: 10.0.0.1:42424, weight: 2}
  - {name: small-1, address: "[fe80::1]:42424"}
  - {name: small-2, address: 10.0.0.3:42424, intent: maint}
  - {name: old-1, address: 10.0.0.4:42424, intent: drain}
"""

WRONG = """
helth: {}
backends:
  - {name: a, address: 10.0.0.1:42424, weight: -1}
  - {name: a, address: 10.0.0.1:42424}
timeouts: {connect: 5, exchange: 8sec}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "partitioner.yml"


def run(file: Path, text: str, *options: str) -> Result:
    """Check a configuration of this text."""
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(check, ["-c", str(file), *options])


def test_every_problem_is_a_line_on_stderr(file: Path) -> None:
    """A wrong configuration exits 2, with a headline and a line for each problem, and a silent stdout."""
    result = run(file, WRONG)

    expected = f"""\
partitioner: 6 problems in {file}
  helth: unknown key; did you mean 'health'? (line 2)
  backends[0].weight: -1 is out of range; expected a number greater than 0 (line 4)
  backends[1].name: 'a' is also the name of backends[0]; expected no two alike (line 5)
  backends[1].address: '10.0.0.1:42424' is also the address of backends[0]; expected no two alike (line 5)
  timeouts.connect: 5 has no unit; expected a duration such as 250ms, 2s or 1h (line 6)
  timeouts.exchange: '8sec' has the unit 'sec'; expected one of us, ms, s, m, min, h, d (line 6)
"""
    assert (2, "", expected) == (result.exit_code, result.stdout, result.stderr)


@each_case(
    ("text", "problem"),
    [
        ("backends: []", "backends: empty pool: expected at least one state server (line 1)"),
        ("", "the file is empty; expected at least a list of backends"),
        ("a: [", "not YAML: while parsing a flow node, expected the node content"),
    ],
)
def test_a_single_problem_is_a_line_on_stderr(file: Path, text: str, problem: str) -> None:
    """An empty pool and a file that cannot be read exit 2 like any other problem."""
    result = run(file, text)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"partitioner: 1 problem in {file}\n  {problem}")


def test_a_missing_file_is_a_problem(file: Path) -> None:
    """A file that is not there exits 2; it is not taken for one that says nothing."""
    result = CliRunner().invoke(check, ["-c", str(file)])

    expected = f"partitioner: 1 problem in {file}\n  there is no file '{file}'\n"
    assert (2, expected) == (result.exit_code, result.stderr)


def test_the_problems_as_json(file: Path) -> None:
    """--json has the same problems with paths and messages, on stdout, and exits 2 too."""
    result = run(file, "backends: [{name: a, address: 'a:1', wieght: 1, intent: drian}]", "--json")

    expected = {
        "ok": False,
        "problems": [
            {"path": "backends[0].wieght", "message": "unknown key; did you mean 'weight'? (line 1)"},
            {
                "path": "backends[0].intent",
                "message": "'drian' is not one of the choices; expected 'ready', 'drain' or 'maint' (line 1)",
            },
        ],
    }
    assert (2, expected) == (result.exit_code, json.loads(result.stdout))


def test_the_pool_as_json(file: Path) -> None:
    """--json lists all backends in the file's order; who does not serve has no share of the sessions."""
    result = run(file, POOL, "--json")

    expected = {
        "ok": True,
        "copies": 2,
        "backends": [
            {
                "name": "big-1",
                "address": "10.0.0.1:42424",
                "weight": 2.0,
                "intent": "ready",
                "share": pytest.approx(2 / 3),
            },
            {
                "name": "small-1",
                "address": "[fe80::1]:42424",
                "weight": 1.0,
                "intent": "ready",
                "share": pytest.approx(1 / 3),
            },
            {
                "name": "small-2",
                "address": "10.0.0.3:42424",
                "weight": 1.0,
                "intent": "maint",
                "share": 0.0,
            },
            {
                "name": "old-1",
                "address": "10.0.0.4:42424",
                "weight": 1.0,
                "intent": "drain",
                "share": 0.0,
            },
        ],
    }
    assert (0, expected) == (result.exit_code, json.loads(result.stdout))


def test_the_pool_as_a_table(file: Path) -> None:
    """Without --json the pool is a table, a line for each backend."""
    result = run(file, POOL)

    lines = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert ["name", "address", "weight", "intent", "share"] in lines
    assert ["big-1", "10.0.0.1:42424", "2", "ready", "66.7", "%"] in lines
    assert ["small-1", "[fe80::1]:42424", "1", "ready", "33.3", "%"] in lines
    assert ["small-2", "10.0.0.3:42424", "1", "maint", "0.0", "%"] in lines
    assert ["old-1", "10.0.0.4:42424", "1", "drain", "0.0", "%"] in lines


def test_key_settings_are_shown(file: Path) -> None:
    """Below the pool stand the settings that are looked for first, in the units of the file."""
    result = run(file, f"{POOL}timeouts: {{exchange: 6500ms}}\nlimits: {{body: 1536KiB}}")

    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["listen", "127.0.0.1:42424"] in lines
    assert ["admin", "127.0.0.1:9424"] in lines
    assert ["copies", "2"] in lines
    assert ["timeouts.exchange", "6.5s"] in lines
    assert ["limits.body", "1.5MiB"] in lines


def test_without_a_file_the_defaults_are_checked() -> None:
    """Without -c the pool is three embedded state servers of equal share, which have no address."""
    result = CliRunner().invoke(check, ["--json"])

    backends = json.loads(result.stdout)["backends"]
    expected = [(f"state-{number}", None, pytest.approx(1 / 3)) for number in (1, 2, 3)]
    assert expected == [(each["name"], each["address"], each["share"]) for each in backends]


@each_case("options", [[], ["--json"]])
def test_a_router_that_refuses_every_web_server_is_warned_about(file: Path, options: list[str]) -> None:
    """To listen to the world and let in only this machine is hardly meant: exit 0, with a warning."""
    result = run(file, f"listen: 0.0.0.0:42424\n{POOL}", *options)

    expected = (
        "partitioner: warning: listen is 0.0.0.0:42424, but allow_clients holds only loopback networks: "
        "every web server on another machine will be refused\n"
    )
    assert (0, expected) == (result.exit_code, result.stderr)


@each_case(
    "settings",
    [
        "listen: 127.0.0.5:42424",
        "listen: '[::1]:42424'",
        "listen: localhost:42424",
        "listen: 0.0.0.0:42424\nallow_clients: [127.0.0.0/8, 10.0.0.0/8]",
    ],
)
def test_a_router_that_can_be_reached_is_not_warned_about(file: Path, settings: str) -> None:
    """There is no warning where the router only listens to its own machine, or lets others in."""
    result = run(file, f"{settings}\n{POOL}")

    assert (0, "") == (result.exit_code, result.stderr)


@each_case(
    ("text", "sentence"),
    [
        (
            f"copies: 1\n{POOL}",
            "copies is 1: the sessions of a server that dies are lost with it; "
            "the other ones could hold a second copy of each",
        ),
        (
            "copies: 1\nembedded: 2",
            "copies is 1: the sessions of a server that dies are lost with it; "
            "the other one could hold a second copy of each",
        ),
        (
            f"copies: 3\n{POOL}",
            "copies is 3, but 2 servers are ready: until more are, sessions have fewer copies than that",
        ),
        (
            "backends: [{name: a, address: 'a:1'}, {name: b, address: 'b:1', intent: drain}]",
            "copies is 2, but 1 server is ready: until more are, sessions have fewer copies than that",
        ),
    ],
)
def test_fewer_copies_than_there_could_be_are_warned_about(file: Path, text: str, sentence: str) -> None:
    """What is allowed, and costs sessions when a server dies, is said."""
    result = run(file, text)

    assert (0, f"partitioner: warning: {sentence}\n") == (result.exit_code, result.stderr)


@each_case("text", ["embedded: 1", "embedded: 2", "embedded: 3\ncopies: 3", "copies: 1\nembedded: 1"])
def test_as_many_copies_as_meant_are_not_warned_about(file: Path, text: str) -> None:
    """Two servers with two copies are fine, and one server cannot have more than one."""
    result = run(file, text)

    assert (0, "") == (result.exit_code, result.stderr)


@each_case("listen", ["127.0.0.1:42424", "0.0.0.0:42424"])
def test_a_router_that_is_its_own_backend_is_refused(file: Path, listen: str) -> None:
    """A backend at the address that the router listens on would be asked in circles."""
    result = run(file, f"listen: {listen}\nbackends: [{{name: a, address: 127.0.0.1:42424}}]")

    expected = "backends[0].address: '127.0.0.1:42424' is where the router itself listens"
    assert result.exit_code == 2
    assert expected in result.stderr


@each_case(
    ("setting", "consequence"),
    [("state_dir: {}/x", "the router will not start"), ("", "the router will start without")],
)
def test_a_state_dir_that_cannot_be_used(
    setting: str, consequence: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said beforehand what a router would meet with: exit 0, with a warning and the directory."""
    occupied = tmp_path / "file"
    occupied.write_bytes(b"")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(occupied))
    directory = f"{occupied}/x" if setting else f"{occupied}/partitioner/router-1"

    result = run(file, f"{setting.format(occupied)}\n{POOL}")

    expected = (
        f"partitioner: warning: state_dir is {directory}, but {occupied} is not a directory: {consequence}, "
        "if it runs here as this user\n"
    )
    assert (0, expected) == (result.exit_code, result.stderr)


@each_case(("setting", "shown"), [("state_dir: /srv/x", "/srv/x"), ("state_dir: none", "none")])
def test_the_state_dir_is_shown(setting: str, shown: str, file: Path) -> None:
    """Where the router keeps its state depends on the environment, so it is told."""
    result = run(file, f"{setting}\n{POOL}")

    assert ["state_dir", shown] in [line.split() for line in result.stdout.splitlines()]


GOOD_TOKEN = "f81c1d33a8fe1f4ea4f19f2b5a5b1d2c"
LISTING = "backends: [{name: a, address: 'a:1', admin: 'a:2'}, {name: b, address: 'b:1'}]\n"


def token_file(directory: Path, token: str = GOOD_TOKEN, mode: int = 0o600) -> Path:
    """A file that holds a token."""
    path = directory / "token"
    path.write_text(token)
    path.chmod(mode)
    return path


def test_a_listing_without_its_token_is_warned_about(file: Path) -> None:
    """State servers refuse it: what that costs is said beforehand."""
    result = run(file, LISTING)

    expected = (
        "partitioner: warning: a has an `admin` address, and there is no backend_token_file: state servers "
        "refuse to list their sessions, so a drain moves sessions only as they are used, and nothing is "
        "healed\n"
    )
    assert (0, expected) == (result.exit_code, result.stderr)


def test_a_listing_with_its_token_is_not_warned_about(file: Path, tmp_path: Path) -> None:
    """The file is for its owner alone, and the token is long."""
    result = run(file, f"{LISTING}backend_token_file: {token_file(tmp_path)}")

    assert (0, "") == (result.exit_code, result.stderr)


@each_case("key", ["admin_token_file", "backend_token_file"])
def test_a_weak_token_file_is_warned_about(key: str, file: Path, tmp_path: Path) -> None:
    """One that is short, in a file that everybody can read, is two warnings; neither shows it."""
    result = run(file, f"{POOL}{key}: {token_file(tmp_path, 's3cret', 0o644)}")

    short, readable = result.stderr.splitlines()
    assert f"the token of {key} has 6 characters" in short
    assert f"{key} {tmp_path}/token can be read by every user of this machine" in readable
    assert "s3cret" not in result.stderr


def test_a_token_in_a_file_that_everybody_can_read_is_warned_about(file: Path) -> None:
    """A configuration is often for all to read; the token then is as well."""
    file.touch(mode=0o644)
    result = run(file, f"{POOL}admin_token: {GOOD_TOKEN}")

    assert "admin_token stands in" in result.stderr
    assert "which every user of this machine can read" in result.stderr


def test_a_token_from_the_environment_is_not_warned_about(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the file does not hold it."""
    file.touch(mode=0o644)
    monkeypatch.setenv("ROUTER_TOKEN", GOOD_TOKEN)
    result = run(file, POOL + "admin_token: ${ROUTER_TOKEN}")

    assert (0, "") == (result.exit_code, result.stderr)


@each_case("network", ["0.0.0.0/0", "::/0"])
def test_a_router_that_is_open_to_everybody_is_warned_about(network: str, file: Path) -> None:
    """Who can write a session runs code on the web servers."""
    result = run(file, f"listen: 0.0.0.0:42424\nallow_clients: ['{network}']\n{POOL}")

    assert f"listen is 0.0.0.0:42424, and allow_clients holds {network}" in result.stderr
    assert "who writes a session runs code on the web servers" in result.stderr


@each_case("address", ["0.0.0.0", "::"])
def test_an_address_that_no_client_has_is_refused(address: str, file: Path) -> None:
    """Who writes it means all clients, and would have got none."""
    result = run(file, f"allow_clients: ['{address}']\n{POOL}")

    assert result.exit_code == 2
    assert f"'{address}' is no client's address; expected '{address}/0' for all clients" in result.stderr


def test_what_serve_will_need(file: Path, tmp_path: Path) -> None:
    """Ports, open files and state_dir are tried; only what keeps `serve` from starting counts as failure."""
    (tmp_path / "a file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as closed:
        port, refusing = taken.getsockname()[1], closed.getsockname()[1]
        closed.close()
        result = run(
            file,
            f"listen: ['127.0.0.1:{port}', '192.0.2.1:1']\nadmin: 127.0.0.1:0\n"
            f"state_dir: {tmp_path}/a file\nlimits: {{connections: 1000000}}\n"
            f"backends: [{{name: a, address: '127.0.0.1:{refusing}'}}]",
            *("--connect", "--json"),
        )
    told = json.loads(result.stdout)
    needed = [(each["name"], each["ok"], each["finding"]) for each in told["needed"]]

    assert (1, False) == (result.exit_code, told["ok"])
    assert (
        "listen",
        True,
        f"127.0.0.1:{port} is in use: by a router that runs already, or by another program",
    ) == needed[0]
    assert needed[1][:2] == ("listen", False)
    assert needed[1][2].startswith("192.0.2.1:1 cannot be listened on: ")
    assert needed[2] == ("admin", True, "good: 127.0.0.1:0 is free")
    assert needed[3][:2] == ("limits", True)
    assert needed[4] == ("state_dir", False, f"{tmp_path}/a file is not a directory")
