"""`partitioner plan`: what a change of the pool would move (design.md 9.1)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from partitioner.cli.actions.plan import sample_size
from partitioner.cli.plan import plan
from tests.tables import each_case

PRECISION = 0.01  # 100,000 samples are good for a third of that


@cache
def run(*arguments: str) -> Result:
    """Plan with these arguments, once; without -c for the pool state-1, state-2, state-3."""
    return CliRunner().invoke(plan, arguments)


def planned(*arguments: str) -> dict[str, Any]:
    """What --json says of a plan that is possible."""
    result = run("--json", *arguments)
    assert result.exit_code == 0
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def figures(answer: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """By server: share now, share then, what leaves, what arrives."""
    return {
        row["name"]: (row["share_now"], row["share_then"], row["leaves"], row["arrives"])
        for row in answer["backends"]
    }


def about(*shares: float) -> Any:
    return pytest.approx(shares, abs=PRECISION)


def test_adding_one_of_four_moves_a_quarter() -> None:
    """A fourth equal server takes a quarter of all sessions, from all others alike; nothing else moves."""
    answer = planned("--add", "state-4")

    assert about(1 / 4) == (answer["moved"],)
    assert {
        "state-1": about(1 / 3, 1 / 4, 1 / 12, 0),
        "state-2": about(1 / 3, 1 / 4, 1 / 12, 0),
        "state-3": about(1 / 3, 1 / 4, 1 / 12, 0),
        "state-4": about(0, 1 / 4, 0, 1 / 4),
    } == figures(answer)


def test_a_server_is_added_with_its_weight() -> None:
    """`NAME=WEIGHT` gives the new server a share by its weight."""
    answer = planned("--add", "big=3")

    assert about(0, 1 / 2, 0, 1 / 2) == figures(answer)["big"]


def test_removing_one_of_three_moves_just_its_sessions() -> None:
    """The sessions of a removed server go to all others alike; theirs stay."""
    answer = planned("--remove", "state-2")

    by_name = figures(answer)
    assert {
        "state-1": about(1 / 3, 1 / 2, 0, 1 / 6),
        "state-2": about(1 / 3, 0, 1 / 3, 0),
        "state-3": about(1 / 3, 1 / 2, 0, 1 / 6),
    } == by_name
    assert by_name["state-2"][0] == answer["moved"]


def test_a_weight_moves_only_the_difference() -> None:
    """A server that doubles its weight takes a sixth more of all sessions, and loses none."""
    answer = planned("--weight", "state-1=2")

    assert about(1 / 3, 1 / 2, 0, 1 / 6) == figures(answer)["state-1"]
    assert about(1 / 6) == (answer["moved"],)


def test_all_changes_together_are_one() -> None:
    """Several options make one change: only what two of all five servers want most stays where it is."""
    answer = planned("--remove", "state-3", "--add", "state-4", "--add", "state-5")

    assert ["state-1", "state-2", "state-3", "state-4", "state-5"] == list(figures(answer))
    assert about(3 / 5) == (answer["moved"],)


def test_a_server_in_maintenance_holds_nothing(tmp_path: Path) -> None:
    """A server in maintenance has no share, so taking it out of the file moves nothing."""
    file = tmp_path / "partitioner.yml"
    file.write_text(
        "backends: [{name: a, address: 'a:1'}, {name: b, address: 'b:1', intent: maint}]", encoding="utf-8"
    )

    answer = planned("-c", str(file), "--remove", "b")

    assert {"a": about(1, 1, 0, 0), "b": about(0, 0, 0, 0)} == figures(answer)
    assert answer["moved"] == 0


def test_a_table_for_people() -> None:
    """Without --json there is a table with a line for each server, and a sentence on the total."""
    answer = planned("--remove", "state-2")
    result = run("--remove", "state-2")

    shares = " ".join(f"{each * 100:.1f} %" for each in figures(answer)["state-1"])
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert "server share now share then leaves arrives" in lines
    assert f"state-1 {shares}" in lines
    assert lines[-2:] == [
        f"{answer['moved'] * 100:.1f} % of all sessions get another first choice; the others stay.",
        "They move as they are used, and none is lost: "
        "2 servers hold each, and one of them may fail meanwhile.",
    ]


def test_what_one_copy_means_for_a_move(tmp_path: Path) -> None:
    """With one copy sessions move as well, but only from servers that are still there."""
    file = tmp_path / "partitioner.yml"
    file.write_text("copies: 1\nembedded: 3", encoding="utf-8")
    answer = planned("-c", str(file), "--remove", "state-2")
    result = run("-c", str(file), "--remove", "state-2")

    assert (answer["copies"], planned("--remove", "state-2")["copies"]) == (1, 2)
    assert result.stdout.splitlines()[-2:] == [
        f"{answer['moved'] * 100:.1f} % of all sessions move to another server; the others stay.",
        "They move as they are used, and none is lost while the servers that they leave keep running: "
        "there is one copy of each.",
    ]


def test_no_change_moves_nothing() -> None:
    """Without a change the table shows the shares of now, and says that nothing moves."""
    result = run()

    assert result.exit_code == 0
    assert result.stdout.endswith("No session moves.\n")


REFUSALS = [
    (
        ["--remove", "sate-1"],
        "--remove sate-1: no server of this name is in the pool; did you mean 'state-1'?",
    ),
    (
        ["--remove", "xyz"],
        "--remove xyz: no server of this name is in the pool; expected one of state-1, state-2, state-3",
    ),
    (
        ["--weight", "stat-2=2"],
        "--weight stat-2: no server of this name is in the pool; did you mean 'state-2'?",
    ),
    (
        ["--add", "state-1"],
        "--add state-1: it is in the pool already; `--weight state-1=W` changes its weight",
    ),
    (
        ["--add", "state-1=2"],
        "--add state-1: it is in the pool already; `--weight state-1=W` changes its weight",
    ),
    (["--add", "new", "--add", "new=2"], "--add new: given twice"),
    (["--add", "new=0"], "--add new=0: 0.0 is out of range; expected a number greater than 0"),
    (["--add", "new=inf"], "--add new=inf: inf is out of range; expected a number greater than 0"),
    (["--add", "new=big"], "--add new=big: 'big' is not a number greater than 0"),
    (["--add", "new="], "--add new=: '' is not a number greater than 0"),
    (
        ["--add", "a b"],
        "--add a b: 'a b' is not a name; expected 1 to 64 letters, digits, '-', '_' or '.'",
    ),
    (["--weight", "state-1"], "--weight state-1: expected NAME=WEIGHT"),
    (
        ["--remove", "state-1", "--remove", "state-2", "--remove", "state-3"],
        "no ready server would be left; expected at least one",
    ),
    (
        ["--remove", "state-1", "--remove", "state-1"],
        "--remove state-1: no server of this name is in the pool; did you mean 'state-3'?",
    ),
]


@each_case(("arguments", "sentence"), REFUSALS)
def test_an_impossible_change_is_refused(arguments: list[str], sentence: str) -> None:
    """A change that names the wrong server, or leaves none, exits 2 with a sentence and plans nothing."""
    result = run(*arguments)

    assert (2, "", f"partitioner: {sentence}\n") == (result.exit_code, result.stdout, result.stderr)


def test_the_last_ready_server_cannot_be_removed(tmp_path: Path) -> None:
    """Servers in maintenance do not count: somebody has to serve."""
    file = tmp_path / "partitioner.yml"
    file.write_text(
        "backends: [{name: a, address: 'a:1'}, {name: b, address: 'b:1', intent: maint}]", encoding="utf-8"
    )

    result = run("-c", str(file), "--remove", "a")

    assert (2, "partitioner: no ready server would be left; expected at least one\n") == (
        result.exit_code,
        result.stderr,
    )


@each_case(("servers", "sample"), [(1, 100_000), (100, 100_000), (200, 50_000), (1000, 10_000)])
def test_a_large_pool_is_planned_in_seconds(servers: int, sample: int) -> None:
    """What is computed is bounded: small shares are told as well by fewer sessions."""
    assert sample == sample_size(servers)
    assert sample * servers <= 10_000_000
