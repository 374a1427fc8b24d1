"""A missing program is told of, and in CI it is a failure."""

from pathlib import Path

import pytest

from tests.end_to_end.real_parts import need


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that is all of the PATH; it is empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def test_a_program_that_is_there_is_found(bare_path: Path) -> None:
    """Its path is the answer."""
    program = bare_path / "promtool"
    program.touch(mode=0o755)

    assert str(program) == need("promtool")


def test_a_missing_program_is_a_skip_that_says_what_to_install(bare_path: Path) -> None:
    """On a developer's machine the other tests go on."""
    with pytest.raises(pytest.skip.Exception, match=r"promtool .* apt-get install prometheus"):
        need("promtool")


def test_a_missing_program_is_a_failure_in_ci(bare_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a skip would pass for a proof."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match=r"chromium .* apt-get install chromium"):
        need("chromium")
