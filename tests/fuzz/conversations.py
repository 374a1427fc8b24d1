"""A router and three state servers, and sockets that say hostile things to the router."""

import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from random import Random

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import Farm
from tests.end_to_end.processes import Program
from tests.end_to_end.web_server import WebServer
from tests.fuzz.hostile import draw_hostile

AT_A_TIME = 64
"""Connections that are open side by side."""

PATIENCE = 0.002
"""Seconds for which an answer is waited for at most; most conversations have none, or do not want it."""

SESSION = "s" * 24
_RESET = struct.pack("ii", 1, 0)


def footprint(program: Program) -> tuple[int, int]:
    """Resident memory in KiB, and open files."""
    process = Path(f"/proc/{program.process.pid}")
    resident = re.search(r"VmRSS:\s+([0-9]+) kB", (process / "status").read_text())
    assert resident is not None
    return int(resident[1]), len(list((process / "fd").iterdir()))


def try_slice(farm: Farm, seed: int, count: int) -> None:
    """So many conversations drawn by this seed, side by side; then a session is saved and read as ever."""
    rng, talking = Random(seed), list[socket.socket]()
    for _ in range(count):
        talking.append(_begin(farm.in_front.port, draw_hostile(rng)))
        if len(talking) == AT_A_TIME:
            _end(rng, talking)
    _end(rng, talking)
    with WebServer(farm.in_front.port) as web:
        saved = web.ask(Operation.SET, SESSION, b"seed %d" % seed)
        read = web.ask(Operation.GET, SESSION)
    assert (saved.status, read.body) == (200, b"seed %d" % seed), f"seed {seed}"
    output = farm.in_front.program.output
    assert "Traceback" not in output, output[-5000:]


def _begin(port: int, said: bytes) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port))
    connected.settimeout(PATIENCE)
    with suppress(OSError):
        connected.sendall(said)
    return connected


def _end(rng: Random, talking: list[socket.socket]) -> None:
    """Leave in one way or another: with its answer, in order, half, or torn down."""
    for connected in talking:
        with suppress(OSError):
            match rng.randrange(4):
                case 0:
                    connected.recv(65536)
                case 1:
                    connected.shutdown(socket.SHUT_WR)
                case 2:
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                case _:
                    pass
        connected.close()
    talking.clear()
