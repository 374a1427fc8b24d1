"""A state server with a store, where its engine is wrong, empty, full, slow, or gone for a while."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target, server_key
from partitioner.store.records import record_name
from tests.end_to_end.certificates import certificates_for
from tests.end_to_end.engines import VALKEY, Engine, engine, secured_engine, sentinel_group
from tests.end_to_end.processes import kept_port, run_to_end
from tests.end_to_end.store_servers import StoreServer, configured_store_server
from tests.end_to_end.web_server import APPLICATION, Closed, WebServer, request_bytes
from tests.tables import each_case

PATIENCE = 60.0

_GET, _ACQUIRE, _SET = Operation.GET, Operation.ACQUIRE, Operation.SET

SESSION = "abcdefghijklmnopqrstuvwx"
OTHER = "bbcdefghijklmnopqrstuvwx"


@contextmanager
def server_of(directory: Path, running: Engine, settings: str = "", more: str = "") -> Iterator[StoreServer]:
    store = f"store:\n  primary: 127.0.0.1:{running.port}\n{settings}{more}"
    with configured_store_server(directory, store) as server:
        yield server


def ready(server: StoreServer) -> tuple[int, str]:
    """What /readyz says: the status, and the reasons."""
    answer = httpx.get(f"{server.admin}/readyz", trust_env=False)
    return answer.status_code, "; ".join(answer.json()["reasons"])


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_ready(server: StoreServer) -> None:
    wait_until(lambda: ready(server)[0] == 200)


# --- what an operator has to mend ---


@contextmanager
def wrong_password(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory, VALKEY, "--requirepass", "right") as running:
        yield running.port, "  password: wrong\n"


@contextmanager
def no_password(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory, VALKEY, "--requirepass", "right") as running:
        yield running.port, ""


@contextmanager
def no_permission(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory) as running:
        running.ask("ACL", "SETUSER", "poor", "on", ">secret", "~aspnet:*", "+@all", "-evalsha", "-script")
        yield running.port, "  user: poor\n  password: secret\n"


@contextmanager
def no_permission_to_count(directory: Path) -> Iterator[tuple[int, str]]:
    """Scripts that the engine has may be run, and no others: what that lacks would only show later."""
    with engine(directory) as running:
        running.ask("ACL", "SETUSER", "poor", "on", ">secret", "~aspnet:*", "+@all", "-eval")
        yield running.port, "  user: poor\n  password: secret\n"


@contextmanager
def replica(directory: Path) -> Iterator[tuple[int, str]]:
    with ExitStack() as stack:
        primary = stack.enter_context(engine(directory))
        follow = ("--replicaof", f"127.0.0.1 {primary.port}")
        yield stack.enter_context(engine(directory, VALKEY, *follow)).port, ""


@contextmanager
def sentinel(directory: Path) -> Iterator[tuple[int, str]]:
    with sentinel_group(directory) as group:
        yield group.sentinels[0].port, ""


@contextmanager
def no_database(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory) as running:
        yield running.port, "  database: 99\n"


@contextmanager
def eviction(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory, VALKEY, "--maxmemory-policy", "allkeys-lru") as running:
        yield running.port, ""


@contextmanager
def nobody(directory: Path) -> Iterator[tuple[int, str]]:
    with kept_port() as port:
        yield port, ""


@contextmanager
def other_name(directory: Path) -> Iterator[tuple[int, str]]:
    certificates = certificates_for("other.example", directory)
    with secured_engine(directory, certificates) as running:
        yield running.port, f"  tls: {{ca: {certificates.ca}}}\n"


@contextmanager
def unknown_authority(directory: Path) -> Iterator[tuple[int, str]]:
    with secured_engine(directory, certificates_for("localhost", directory)) as running:
        yield running.port, "  tls: {}\n"


@contextmanager
def no_tls(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory) as running:
        yield running.port, "  tls: {}\n"


@contextmanager
def tls_alone(directory: Path) -> Iterator[tuple[int, str]]:
    with secured_engine(directory, certificates_for("localhost", directory)) as running:
        yield running.port, ""


@contextmanager
def no_such_file(directory: Path) -> Iterator[tuple[int, str]]:
    with engine(directory) as running:
        yield running.port, f"  tls: {{ca: {directory / 'nothing.pem'}}}\n"


@contextmanager
def node_of_a_cluster(directory: Path) -> Iterator[tuple[int, str]]:
    with (
        kept_port() as bus,
        engine(directory, VALKEY, "--cluster-enabled", "yes", "--cluster-port", str(bus)) as running,
    ):
        yield running.port, ""


WRONG = [
    (unknown_authority, "the certificate of"),
    (no_such_file, "a file of `store.tls` cannot be used"),
    (node_of_a_cluster, "is a node of a Cluster: name it at `store.cluster`"),
    (wrong_password, "refuses user or password"),
    (no_password, "wants a password"),
    (no_permission, "does not allow all that is needed"),
    (no_permission_to_count, "does not allow all that is needed"),
    (replica, "is a replica, and not a primary"),
    (no_database, "has no such database"),
    (eviction, "maxmemory-policy"),
    (nobody, "refused the connection"),
]

MORE_WRONG = [
    (other_name, "the certificate of"),
    (no_tls, "perhaps it does not speak TLS"),
    (tls_alone, "closed the connection|broke the connection"),
    (sentinel, "is a Sentinel, and not an engine"),
]

Wrong = Callable[[Path], AbstractContextManager[tuple[int, str]]]


def name_of_wrong(case: object) -> str | None:
    return getattr(case, "__name__", None)


@each_case(("wrong", "sentence"), WRONG, ids=name_of_wrong)
def test_what_has_to_be_mended_is_said(wrong: Wrong, sentence: str, tmp_path: Path) -> None:
    """In the log, in /readyz and by `check --connect`; clients are closed, never told that all is gone."""
    look_at_what_is_wrong(wrong, sentence, tmp_path)


@pytest.mark.slow
@each_case(("wrong", "sentence"), MORE_WRONG, ids=name_of_wrong)
def test_more_of_what_has_to_be_mended_is_said(wrong: Wrong, sentence: str, tmp_path: Path) -> None:
    """The same of what is seldom wrong, or takes long to set up."""
    look_at_what_is_wrong(wrong, sentence, tmp_path)


def look_at_what_is_wrong(wrong: Wrong, sentence: str, directory: Path) -> None:
    place = directory / str(name_of_wrong(wrong))
    place.mkdir()
    with wrong(place) as (port, settings):
        host = "localhost" if "tls" in settings else "127.0.0.1"
        store = f"timeouts: {{exchange: 2s}}\nstore:\n  primary: {host}:{port}\n{settings}"
        with configured_store_server(place, store) as server, WebServer(server.port) as web:
            server.program.wait_for(f"engine lost.*{sentence}")

            status, reasons = ready(server)
            assert status == 503
            assert re.search(sentence, reasons)
            with pytest.raises(Closed):
                web.ask(_ACQUIRE, SESSION)
        checked = run_to_end("check", "-c", str(place / "store-1" / "partitioner.yml"), "--connect")

        assert checked.returncode == 1
        assert re.search(sentence, " ".join(checked.stdout.split()))


def test_an_engine_is_spoken_to_by_tls(tmp_path: Path) -> None:
    """With a user of its own, who may do no more than the ACL of docs/store.md says."""
    certificates = certificates_for("localhost", tmp_path)
    with secured_engine(tmp_path, certificates) as running:
        running.ask("ACL", "SETUSER", "partitioner", "on", ">secret", *documented_acl())
        store = (
            f"store:\n  primary: localhost:{running.port}\n  tls: {{ca: {certificates.ca}}}\n"
            "  user: partitioner\n  password: secret\n"
        )
        with configured_store_server(tmp_path, store) as server, WebServer(server.port) as web:
            web.ask(_SET, SESSION, b"content", 0)

            assert web.ask(_ACQUIRE, SESSION).body == b"content"
            checked = run_to_end("check", "-c", str(tmp_path / "store-1" / "partitioner.yml"), "--connect")
            assert checked.returncode == 0
            assert "good: it runs the scripts" in checked.stdout


def documented_acl() -> list[str]:
    """The rules that docs/store.md shows for the engine."""
    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
    match = re.search(r"^ACL SETUSER partitioner on >PASSWORD (.*(?:\n +.*)*)", text, re.MULTILINE)
    assert match is not None
    return match[1].split()


# --- an engine that has lost its sessions ---


def test_a_flushed_engine_is_not_believed(tmp_path: Path) -> None:
    """Clients are closed until an operator accepts the loss; then their users get new sessions."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        running.ask("FLUSHALL")

        with pytest.raises(Closed):
            web.ask(_ACQUIRE, SESSION)
        server.program.wait_for("the engine has lost its sessions: its canary aspnet:canary is gone")
        accepted = run_to_end("accept-loss", "--admin", server.admin)
        assert accepted.returncode == 0
        wait_until_ready(server)
        assert web.ask(_ACQUIRE, SESSION).status == 404


def test_a_restarted_engine_without_persistence_is_not_believed(tmp_path: Path) -> None:
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        running.kill()
        running.start()

        with pytest.raises(Closed):
            web.ask(_ACQUIRE, SESSION)
        assert ready(server)[0] == 503


def test_an_engine_that_has_gone_back_is_not_believed(tmp_path: Path) -> None:
    """It was restarted from a snapshot: what was saved since is lost, and what was removed is there again."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"old content", 0)
        running.ask("SAVE")
        web.ask(_SET, SESSION, b"new content", web.ask(_ACQUIRE, SESSION).head.lock_cookie)
        wait_until_counted(running)
        running.kill()
        running.start()

        with pytest.raises(Closed):
            web.ask(_ACQUIRE, SESSION)
        server.program.wait_for("the engine has lost its sessions: its canary aspnet:canary is an older one")
        run_to_end("accept-loss", "--admin", server.admin)
        wait_until_ready(server)
        assert web.ask(_ACQUIRE, SESSION).body == b"old content"


@pytest.mark.slow
def test_a_replica_that_was_away_is_not_believed_as_the_next_primary(tmp_path: Path) -> None:
    """It has not got what was answered meanwhile, and nobody is left who has."""
    with sentinel_group(tmp_path) as group:
        former = group.primary()
        (other,) = (each for each in group.engines if each is not former)
        with (
            configured_store_server(tmp_path, f"store:\n{group.settings}") as server,
            WebServer(server.port) as web,
        ):
            web.ask(_SET, SESSION, b"old content", 0)
            other.ask("SAVE")
            other.kill()
            cookie = web.ask(_ACQUIRE, SESSION).head.lock_cookie
            assert web.ask(_SET, SESSION, b"new content", cookie).status == 200
            assert _degraded(server) == 2
            former.kill()
            other.start()
            group.wait_for_another(former)

            with pytest.raises(Closed):
                web.ask(_ACQUIRE, SESSION)
            server.program.wait_for("the engine has lost its sessions: its canary aspnet:canary is an older")


def wait_until_counted(running: Engine) -> None:
    """Wait until the canary has been advanced once more."""
    before = running.ask("GET", "aspnet:canary")
    wait_until(lambda: running.ask("GET", "aspnet:canary") != before)


def test_a_loss_may_be_taken_as_it_comes(tmp_path: Path) -> None:
    """With lost_sessions: new the users get new sessions at once, and the log says so."""
    with (
        engine(tmp_path) as running,
        server_of(tmp_path, running, more="lost_sessions: new\n") as server,
        WebServer(server.port) as web,
    ):
        web.ask(_SET, SESSION, b"content", 0)
        running.kill()
        running.start()

        assert web.ask(_ACQUIRE, SESSION).status == 404
        server.program.wait_for("the engine has lost its sessions.*users get new sessions")


def test_a_loss_while_the_state_server_is_down_is_noticed(tmp_path: Path) -> None:
    """The canary is remembered in state_dir."""
    with engine(tmp_path) as running:
        with server_of(tmp_path, running) as server:
            wait_until_ready(server)
        running.ask("FLUSHALL")
        with server_of(tmp_path, running) as server:
            server.program.wait_for("the engine has lost its sessions")

            assert ready(server)[0] == 503


def test_a_loss_that_one_has_accepted_is_accepted_by_all(tmp_path: Path) -> None:
    with engine(tmp_path) as running:
        store = f"store:\n  primary: 127.0.0.1:{running.port}\n"
        with (
            configured_store_server(tmp_path, store, "store-1") as one,
            configured_store_server(tmp_path, store, "store-2") as other,
        ):
            for server in (one, other):
                wait_until_ready(server)
            running.kill()
            running.start()
            for server in (one, other):
                server.program.wait_for("the engine has lost its sessions")
            run_to_end("accept-loss", "--admin", one.admin)

            for server in (one, other):
                wait_until_ready(server)


# --- an engine that is full, slow, or away ---


def test_a_full_engine_refuses_new_sessions_alone(tmp_path: Path) -> None:
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        running.ask("CONFIG", "SET", "maxmemory", "1")
        cookie = web.ask(_ACQUIRE, SESSION).head.lock_cookie

        assert web.ask(_SET, SESSION, b"more content", cookie).status == 200
        assert web.ask(_SET, OTHER, b"new", 0).status == 400


def test_a_foreign_item_closes_that_session_alone(tmp_path: Path) -> None:
    """It is left as it is."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        (name,) = {each for each in _names(running) if each != b"aspnet:canary"}
        running.ask("SET", name, "something else")

        with pytest.raises(Closed):
            web.ask(_ACQUIRE, SESSION)
        with pytest.raises(Closed):
            web.ask(_SET, SESSION, b"content", 0)
        assert running.ask("GET", name) == b"something else"
        assert web.ask(_SET, OTHER, b"new", 0).status == 200
        server.program.wait_for("foreign record")


def test_scripts_that_an_engine_has_forgotten_are_sent_again(tmp_path: Path) -> None:
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        running.ask("SCRIPT", "FLUSH")

        assert web.ask(_GET, SESSION).body == b"content"


def test_an_engine_that_stands_still_for_a_while_is_waited_for(tmp_path: Path) -> None:
    """It is given up after `answer`, and asked again under the same id."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        web.ask(_SET, SESSION, b"content", 0)
        running.freeze()
        with ThreadPoolExecutor() as threads:
            asked = threads.submit(web.ask, _ACQUIRE, SESSION)
            server.program.wait_for("engine lost.*replied nothing for")
            time.sleep(1.0)
            running.thaw()
            reply = asked.result()

        assert (reply.status, reply.body) == (200, b"content")
        assert web.ask(_SET, SESSION, b"second", reply.head.lock_cookie).status == 200


def test_a_page_that_leaves_while_it_waits_leaves_no_lock(tmp_path: Path) -> None:
    """The engine comes to its acquire when nobody waits for the answer any more."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server:
        with WebServer(server.port) as web:
            web.ask(_SET, SESSION, b"content", 0)
        running.freeze()
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(request_bytes(_ACQUIRE, SESSION))
            wait_until(lambda: _exchanges_under_way(server) == 1)
        running.thaw()
        with WebServer(server.port) as web:
            wait_until(lambda: web.ask(_GET, SESSION).status == 200)


@pytest.mark.slow
def test_a_thousand_pages_that_leave_leave_no_lock(tmp_path: Path) -> None:
    """Twenty at a time leave just before the engine goes on: none of their locks lasts for a second."""
    sessions = [f"{SESSION[:-2]}{chr(97 + number)}a" for number in range(20)]
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        for session in sessions:
            web.ask(_SET, session, b"content", 0)
        for _ in range(50):
            running.freeze()
            with ExitStack() as leaving:
                for session in sessions:
                    page = leaving.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                    page.sendall(request_bytes(_ACQUIRE, session))
                wait_until(lambda: _exchanges_under_way(server) == len(sessions))
            running.thaw()
            left_at = time.monotonic()
            for session in sessions:
                while web.ask(_GET, session).status != 200:
                    assert time.monotonic() - left_at < 1.0
                    time.sleep(0.001)


def test_an_engine_with_an_append_only_file_may_be_killed(tmp_path: Path) -> None:
    """What was answered is there after its restart."""
    keeping = ("--appendonly", "yes", "--appendfsync", "everysec")
    with (
        engine(tmp_path, VALKEY, *keeping) as running,
        server_of(tmp_path, running) as server,
        WebServer(server.port) as web,
    ):
        web.ask(_SET, SESSION, b"content", 0)
        running.kill()
        running.start()

        assert web.ask(_ACQUIRE, SESSION).body == b"content"


# --- replicas that are away ---


@pytest.mark.slow
@pytest.mark.parametrize("otherwise", ["degraded", "close"])
def test_a_replica_that_is_away(otherwise: str, tmp_path: Path) -> None:
    """Requests are answered and counted, or clients are closed; with all replicas all is as usual."""
    with sentinel_group(tmp_path) as group:
        store = f"store:\n{group.settings}  otherwise: {otherwise}\n"
        with configured_store_server(tmp_path, store) as server, WebServer(server.port) as web:
            web.ask(_SET, SESSION, b"content", 0)
            assert _degraded(server) == 0
            (replica_engine,) = (each for each in group.engines if each is not group.primary())
            replica_engine.kill()

            if otherwise == "close":
                with pytest.raises(Closed):
                    web.ask(_ACQUIRE, SESSION)
            else:
                assert web.ask(_ACQUIRE, SESSION).status == 200
                assert _degraded(server) == 1
            replica_engine.start()
            group.wait_until_whole()
            wait_until(lambda: _gets_an_answer(web))
            counted = _degraded(server)
            assert web.ask(_GET, SESSION).status in (200, 423)
            assert _degraded(server) == counted


def _gets_an_answer(web: WebServer) -> bool:
    try:
        return web.ask(_GET, SESSION).status in (200, 423)
    except Closed:
        return False


def _degraded(server: StoreServer) -> float:
    metrics = httpx.get(f"{server.admin}/metrics", trust_env=False).text
    match = re.search(r"^partitioner_requests_degraded_total ([0-9.]+)$", metrics, re.MULTILINE)
    assert match is not None
    return float(match[1])


# --- what operators see ---


def test_the_admin_port_tells_how_it_is(tmp_path: Path) -> None:
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        wait_until_ready(server)
        web.ask(_SET, SESSION, b"content", 0)
        status = httpx.get(f"{server.admin}/api/v1/status", trust_env=False).json()
        metrics = httpx.get(f"{server.admin}/metrics", trust_env=False).text
        page = httpx.get(server.admin, trust_env=False).text

        shown = run_to_end("status", "--admin", server.admin).stdout
        file = str(tmp_path / "store-1" / "partitioner.yml")
        target = encode_target(APPLICATION + SESSION).decode()
        located = run_to_end("locate", "-c", file, target).stdout
        planned = run_to_end("plan", "-c", file, "--add", "state-4")

        assert f"127.0.0.1:{running.port}" in shown
        assert "ready" in shown
        assert "The engine serves; it has no replica" in page
        assert f"127.0.0.1:{running.port}" in page
        (item,) = (name for name in _names(running) if name != b"aspnet:canary")
        assert item.decode() in located
        assert planned.returncode == 2
        assert "nothing moves" in planned.stderr
        assert status["shards"][0]["primary"] == f"127.0.0.1:{running.port}"
        assert status["requests"] == 1
        assert "\npartitioner_engine_up 1.0\n" in metrics
        assert '\npartitioner_requests_total{operation="set",outcome="ok"} 1.0\n' in metrics


def test_locks_are_told_by_the_names_that_the_engine_has(tmp_path: Path) -> None:
    """The oldest first, and nothing else that lies beside the sessions."""
    with engine(tmp_path) as running, server_of(tmp_path, running) as server, WebServer(server.port) as web:
        running.ask("HSET", "aspnet:foreign", "field", "value")
        for number in range(600):
            web.ask(_SET, f"{number:024d}", b"content", 0)
        for number in (7, 8):
            web.ask(_ACQUIRE, f"{number:024d}")
            time.sleep(0.2)  # the engine dates them to the millisecond
        told = httpx.get(f"{server.admin}/api/v1/locks", trust_env=False).json()
        shown = run_to_end("locks", "--admin", server.admin).stdout

        names = [lock["key"] for lock in told["locks"]]
        assert told["held"] == 2
        assert names == [_name_of(f"{number:024d}") for number in (7, 8)]
        assert all(name in shown for name in names)


def _name_of(session: str) -> str:
    return record_name(b"aspnet:", server_key(encode_target(APPLICATION + session))).decode()


def _exchanges_under_way(server: StoreServer) -> int:
    metrics = httpx.get(f"{server.admin}/metrics", trust_env=False).text
    match = re.search(r"^partitioner_requests_in_progress ([0-9.]+)$", metrics, re.MULTILINE)
    assert match is not None
    return int(float(match[1]))


def _names(running: Engine) -> list[bytes]:
    names = running.ask("KEYS", "*")
    assert isinstance(names, list)
    return names
