"""A plugin of pytest that runs tests with a rule broken: `pytest -p tests.simulation.mutations.plugin`.

The environment variable MUTATION names the rule.
"""

import os
from contextlib import ExitStack

import pytest

from tests.simulation.mutations import broken

VARIABLE = "MUTATION"


def pytest_configure(config: pytest.Config) -> None:
    stack = ExitStack()
    stack.enter_context(broken(os.environ[VARIABLE]))
    config.add_cleanup(stack.close)
