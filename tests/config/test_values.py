"""Single values: what each key takes, and how everything else is explained (design.md 9.2)."""

import pytest

from tests.config.problems import ONE_BACKEND, RANGES, only_problem, problems
from tests.tables import each_case

OUTSIDE = [
    (path, f"{least} to {most}", wrong)
    for path, least, most, *outside in RANGES
    for wrong in outside
    if wrong is not None
]


def with_value(path: str, value: str) -> str:
    """A configuration in which one key has this value, and which is right otherwise."""
    section, _, key = path.partition(".")
    return f"{ONE_BACKEND}{section}: {{{key}: {value}}}" if key else f"{ONE_BACKEND}{path}: {value}"


@each_case(("path", "expected", "wrong"), OUTSIDE)
def test_what_is_out_of_range_is_refused(path: str, expected: str, wrong: str) -> None:
    """A value outside its range is refused; the message has the value and the range."""
    seen = wrong if wrong.isdecimal() else repr(wrong)

    found = problems(with_value(path, wrong))

    assert (path, f"{seen} is out of range; expected {expected} (line 2)") in found


@each_case(("path", "bound"), [(row[0], bound) for row in RANGES for bound in row[1:3]])
def test_the_ends_of_a_range_are_in_it(path: str, bound: str) -> None:
    """The least and the most that the messages name are allowed themselves."""
    found = problems(with_value(path, bound))

    # Not "no problem": an hour for connecting is within its range, and too long for the default exchange.
    assert not any("out of range" in message for _, message in found)


@each_case("value", ["9ms", "15s", "1m"])
def test_an_idle_backend_connection_is_retired_before_the_server_hangs_up(value: str) -> None:
    """`backend_idle` stays below the 15 s after which stock servers close a connection."""
    expected = "expected at least 10ms and less than 15s, when stock servers hang up"

    found = only_problem(with_value("timeouts.backend_idle", value))

    assert ("timeouts.backend_idle", f"{value!r} is out of range; {expected}") == found


@each_case("value", ["5", "0", "2.5"])
@each_case("path", ["health.interval", "health.hold_down", "timeouts.shutdown", "timeouts.backend_idle"])
def test_a_duration_without_a_unit_is_refused(path: str, value: str) -> None:
    """A bare number is no duration, not even 0: it does not tell what it is meant to be."""
    expected = f"{value} has no unit; expected a duration such as 250ms, 2s or 1h"

    assert (path, expected) == only_problem(with_value(path, value))


@pytest.mark.parametrize("value", ["64", "0"])
def test_a_size_without_a_unit_is_refused(value: str) -> None:
    """A bare number is no size."""
    expected = f"{value} has no unit; expected a size such as 512B, 64KiB or 2GiB"

    assert ("limits.body", expected) == only_problem(with_value("limits.body", value))


WRONG_VALUES = [
    # configuration beside one good backend, path, message
    (
        "health: {interval: 2sec}",
        "health.interval",
        "'2sec' has the unit 'sec'; expected one of us, ms, s, m",
    ),
    ("health: {interval: soon}", "health.interval", "'soon' is not a duration such as 250ms, 2s or 1h"),
    ("health: {interval: }", "health.interval", "an empty value is not a duration such as 250ms, 2s or 1h"),
    ("health: {interval: true}", "health.interval", "true is not a duration such as 250ms, 2s or 1h"),
    ("health: {fall: 3.0}", "health.fall", "3.0 is not a whole number; expected 1 to 100"),
    ("health: {fall: '3'}", "health.fall", "'3' is not a whole number; expected 1 to 100"),
    ("health: {fall: true}", "health.fall", "true is not a whole number; expected 1 to 100"),
    (
        "health: {max_down_share: 1.1}",
        "health.max_down_share",
        "1.1 is out of range; expected a share from 0 to 1",
    ),
    (
        "health: {max_down_share: -1}",
        "health.max_down_share",
        "-1 is out of range; expected a share from 0 to 1",
    ),
    ("health: {max_down_share: 50%}", "health.max_down_share", "'50%' is not a share from 0 to 1"),
    (
        "health: [fall, 3]",
        "health",
        "['fall', 3] is not a mapping; expected keys such as interval, timeout, fall",
    ),
    ("health:", "health", "an empty value is not a mapping; expected keys such as interval"),
    ("limits: {body: 64MiBs}", "limits.body", "'64MiBs' has the unit 'MiBs'; expected one of B, kB, MB"),
    ("name: 1", "name", "1 is not text; expected a name, in quotes if it looks like a number"),
    ("name: router 1", "name", "'router 1' is not a name; expected 1 to 64 letters, digits, '-', '_' or '.'"),
    ("name: ''", "name", "'' is not a name; expected 1 to 64 letters"),
    (f"name: {'x' * 65}", "name", f"'{'x' * 56}... is not a name; expected 1 to 64 letters"),
    ("name: zürich", "name", "'zürich' is not a name; expected 1 to 64 letters"),
    ("listen: 127.0.0.1", "listen", "'127.0.0.1' is not an address such as 10.0.0.11:42424 or [::1]:42424"),
    ("listen: []", "listen", "an empty list is nowhere to listen; expected at least one address"),
    ("listen: ['a:1', 'a:1']", "listen", "'a:1' is listened on twice; expected no two alike"),
    (
        "listen: ['0.0.0.0:1', '[::]:1']",
        "listen",
        "'0.0.0.0:1' is listened on twice; '[::]:1' takes IPv4 as well",
    ),
    ("listen: 42424", "listen", "42424 is not an address such as 10.0.0.11:42424 or [::1]:42424"),
    ("listen: '::1:42424'", "listen", "'::1:42424' is not an address such as 10.0.0.11:42424 or [::1]:42424"),
    ("listen: 'a:65536'", "listen", "'a:65536' has the port 65536; expected 0 to 65535"),
    ("listen: '10.0.0.256:1'", "listen", "'10.0.0.256:1' has the host '10.0.0.256', which is no IP address"),
    ("listen: '[::g]:1'", "listen", "'[::g]:1' has the host '::g', which is no IP address"),
    (
        "listen: tcpip=a:1",
        "listen",
        "'tcpip=a:1' has the host 'tcpip=a'; expected a host name or an IP address",
    ),
    ("admin: 9424", "admin", "9424 is not an address such as 10.0.0.11:42424 or [::1]:42424"),
    ("admin: none", "admin", "'none' is not an address such as 10.0.0.11:42424 or [::1]:42424"),
    ("state_dir: var/lib", "state_dir", "'var/lib' is not absolute; expected a path such as /var/lib"),
    ("state_dir: 5", "state_dir", "5 is not a path such as /var/lib/partitioner; or `none`"),
    ("copies: '2'", "copies", "'2' is not a whole number; expected 1 to 64"),
    ("copies:", "copies", "an empty value is not a whole number; expected 1 to 64"),
    ("lost_sessions: keep", "lost_sessions", "'keep' is not one of the choices; expected 'new' or 'close'"),
    ("hash_key: id", "hash_key", "'id' is not one of the choices; expected 'session-id' or 'target'"),
    ("fast_path: both", "fast_path", "'both' is not one of the choices; expected 'on' or 'off'"),
    ("log_format: text", "log_format", "'text' is not one of the choices; expected 'console' or 'json'"),
    (
        "log_level: debug",
        "log_level",
        "'debug' is not one of the choices; expected 'info', 'warning' or 'error'",
    ),
    ("log_format: [json]", "log_format", "['json'] is not one of the choices; expected 'console' or 'json'"),
    (
        "allow_clients: 10.0.0.0/8",
        "allow_clients",
        "'10.0.0.0/8' is not a list; expected one, each item after a",
    ),
    ("allow_clients: []", "allow_clients", "an empty list admits no client; expected at least one network"),
    ("allow_clients: [web-1]", "allow_clients[0]", "'web-1' is not a network such as 10.1.0.0/16 or ::1/128"),
    ("allow_clients: [10]", "allow_clients[0]", "10 is not a network such as 10.1.0.0/16 or ::1/128"),
    (
        "allow_clients: [10.0.0.0/33]",
        "allow_clients[0]",
        "'10.0.0.0/33' is not a network such as 10.1.0.0/16",
    ),
    (
        "allow_clients: [10.1.2.3/16]",
        "allow_clients[0]",
        "'10.1.2.3/16' is an address inside a network; expected '10.1.0.0/16'",
    ),
]


@each_case(("text", "path", "message"), WRONG_VALUES)
def test_a_wrong_value_is_explained(text: str, path: str, message: str) -> None:
    """A wrong value is reported with its path, what was seen, and what was expected, in plain words."""
    found_path, found_message = only_problem(ONE_BACKEND + text)

    assert path == found_path
    assert found_message.startswith(message)


@pytest.mark.parametrize("number", ["0", "65"])
def test_an_embedded_pool_has_1_to_64_servers(number: str) -> None:
    """More than 64 state servers in one process, or none, are refused."""
    expected = f"{number} is out of range; expected 1 to 64"

    assert ("embedded", expected) == only_problem(f"embedded: {number}")
