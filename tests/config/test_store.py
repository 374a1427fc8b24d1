"""The key `store`: an engine in place of state servers."""

import pytest

from partitioner.config import Settings, parse
from partitioner.membership.losses import LostSessions
from partitioner.store.policy import Acknowledge, Credentials, SentinelGroup, Tls
from tests.config.problems import only_problem, problems
from tests.tables import each_case

PRIMARY = "store: {primary: 10.0.0.21:6379"

WRONG = [
    ("store: {}\n", "store", "no engine: expected one of `primary`, `sentinel` and `cluster`"),
    (
        PRIMARY + ", cluster: [10.0.0.22:6379]}\n",
        "store.cluster",
        "`primary` is given as well; expected exactly one of the two",
    ),
    ("store: {cluster: []}\n", "store.cluster", "no engine: expected at least one address"),
    (
        "store: {cluster: [10.0.0.21:6379], database: 1}\n",
        "store.database",
        "a Cluster has the database 0 alone; expected 0",
    ),
    (PRIMARY + ", pasword: x}\n", "store.pasword", "unknown key; did you mean 'password'?"),
    (
        PRIMARY + ", password: '${NOT_SET}'}\n",
        "store.password",
        "${NOT_SET} is not set in the environment; expected a variable with the password",
    ),
    (
        "store: {sentinel: {name: sessions}}\n",
        "store.sentinel.addresses",
        "missing; Sentinels need the primary's name and their addresses",
    ),
    (
        "store: {sentinel: {name: sessions, addresses: []}}\n",
        "store.sentinel.addresses",
        "an empty list names no Sentinel; expected at least one address",
    ),
    (
        PRIMARY + ", prefix: 'a{b}'}\n",
        "store.prefix",
        "'a{b}' is not a prefix; expected 1 to 64 letters, digits and any of -._:",
    ),
    (
        PRIMARY + ", acknowledge: all}\n",
        "store.acknowledge",
        "'all' is not one of the choices; expected 'replicas' or 'primary'",
    ),
    (
        "store: {primary: 10.0.0.21:0}\n",
        "store.primary",
        "'10.0.0.21:0' has the port 0; expected the port of an engine, 1 to 65535",
    ),
    (
        PRIMARY + ", tls: {certificat: x}}\n",
        "store.tls.certificat",
        "unknown key; did you mean 'certificate'?",
    ),
    (PRIMARY + "}\nworkers: 0\n", "workers", "0 is out of range; expected 1 to 64"),
    ("embedded: 2\nworkers: 2\n", "workers", "goes with a `store` alone; expected no such key"),
    (PRIMARY + ", connections: 0}\n", "store.connections", "0 is out of range; expected 1 to 16"),
    (
        PRIMARY + "}\nbackends: [{name: state-1, address: 10.0.0.11:42424}]\n",
        "backends",
        "a `store` is configured as well; expected either `backends` or `store`",
    ),
]


@each_case(("text", "path", "message"), WRONG)
def test_what_is_wrong_is_said(text: str, path: str, message: str) -> None:
    """Each mistake is one sentence with its path."""
    assert only_problem(text) == (path, message)


def test_a_store_alone_is_enough() -> None:
    """An engine's address is all that has to be written."""
    assert problems(PRIMARY + "}\n") == []


def test_a_password_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is written nor what the environment holds."""
    monkeypatch.setenv("STORE_PASSWORD", "secret-1")
    settings = parse(
        "store:\n  sentinel: {name: s, addresses: [10.0.0.1:26379], password: secret-2}\n"
        "  password: ${STORE_PASSWORD}\n"
    )
    policy = settings.store_policy()

    assert policy is not None
    assert policy.credentials == Credentials("", "secret-1")
    assert policy.sentinel is not None
    assert policy.sentinel.credentials.password == "secret-2"
    assert "secret" not in repr(settings) + repr(policy)


def test_defaults_differ_with_a_store() -> None:
    """Lost sessions are refused, and bodies are smaller, unless the file says otherwise."""
    usual = parse(PRIMARY + "}\n")
    written = parse(PRIMARY + "}\nlost_sessions: new\nlimits: {body: 64MiB}\n")

    assert [_loses(usual), usual.largest_body()] == [LostSessions.CLOSE, 16 * 2**20]
    assert [_loses(written), written.largest_body()] == [LostSessions.NEW, 64 * 2**20]


def test_everything_that_is_written_arrives() -> None:
    settings = parse(
        "store:\n  sentinel: {name: s, addresses: ['10.0.0.1:26379', '10.0.0.2:26379'], user: watcher}\n"
        "  tls: {ca: /etc/ca.pem}\n  acknowledge: primary\n  prefix: 'farm:'\n"
    )
    policy = settings.store_policy()

    assert policy is not None
    assert isinstance(policy.sentinel, SentinelGroup)
    assert [str(each) for each in policy.sentinel.addresses] == ["10.0.0.1:26379", "10.0.0.2:26379"]
    assert [policy.tls, policy.acknowledge, policy.prefix] == [
        Tls("/etc/ca.pem"),
        Acknowledge.PRIMARY,
        b"farm:",
    ]


def _loses(settings: Settings) -> LostSessions:
    policy = settings.store_policy()
    assert policy is not None
    return policy.lost_sessions
