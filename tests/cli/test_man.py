"""`partitioner man`: the manual page says what --help says."""

from click.testing import CliRunner

from partitioner.cli import main


def test_every_verb_and_option_is_in_it() -> None:
    """They come from the same source, so nothing can be missing."""
    page = CliRunner().invoke(main, ["man"]).output
    plain = page.replace(r"\-", "-")

    for name, verb in main.commands.items():
        assert f"\n.SS {name} " in plain
        for parameter in verb.params:
            assert all(option in plain for option in parameter.opts if option.startswith("-"))


def test_no_text_is_taken_for_a_request() -> None:
    """A line of roff that begins with a dot or a quote is an order; those that are meant are few."""
    page = CliRunner().invoke(main, ["man"]).output
    orders = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}

    assert {".TH", ".SH", ".B", ".I", ".SS", ".PP", ".TP"} == orders
