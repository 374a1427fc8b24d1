"""What bad input gets from the real programs: of clients at a router, and of operators at a prompt."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import REFUSAL
from tests.end_to_end.conftest import ROUTERS, SERVERS, TARGETS
from tests.end_to_end.processes import router, run_to_end, running, state_server
from tests.end_to_end.web_server import Closed, WebServer, request_bytes
from tests.tables import each_case

SESSION = "bpr4mimb2vjnvtn2jc4yp3uo"
HEAD = request_bytes(Operation.GET, SESSION).removesuffix(b"\r\n")
TARGET = HEAD.split(b" ")[1]
PATIENCE = 30.0
"""Seconds; working off what was cut off takes a millisecond or two."""

MALFORMED = {
    "HTTP/1.0": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",
    "a space in the target": HEAD.replace(b"ROOT", b"RO OT") + b"\r\n",
    "a field in an odd spelling": HEAD + b"exclusive: acquire\r\n\r\n",
    "two lengths": b"PUT " + TARGET + b" HTTP/1.1\r\nContent-Length:1\r\nContent-Length:2\r\n\r\nab",
    "a head that is too long": HEAD + b"X-Padding: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "a body that is too long": b"PUT "
    + TARGET
    + b" HTTP/1.1\r\nContent-Length:70000000\r\n\r\n"
    + b"x" * 100_000,
    "an unknown verb": HEAD.replace(b"GET", b"POST") + b"\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
}


TAKEN_BY_STOCK = {"a field in an odd spelling", "two lengths"}
"""What a stock server makes sense of, and the router does not let through to any."""


def received_until_closed(port: int, request: bytes) -> bytes:
    """Send bytes, and collect what comes back until the other end closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@each_case("target", ROUTERS)
@each_case("request_name", MALFORMED)
def test_a_malformed_request_is_answered_400_and_closed_by_the_router(
    request_name: str, target: str, ports: dict[str, int]
) -> None:
    """Length 0, then the end."""
    assert REFUSAL == received_until_closed(ports[target], MALFORMED[request_name])


@each_case("target", SERVERS)
@each_case("request_name", sorted(set(MALFORMED) - TAKEN_BY_STOCK))
def test_a_malformed_request_is_answered_400_and_closed_by_a_state_server(
    request_name: str, target: str, ports: dict[str, int]
) -> None:
    """Length 0, then the end."""
    assert REFUSAL == received_until_closed(ports[target], MALFORMED[request_name])


@pytest.mark.parametrize("target", SERVERS)
def test_a_state_server_skips_an_odd_spelling_as_a_stock_one_does(target: str, ports: dict[str, int]) -> None:
    """An acquire that is oddly spelt is a plain get, and takes no lock (protocol.md 13, X36)."""
    with WebServer(ports[target]) as web:
        web.save(SESSION, b"not locked")
        reply = web.send(MALFORMED["a field in an odd spelling"])

        assert (200, None, b"not locked") == (reply.status, reply.head.lock_cookie, reply.body)


@pytest.mark.parametrize("target", SERVERS)
def test_a_state_server_takes_the_last_of_two_lengths_as_a_stock_one_does(
    target: str, ports: dict[str, int]
) -> None:
    """Of duplicates the last one wins (protocol.md 3.2)."""
    with WebServer(ports[target]) as web:
        reply = web.send(MALFORMED["two lengths"], Operation.SET)

        assert reply.status == 200
        assert web.read(SESSION) == b"ab"


@pytest.mark.parametrize("target", ROUTERS)
def test_no_other_client_notices(target: str, ports: dict[str, int]) -> None:
    """A connection that was open before goes on after another client's nonsense."""
    with WebServer(ports[target]) as web:
        web.save(SESSION, b"before")
        for request in MALFORMED.values():
            received_until_closed(ports[target], request)

        assert web.read(SESSION) == b"before"


@each_case("target", TARGETS)
@each_case("size", [1000, 1_000_000], ids=["held", "streamed"])
def test_a_body_that_is_cut_off_stores_nothing(target: str, size: int, ports: dict[str, int]) -> None:
    """The old content stays.

    Where no other server has it, it is served again once its server has worked off what was cut off.
    """
    with WebServer(ports[target]) as web:
        web.save(SESSION, b"old")
        with socket.create_connection(("127.0.0.1", ports[target])) as cut_off:
            cut_off.sendall(request_bytes(Operation.SET, SESSION, b"n" * size)[:-1])
            cut_off.shutdown(socket.SHUT_WR)
            assert cut_off.recv(1) == b""

        assert b"old" == web.read_within(PATIENCE, SESSION)


@each_case("target", TARGETS)
@each_case("size", [65536, 65537, 5_000_000])
def test_large_sessions_come_back_whole(target: str, size: int, ports: dict[str, int]) -> None:
    """Bodies beyond what is held whole stream through, both ways."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with WebServer(ports[target]) as web:
        web.save(SESSION, body)

        assert body == web.read(SESSION)


@pytest.mark.parametrize("target", TARGETS)
def test_pipelined_requests_are_answered_in_order(target: str, ports: dict[str, int]) -> None:
    """One at a time, the second one after the first."""
    requests = [
        request_bytes(Operation.SET, SESSION, b"first", 0),
        request_bytes(Operation.GET, SESSION),
        request_bytes(Operation.SET, SESSION, b"second", 0),
        request_bytes(Operation.GET, SESSION),
    ]
    with socket.create_connection(("127.0.0.1", ports[target]), 10) as connection:
        connection.sendall(b"".join(requests))
        connection.shutdown(socket.SHUT_WR)
        answers = b""
        while data := connection.recv(65536):
            answers += data

    assert [b"first", b"second"] == re.findall(rb"first|second", answers)


def test_a_client_from_outside_is_closed_at_once(tmp_path: Path) -> None:
    """Its address is logged, once a minute at most, and in the end how often that was."""
    settings = "allow_clients: [10.0.0.0/8]\n"
    with state_server() as server, router(tmp_path, [server.port], settings) as in_front:
        for _ in range(3):
            with WebServer(in_front.port) as web, pytest.raises(Closed):
                web.read(SESSION)
        in_front.program.wait_for("client turned away.*127.0.0.1")
        assert in_front.program.stop() == 0

    first, last = re.findall(r"client turned away.*", in_front.program.output)
    assert ["times_more" in line for line in (first, last)] == [False, True]
    assert last.endswith("times_more=2")


def test_a_full_state_server_refuses_new_sessions_and_keeps_the_old() -> None:
    """400 for what is new, as loudly as the protocol allows; existing sessions can still be saved."""
    with state_server(0, "--max-memory", "64KiB") as server, WebServer(server.port) as web:
        saved = 0
        while web.ask(Operation.SET, f"session-{saved}", b"x" * 1024, 0).status == 200:
            saved += 1

        assert 40 < saved < 64
        web.save("session-0", b"y" * 2048)
        assert [web.read("session-0"), web.read("session-1")] == [b"y" * 2048, b"x" * 1024]
        server.program.wait_for("new session refused.*memory limit is reached")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["--listen", "127.0.0.1:{taken}"],
            1,
            "port {taken} is in use, by another process",
        ),
        (
            ["--listen", "192.0.2.1:42424", "--allow", "10.0.0.0/8"],
            1,
            "192.0.2.1 is not an address of this machine",
        ),
        (["--listen", "0.0.0.0:42424"], 2, "say with --allow which networks may connect"),
        (["--admin", "0.0.0.0:9425"], 2, "--admin 0.0.0.0:9425 can be reached from other machines"),
        (["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:{taken}"], 1, "port {taken} is in use"),
        (["--listen", "..:0", "--allow", "::1"], 1, "'..' is not a host name"),
        (["--listen", "localhost"], 2, "'localhost' is not an address such as"),
        (["--allow", "10.0.0.1/8"], 2, "10.0.0.1/8 has host bits set"),
        (["--max-memory", "8"], 2, "'8' is not a size such as"),
    ],
)
def test_a_state_server_that_cannot_start_says_why_in_a_sentence(
    arguments: list[str], code: int, sentence: str
) -> None:
    """1 where it could not, 2 where the command line is wrong; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        ended = run_to_end("state-server", *(argument.format(taken=taken) for argument in arguments))

    assert code == ended.returncode
    assert sentence.format(taken=taken) in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_router_that_finds_its_port_taken_says_so(tmp_path: Path) -> None:
    """One sentence with port and address, exit 1, and nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        file = tmp_path / "partitioner.yml"
        file.write_text(f"listen: 127.0.0.1:{port}\nadmin: 127.0.0.1:0\nembedded: 2\n")
        ended = run_to_end("serve", "-c", str(file))

    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: port {port} is in use" in ended.stderr


def test_a_router_that_finds_its_admin_port_taken_says_so() -> None:
    """The same for the operator's port, before anything is served."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run_to_end("serve", "--listen", "127.0.0.1:0", "--admin", f"127.0.0.1:{port}")

    assert (1, "") == (ended.returncode, ended.stdout)
    assert f"cannot listen on 127.0.0.1:{port}: port {port} is in use" in ended.stderr


def test_an_exposed_admin_port_without_a_token_is_refused() -> None:
    """Any program that reaches the port could take the pool apart."""
    ended = run_to_end("serve", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0")

    assert (1, "") == (ended.returncode, ended.stdout)
    assert "can be reached from other machines, and there is no admin_token" in ended.stderr


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    """Every problem is listed, exit 2."""
    file = tmp_path / "partitioner.yml"
    file.write_text("listn: 127.0.0.1:42424\nbackends: [{name: a, address: '127.0.0.1:1', weight: 0}]\n")
    ended = run_to_end("serve", "-c", str(file))

    assert ended.returncode == 2
    assert "listn: unknown key; did you mean 'listen'?" in ended.stderr
    assert "backends[0].weight: 0 is out of range" in ended.stderr


def test_without_a_file_three_servers_are_embedded_and_the_snippet_is_printed() -> None:
    """`partitioner serve` is all that a newcomer has to type; a free port here, where one may be running."""
    with running("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as program:
        port = int(program.wait_for(r"tcpip=127\.0\.0\.1:([0-9]+)")[1])
        program.wait_for("Stop with Ctrl-C")
        with WebServer(port) as web:
            web.save(SESSION, b"it works")
            content = web.read(SESSION)
        assert program.stop() == 0

    assert content == b"it works"
    snippet = f'<sessionState mode="StateServer" stateConnectionString="tcpip=127.0.0.1:{port}" />'
    assert snippet in program.output
    assert ["state-1", "state-2", "state-3"] == re.findall(
        r"^ (state-[0-9]) .* up ", program.output, re.MULTILINE
    )


@pytest.mark.parametrize(
    "verb", [["check"], ["plan"], ["locate", "abc"], ["--help"]], ids=lambda verb: verb[0]
)
def test_an_output_that_cannot_be_written_is_one_sentence(verb: list[str]) -> None:
    """A full disk is said in a sentence, exit 1; no traceback."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "partitioner", *verb],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (1, "partitioner: cannot write: No space left on device\n") == (ended.returncode, ended.stderr)


def test_a_router_outlives_whoever_reads_its_output() -> None:
    """When the reader of its log dies, lines are lost, and sessions are served on."""
    read_end, write_end = os.pipe()
    listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command = [sys.executable, "-u", "-m", "partitioner", "serve", *listen]
    with subprocess.Popen(command, stdout=write_end, stderr=write_end) as process:
        os.close(write_end)
        try:
            with os.fdopen(read_end) as output:
                while (match := re.search(r"tcpip=127\.0\.0\.1:([0-9]+)", output.readline())) is None:
                    pass
            received_until_closed(int(match[1]), MALFORMED["HTTP/1.0"])
            with WebServer(int(match[1])) as web:
                web.save(SESSION, b"served on")
                content = web.read(SESSION)
        finally:
            process.terminate()

    assert (content, process.returncode) == (b"served on", 0)
