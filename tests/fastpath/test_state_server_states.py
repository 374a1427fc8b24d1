"""The state table of a state server's clients, cell by cell: a client in each state, and each signal."""

import socket
from collections.abc import Callable
from contextlib import closing

from partitioner.fastpath.states import STATE_SERVER_REACTIONS, STORE_REACTIONS, ClientState, Signal
from tests.doubles.sessions import GET, SET
from tests.fastpath.router_setup import LONG_ENOUGH, MOST_EVENTS, reset, shrink
from tests.fastpath.server_setup import StateServerSetup
from tests.tables import each_case

STATES = (
    ClientState.IDLE,
    ClientState.RECEIVING,
    ClientState.WAITING,
    ClientState.DELIVERING,
    ClientState.GONE,
)

STAYS = "stays as it is"
CLOSED = "closed, and nothing is said of it"
LATE = "closed, and reported"
HANDED_OVER = "handed over with what has come"
ANSWERED = "answered, and idle"
LAST = "answered, and closed"

OUTCOMES = {
    #                       DATA      END     BROKEN  ROOM      TIMED OUT      SHUTDOWN
    ClientState.IDLE:      (ANSWERED, CLOSED, CLOSED, STAYS,    CLOSED,      CLOSED),
    ClientState.RECEIVING: (ANSWERED, CLOSED, CLOSED, STAYS,    LATE,        STAYS),
    ClientState.WAITING:   (ANSWERED, LAST,   ANSWERED, ANSWERED, ANSWERED,  LAST),
    ClientState.DELIVERING: (STAYS,   STAYS,  STAYS,  ANSWERED, LATE,        STAYS),
    ClientState.GONE:      (STAYS,    STAYS,  STAYS,  STAYS,    STAYS,       STAYS),
}  # fmt: skip

LARGE = b"x" * 1_000_000
HALF = len(GET) // 2


class Scene:
    """A client of a fast state server, and its end of the connection."""

    def __init__(self) -> None:
        self.server_setup = StateServerSetup()
        self.near, self.client = self.server_setup.client()

    def bring(self, state: ClientState) -> None:
        """Bring the client into this state by what brings it there in life."""
        match state:
            case ClientState.IDLE:
                self.server_setup.ask(self.near, SET)
            case ClientState.RECEIVING:
                self.near.sendall(GET[:HALF])
                self.server_setup.turn()
            case ClientState.WAITING:
                self.server_setup.ask(self.near, SET)
                self.near.sendall(GET)
                self.server_setup.fast_server.dispatch.work_off(LONG_ENOUGH, MOST_EVENTS)
            case ClientState.DELIVERING:
                shrink(self.client.socket)
                self.server_setup.put(LARGE)
                self.near.sendall(GET)
                self.server_setup.turn()
            case ClientState.GONE:
                self.near.close()
                self.server_setup.turn()
        assert self.client.state is state
        self.server_setup.observer.facts.clear()

    def send(self, signal: Signal, state: ClientState) -> None:
        """Have a signal come in: over the network where the client is listened to, else by hand."""
        asked = GET[HALF:] if state is ClientState.RECEIVING else GET
        over_network: dict[Signal, Callable[[], None]] = {
            Signal.DATA: lambda: self.near.sendall(asked),
            Signal.END: lambda: self.near.shutdown(socket.SHUT_WR),
            Signal.BROKEN: lambda: reset(self.near),
        }
        if signal in over_network and state in (ClientState.IDLE, ClientState.RECEIVING):
            over_network[signal]()
            self.server_setup.turn()
        elif signal is Signal.ROOM and state is ClientState.DELIVERING:
            while self.client.rest is not None:
                self.near.recv(1_000_000)
                self.server_setup.turn()
        else:
            self.server_setup.signal(self.client, signal)
        if state is ClientState.WAITING:
            self.server_setup.fast_server.work_off(0.0, MOST_EVENTS)  # the round ends

    def outcome(self, state: ClientState) -> str:
        facts = [name for name, *_ in self.server_setup.observer.facts]
        if state is ClientState.GONE:
            assert (state, []) == (self.client.state, facts)
            assert 1 == self.server_setup.client_handoff.left
            return STAYS
        if self.client in self.server_setup.fast_server.connected:
            if facts == ["exchange_finished"]:
                assert self.client.state is ClientState.IDLE
                return ANSWERED
            assert (state, []) == (self.client.state, facts)
            return STAYS
        if self.server_setup.client_handoff.openings:
            assert GET[:HALF] == self.server_setup.client_handoff.openings[0].received
            return HANDED_OVER
        assert self.server_setup.client_handoff.left == 1
        if facts == ["exchange_finished"]:
            return LAST
        return LATE if facts == ["exchange_closed"] else CLOSED


@each_case("state", STATES)
@each_case("signal", Signal)
def test_a_client_reacts_as_the_table_says(state: ClientState, signal: Signal) -> None:
    """Each cell of the table, by what becomes of the client."""
    scene = Scene()
    with closing(scene.server_setup):
        scene.bring(state)
        scene.send(signal, state)

        assert OUTCOMES[state][signal] == scene.outcome(state)


def test_no_cell_is_left_out() -> None:
    """The table says of every state that there is what every signal does."""
    assert {(state, signal) for state in STATES for signal in Signal} == set(STATE_SERVER_REACTIONS)
    with_a_store = [*STATES, ClientState.PAUSED]
    assert {(state, signal) for state in with_a_store for signal in Signal} == set(STORE_REACTIONS)
