"""Where a router keeps its state: the directory that is configured, or the one that its environment names.

By default that is the first of

    $STATE_DIRECTORY                        set by systemd for a unit with StateDirectory=
    $XDG_STATE_HOME/partitioner/NAME        XDG Base Directory Specification 0.8
    ~/.local/state/partitioner/NAME         what that specification has in place of an unset variable

A router with embedded state servers has none by default: they end with it, so there is nothing to keep.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partitioner.config import DefaultStateDir, Settings


@dataclass(frozen=True, slots=True)
class StatePlace:
    """The directory of a router's state file, and whether the configuration asked for it."""

    directory: Path
    is_asked_for: bool

    def why_unusable(self) -> str | None:
        """Say why this process could not write there, without making anything; None if it could."""
        directory = self.directory
        while not os.path.lexists(directory):
            directory = directory.parent
        if not directory.is_dir():
            return f"{directory} is no directory"
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            return f"{directory} cannot be written to by this user"
        return None


def state_place(settings: Settings, environment: Mapping[str, str] = os.environ) -> StatePlace | None:
    """Find the directory; None where the router keeps nothing."""
    if settings.embedded:
        return None
    match settings.state_dir:
        case None:
            return None
        case DefaultStateDir():
            directory = _default(settings.name, environment)
            return None if directory is None else StatePlace(directory, is_asked_for=False)
        case configured:
            return StatePlace(configured, is_asked_for=True)


def _default(name: str, environment: Mapping[str, str]) -> Path | None:
    """The default directory; None for a user without a home."""
    by_systemd = environment.get("STATE_DIRECTORY", "").partition(":")[0]  # the first of several
    if by_systemd:
        return Path(by_systemd)
    state_home = Path(environment.get("XDG_STATE_HOME", ""))
    if not state_home.is_absolute():  # "should consider the path invalid and ignore it"
        home = environment.get("HOME", "")
        if not home:
            return None
        state_home = Path(home, ".local", "state")
    return state_home / "partitioner" / name
