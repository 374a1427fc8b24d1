"""A router that is killed leaves nothing behind that a state server carries out later."""

import socket
import time
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import FAST_PATH
from tests.end_to_end.processes import router, state_server
from tests.end_to_end.web_server import WebServer, request_bytes

SESSION = "bpr4mimb2vjnvtn2jc4yp3uo"
PATIENCE = 60.0
A_WHILE = 1.0
"""Seconds for which a server that goes on is watched; what was left behind it would carry out at once."""

UNREAD = 20_000  # bytes of a body that fit into the buffer of a server that does not read
UNSENT = 400_000  # and those that do not: some of them wait at the router's end


def unread_at(port: int) -> int:
    """How many bytes lie unread in connections to a port of this machine (proc(5), /proc/net/tcp)."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if local.endswith(f":{port:04X}") and state != "0A":  # a listening socket counts connections there
            count += int(queues.partition(":")[2], 16)
    return count


@pytest.mark.parametrize("fast_path", FAST_PATH)
@pytest.mark.parametrize("size", [UNREAD, UNSENT])
def test_a_save_of_a_router_that_was_killed(size: int, fast_path: str, tmp_path: Path) -> None:
    """A save that a frozen server has not read when the router dies is not carried out when it goes on."""
    with state_server() as server, router(tmp_path, [server.port], fast_path) as in_front:
        with WebServer(in_front.port) as web:
            web.save(SESSION, b"old")
        server.program.freeze()
        with socket.create_connection(("127.0.0.1", in_front.port), PATIENCE) as client:
            client.sendall(request_bytes(Operation.SET, SESSION, b"n" * size, 0))
            deadline = time.monotonic() + PATIENCE
            while unread_at(server.port) < UNREAD:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        in_front.program.kill()
        server.program.thaw()
        with WebServer(server.port) as web:
            until = time.monotonic() + A_WHILE
            while time.monotonic() < until:
                assert web.read(SESSION) == b"old"
