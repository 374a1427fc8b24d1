"""The configuration: defaults, ranges, and how every mistake is reported (design.md 9.2)."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from partitioner.config import (
    BackendSettings,
    HealthSettings,
    Lanes,
    LimitSettings,
    LogFormat,
    Settings,
    TimeoutSettings,
    load,
    parse,
)
from partitioner.config.changes import APPLIED_AT_ONCE
from partitioner.errors import ConfigurationInvalid
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.losses import LostSessions
from partitioner.placement.session_id import HashKey

CONF = Path(__file__).parents[1] / "conf"
MANUAL = CONF / "partitioner.yml"

ONE_BACKEND = "backends: [{name: state-1, address: 10.0.0.11:42424}]\n"


def problems(text: str) -> list[tuple[str, str]]:
    """Path and message of everything that is wrong with a configuration, in the order of the report."""
    try:
        parse(text)
    except ConfigurationInvalid as invalid:
        return [(each.path, each.message) for each in invalid.problems]
    return []


def only_problem(text: str) -> tuple[str, str]:
    """Path and message, without its line, of the one thing that is wrong with a configuration."""
    ((path, message),) = problems(text)
    return path, re.sub(r" \(line [0-9]+\)$", "", message)


# --- What is right ---------------------------------------------------------------------------------


def test_no_file_means_the_defaults() -> None:
    """Without a file there are three embedded state servers, and everything else is at its default."""
    assert Settings(embedded=3) == load(None)


def test_the_defaults_are_those_of_the_design() -> None:
    """The defaults are the figures of design.md 9.2."""
    settings = parse(ONE_BACKEND)

    assert settings.name == "router-1"
    assert Address("127.0.0.1", 42424) == settings.listen
    assert settings.lost_sessions is LostSessions.NEW
    assert settings.hash_key is HashKey.SESSION_ID
    assert (ip_network("127.0.0.0/8"), ip_network("::1/128")) == settings.allow_clients
    assert settings.log_format is LogFormat.CONSOLE
    assert settings.lanes is Lanes.AWAIT
    assert settings.embedded is None
    assert (Address("127.0.0.1", 9424), None) == (settings.admin, settings.admin_token)
    assert (3600.0, 86_400.0) == (settings.session_timeout, settings.session_timeout_max)
    assert settings.state_dir is None
    expected_timeouts = {
        "connect": 1.0,
        "exchange": 8.0,
        "copy": 0.25,
        "client_idle": 60.0,
        "backend_idle": 10.0,
        "shutdown": 30.0,
    }
    assert expected_timeouts == settings.timeouts.model_dump(by_alias=True)
    expected_limits = {
        "connections": 10_000,
        "body": 64 * 2**20,
        "body_memory": 256 * 2**20,
        "per_backend_connections": 256,
        "ledger": 1_000_000,
    }
    assert expected_limits == settings.limits.model_dump()


def test_the_default_health_policy_is_that_of_the_health_machine() -> None:
    """Settings and health machine agree on their defaults, key by key."""
    assert HealthPolicy() == HealthSettings().policy()


def test_every_health_setting_reaches_the_policy() -> None:
    """No key of `health` is lost, or taken for another, on the way to the health machine."""
    text = "health: {interval: 3s, timeout: 4s, fall: 5, rise: 6, max_down_share: 0.7, hold_down: 8s}"
    settings = parse(ONE_BACKEND + text)

    expected = HealthPolicy(interval=3, timeout=4, fall=5, rise=6, max_down_share=0.7, hold_down=8)
    assert expected == settings.health.policy()


def test_every_key_is_read() -> None:
    """Every key of the file ends up in the setting of its name, in seconds and bytes."""
    text = """
        name: edge_2.example
        listen: "[::]:4242"
        admin: 10.0.0.1:4243
        admin_token: aGVsbG8=
        copies: 1
        session_timeout: 30m
        session_timeout_max: 2d
        state_dir: /var/lib/partitioner
        lost_sessions: close
        hash_key: target
        allow_clients: [10.1.0.0/16, 10.2.0.7, "fd00::/8"]
        log_format: json
        lanes: both
        backends:
          - {name: a, address: state-a.example:42424, weight: 2.5, intent: maint}
          - {name: b, address: "[fd00::1]:42424", intent: drain, admin: "[fd00::1]:9425"}
          - {name: c, address: "[fd00::2]:42424", admin: none}
        timeouts:
          {connect: 250ms, exchange: 1m, copy: 2s, client_idle: 2m, backend_idle: 14.9s, shutdown: 1h}
        limits: {connections: 5, body: 1MiB, body_memory: 2MiB, per_backend_connections: 6, ledger: 7}
    """

    expected = Settings.model_construct(
        name="edge_2.example",
        listen=Address("::", 4242),
        admin=Address("10.0.0.1", 4243),
        admin_token="aGVsbG8=",
        copies=1,
        session_timeout=1800.0,
        session_timeout_max=172_800.0,
        state_dir=Path("/var/lib/partitioner"),
        lost_sessions=LostSessions.CLOSE,
        hash_key=HashKey.TARGET,
        allow_clients=(ip_network("10.1.0.0/16"), ip_network("10.2.0.7/32"), ip_network("fd00::/8")),
        log_format=LogFormat.JSON,
        lanes=Lanes.BOTH,
        backends=(
            BackendSettings(
                name="a", address=Address("state-a.example", 42424), weight=2.5, intent=Intent.MAINT
            ),
            BackendSettings(
                name="b",
                address=Address("fd00::1", 42424),
                intent=Intent.DRAIN,
                admin=Address("fd00::1", 9425),
            ),
            BackendSettings(name="c", address=Address("fd00::2", 42424)),
        ),
        timeouts=TimeoutSettings.model_construct(
            connect=0.25, exchange=60.0, copying=2.0, client_idle=120.0, backend_idle=14.9, shutdown=3600.0
        ),
        limits=LimitSettings.model_construct(
            connections=5, body=2**20, body_memory=2**21, per_backend_connections=6, ledger=7
        ),
    )
    assert expected == parse(text)


def test_the_listed_backends_become_those_of_the_pool() -> None:
    """The pool has the backends of the file, in its order, with all that the file says of them."""
    settings = parse("""
        backends:
          - {name: b, address: 10.0.0.12:42424}
          - {name: a, address: 10.0.0.11:42424, weight: 2, intent: drain, admin: 10.0.0.11:9425}
    """)

    expected = (
        Backend("b", Address("10.0.0.12", 42424), 1.0, Intent.READY),
        Backend("a", Address("10.0.0.11", 42424), 2.0, Intent.DRAIN, Address("10.0.0.11", 9425)),
    )
    assert expected == settings.pool_backends()


@pytest.mark.parametrize("intent", ["maint", "drain"])
def test_a_server_that_does_not_serve_keeps_its_place(intent: str) -> None:
    """Intent only filters the preference list: such a server is ranked, but gets no share."""
    settings = parse(f"""
        backends:
          - {{name: a, address: 10.0.0.11:42424, weight: 2, intent: {intent}}}
          - {{name: b, address: 10.0.0.12:42424}}
    """)

    expected = {"a": 2.0, "b": 1.0}
    expected_ready = {"b": 1.0}
    assert expected == settings.weights() == settings.ranking().weights
    assert expected_ready == settings.ready_weights()


def test_an_embedded_pool_is_ranked_by_its_names() -> None:
    """Embedded state servers are called state-1 and up, weigh 1 each, and are all ready; none is listed."""
    settings = parse("embedded: 2")

    expected = {"state-1": 1.0, "state-2": 1.0}
    assert tuple(expected) == settings.embedded_names()
    assert expected == settings.weights() == settings.ready_weights() == settings.ranking().weights
    assert settings.pool_backends() == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE_BACKEND, 1),
        ("backends: [{name: a, address: 'a:1'}, {name: b, address: 'b:1'}]", 2),
        ("embedded: 5", 2),
        ("embedded: 5\ncopies: 4", 4),
        ("copies: 1\nembedded: 5", 1),
    ],
)
def test_two_copies_unless_there_is_one_server(text: str, expected: int) -> None:
    """Left out, `copies` is 2, or 1 in a pool of one; what is written counts."""
    assert expected == parse(text).copies_kept()


def test_a_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` stands for what the variable holds, in this one key."""
    monkeypatch.setenv("ROUTER_TOKEN", "s3cret")

    assert parse(ONE_BACKEND + "admin_token: ${ROUTER_TOKEN}").admin_token == "s3cret"
    assert only_problem(ONE_BACKEND + "name: ${ROUTER_TOKEN}")[0] == "name"


def test_a_token_is_not_shown() -> None:
    """Settings that are printed, in a log or a traceback, keep the password to themselves."""
    assert "s3cret" not in repr(parse(ONE_BACKEND + "admin_token: s3cret"))


@pytest.mark.parametrize(
    ("written", "held", "message"),
    [
        (
            "${PARTITIONER_TOKEN}",
            None,
            "${PARTITIONER_TOKEN} is not set in the environment; expected a variable that holds the token",
        ),
        (
            "${PARTITIONER_TOKEN}",
            "",
            "what ${PARTITIONER_TOKEN} holds in the environment is not a token; "
            "expected 1 to 256 letters, digits and any of -._~+/=",
        ),
        (
            "x${PARTITIONER_TOKEN}",
            "s3cret",
            "holds a '$'; expected the whole value to be ${NAME}, with nothing around it",
        ),
        (
            "$PARTITIONER_TOKEN",
            "s3cret",
            "holds a '$'; expected the whole value to be ${NAME}, with nothing around it",
        ),
        ("two words", None, "not a token; expected 1 to 256 letters, digits and any of -._~+/="),
        ("12345", None, "not text; expected a token in quotes, or ${NAME} of an environment variable"),
        ("", None, "not text; expected a token in quotes, or ${NAME} of an environment variable"),
    ],
)
def test_a_wrong_token_is_explained_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, written: str, held: str | None, message: str
) -> None:
    """What is wrong is said, and which variable was meant; what may be a password is not repeated."""
    monkeypatch.delenv("PARTITIONER_TOKEN", raising=False)
    if held is not None:
        monkeypatch.setenv("PARTITIONER_TOKEN", held)

    assert ("admin_token", message) == only_problem(f"{ONE_BACKEND}admin_token: {written}")


def test_settings_are_frozen() -> None:
    """Settings are values: nobody changes them for the others."""
    settings = load(None)

    with pytest.raises(ValueError, match="frozen"):
        settings.name = "other"


@pytest.mark.parametrize("text", ["no", "on", "yes", "0x1F", "1_000"])
def test_a_word_is_a_word(text: str) -> None:
    """What YAML 1.1 takes for a truth value or an odd number is text here."""
    assert text == parse(f"name: {text}\n{ONE_BACKEND}").name


# --- Single values ---------------------------------------------------------------------------------

RANGES = [
    # path, least, most, what is too little, what is too much
    ("health.interval", "10ms", "1h", "9ms", "3601s"),
    ("health.timeout", "10ms", "1h", "9ms", "3601s"),
    ("health.fall", "1", "100", "0", "101"),
    ("health.rise", "1", "100", "0", "101"),
    ("health.hold_down", "0s", "5m", None, "301s"),
    ("timeouts.connect", "10ms", "1h", "9ms", "3601s"),
    ("timeouts.exchange", "1s", "1h", "999ms", "3601s"),
    ("timeouts.copy", "10ms", "1h", "9ms", "3601s"),
    ("timeouts.client_idle", "20s", "24h", "19999ms", "86401s"),
    ("timeouts.shutdown", "10ms", "1h", "9ms", "3601s"),
    ("limits.connections", "1", "1000000", "0", "1000001"),
    ("limits.body", "1B", "1GiB", "0B", "1073741825B"),
    ("limits.body_memory", "1MiB", "1TiB", "1023KiB", "1025GiB"),
    ("limits.per_backend_connections", "1", "65535", "0", "65536"),
    ("limits.ledger", "1", "100000000", "0", "100000001"),
    ("copies", "1", "64", "0", "65"),
    ("session_timeout", "1s", "366d", "999ms", "367d"),
    ("session_timeout_max", "1s", "366d", "999ms", "367d"),
]
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


@pytest.mark.parametrize(("path", "expected", "wrong"), OUTSIDE)
def test_what_is_out_of_range_is_refused(path: str, expected: str, wrong: str) -> None:
    """A value outside its range is refused; the message has the value and the range."""
    seen = wrong if wrong.isdecimal() else repr(wrong)

    found = problems(with_value(path, wrong))

    assert (path, f"{seen} is out of range; expected {expected} (line 2)") in found


@pytest.mark.parametrize(("path", "bound"), [(row[0], bound) for row in RANGES for bound in row[1:3]])
def test_the_ends_of_a_range_are_in_it(path: str, bound: str) -> None:
    """The least and the most that the messages name are allowed themselves."""
    found = problems(with_value(path, bound))

    # Not "no problem": an hour for connecting is within its range, and too long for the default exchange.
    assert not any("out of range" in message for _, message in found)


@pytest.mark.parametrize("value", ["9ms", "15s", "1m"])
def test_an_idle_backend_connection_is_retired_before_the_server_hangs_up(value: str) -> None:
    """`backend_idle` stays below the 15 s after which stock servers close a connection."""
    expected = "expected at least 10ms and less than 15s, when stock servers hang up"

    found = only_problem(with_value("timeouts.backend_idle", value))

    assert ("timeouts.backend_idle", f"{value!r} is out of range; {expected}") == found


@pytest.mark.parametrize("value", ["5", "0", "2.5"])
@pytest.mark.parametrize(
    "path", ["health.interval", "health.hold_down", "timeouts.shutdown", "timeouts.backend_idle"]
)
def test_a_duration_without_a_unit_is_refused(path: str, value: str) -> None:
    """A bare number is no duration, not even 0: nobody can tell what it is meant to be."""
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
    ("lanes: express", "lanes", "'express' is not one of the choices; expected 'both' or 'await'"),
    ("log_format: text", "log_format", "'text' is not one of the choices; expected 'console' or 'json'"),
    ("log_format: [json]", "log_format", "['json'] is not one of the choices; expected 'console' or 'json'"),
    (
        "allow_clients: 10.0.0.0/8",
        "allow_clients",
        "'10.0.0.0/8' is not a list; expected one, each item after a",
    ),
    ("allow_clients: []", "allow_clients", "an empty list lets nobody in; expected at least one network"),
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


@pytest.mark.parametrize(("text", "path", "message"), WRONG_VALUES)
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


# --- Backends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["0", "-1", "1e999"])
def test_a_weight_is_positive_and_finite(weight: str) -> None:
    """A weight of 0 or less, or without end, is refused: intent is what takes a server out of service."""
    text = f"backends: [{{name: a, address: 'a:1'}}, {{name: b, address: 'b:1', weight: {weight}}}]"

    path, message = only_problem(text)

    assert path == "backends[1].weight"
    assert message.endswith(" is out of range; expected a number greater than 0")


WRONG_BACKENDS = [
    # what stands in the place of the second backend, path, message
    ("5", "backends[1]", "5 is not a mapping; expected keys such as name, address, weight, intent, admin"),
    (
        "",
        "backends[1]",
        "an empty value is not a mapping; expected keys such as name, address, weight, intent, admin",
    ),
    ("{name: b}", "backends[1].address", "missing; a backend needs a name and an address"),
    ("{address: 'b:1'}", "backends[1].name", "missing; a backend needs a name and an address"),
    (
        "{name: b, address: 'b:0'}",
        "backends[1].address",
        "'b:0' has the port 0; expected the port of a state server, 1 to 65535",
    ),
    (
        "{name: b, address: 'b:1', weight: heavy}",
        "backends[1].weight",
        "'heavy' is not a number greater than 0",
    ),
    ("{name: b, address: 'b:1', weight: true}", "backends[1].weight", "true is not a number greater than 0"),
    (
        "{name: b, address: 'b:1', intent: up}",
        "backends[1].intent",
        "'up' is not one of the choices; expected 'ready', 'drain' or 'maint'",
    ),
    (
        "{name: b, address: 'b:1', admin: 'b:0'}",
        "backends[1].admin",
        "'b:0' has the port 0; expected the port of a state server, 1 to 65535",
    ),
    (
        "{name: b, address: 'b:1', admin: }",
        "backends[1].admin",
        "an empty value is not an address such as 10.0.0.11:42424 or [::1]:42424",
    ),
    (
        "{name: b, address: 'b:1', admin: 'b:1'}",
        "backends[1].admin",
        "'b:1' is where backends[1] serves sessions; expected its admin port",
    ),
    (
        "{name: b, address: 'b:1', admin: 'a:1'}",
        "backends[1].admin",
        "'a:1' is where backends[0] serves sessions; expected its admin port",
    ),
    ("{name: b, address: 'b:1', wieght: 2}", "backends[1].wieght", "unknown key; did you mean 'weight'?"),
]


@pytest.mark.parametrize(("backend", "path", "message"), WRONG_BACKENDS)
def test_a_wrong_backend_is_explained(backend: str, path: str, message: str) -> None:
    """What is wrong with a backend is reported with its position in the list, from 0."""
    found = only_problem(f"backends:\n  - {{name: a, address: 'a:1'}}\n  - {backend}")

    assert (path, message) == found


def test_no_two_backends_have_one_name() -> None:
    """A name that is used again is refused where it is used again, and the first place is named."""
    text = """
        backends:
          - {name: a, address: 10.0.0.1:42424}
          - {name: b, address: 10.0.0.2:42424}
          - {name: a, address: 10.0.0.3:42424}
          - {name: a, address: 10.0.0.4:42424}
    """

    expected = [
        ("backends[2].name", "'a' is also the name of backends[0]; expected no two alike (line 5)"),
        ("backends[3].name", "'a' is also the name of backends[0]; expected no two alike (line 6)"),
    ]
    assert expected == problems(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [("10.0.0.1:1", "10.0.0.1:1"), ("[::1]:1", "[0:0::1]:1"), ("host-a:1", "HOST-A:1")],
)
def test_no_two_backends_have_one_address(first: str, second: str) -> None:
    """An address that is used again is refused in whatever spelling, and the first place is named."""
    text = f"backends: [{{name: a, address: '{first}'}}, {{name: b, address: '{second}'}}]"

    expected = f"{second!r} is also the address of backends[0]; expected no two alike"
    assert ("backends[1].address", expected) == only_problem(text)


def test_no_two_backends_have_one_admin_address() -> None:
    """Two state servers are two programs, and list their sessions at two addresses."""
    text = "backends: [{name: a, address: 'a:1', admin: 'a:3'}, {name: b, address: 'a:2', admin: 'a:3'}]"

    expected = "'a:3' is also the admin of backends[0]; expected no two alike"
    assert ("backends[1].admin", expected) == only_problem(text)


def test_one_host_may_have_several_backends() -> None:
    """Two ports of one machine are two backends."""
    settings = parse("backends: [{name: a, address: '10.0.0.1:1'}, {name: b, address: '10.0.0.1:2'}]")

    assert len(settings.pool_backends()) == 2


@pytest.mark.parametrize("text", ["backends: []", "backends:", "backends: null"])
def test_an_empty_pool_is_refused(text: str) -> None:
    """A router without state servers is refused, not started with embedded ones."""
    expected = ("backends", "empty pool: expected at least one state server (line 1)")

    assert expected == problems(text)[0]


@pytest.mark.parametrize("text", ["name: router-1", "{}", "health: {fall: 2}"])
def test_a_file_without_a_pool_is_refused(text: str) -> None:
    """Only where there is no file at all the pool is embedded by default: a file has to name its pool."""
    expected = "empty pool: expected a list of state servers, or `embedded: 3` for in-process ones"

    assert ("backends", expected) == only_problem(text)


def test_backends_and_embedded_exclude_each_other() -> None:
    """A pool is listed or embedded; a file with both is refused."""
    expected = "backends are listed as well; expected either `backends` or `embedded`"

    assert ("embedded", expected) == only_problem(ONE_BACKEND + "embedded: 3")


def test_somebody_has_to_be_ready() -> None:
    """A pool of which all servers are in maintenance, or being drained, is refused."""
    text = """
        backends:
          - {name: a, address: 10.0.0.1:42424, intent: maint}
          - {name: b, address: 10.0.0.2:42424, intent: drain}
    """

    expected = "no backend is ready: the intent of each is 'maint' or 'drain'; expected at least one 'ready'"
    assert ("backends", expected) == only_problem(text)


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


@pytest.mark.parametrize(("timeouts", "expected"), CONNECT_AND_EXCHANGE)
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
        "listen: '[::]:42426'",
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
    (
        "limits: {body: 512MiB}",
        "limits.body",
        "'512MiB' is too large; expected limits.body_memory, which is 256MiB, or less",
    ),
    (
        "limits: {body_memory: 32MiB}",
        "limits.body_memory",
        "'32MiB' is too small; expected limits.body, which is 64MiB, or more",
    ),
]


@pytest.mark.parametrize(("text", "path", "message"), SEVERAL_KEYS)
def test_keys_that_contradict_each_other_are_explained(text: str, path: str, message: str) -> None:
    """Where two keys do not fit together, the one that was written is to blame, and both values are said."""
    assert (path, message) == only_problem(THREE_BACKENDS + text)


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(("text", "path", "meant"), MISSPELT)
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


# --- Files -----------------------------------------------------------------------------------------

NO_CONFIGURATIONS = [
    ("", "the file is empty; expected at least a list of backends"),
    ("# nothing yet\n", "the file is empty; expected at least a list of backends"),
    ("- a\n- b", "the file is a list; expected keys and values"),
    ("hello", "the file is a single value; expected keys and values"),
    ("a: b: c", "not YAML: mapping values are not allowed here (line 1, column 5)"),
    (
        "name: x\n\tlisten: y",
        "not YAML: while scanning for the next token, found character '\\t' that cannot start any token"
        " (line 2, column 1)",
    ),
    ("name: x\nlisten: \x01", "not YAML: the character '\\x01' (line 2, column 9)"),
    (
        "a: 1\n---\nb: 1",
        "not YAML: expected a single document in the stream, but found another document (line 2, column 1)",
    ),
    ("[" * 5000, "not a configuration: nested hundreds of levels deep"),
    (
        "name: x\n{{ listen }}: y",
        "a key that is itself a list or a mapping; expected plain text (line 2, column 1)",
    ),
    ("? [a]\n: b", "a key that is itself a list or a mapping; expected plain text (line 1, column 3)"),
]


@pytest.mark.parametrize(("text", "message"), NO_CONFIGURATIONS)
def test_what_is_no_configuration_is_said_in_a_sentence(text: str, message: str) -> None:
    """A file that cannot be read as keys and values has one problem, with the place where reading stopped."""
    assert [("", message)] == problems(text)


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            "name: &n a\nlisten: *n",
            "listen",
            "an alias (`*name`) is not supported; expected the value itself",
        ),
        ("&top {health: *top}", "health", "an alias (`*name`) is not supported; expected the value itself"),
        ("name: !!int 7", "name", "the tag 'tag:yaml.org,2002:int' is not supported"),
        (
            "name: !env X",
            "name",
            "the tag '!env' is not supported; expected a plain value (line 1, column 7)",
        ),
        ("!x {name: a}", "", "the tag '!x' is not supported; expected a plain value"),
    ],
)
def test_the_clever_parts_of_yaml_are_refused(text: str, path: str, message: str) -> None:
    """Aliases and tags are refused, because a file with them need not mean what it shows."""
    ((found_path, found_message),) = problems(text)

    assert path == found_path
    assert found_message.startswith(message)


def test_a_key_that_is_written_twice_is_refused() -> None:
    """Of two equal keys none is silently preferred, on any level; the first one's line is named."""
    text = "embedded: 3\nhealth: {fall: 3}\nembedded: 2\nhealth:\n  fall: 1\n"

    expected = [
        ("embedded", "written twice; the first time on line 1 (line 3)"),
        ("health", "written twice; the first time on line 2 (line 4)"),
    ]
    assert expected == problems(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    """A file is UTF-8, with or without the mark that Windows editors put in front."""
    file = tmp_path / "partitioner.yml"
    file.write_bytes(b"\xef\xbb\xbfname: night  # Z\xc3\xbcrich\r\nembedded: 1\r\n")

    assert Settings(name="night", embedded=1) == load(file)


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    """A file that is not there is not taken for one that says nothing."""
    file = tmp_path / "nowhere.yml"

    with pytest.raises(ConfigurationInvalid, match=re.escape(f"there is no file {str(file)!r}")):
        load(file)


def test_an_unreadable_file_is_one_problem(tmp_path: Path) -> None:
    """The reason of the operating system is passed on."""
    with pytest.raises(ConfigurationInvalid, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_in_another_encoding_is_one_problem(tmp_path: Path) -> None:
    """What is not UTF-8 is refused, with the first offending byte, rather than guessed at."""
    file = tmp_path / "partitioner.yml"
    file.write_bytes("name: zürich".encode("latin-1"))

    with pytest.raises(ConfigurationInvalid, match="not UTF-8: the byte 0xfc at offset 7"):
        load(file)


# --- The manual ------------------------------------------------------------------------------------


def test_the_manual_shows_the_defaults() -> None:
    """conf/partitioner.yml changes nothing but the list of backends."""
    examples = tuple(
        BackendSettings(name=f"state-{number}", address=Address(f"10.0.0.1{number}", 42424))
        for number in (1, 2, 3)
    )

    assert Settings(backends=examples) == load(MANUAL)


def test_the_manual_shows_every_key() -> None:
    """conf/partitioner.yml has every key on every level; as comments those that are left out by default."""
    text = MANUAL.read_text(encoding="utf-8")
    shown = yaml.safe_load(text)
    in_comments = set(re.findall(r"^# ([a-z_]+): ", text, re.MULTILINE))

    assert in_comments == {"embedded", "copies", "admin_token"}
    assert Settings.model_fields.keys() - in_comments == shown.keys()
    assert HealthSettings.model_fields.keys() == shown["health"].keys()
    timeouts = {field.alias or name for name, field in TimeoutSettings.model_fields.items()}
    assert timeouts == shown["timeouts"].keys()
    assert LimitSettings.model_fields.keys() == shown["limits"].keys()
    assert all(BackendSettings.model_fields.keys() == backend.keys() for backend in shown["backends"])


def comment_above(path: str) -> str:
    """The comment that explains a key in the manual."""
    section, _, key = path.rpartition(".")
    manual = MANUAL.read_text(encoding="utf-8")
    below_section = manual.partition(f"\n{section}:\n")[2] if section else manual
    above_key = re.split(rf"\n *(?:# )?{key}:", below_section, maxsplit=1)[0]
    return above_key.rpartition("\n\n")[2]


@pytest.mark.parametrize(("path", "least", "most"), [row[:3] for row in RANGES])
def test_the_manual_names_the_range_of_every_key(path: str, least: str, most: str) -> None:
    """The comment above a key in conf/partitioner.yml names the range that is enforced."""
    comment = comment_above(path)

    assert f"Range: {least} to {most}" in comment


def test_the_manual_says_what_can_be_reloaded() -> None:
    """The keys with a line "Reload" are those that a running router takes a new value of, and no others."""
    keys = Settings.model_fields.keys() - {"health", "timeouts", "limits"}

    assert {key for key in keys if "\n#   Reload: " in comment_above(key)} == APPLIED_AT_ONCE


@pytest.mark.parametrize("name", ["three-servers.yml", "weighted.yml"])
def test_the_examples_are_right(name: str) -> None:
    """Every example can be used as it stands."""
    assert len(load(CONF / "examples" / name).pool_backends()) == 3
