"""What pydantic found, in plain sentences, with the nearest right key for a wrong one."""

from difflib import get_close_matches
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from partitioner.config.findings import Finding, KeyPath, sight
from partitioner.config.settings import Section, Settings

_NEED: dict[str | int, str] = {
    "backends": "a backend needs a name and an address",
    "store": "Sentinels need the primary's name and their addresses",
}


def findings_of(invalid: ValidationError) -> list[Finding]:
    """Translate all that pydantic found."""
    return [Finding(error["loc"], _sentence(error)) for error in invalid.errors(include_url=False)]


def _sentence(error: ErrorDetails) -> str:
    path, seen = error["loc"], error["input"]
    match error["type"]:
        case "value_error":  # from our own validators, see values.py
            return str(error["ctx"]["error"])
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            return f"missing; {_NEED[path[0]]}"  # all other keys have defaults
        case "model_type":
            return f"{sight(seen)} is not a mapping; expected keys such as {_listed(_known_keys(path))}"
        case "tuple_type":
            return f"{sight(seen)} is not a list; expected one, each item after a dash or all in [ ]"
        case other:
            # Nothing leads here today. If something ever does, the operator still learns where to look.
            return f"{sight(seen)} is not what is expected here ({other})"


def _unknown_key(path: KeyPath) -> str:
    known = _known_keys(path[:-1])
    near = get_close_matches(str(path[-1]).lower(), known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; expected {_listed(known)}"


def _known_keys(path: KeyPath) -> list[str]:
    return [field.alias or name for name, field in _section(path).model_fields.items()]


def _section(path: KeyPath) -> type[Section]:
    """The model of the mapping at this path."""
    section: type[Section] = Settings
    for step in path:
        if isinstance(step, str):
            section = _maybe_section(section.model_fields[step].annotation) or section
    return section


def _maybe_section(annotation: object) -> type[Section] | None:
    """The section that a key holds: itself, or with nothing in its place, or as an item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = [each for part in get_args(annotation) if (each := _maybe_section(part)) is not None]
    return found[0] if found else None


def _listed(keys: list[str]) -> str:
    return ", ".join(keys)
