"""`check --connect` says which `admin` addresses lead elsewhere, with real processes."""

from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.processes import (
    StateServerProcess,
    kept_port,
    listing_token_file,
    run_to_end,
    state_servers,
)


def checked(directory: Path, servers: Sequence[StateServerProcess], admins: Sequence[int]) -> tuple[int, str]:
    """The exit code, and what was found."""
    lines = [
        f"  - {{name: state-{number}, address: 127.0.0.1:{each.port}, admin: 127.0.0.1:{admin}}}\n"
        for number, (each, admin) in enumerate(zip(servers, admins, strict=True), 1)
    ]
    file = directory / "partitioner.yml"
    file.write_text(f"backend_token_file: {listing_token_file()}\nbackends:\n{''.join(lines)}")
    ended = run_to_end("check", "--connect", "-c", str(file))
    return ended.returncode, " ".join(ended.stdout.split())


def test_admin_addresses_that_are_wrong(tmp_path: Path) -> None:
    """Swapped, another server's, or nobody's: each is named; right ones are good."""
    with state_servers(3) as servers, kept_port() as nobody:
        one, two, three = (each.admin_port for each in servers)
        right = checked(tmp_path, servers, (one, two, three))
        swapped = checked(tmp_path, servers, (two, one, three))
        foreign = checked(tmp_path, servers[:2], (one, three))
        silent = checked(tmp_path, servers[:2], (one, nobody))

    assert (0, 3) == (right[0], right[1].count("good: it is a state server"))
    assert (1, 1, 1) == (swapped[0], foreign[0], silent[0])
    assert f"its admin address 127.0.0.1:{two} is that of state-2; are the two swapped?" in swapped[1]
    assert f"its admin address 127.0.0.1:{one} is that of state-1; are the two swapped?" in swapped[1]
    assert f"its admin address 127.0.0.1:{three} is that of another server" in foreign[1]
    assert f"its sessions cannot be listed: its admin port 127.0.0.1:{nobody} does not answer" in silent[1]
