"""A configuration that is right: the defaults, and what every key becomes (design.md 9.2)."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from partitioner.config import (
    BackendSettings,
    DefaultStateDir,
    HealthSettings,
    LimitSettings,
    LogFormat,
    Settings,
    Switch,
    TimeoutSettings,
    load,
    parse,
)
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.losses import LostSessions
from partitioner.placement.session_id import HashKey
from tests.config.problems import ONE_BACKEND, only_problem
from tests.tables import each_case


def test_no_file_means_the_defaults() -> None:
    """Without a file there are three embedded state servers, and everything else is at its default."""
    assert Settings(embedded=3) == load(None)


def test_the_defaults_are_those_of_the_design() -> None:
    """The defaults are the figures of design.md 9.2."""
    settings = parse(ONE_BACKEND)

    assert settings.name == "router-1"
    assert (Address("127.0.0.1", 42424),) == settings.listen
    assert settings.lost_sessions is LostSessions.NEW
    assert settings.hash_key is HashKey.SESSION_ID
    assert (ip_network("127.0.0.0/8"), ip_network("::1/128")) == settings.allow_clients
    assert settings.admin_allow == settings.allow_clients
    assert settings.log_format is LogFormat.CONSOLE
    assert settings.fast_path is Switch.ON
    assert settings.embedded is None
    assert (Address("127.0.0.1", 9424), None) == (settings.admin, settings.admin_token)
    assert (3600.0, 86_400.0) == (settings.session_timeout, settings.session_timeout_max)
    assert settings.state_dir is DefaultStateDir.BY_ENVIRONMENT
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
        "per_client": 1000,
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
        listen: ["[::]:4242", "127.0.0.1:4243"]
        admin: 10.0.0.1:4243
        admin_token: aGVsbG8=
        copies: 1
        session_timeout: 30m
        session_timeout_max: 2d
        state_dir: /var/lib/partitioner
        lost_sessions: close
        hash_key: target
        admin_allow: [10.3.0.0/16]
        allow_clients: [10.1.0.0/16, 10.2.0.7, "fd00::/8"]
        log_format: json
        fast_path: off
        backends:
          - {name: a, address: state-a.example:42424, weight: 2.5, intent: maint}
          - {name: b, address: "[fd00::1]:42424", intent: drain, admin: "[fd00::1]:9425"}
          - {name: c, address: "[fd00::2]:42424", admin: none}
        timeouts:
          {connect: 250ms, exchange: 1m, copy: 2s, client_idle: 2m, backend_idle: 14.9s, shutdown: 1h}
        limits: {connections: 5, per_client: 4, body: 1MiB, body_memory: 2MiB,
          per_backend_connections: 6, ledger: 7}
    """

    expected = Settings.model_construct(
        name="edge_2.example",
        listen=(Address("::", 4242), Address("127.0.0.1", 4243)),
        admin=Address("10.0.0.1", 4243),
        admin_token="aGVsbG8=",
        copies=1,
        session_timeout=1800.0,
        session_timeout_max=172_800.0,
        state_dir=Path("/var/lib/partitioner"),
        lost_sessions=LostSessions.CLOSE,
        hash_key=HashKey.TARGET,
        admin_allow=(ip_network("10.3.0.0/16"),),
        allow_clients=(ip_network("10.1.0.0/16"), ip_network("10.2.0.7/32"), ip_network("fd00::/8")),
        log_format=LogFormat.JSON,
        fast_path=Switch.OFF,
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
            connections=5, per_client=4, body=2**20, body_memory=2**21, per_backend_connections=6, ledger=7
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


@each_case(
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


@each_case(
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
    """Settings are values: no holder changes them for the others."""
    settings = load(None)

    with pytest.raises(ValueError, match="frozen"):
        settings.name = "other"


@each_case("text", ["no", "on", "yes", "0x1F", "1_000"])
def test_a_word_is_a_word(text: str) -> None:
    """What YAML 1.1 takes for a truth value or an odd number is text here."""
    assert text == parse(f"name: {text}\n{ONE_BACKEND}").name
