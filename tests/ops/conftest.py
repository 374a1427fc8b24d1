"""What tests of the log put back."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def structlog_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    structlog.reset_defaults()
