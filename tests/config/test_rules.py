"""Keys that contradict each other, that do not exist, and the report of all that is wrong (design.md 9.2)."""

from pathlib import Path

from tests.config.problems import ONE_BACKEND, only_problem, problems
from tests.tables import each_case

# --- Several keys ----------------------------------------------------------------------------------

CONNECT_AND_EXCHANGE = [
    (
        "{connect: 2s, exchange: 2s}",
        ("timeouts.exchange", "'2s' is too short; expected more than timeouts.connect, which is 2s"),
    ),
    (
        "{exchange: 1s}",
        ("timeouts.exchange", "'1s' is too short; expected more than timeouts.connect, which is 1s"),
    ),
    (
        "{connect: 9s}",
        ("timeouts.connect", "'9s' is too long; expected less than timeouts.exchange, which is 8s"),
    ),
]


@each_case(("timeouts", "expected"), CONNECT_AND_EXCHANGE)
def test_an_exchange_has_more_time_than_connecting(timeouts: str, expected: tuple[str, str]) -> None:
    """Connecting is a part of an exchange; what was written, not the default, is to blame."""
    assert expected == only_problem(f"{ONE_BACKEND}timeouts: {timeouts}")


THREE_BACKENDS = """
backends:
  - {name: a, address: 10.0.0.1:42424}
  - {name: b, address: 10.0.0.2:42424, intent: drain}
  - {name: c, address: 127.0.0.1:42426}
"""

SEVERAL_KEYS = [
    # configuration beside three backends, path, message
    (
        "copies: 4",
        "copies",
        "4 copies are more than the pool can hold; expected at most 3, for it has 3 servers",
    ),
    (
        "admin: 0.0.0.0:9424",
        "admin",
        "'0.0.0.0:9424' is not on loopback and has no token; "
        "expected an admin_token for those who connect from elsewhere, or a loopback address",
    ),
    (
        "admin_token: s3cret\nadmin_token_file: {token}",
        "admin_token_file",
        "admin_token is set as well; expected either `admin_token` or `admin_token_file`",
    ),
    (
        "admin: 127.0.0.1:42424",
        "admin",
        "'127.0.0.1:42424' is where web servers connect, too; expected another port",
    ),
    (
        "listen: 0.0.0.0:9424",
        "listen",
        "'0.0.0.0:9424' is the admin address as well, by default; expected another port",
    ),
    (
        "admin: 127.0.0.1:42426",
        "backends[2].address",
        "'127.0.0.1:42426' is the router's admin address; expected a state server",
    ),
    (
        "listen: ['127.0.0.1:1', '[::]:42426']",
        "backends[2].address",
        "'127.0.0.1:42426' is where the router itself listens; expected a state server",
    ),
    (
        "timeouts: {copy: 8s}",
        "timeouts.copy",
        "'8s' is too long; expected less than timeouts.exchange, which is 8s",
    ),
    (
        "timeouts: {copy: 2s, exchange: 2s}",
        "timeouts.exchange",
        "'2s' is too short; expected more than timeouts.copy, which is 2s",
    ),
    (
        "session_timeout: 25h",
        "session_timeout",
        "'25h' is too long; expected session_timeout_max, which is 1d, or less",
    ),
    (
        "session_timeout_max: 30m",
        "session_timeout_max",
        "'30m' is too short; expected session_timeout, which is 1h, or more",
    ),
]


@each_case(("text", "path", "message"), SEVERAL_KEYS)
def test_keys_that_contradict_each_other_are_explained(
    text: str, path: str, message: str, tmp_path: Path
) -> None:
    """Where two keys do not fit together, the one that was written is to blame, and both values are said."""
    text = text.replace("{token}", str(token_file(tmp_path)))

    assert (path, message) == only_problem(THREE_BACKENDS + text)


@each_case(
    "text",
    [
        "copies: 3",
        "admin: 10.0.0.9:9424\nadmin_token: s3cret",
        "admin: 127.0.0.1:0\nlisten: 127.0.0.1:0",
        "admin: '[::1]:42425'",
        "session_timeout: 24h",
        "limits: {body: 256MiB}",
    ],
)
def test_keys_that_just_fit_together_are_right(text: str) -> None:
    """Every server may hold a copy, whatever its intent; strangers are let in with a token; ends are in."""
    assert problems(THREE_BACKENDS + text) == []


def test_an_admin_port_elsewhere_may_have_its_token_in_a_file(tmp_path: Path) -> None:
    """A file is as good as the value itself."""
    text = f"admin: 10.0.0.9:9424\nadmin_token_file: {token_file(tmp_path)}"

    assert problems(THREE_BACKENDS + text) == []


def token_file(directory: Path) -> Path:
    """A file that holds a good token."""
    file = directory / "token"
    file.write_text("f81c1d33a8fe1f4e\n")
    file.chmod(0o600)
    return file


@each_case("weight", ["1e308", "1.7e308"])
def test_weights_need_a_sum(weight: str) -> None:
    """A share of infinitely much is none: each weight is right by itself, and no server gets a session."""
    text = "backends:\n" + "".join(
        f"  - {{name: {name}, address: '{name}:1', weight: {weight}}}\n" for name in ("a", "b")
    )

    expected = "the sum of all weights is infinite; expected weights such as 1 and 2"
    assert ("backends", expected) == only_problem(text)


def test_a_server_s_admin_port_is_not_the_router_s() -> None:
    """The router does not ask itself for a listing of sessions."""
    text = "backends: [{name: a, address: 127.0.0.1:1, admin: 127.0.0.1:9424}]"

    expected = "'127.0.0.1:9424' is the router's admin address; expected a state server"
    assert ("backends[0].admin", expected) == only_problem(text)


# --- Unknown keys ----------------------------------------------------------------------------------

MISSPELT = [
    ("nam: x", "nam", "name"),
    ("LISTEN: 127.0.0.1:1", "LISTEN", "listen"),
    ("backend: []", "backend", "backends"),
    ("allow-clients: [10.0.0.0/8]", "allow-clients", "allow_clients"),
    ("health: {intervall: 2s}", "health.intervall", "interval"),
    ("timeouts: {client-idle: 1m}", "timeouts.client-idle", "client_idle"),
    ("limits: {per_backend_connection: 5}", "limits.per_backend_connection", "per_backend_connections"),
]


@each_case(("text", "path", "meant"), MISSPELT)
def test_a_misspelt_key_is_told_the_nearest(text: str, path: str, meant: str) -> None:
    """An unknown key is refused, and the nearest key of its level is suggested."""
    assert (path, f"unknown key; did you mean {meant!r}?") == only_problem(ONE_BACKEND + text)


def test_an_unknown_key_like_no_other_is_told_all() -> None:
    """Where no key is near, all keys of the level are listed."""
    expected = "unknown key; expected interval, timeout, fall, rise, max_down_share, hold_down"

    assert ("health.xyz", expected) == only_problem(ONE_BACKEND + "health: {xyz: 1}")


def test_the_nearest_key_is_spelt_as_in_the_file() -> None:
    """A key that has another name inside the program is suggested by its name in the file."""
    assert ("timeouts.copi", "unknown key; did you mean 'copy'?") == only_problem(
        ONE_BACKEND + "timeouts: {copi: 1s}"
    )


# --- The whole report ------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    """One run reports everything, with lines: values, unknown keys, and what concerns several keys."""
    text = """\
nam: x
timeouts: {exchange: 1s, idle: 5s}
backends:
  - {name: a, address: "10.0.0.1:1", weight: 0}
  - {name: a, address: "10.0.0.1:1"}
health:
  timeout: 5
  fall: 3
  fall: 4
copies: 3
"""

    expected = [
        ("nam", "unknown key; did you mean 'name'? (line 1)"),
        ("timeouts.exchange", "'1s' is too short; expected more than timeouts.connect, which is 1s (line 2)"),
        (
            "timeouts.idle",
            "unknown key; expected connect, exchange, copy, client_idle, backend_idle, shutdown (line 2)",
        ),
        ("backends[0].weight", "0 is out of range; expected a number greater than 0 (line 4)"),
        ("backends[1].name", "'a' is also the name of backends[0]; expected no two alike (line 5)"),
        (
            "backends[1].address",
            "'10.0.0.1:1' is also the address of backends[0]; expected no two alike (line 5)",
        ),
        ("health.timeout", "5 has no unit; expected a duration such as 250ms, 2s or 1h (line 7)"),
        ("health.fall", "written twice; the first time on line 8 (line 9)"),
        (
            "copies",
            "3 copies are more than the pool can hold; expected at most 2, for it has 2 servers (line 10)",
        ),
    ]
    assert expected == problems(text)


def test_what_is_missing_at_the_top_comes_last() -> None:
    """A missing pool is nowhere in the file: it is reported last, and without a line."""
    expected = ["log_format", "backends"]

    assert expected == [path for path, _ in problems("log_format: xml")]
    assert "line" not in problems("log_format: xml")[-1][1]


def test_an_odd_key_stays_on_one_line() -> None:
    """A problem is one line, whatever characters a key has in it."""
    path, _ = only_problem(f'{ONE_BACKEND}"a\\nb\\e[31m": 1')

    assert repr("a\nb\x1b[31m") == path


def test_a_long_value_is_cut() -> None:
    """A value that was pasted into the wrong place does not fill the screen."""
    _, message = only_problem(f"{ONE_BACKEND}hash_key: {'x' * 1000}")

    assert len(message) < 150
