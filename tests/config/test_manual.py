"""conf/partitioner.yml is the manual: it shows every key, its default and its range (design.md 9.2)."""

import re
from pathlib import Path

import pytest
import yaml

from partitioner.config import (
    BackendSettings,
    HealSettings,
    HealthSettings,
    LimitSettings,
    Settings,
    StoreSettings,
    TimeoutSettings,
    load,
    parse,
)
from partitioner.config.changes import APPLIED_AT_ONCE
from partitioner.config.settings import Section
from partitioner.membership.backend import Address
from tests.config.problems import RANGES
from tests.tables import each_case

CONF = Path(__file__).parents[2] / "conf"
MANUAL = CONF / "partitioner.yml"
TOKEN_FILES = ("admin_token_file", "backend_token_file")


def test_the_manual_shows_the_defaults() -> None:
    """conf/partitioner.yml changes nothing but the list of backends."""
    examples = tuple(
        BackendSettings(name=f"state-{number}", address=Address(f"10.0.0.1{number}", 42424))
        for number in (1, 2, 3)
    )

    assert Settings(backends=examples) == load(MANUAL)


def test_the_manual_shows_every_key() -> None:
    """conf/partitioner.yml has every key on every level; as comments those that are left out by default."""
    text = MANUAL.read_text(encoding="utf-8")
    shown = yaml.safe_load(text)
    in_comments = set(re.findall(r"^# ([a-z_]+):(?: |$)", text, re.MULTILINE))

    assert in_comments == {"embedded", "copies", "admin_token", "state_dir", "store", "workers", *TOKEN_FILES}
    assert Settings.model_fields.keys() - in_comments == shown.keys()
    assert HealthSettings.model_fields.keys() == shown["health"].keys()
    timeouts = {field.alias or name for name, field in TimeoutSettings.model_fields.items()}
    assert timeouts == shown["timeouts"].keys()
    assert LimitSettings.model_fields.keys() == shown["limits"].keys()
    assert HealSettings.model_fields.keys() == shown["heal"].keys()
    assert all(BackendSettings.model_fields.keys() == backend.keys() for backend in shown["backends"])


def test_the_manual_shows_every_key_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """In comments, because it is in place of the backends; with its defaults where it has any."""
    monkeypatch.setenv("STORE_PASSWORD", "secret")
    below = MANUAL.read_text(encoding="utf-8").partition("\n# store:\n")[2].partition("\n\n")[0]
    lines = [line.removeprefix("# ") for line in below.splitlines()]
    shown = [line for line in lines if line.startswith("  ")]
    keys = {line.strip().partition(":")[0] for line in shown}
    others = ("sentinel", "cluster", "password")
    plain = [line for line in shown if not line.strip().startswith(others)]

    assert StoreSettings.model_fields.keys() == keys
    written = parse("\n".join(["store:", *plain])).store
    assert StoreSettings(primary=Address("10.0.0.21", 6379)) == written
    for other in others[:2]:
        (line,) = (line for line in shown if line.strip().startswith(other))
        assert parse("\n".join(["store:", line])).store is not None


def comment_above(path: str) -> str:
    """The comment that explains a key in the manual."""
    section, _, key = path.rpartition(".")
    manual = MANUAL.read_text(encoding="utf-8")
    below_section = manual.partition(f"\n{section}:\n")[2] if section else manual
    above_key = re.split(rf"\n *(?:# )?{key}:", below_section, maxsplit=1)[0]
    return above_key.rpartition("\n\n")[2]


@each_case(("path", "least", "most"), [row[:3] for row in RANGES])
def test_the_manual_names_the_range_of_every_key(path: str, least: str, most: str) -> None:
    """The comment above a key in conf/partitioner.yml names the range that is enforced."""
    comment = comment_above(path)

    assert f"Range: {least} to {most}" in comment


def test_the_manual_says_what_can_be_reloaded() -> None:
    """The keys with a line "Reload" are those that a running router takes a new value of, and no others."""
    keys = Settings.model_fields.keys() - {"health", "timeouts", "limits", "heal"}

    reloadable = {key for key in keys if "\n#   Reload: " in comment_above(key)}

    sections: dict[str, type[Section]] = {
        "health": HealthSettings,
        "timeouts": TimeoutSettings,
        "limits": LimitSettings,
        "heal": HealSettings,
    }
    paths = {
        f"{section}.{field.alias or name}"
        for section, settings in sections.items()
        for name, field in settings.model_fields.items()
    }
    below = {each for each in paths if "\n  #   Reload: " in comment_above(each)}
    assert reloadable | below == APPLIED_AT_ONCE


@each_case("name", ["three-servers.yml", "weighted.yml"])
def test_the_examples_are_right(name: str) -> None:
    """Every example can be used as it stands."""
    assert len(load(CONF / "examples" / name).pool_backends()) == 3
