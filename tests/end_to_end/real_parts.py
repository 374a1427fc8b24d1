"""The real programs of others that tests need: where one is missing, the test says what to install."""

import os
import shutil

import pytest

DEBIAN_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "chromium": "chromium",
    "redis-server": "redis-server",
    "openssl": "openssl",
}
"""Which Debian package brings a program."""


def need(program: str) -> str:
    """Where the program lies.

    Without it a test proves nothing: it is skipped with a word on what to install, and fails where CI is
    `true` in the environment, so that a reader does not take for tested what never ran.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not on the PATH; on Debian: apt-get install {DEBIAN_PACKAGES[program]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
