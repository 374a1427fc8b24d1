"""The backends of a configuration: what makes a pool, and what does not (design.md 9.2)."""

from partitioner.config import parse
from tests.config.problems import ONE_BACKEND, only_problem, problems
from tests.tables import each_case


@each_case("weight", ["0", "-1", "1e999"])
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


@each_case(("backend", "path", "message"), WRONG_BACKENDS)
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


@each_case(
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


@each_case("text", ["backends: []", "backends:", "backends: null"])
def test_an_empty_pool_is_refused(text: str) -> None:
    """A router without state servers is refused, not started with embedded ones."""
    expected = ("backends", "empty pool: expected at least one state server (line 1)")

    assert expected == problems(text)[0]


@each_case("text", ["name: router-1", "{}", "health: {fall: 2}"])
def test_a_file_without_a_pool_is_refused(text: str) -> None:
    """Only where there is no file at all the pool is embedded by default: a file has to name its pool."""
    expected = "empty pool: expected a list of state servers, or `embedded: 3` for in-process ones"

    assert ("backends", expected) == only_problem(text)


@each_case(("key", "meant"), [("backend", "backends"), ("Backends", "backends"), ("embeded", "embedded")])
def test_a_mistyped_pool_is_one_problem(key: str, meant: str) -> None:
    """That there is no pool follows from it, and is not said as well."""
    text = f"backend_token_file: /nowhere/token\n{key}: 3"
    about_pool = [each for each in problems(text) if each[0] != "backend_token_file"]

    assert [(key, f"unknown key; did you mean {meant!r}? (line 2)")] == about_pool


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
