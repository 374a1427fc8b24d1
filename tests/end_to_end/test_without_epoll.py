"""A state server on a system that has no epoll: everything is served by the slow path."""

from tests.end_to_end.processes import WITHOUT_EPOLL, state_server
from tests.end_to_end.web_server import WebServer


def test_it_serves_and_says_so() -> None:
    """One line at its start; where there is epoll, none."""
    with state_server(module=WITHOUT_EPOLL) as without, state_server() as ordinary:
        for server in (without, ordinary):
            with WebServer(server.port) as web:
                web.save("a-session", b"content")
                assert web.read("a-session") == b"content"
            server.program.stop()

    said = [
        "slow path alone" in server.program.output and "this system has no epoll" in server.program.output
        for server in (without, ordinary)
    ]
    assert [True, False] == said
