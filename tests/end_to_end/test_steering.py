"""The verbs that steer a running router, against real ones (design.md 9.1)."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from partitioner.ops.admin.serving import STALLED
from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import NAMES, QUICK_PROBES, Farm, farm_in, first_choice
from tests.end_to_end.processes import (
    LISTING_HEADERS,
    LISTING_TOKEN,
    kept_port,
    router,
    run_to_end,
    running,
    state_server,
    state_servers,
)
from tests.end_to_end.web_server import WebServer

SESSIONS = [f"steered{number:017d}" for number in range(300)]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """One farm for all: each test leaves it as it was."""
    with farm_in(tmp_path_factory.mktemp("farm")) as running_farm:
        yield running_farm


def steer(*arguments: str, admin: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "PARTITIONER_TOKEN"}
    given = {} if token is None else {"PARTITIONER_TOKEN": token}
    return run_to_end(*arguments, "--admin", admin, environment=environment | given)


def outcome(ended: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """How it ended, and what it complained of, in one line."""
    assert "Traceback" not in ended.stderr
    return ended.returncode, " ".join(ended.stderr.split())


@pytest.mark.parametrize("copies", [1, 2])
def test_a_server_is_drained_then_killed_and_no_session_is_lost(tmp_path: Path, copies: int) -> None:
    """`drain --wait` returns when the server holds nothing any more; then it can be stopped."""
    with farm_in(tmp_path, f"{QUICK_PROBES}copies: {copies}\n") as farm:
        for session in SESSIONS:
            farm.web.save(session, session.encode())
        drained = steer("drain", "state-1", "--wait", admin=farm.in_front.admin)
        judged = steer("status", "--safe-to-stop", "state-1", admin=farm.in_front.admin)
        farm.servers["state-1"].program.kill()
        farm.wait_until(r"backend is down.*backend=state-1")
        lost = [session for session in SESSIONS if farm.web.read(session) != session.encode()]

        assert 0 == outcome(drained)[0]
        assert "state-1: drains; done, " in drained.stdout
        assert "state-1 is to be drained" in drained.stderr or "state-1: " in drained.stderr
        assert (0, "state-1 may be stopped: every session on it is elsewhere, too\n") == (
            judged.returncode,
            judged.stdout,
        )
        assert [] == lost
        farm.wait_until("drain ended.*backend=state-1.*it holds no session any more")


def test_a_server_is_put_aside_and_back(farm: Farm) -> None:
    """`ready --wait` returns when the server serves again."""
    admin = farm.in_front.admin
    aside = steer("maint", "state-2", admin=admin)
    back = steer("ready", "state-2", "--wait", admin=admin)

    assert [(0, "state-2: is left alone\n"), (0, "state-2: serves\n")] == [
        (each.returncode, each.stdout) for each in (aside, back)
    ]


def test_orders_for_programs(farm: Farm) -> None:
    """`--json` tells how the server is when the order has been given, or, with --wait, carried out."""
    admin = farm.in_front.admin
    told = [
        json.loads(steer(*order, "--json", admin=admin).stdout)
        for order in (("maint", "state-2"), ("ready", "state-2", "--wait"))
    ]

    assert [("state-2", "maint", False), ("state-2", "ready", True)] == [
        (each["name"], each["intent"], each["serves"]) for each in told
    ]


def test_the_last_good_copies_are_guarded(tmp_path: Path) -> None:
    """`maint` and a reload without the server are refused with the number of its sessions, until they are
    forced; SIGHUP says so in a line of the log, and what was in force goes on."""
    with farm_in(tmp_path, f"{QUICK_PROBES}copies: 1\n") as farm:
        for session in SESSIONS:
            farm.web.save(session, session.encode())
        held = sum(first_choice(session.encode()) == "state-1" for session in SESSIONS)
        admin = farm.in_front.admin
        refused = outcome(steer("maint", "state-1", admin=admin))
        lines = farm.file.read_text().splitlines(keepends=True)
        farm.file.write_text("".join(line for line in lines if "name: state-1" not in line))
        farm.in_front.program.process.send_signal(signal.SIGHUP)
        farm.wait_until(f"reload refused.*state-1 holds up to {held} sessions.*partitioner reload --force")
        by_verb = outcome(steer("reload", admin=admin))
        kept = [session for session in SESSIONS if farm.web.read(session) == session.encode()]
        forced = steer("reload", "--force", admin=admin)

        assert refused == (
            1,
            f"partitioner: state-1 holds up to {held} sessions that may have no good copy elsewhere: the "
            "sessions on state-1 have no copies: copies is 1; drain it first; `partitioner maint state-1 "
            "--force` does it all the same",
        )
        assert 1 == by_verb[0]
        assert f"backends: state-1 holds up to {held} sessions" in by_verb[1]
        assert SESSIONS == kept
        assert (0, "") == outcome(forced)
        assert "state-1 leaves" in forced.stdout


def test_status_for_people(farm: Farm) -> None:
    """What matters at night, on one page."""
    ended = steer("status", admin=farm.in_front.admin)

    assert (0, "") == outcome(ended)
    for expected in ("router-1", "ready", "3 of 3 serve, 2 copies kept", *NAMES, "redundant", " a second"):
        assert expected in ended.stdout


@pytest.mark.parametrize("verb", ["status", "backends", "locks"])
def test_json_is_what_the_router_says(farm: Farm, verb: str) -> None:
    """Programs get the same fields from the verb and from the port."""
    ended = steer(verb, "--json", admin=farm.in_front.admin)
    told = httpx.get(f"{farm.in_front.admin}/api/v1/{verb}").json()

    assert json.loads(ended.stdout).keys() == told.keys()


def test_locks_are_listed(farm: Farm) -> None:
    """Where and how long, and never the session."""
    farm.web.save("locked-session", b"content")
    cookie = farm.web.ask(Operation.ACQUIRE, "locked-session").head.lock_cookie
    ended = steer("locks", admin=farm.in_front.admin)
    farm.web.save("locked-session", b"content", cookie or 0)

    assert "1 held, 1 shown." in ended.stdout
    assert "locked-session" not in ended.stdout


def test_not_safe_to_stop_says_why(farm: Farm) -> None:
    """Exit 1 and the reasons: no other server is there to hold the sessions."""
    others = ("state-2", "state-3")[: len(farm.servers) - 1]
    for name in others:
        assert 0 == steer("maint", name, "--force", admin=farm.in_front.admin).returncode
    ended = steer("status", "--safe-to-stop", "state-1", admin=farm.in_front.admin)
    for name in others:
        assert 0 == steer("ready", name, admin=farm.in_front.admin).returncode

    assert 1 == ended.returncode
    assert "state-1 must not be stopped now:\n  " in ended.stdout


@pytest.mark.parametrize("arguments", [["drain", "stat-1"], ["status", "--safe-to-stop", "stat-1"]])
def test_an_unknown_name_is_exit_2_with_the_nearest(farm: Farm, arguments: list[str]) -> None:
    """A misspelt name changes nothing."""
    code, complaint = outcome(steer(*arguments, admin=farm.in_front.admin))

    assert 2 == code
    assert "no backend is called 'stat-1'; did you mean 'state-1'?" in complaint


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../reload", "state-1/drain?"])
def test_a_name_is_no_path(farm: Farm, name: str) -> None:
    """Whatever is in it, it is looked for among the backends, and nowhere else."""
    code, complaint = outcome(steer("drain", name, admin=farm.in_front.admin))

    assert 2 == code
    assert f"no backend is called {name!r}; " in complaint


def test_the_last_server_is_not_drained(tmp_path: Path) -> None:
    """Exit 1 with the reason."""
    with state_server() as one, router(tmp_path, [one.port]) as in_front:
        code, complaint = outcome(steer("drain", "state-1", admin=in_front.admin))

    assert 1 == code
    assert "no backend would be ready any more" in complaint


def test_no_router_is_one_sentence() -> None:
    """Nothing listens there."""
    with kept_port() as port:
        code, complaint = outcome(steer("status", admin=f"http://127.0.0.1:{port}"))

    assert 3 == code
    assert complaint.startswith(f"partitioner: no router answers at http://127.0.0.1:{port}: ")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://[::1", "http://127.0.0.1:99999"])
def test_a_url_that_is_none_is_exit_2(url: str) -> None:
    """Nothing was asked of anybody."""
    code, complaint = outcome(steer("status", admin=url))

    assert 2 == code
    assert f"--admin {url} is not a URL" in complaint


@contextmanager
def something_else(answer: bytes) -> Iterator[str]:
    """A program that says the same thing to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def say() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        talker = threading.Thread(target=say)
        talker.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        talker.join()


def test_hostile_words_do_nothing_to_the_terminal() -> None:
    """Whatever answers at that address may say anything."""
    sentence = b'{"error": "\\u001b[2J\\u202egone"}'
    answer = b"HTTP/1.1 409 No\r\nContent-Length: %d\r\n\r\n%s" % (len(sentence), sentence)
    with something_else(answer) as admin:
        code, complaint = outcome(steer("status", admin=admin))

    assert (1, r"partitioner: \x1b[2J\u202egone") == (code, complaint)


OTHERS = {
    "a web page": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "another API": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a state server": b'HTTP/1.1 404 No\r\nContent-Length: 17\r\n\r\n{"error": "none"}',
    "an error of another API": b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n[]",
}


@pytest.mark.parametrize("answer", OTHERS.values(), ids=OTHERS)
def test_another_program_is_no_router(answer: bytes) -> None:
    """One sentence, exit 1."""
    with something_else(answer) as admin:
        code, complaint = outcome(steer("status", admin=admin))

    assert (1, f"partitioner: what answers at http://{admin} is not a router of this version") == (
        code,
        complaint,
    )


def test_a_token_is_asked_for_and_taken(tmp_path: Path) -> None:
    """From the environment, and never from the command line, where everybody can read it."""
    settings = "admin: 0.0.0.0:0\nadmin_token: secret\n"
    with state_server() as one, router(tmp_path, [one.port], settings) as in_front:
        without = outcome(steer("status", admin=in_front.admin))
        wrong = outcome(steer("status", admin=in_front.admin, token="guessed"))
        right = outcome(steer("status", admin=in_front.admin, token="secret"))

    assert [2, 2, 0] == [without[0], wrong[0], right[0]]
    assert "wants its admin_token; set $PARTITIONER_TOKEN to it" in without[1]


def test_readyz_while_the_router_stops(tmp_path: Path) -> None:
    """A load balancer hears that a router stops while it still finishes what is under way."""
    with state_server() as one, router(tmp_path, [one.port]) as in_front, WebServer(in_front.port) as web:
        before = httpx.get(f"{in_front.admin}/readyz")
        web.save(SESSIONS[0], b"content")
        with socket.create_connection(("127.0.0.1", in_front.port)) as busy:
            busy.sendall(b"GET half-a-head")
            httpx.get(f"{in_front.admin}/healthz")  # what came before has been read by now
            in_front.program.process.send_signal(signal.SIGTERM)
            in_front.program.wait_for("stopping")
            stopping = httpx.get(f"{in_front.admin}/readyz")
        assert in_front.program.process.wait(20) == 0

    assert (200, []) == (before.status_code, before.json()["reasons"])
    assert (503, ["it is stopping"]) == (stopping.status_code, stopping.json()["reasons"])


ASKED = (
    b"GET /api/v1/keys?limit=2000 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Authorization: Bearer %b\r\n\r\n" % LISTING_TOKEN.encode()
)


def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    """SIGTERM ends a program whatever is done at its admin port."""
    with state_server() as server:
        with WebServer(server.port) as web:
            for number in range(2000):
                web.save(f"listed{number:018d}", b"content")
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", server.admin_port))
            stalled.sendall(ASKED * 100)
            httpx.get(f"http://127.0.0.1:{server.admin_port}/healthz")  # what came before is being answered
            server.program.process.send_signal(signal.SIGTERM)

            assert server.program.process.wait(STALLED + 20) == 0


def test_the_listing_is_for_those_who_may_connect() -> None:
    """No other client is told anything, whatever the token."""
    with state_server(0, "--allow", "10.0.0.0/8") as server:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            httpx.get(f"http://127.0.0.1:{server.admin_port}/api/v1/keys", headers=LISTING_HEADERS)
        server.program.wait_for("admin client turned away")


def test_the_listing_wants_its_token() -> None:
    """Session IDs are secrets, on loopback as well; that the server lives, and its metrics, are none."""
    with state_server() as server:
        url = f"http://127.0.0.1:{server.admin_port}"
        right = httpx.get(f"{url}/api/v1/keys", headers=LISTING_HEADERS)
        without = httpx.get(f"{url}/api/v1/keys")
        free = [httpx.get(f"{url}{path}").status_code for path in ("/healthz", "/metrics")]

    assert (200, 401, [200, 200]) == (right.status_code, without.status_code, free)
    assert "--admin-token-file" in without.json()["error"]


def test_a_drain_without_the_token_says_what_it_lacks(tmp_path: Path) -> None:
    """It is told at the start what will not work, and by the drain why it does not."""
    with state_servers(2) as servers:
        ports, admin_ports = ([each.port for each in servers], [each.admin_port for each in servers])
        file = tmp_path / "other"
        file.write_text("x" * 32)
        file.chmod(0o600)
        settings = f"backend_token_file: {file}\n"
        with router(tmp_path, ports, settings, admin_ports) as in_front:
            steer("drain", "state-1", "--force", admin=in_front.admin)
            in_front.program.wait_for("drain stalled.*wants a token; backend_token_file is not the one")


def test_a_state_server_without_a_token_lists_nothing() -> None:
    """It says so when it starts, and a router that asks for the listing is told why not."""
    with running("state-server", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as program:
        port = program.wait_for(r"admin port on 127\.0\.0\.1:([0-9]+)")[1]
        program.wait_for("sessions are not listed.*there is no --admin-token-file")
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/keys", headers=LISTING_HEADERS)

    assert 403 == answer.status_code
    assert "without --admin-token-file" in answer.json()["error"]


def test_an_embedded_server_is_drained() -> None:
    """The router can look into its own servers: what is tried out first works as it does later."""
    with running("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as program:
        port = int(program.wait_for(r"tcpip=127\.0\.0\.1:([0-9]+)")[1])
        admin = program.wait_for(r"(http://\S+)/api/v1/status")[1]
        with WebServer(port) as web:
            for session in SESSIONS:
                web.save(session, session.encode())
            drained = steer("drain", "state-3", "--wait", admin=admin)
            aside = steer("maint", "state-3", admin=admin)
            lost = [session for session in SESSIONS if web.read(session) != session.encode()]

    assert [0, (0, "")] == [outcome(drained)[0], outcome(aside)]
    assert [] == lost
