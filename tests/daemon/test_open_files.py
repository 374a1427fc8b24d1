"""How many connections fit into a limit of open files."""

from partitioner.daemon.open_files import BESIDE_CONNECTIONS, ConnectionCounts
from tests.tables import each_case

WANTED = ConnectionCounts(clients=10_000, per_backend=256, backends=3)


def test_all_of_them_where_there_is_room() -> None:
    """To the last file."""
    assert WANTED == WANTED.fitted(10_000 + 3 * 256 + BESIDE_CONNECTIONS)
    assert WANTED != WANTED.fitted(10_000 + 3 * 256 + BESIDE_CONNECTIONS - 1)


def test_the_usual_limit_of_a_shell() -> None:
    """Of 1,024 files, as many are kept for state servers as for clients, and 256 for all else."""
    assert ConnectionCounts(384, 128, 3) == WANTED.fitted(1024)


def test_what_the_backends_do_not_need_is_for_clients() -> None:
    """They have what they may have, and clients the rest."""
    assert ConnectionCounts(4096 - 256 - 768, 256, 3) == WANTED.fitted(4096)


def test_a_state_server_has_clients_alone() -> None:
    """No backends take a share."""
    assert ConnectionCounts(1024 - 256) == ConnectionCounts(10_000).fitted(1024)


@each_case("ends_here", [1, 2])
@each_case("backends", [0, 1, 3, 50])
def test_what_is_fitted_fits(backends: int, ends_here: int) -> None:
    """There is room for all of them, unless the limit is tiny; there is always one of each."""
    wanted = ConnectionCounts(10_000, 256, backends, ends_here)
    for files in range(1, 5000, 7):
        fitted = wanted.fitted(files)
        assert fitted.clients >= 1
        assert fitted.per_backend >= min(1, backends)
        if files >= 2 * BESIDE_CONNECTIONS:
            assert fitted.files <= files
