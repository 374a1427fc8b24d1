"""Configuration: YAML to frozen settings, or all problems at once.

    text -> document.py   a plain tree that knows its lines; keys written twice
         -> settings.py   every key, its default and range, with the readers of values.py
         -> rules.py      what takes more than one key to tell
         -> sentences.py  pydantic's findings in plain words, with the nearest right key
         -> loading.py    Settings, or ConfigurationInvalid with its problems in the file's order
         -> trust.py      what is allowed and leaves something open
         -> changes.py    what other settings would change in a running router

An operator fixes what the first run reports and is done; nothing is reported one at a time, nothing
misspelt falls back to a default.
"""

from partitioner.config.loading import load, parse
from partitioner.config.settings import (
    BackendSettings,
    DefaultStateDir,
    HealSettings,
    HealthSettings,
    LimitSettings,
    LogFormat,
    Settings,
    StoreSentinel,
    StoreSettings,
    StoreTimeouts,
    StoreTls,
    Switch,
    TimeoutSettings,
)
from partitioner.config.trust import trust_warnings

__all__ = [
    "BackendSettings",
    "DefaultStateDir",
    "HealSettings",
    "HealthSettings",
    "LimitSettings",
    "LogFormat",
    "Settings",
    "StoreSentinel",
    "StoreSettings",
    "StoreTimeouts",
    "StoreTls",
    "Switch",
    "TimeoutSettings",
    "load",
    "parse",
    "trust_warnings",
]
