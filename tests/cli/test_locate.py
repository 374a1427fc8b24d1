"""`partitioner locate`: preference lists, for people and for scripts (design.md 4 and 9.1)."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from partitioner.cli.locate import locate
from tests.tables import each_case

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "placement.json").read_text(encoding="utf-8"))

SESSION_ID = "bpr4mimb2vjnvtn2jc4yp3uo"
TARGET = f"%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f{SESSION_ID}"


def run(*arguments: str, lines: bytes = b"") -> Result:
    """Locate with these arguments, `lines` being what stdin has."""
    return CliRunner().invoke(locate, arguments, input=lines)


def objects(result: Result) -> list[dict[str, Any]]:
    """The lines of --json, after an exit with 0."""
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def write_pool(file: Path, servers: list[dict[str, Any]], **settings: str) -> None:
    backends = [server | {"address": f"10.0.0.{index}:42424"} for index, server in enumerate(servers, 1)]
    file.write_text(json.dumps(settings | {"backends": backends}), encoding="utf-8")


@each_case("pool", GOLDEN["pools"])
def test_golden_lists(pool: str, tmp_path: Path) -> None:
    """The lists are the very ones that every router computes, whatever characters an ID has."""
    file = tmp_path / "partitioner.yml"
    write_pool(file, GOLDEN["pools"][pool])
    cases = [case for case in GOLDEN["cases"] if case["pool"] == pool]
    session_ids = [case["session_id"] for case in cases]

    lines = "".join(f"{session_id}\n" for session_id in session_ids)
    found = objects(run("-c", str(file), "--json", "-", lines=lines.encode()))

    expected = [
        {"key": case["session_id"], "session_id": case["session_id"], "backends": case["order"]}
        for case in cases
    ]
    assert expected == found


def test_arguments_and_lines_are_the_same_to_it() -> None:
    """A key gets the same list as an argument and as a line of stdin, in the order of the command line."""
    as_arguments = run("--json", "first", "ünïcode", "second", TARGET)
    as_lines = run("--json", "first", "-", TARGET, lines="ünïcode\r\nsecond".encode())

    assert objects(as_arguments) == objects(as_lines)
    assert ["first", "ünïcode", "second", TARGET] == [each["key"] for each in objects(as_lines)]


@each_case(
    "target",
    [
        TARGET,
        f"/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/{SESSION_ID}",
        f"//LM/W3SVC/2/ROOT%28oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2FHxWS854%3D%29%2F{SESSION_ID}",
    ],
)
def test_a_target_is_placed_by_its_session_id(target: str) -> None:
    """What has a `/` or `%` in it is a target, in whatever spelling: the session ID in it decides."""
    (bare,) = objects(run("--json", SESSION_ID))

    expected = bare | {"key": target}
    assert [expected] == objects(run("--json", target))


def test_a_target_without_a_hash_is_placed_as_a_whole() -> None:
    """Where no session ID can be told, the whole canonical key is the ID."""
    (found,) = objects(run("--json", "LM%2fa%20b"))

    assert found["session_id"] == "/LM/a b"


def test_hash_key_target_places_by_the_whole_key(tmp_path: Path) -> None:
    """With `hash_key: target` two applications' sessions of one ID go their own ways."""
    file = tmp_path / "partitioner.yml"
    servers = [{"name": f"state-{number}"} for number in range(1, 11)]
    other = TARGET.replace("oXvp", "oXvq")
    write_pool(file, servers, hash_key="target")
    by_target = objects(run("-c", str(file), "--json", TARGET, other))
    write_pool(file, servers, hash_key="session-id")
    by_session_id = objects(run("-c", str(file), "--json", TARGET, other))

    assert [SESSION_ID] * 4 == [each["session_id"] for each in by_target + by_session_id]
    assert by_target[0]["backends"] != by_target[1]["backends"]
    assert by_session_id[0]["backends"] == by_session_id[1]["backends"]


def test_hash_key_target_cannot_place_a_bare_session_id(tmp_path: Path) -> None:
    """With `hash_key: target` a session ID alone says nothing: exit 2, with a sentence."""
    file = tmp_path / "partitioner.yml"
    write_pool(file, [{"name": "a"}], hash_key="target")

    result = run("-c", str(file), "--json", SESSION_ID)

    assert (2, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith(f"partitioner: '{SESSION_ID}' is a bare session ID")


def test_a_server_in_maintenance_is_still_in_the_list(tmp_path: Path) -> None:
    """Intent never changes a preference list, it only filters it."""
    file = tmp_path / "partitioner.yml"
    keys = [f"key-{number}" for number in range(50)]
    write_pool(file, [{"name": "a"}, {"name": "b"}, {"name": "c"}])
    all_ready = objects(run("-c", str(file), "--json", *keys))
    write_pool(file, [{"name": "a"}, {"name": "b", "intent": "maint"}, {"name": "c"}])

    assert all_ready == objects(run("-c", str(file), "--json", *keys))


def test_without_a_file_the_embedded_pool_is_asked() -> None:
    """Without -c the servers are state-1 to state-3, as golden pool `three-equal` has them."""
    case = next(case for case in GOLDEN["cases"] if case["pool"] == "three-equal")

    (found,) = objects(run("--json", case["session_id"]))

    assert case["order"] == found["backends"]


def test_an_object_is_one_line_of_ascii_with_these_fields() -> None:
    """Scripts rely on one object a line, on the names of its fields, and on plain ASCII."""
    result = run("--json", "ü", "%ud800")

    expected = (
        '{"key": "\\u00fc", "session_id": "\\u00fc", "backends": ["state-3", "state-2", "state-1"]}\n'
        '{"key": "%ud800", "session_id": "/\\ud800", "backends": '
    )
    assert result.stdout.startswith(expected)
    assert result.stdout.count("\n") == 2


def test_a_table_for_people() -> None:
    """Without --json there is a table, with the list best first."""
    (found,) = objects(run("--json", SESSION_ID))

    result = run(SESSION_ID)

    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"{SESSION_ID} {SESSION_ID} {', '.join(found['backends'])}" in lines


def test_a_key_cannot_drive_the_terminal() -> None:
    """Control characters of a key are escaped in the table."""
    result = run("%1b[2J")

    assert "/\\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


def test_every_line_has_its_answer() -> None:
    """A blank line is the empty key, not none: line n of the output answers line n of stdin."""
    found = objects(run("--json", "-", lines=b"a\n\n b \n"))

    assert ["a", "", " b "] == [each["key"] for each in found]


def test_no_key_is_a_mistake() -> None:
    """Without a KEY there is nothing to do, and exit code 2."""
    assert run("--json").exit_code == 2


def test_no_line_is_no_mistake() -> None:
    """An empty stdin has no keys, and that is no mistake."""
    result = run("--json", "-")

    assert (0, "") == (result.exit_code, result.stdout)


def test_a_wrong_configuration_is_reported(tmp_path: Path) -> None:
    """A wrong configuration exits 2 with its problems, and nothing is located."""
    file = tmp_path / "partitioner.yml"
    file.write_text("backends: []\nfast_pat: both\n", encoding="utf-8")

    result = run("-c", str(file), "--json", "key")

    expected = f"""\
partitioner: 2 problems in {file}
  backends: empty pool: expected at least one state server (line 1)
  fast_pat: unknown key; did you mean 'fast_path'? (line 2)
"""
    assert (2, "", expected) == (result.exit_code, result.stdout, result.stderr)
