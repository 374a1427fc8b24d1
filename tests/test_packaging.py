"""The wheel and the sdist carry what an installation needs, and one version."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import partitioner
from partitioner.cli.actions.example import EXAMPLES

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path, **environment: str) -> bytes:
    """Run a command of this Python; return its output."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout.decode(errors="replace")
    return ended.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, and the wheel that was built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--outdir", str(folder), str(ROOT), cwd=folder)
    return folder


def test_the_version_is_written_in_one_place() -> None:
    """pyproject.toml takes it from the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert "version" not in project["project"]
    assert "partitioner/__init__.py" == project["tool"]["hatch"]["version"]["path"]


@pytest.mark.slow
def test_the_sdist_carries_conf_and_dashboards(built: Path) -> None:
    """And the papers: whoever packages it for a distribution has them all."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        carried = {name.partition("/")[2] for name in archive.getnames()}

    wanted = {example.path for example in EXAMPLES.values()}
    assert f"partitioner-{partitioner.__version__}.tar.gz" == sdist.name
    assert set() == (wanted | {"README.md", "LICENSE", "docs/protocol.md", "docs/design.md"}) - carried


@pytest.mark.slow
def test_an_installed_wheel_prints_every_example(built: Path, tmp_path: Path) -> None:
    """From the package's own data: there is no checkout around it."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    installed = str(tmp_path / "site")

    for name, example in EXAMPLES.items():
        printed = run("-m", "partitioner", "example", name, cwd=tmp_path, PYTHONPATH=installed)
        assert (ROOT / example.path).read_bytes() == printed
    said = run("-m", "partitioner", "--version", cwd=tmp_path, PYTHONPATH=installed)
    assert f"partitioner, version {partitioner.__version__}\n" == said.decode()
