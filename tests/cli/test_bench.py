"""`partitioner bench`: against state servers on real sockets, honest and otherwise."""

import json
import re
from collections.abc import Callable

from click.testing import CliRunner, Result

from partitioner.cli.bench import bench
from partitioner.membership.backend import Address
from partitioner.transport.messages import Responder
from tests.bench.servers import (
    FlipsAByte,
    Forgets,
    LocksTwice,
    RemembersTheFirst,
    closed_port,
    honest,
    served_in_a_thread,
    slowly,
)
from tests.tables import each_case

BRIEFLY = ("--connections", "4", "--sessions", "5", "--duration", "300ms", "--size", "100B")


def run(address: Address, *options: str) -> Result:
    """Run a short bench."""
    return CliRunner().invoke(bench, [str(address), *BRIEFLY, *options])


def test_an_honest_server_is_good() -> None:
    """Against an honest server it exits 0 with a table, and says nothing on stderr."""
    with served_in_a_thread(honest) as address:
        result = run(address)

    assert (0, "") == (result.exit_code, result.stderr)
    assert re.search(r"(?m)^acquire +[1-9]", re.sub(r"(?m)^ ", "", result.stdout))
    assert "5 created, 5 read back, 5 removed of 5 of 100B" in result.stdout


def test_json_adds_up() -> None:
    """With --json it prints one object, whose counts add up."""
    with served_in_a_thread(honest) as address:
        result = run(address, "--json", "--seed", "1")
    report = json.loads(result.stdout)
    operations = report["operations"]

    assert (0, True, 1) == (result.exit_code, report["ok"], report["seed"])
    assert report["exchanges"] == sum(operation["count"] for operation in operations.values())
    for operation in operations.values():
        assert operation["count"] == sum(operation["statuses"].values())
    granted, ended = (
        operations["acquire"]["statuses"]["200"],
        operations["release"]["statuses"]["200"] + operations["set"]["statuses"]["200"],
    )
    assert granted == ended
    assert {"wrong": 0, "stale": 0, "lost": 0, "double_holders": 0} == {
        key: report[key] for key in ("wrong", "stale", "lost", "double_holders")
    }


def locks_twice() -> Responder:
    # Slow enough that one worker asks while another one holds.
    return slowly(LocksTwice(), 0.002)


@each_case(
    ("cheat", "key", "sentence"),
    [
        (RemembersTheFirst, "stale", r"stale: session \d: got version \d+; expected \d+ or newer"),
        (Forgets, "lost", r"lost: session \d: not found; expected version \d+ or newer"),
        (locks_twice, "double_holders", r"double holder: session \d: worker \d was granted the lock "),
        (FlipsAByte, "wrong", r"wrong: session \d: got a damaged body: 1 of its 100 bytes do not fit "),
    ],
)
def test_a_cheat_is_named(cheat: Callable[[], Responder], key: str, sentence: str) -> None:
    """Each way of cheating is named on stderr with the number of the session, and exits 1."""
    with served_in_a_thread(cheat) as address:
        result = run(address, "--json")
    report = json.loads(result.stdout)

    assert (1, False) == (result.exit_code, report["ok"])
    assert report[key] > 0
    assert re.search(sentence, result.stderr)


def test_nobody_listens() -> None:
    """Where nothing listens it says so in one sentence, and exits 1."""
    address = closed_port()
    result = run(address)

    assert (1, "", f"Error: {address} refused the connection\n") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )


@each_case(
    ("options", "complaint"),
    [
        (["here"], "'here' is not an address such as 10.0.0.11:42424 or [::1]:42424"),
        (["h:1", "--size", "43B"], "'43B' is too small; a body that can be checked needs 44B"),
        (["h:1", "--size", "1k"], "'1k' has the unit 'k'; expected one of B,"),
        (["h:1", "--duration", "10"], "'10' is not a duration such as 250ms, 2s or 1h"),
        (["h:1", "--timeout", "0s"], "'0s' is not longer than 0"),
        (["h:1", "--rate", "0"], "0.0 is not in the range x>0"),
        (["h:1", "--connections", "0"], "0 is not in the range x>=1"),
        ([], "Missing argument 'HOST:PORT'"),
    ],
)
def test_bad_options(options: list[str], complaint: str) -> None:
    """A bad option exits 2 and says what was expected."""
    result = CliRunner().invoke(bench, options)

    assert result.exit_code == 2
    assert complaint in re.sub(r"\s+", " ", result.stderr)
