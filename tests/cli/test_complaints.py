"""What every verb says of what it cannot do: one sentence, after the program's name."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from partitioner.cli import main
from tests.cli.test_http_client import listening
from tests.tables import each_case

USAGE = "Usage: main bench [OPTIONS] HOST:PORT\nTry 'main bench --help' for help.\n\n"


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that is taken, and at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def said(*arguments: str) -> tuple[int, str]:
    """How a verb ends, and its complaint."""
    ended = CliRunner().invoke(main, arguments)
    return ended.exit_code, ended.stderr


@each_case(
    ("arguments", "complaint"),
    [
        (
            ("bench", "h:1", "--size", "43B"),
            USAGE + "partitioner: Invalid value for '--size': '43B' is too small; a body that can be checked "
            "needs 44B\n",
        ),
        (
            ("check", "-c", "/nowhere"),
            "partitioner: 1 problem in /nowhere\n  there is no file '/nowhere'\n",
        ),
        (
            ("check", "-c", "/"),
            "partitioner: 1 problem in /\n  the file '/' cannot be read: Is a directory\n",
        ),
        (
            ("nonsense",),
            "Usage: main [OPTIONS] COMMAND [ARGS]...\nTry 'main --help' for help.\n\n"
            "partitioner: No such command 'nonsense'.\n",
        ),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], complaint: str) -> None:
    """Exit 2, and every complaint begins with the name of the program, whoever has found the fault."""
    assert (2, complaint) == said(*arguments)


def test_a_file_that_this_user_must_not_read(tmp_path: Path) -> None:
    """It is one problem of the configuration, like a file that is not there."""
    file = tmp_path / "partitioner.yml"
    file.write_text("backends: []")
    file.chmod(0)
    tmp_path.chmod(0o711)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        ended = said("check", "-c", str(file))
    finally:
        os.seteuid(before)

    assert (
        2,
        f"partitioner: 1 problem in {file}\n  the file '{file}' cannot be read: Permission denied\n",
    ) == ended


@each_case("answer", [b"404 Not Found\r\n\r\n", b"SSH-2.0-\x1b[2J\r\n"])
def test_the_wrong_port(answer: bytes) -> None:
    """Where web servers are served, another protocol is spoken; the key of the right port is named."""
    with listening(answer=answer) as there:
        complaint = said("status", "--admin", f"127.0.0.1:{there.port}")[1]

    assert (
        f"partitioner: what answers at http://127.0.0.1:{there.port} does not speak HTTP; expected the "
        "router's admin address (key `admin`), not the one on which it serves web servers\n"
    ) == complaint


@each_case("host", ["127.0.0.1", "no-such-host.invalid"])
def test_nobody_there(host: str) -> None:
    """The reason is a sentence of the operating system, without the number that it has for programs."""
    with closed_port() as port:
        complaint = said("status", "--admin", f"{host}:{port}")[1]

    assert complaint.startswith(f"partitioner: no router answers at http://{host}:{port}: ")
    assert "Errno" not in complaint
