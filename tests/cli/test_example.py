"""`partitioner example`: the reference configuration and the other examples, as the repository has them."""

from pathlib import Path

from click.testing import CliRunner

from partitioner.cli import main
from partitioner.cli.actions.example import EXAMPLES
from tests.tables import each_case

ROOT = Path(__file__).parents[2]


def test_without_a_name_it_prints_the_reference_configuration() -> None:
    """`partitioner example > partitioner.yml` begins a configuration."""
    printed = CliRunner().invoke(main, ["example"])

    assert (0, (ROOT / "conf" / "partitioner.yml").read_bytes()) == (printed.exit_code, printed.stdout_bytes)


@each_case("name", list(EXAMPLES))
def test_every_example_is_printed_byte_for_byte(name: str) -> None:
    """What is printed is the file."""
    printed = CliRunner().invoke(main, ["example", name])

    assert (0, (ROOT / EXAMPLES[name].path).read_bytes()) == (printed.exit_code, printed.stdout_bytes)


def test_every_file_of_conf_and_grafana_is_an_example() -> None:
    """A file that is added there can be printed as well."""
    files = [each for folder in ("conf", "grafana") for each in (ROOT / folder).rglob("*") if each.is_file()]

    assert {str(each.relative_to(ROOT)) for each in files} == {each.path for each in EXAMPLES.values()}


def test_the_list_names_every_example() -> None:
    """One a line, with what it is."""
    printed = CliRunner().invoke(main, ["example", "--list"])

    assert [[name, example.about] for name, example in EXAMPLES.items()] == [
        line.split(maxsplit=1) for line in printed.output.splitlines()
    ]


@each_case(("name", "hint"), [("alert.yml", "; did you mean 'alerts.yml'?"), ("no-such-thing", "")])
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    """Exit 2, with the nearest name where one is near, and where to find them all."""
    refused = CliRunner().invoke(main, ["example", name])

    expected = f"partitioner: no example is named {name!r}{hint} (`partitioner example --list` names them)\n"
    assert (2, expected) == (refused.exit_code, refused.output)
