"""How the verbs load the configuration, and say what is wrong with it."""

from collections.abc import Sequence
from pathlib import Path

from partitioner.cli.options import Refused
from partitioner.config import Settings, load
from partitioner.errors import ConfigurationInvalid, Problem


def settings_of(config: Path | None) -> Settings:
    """Load the settings of a command. Raises Refused with all problems, one a line."""
    try:
        return load(config)
    except ConfigurationInvalid as invalid:
        raise Refused(listing(invalid.problems, config)) from invalid


def listing(problems: Sequence[Problem], config: Path | None) -> str:
    """Write all problems of a configuration, one a line under a headline."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    headline = f"{count} in {config or 'the defaults'}"
    return "\n".join([headline, *(f"  {problem}" for problem in problems)])
