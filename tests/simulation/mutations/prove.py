"""Runs tests with rules broken: `python -m tests.simulation.mutations.prove`, rules on standard input.

For each rule, a line of input, the unit test that is named for it runs in a fork of one process that has
imported what tests import; most of a second is saved for each. A line of output, as JSON, says what came of
each: the exit code of pytest, and what it printed.
"""

import json
import os
import sys
import tempfile

import click
import hypothesis.strategies  # noqa: F401 - what is imported here, no fork imports again
import pytest
import trio.testing  # noqa: F401

import partitioner.daemon.router  # noqa: F401
from tests.simulation.mutations.plugin import VARIABLE
from tests.simulation.mutations.proofs import BY_UNIT_TEST

_QUIETLY = ("-n0", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Plugins that are installed have been imported before the fork, so their assertions stay as they are."""


def main() -> None:
    """Prove each rule that comes in."""
    for line in sys.stdin:
        name = line.rstrip("\n")
        code, printed = prove(name)
        click.echo(json.dumps([name, code, printed]))


def prove(name: str) -> tuple[int, str]:
    """Run the test that is named for this rule, with it broken; return pytest's exit code and its words."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.environ[VARIABLE] = name
            code = int(pytest.ExitCode.INTERNAL_ERROR)  # what goes wrong before the test proves nothing
            try:
                code = pytest.main([*_QUIETLY, "-p", "tests.simulation.mutations.plugin", BY_UNIT_TEST[name]])
                sys.stdout.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


if __name__ == "__main__":
    main()
