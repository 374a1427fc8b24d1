"""The verbs that look into sessions, against real processes (design.md 9.1)."""

import json
from pathlib import Path

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import QUICK_PROBES, farm_in
from tests.end_to_end.processes import router, run_to_end, state_servers
from tests.end_to_end.web_server import WebServer
from tests.payload.bodies import class_record, compressed, content, library, nrbf, string

ID = "bpr4mimb2vjnvtn2jc4yp3uo"
LARGE_ID = "s0123456789abcdefghijklm"
TOKEN = "a-token-of-operators"
BASKET = content(
    [
        ("user", string("Ada Lovelace")),
        ("basket", nrbf(library(), class_record("Shop.Basket"))),
        ("\x1b[2Jevil", string("x" * 5000)),
    ]
)


def test_an_operator_looks_into_a_session_and_unlocks_it(tmp_path: Path) -> None:
    """Where it is and what is in it, who holds the lock, and what takes the memory; never a value.

    Exit 0: done; 1: there is no such session, or no lock that may be released; 2: no token; 3: no router.
    """
    with farm_in(tmp_path, f"{QUICK_PROBES}admin_token: {TOKEN}\n") as farm:

        def run(
            *arguments: str, token: str = TOKEN, admin: str = farm.in_front.admin
        ) -> tuple[int, str, str]:
            given = {"PARTITIONER_TOKEN": token} if token else {}
            ended = run_to_end(*arguments, "--admin", admin, environment=given)
            assert "Traceback" not in ended.stderr
            return ended.returncode, ended.stdout, " ".join(ended.stderr.split())

        farm.web.save(ID, compressed(BASKET))
        farm.web.save(
            LARGE_ID, content([("grid", string("y" * 3_000_000)), ("user", string("Ada Lovelace"))])
        )
        seen = run("session", ID)
        farm.web.ask(Operation.ACQUIRE, ID)
        locked = json.loads(run("session", "--json", ID)[1])["sessions"][0]
        outcomes = [
            run("session", "nobody"),
            run("session", ID, token=""),
            run("session", ID, token="wrong"),
            run("session", ID, admin="http://127.0.0.1:1"),
            run("unlock", "nobody"),
            run("unlock", ID),
            run("unlock", "--force", ID),
            run("unlock", "--force", "--json", ID),
        ]
        large = run("session", LARGE_ID)
        largest = run("sessions", "--largest", "2")
        items = run("sessions", "--by-item")
        log = farm.in_front.program.output

    assert 0 == seen[0]
    for shown in ("/LM/W3SVC/", "settled", "not locked", "state-", "Shop.Basket", "5,003", "inflated"):
        assert shown in seen[1]
    assert "\\x1b[2Jevil" in seen[1]
    assert (2, 3) == (locked["lock"]["cookie"], len(locked["contents"]["items"]))
    assert [1, 2, 2, 3, 1, 1, 0, 1] == [code for code, _, _ in outcomes]
    assert "there is no such session on any server that was asked" in outcomes[0][1]
    assert "wants its admin_token" in outcomes[1][2]
    assert "a page may run for 110 s" in outcomes[5][2]
    assert "with cookie 2" in outcomes[6][1]
    assert "the session is not locked" in outcomes[7][2]
    assert (0, True) == (large[0], "3,000,005" in large[1])
    assert (0, True) == (largest[0], "evil 5,003, basket 119, user 14" in largest[1])
    assert (0, True) == (items[0], "System.String" in items[1])
    told = "".join([seen[1], large[1], *(each[1] for each in outcomes), largest[1], items[1], log])
    assert "Lovelace" not in told
    assert ID not in largest[1] + items[1] + log
    assert "lock released by an operator" in log


def test_servers_of_others_are_asked_by_the_protocol(tmp_path: Path) -> None:
    """An ID alone is looked for under the applications whose saves were seen."""
    with state_servers(2) as servers:
        ports = [each.port for each in servers]
        with router(tmp_path, ports, f"{QUICK_PROBES}admin_token: {TOKEN}\n") as in_front:
            given = {"PARTITIONER_TOKEN": TOKEN}
            before = run_to_end("session", ID, "--admin", in_front.admin, environment=given)
            with WebServer(in_front.port) as web:
                web.save(ID, BASKET)
                seen = run_to_end("session", ID, "--admin", in_front.admin, environment=given)
                surveyed = run_to_end("sessions", "--admin", in_front.admin, environment=given)
                body = web.read(ID)

    assert (1, True) == (
        before.returncode,
        "was not searched for the ID: it has no admin port" in before.stdout,
    )
    assert (0, True) == (seen.returncode, "Shop.Basket" in seen.stdout)
    assert (0, 2) == (surveyed.returncode, surveyed.stdout.count("was not looked at: it has no admin port"))
    assert BASKET == body
