"""A router that stands still closes everything, blames no server, and serves again at once."""

import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import FAST_PATH, NAMES, QUICK_PROBES, Farm, farm_in, first_choice
from tests.end_to_end.processes import RouterProcess
from tests.end_to_end.web_server import Closed, WebServer

STANDSTILL = 3.0
PATIENCE = 30.0
SESSIONS = [f"session{number:017d}" for number in range(6)]
ENDED = "backend is down"


class Traffic:
    """Web servers that go on reading and saving, and note what they were answered."""

    def __init__(self, farm: Farm) -> None:
        self.answered = dict.fromkeys(SESSIONS, 0)
        self.closed = 0
        self._farm = farm
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(each,)) for each in SESSIONS]

    def __enter__(self) -> "Traffic":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join(PATIENCE)

    def _go_on(self, session: str) -> None:
        with WebServer(self._farm.in_front.port) as web:
            while not self._is_over.is_set():
                try:
                    web.ask(Operation.GET, session)
                except Closed:
                    self.closed += 1
                else:
                    self.answered[session] += 1
                time.sleep(0.002)

    def wait_until_all_are_answered(self) -> float:
        """Wait until everybody has been answered once more; the seconds that it took."""
        before, began_at = dict(self.answered), time.monotonic()
        while any(self.answered[each] <= before[each] + 1 for each in SESSIONS):
            assert time.monotonic() < began_at + PATIENCE
            time.sleep(0.01)
        return time.monotonic() - began_at


def counted(router: RouterProcess, name: str) -> float:
    """A counter without labels, from the router's metrics."""
    page = urllib.request.urlopen(f"{router.admin}/metrics", timeout=PATIENCE).read().decode()
    line = next(line for line in page.splitlines() if line.startswith(f"partitioner_{name} "))
    return float(line.split()[1])


def stand_still(router: RouterProcess) -> None:
    router.program.freeze()
    time.sleep(STANDSTILL)
    router.program.thaw()


@pytest.mark.parametrize("fast_path", FAST_PATH)
def test_a_router_that_was_stopped(fast_path: str, tmp_path: Path) -> None:
    """All connections are closed; no server is ejected or blamed; everybody is served again at once."""
    with farm_in(tmp_path, QUICK_PROBES + fast_path) as farm:
        for session in SESSIONS:
            farm.web.save(session, b"kept")
        with Traffic(farm) as traffic:
            traffic.wait_until_all_are_answered()
            stand_still(farm.in_front)
            farm.wait_until(r"stood still for [34]\.[0-9] s: all connections were closed")
            duration = traffic.wait_until_all_are_answered()

        assert farm.web.is_closed_by_peer()  # it was idle
        assert len(SESSIONS) <= traffic.closed
        assert duration < PATIENCE / 2
        assert counted(farm.in_front, "loop_stalls_total") == 1
        assert ENDED not in farm.in_front.program.output


@pytest.mark.parametrize("fast_path", FAST_PATH)
def test_a_request_that_lay_there(fast_path: str, tmp_path: Path) -> None:
    """What a client has sent while the router stood still is not carried out."""
    with farm_in(tmp_path, QUICK_PROBES + fast_path) as farm, ExitStack() as stack:
        farm.web.save(SESSIONS[0], b"old")
        late = stack.enter_context(WebServer(farm.in_front.port))
        late.read(SESSIONS[0])
        farm.in_front.program.freeze()
        waiting = threading.Thread(target=lambda: closed.append(is_refused(late, b"late")))
        closed: list[bool] = []
        waiting.start()
        time.sleep(STANDSTILL)
        farm.in_front.program.thaw()
        waiting.join(PATIENCE)

        assert [True] == closed
        farm.web.close()
        assert farm.web.read(SESSIONS[0]) == b"old"


def is_refused(web: WebServer, body: bytes) -> bool:
    """Whether a save ends with a closed connection."""
    try:
        web.save(SESSIONS[0], body)
    except Closed:
        return True
    return False


@pytest.mark.parametrize("fast_path", FAST_PATH)
def test_a_server_that_was_busy_meanwhile(fast_path: str, tmp_path: Path) -> None:
    """A save that a frozen server has not answered when the router stood still is not the server's fault."""
    with farm_in(tmp_path, fast_path + "copies: 1\n") as farm:
        farm.web.save(SESSIONS[0], b"old")
        holder = farm.servers[first_choice(SESSIONS[0].encode())]
        holder.program.freeze()
        closed: list[bool] = []
        waiting = threading.Thread(target=lambda: closed.append(is_refused(farm.web, b"new")))
        waiting.start()
        time.sleep(0.3)
        stand_still(farm.in_front)
        holder.program.thaw()
        waiting.join(PATIENCE)
        farm.wait_until("stood still")
        others = [each for each in SESSIONS if first_choice(each.encode()) != NAMES[0]]
        with WebServer(farm.in_front.port) as web:
            assert web.read_within(PATIENCE, others[-1]) is None

        assert [True] == closed
        assert ENDED not in farm.in_front.program.output
