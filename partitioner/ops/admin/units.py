"""How numbers and times are written for people, on the status page and by the verbs."""

from datetime import datetime

from partitioner.ops.admin.reports import BackendReport, Status
from partitioner.units import format_age, format_size

_REASONS = {"write": "saves", "remove": "removals", "lock": "locks", "missing": "copies"}
"""What a dirty backend may lack, by the record's word for it (design.md 5.2)."""


def age(seconds: float) -> str:
    """A length of time, as everywhere: `3m 20s`."""
    return format_age(seconds)


def duration(seconds: float | None) -> str:
    """A short length of time to three digits: `0.42ms`; a dash for none."""
    if seconds is None:
        return "–"
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    return f"{_three_digits(value)}{unit}"


def size(count: int) -> str:
    """Bytes, in the unit that keeps it short: `1.5GiB`."""
    return format_size(count)


def rate(per_second: float) -> str:
    """A number a second, to three digits."""
    return _three_digits(per_second)


def share(of_all: float) -> str:
    """A share from 0 to 1, in per cent."""
    return f"{of_all * 100:.1f} %"


def number(count: int | float) -> str:
    """A number with its thousands set apart."""
    return f"{count:,}".replace(",", " ") if isinstance(count, int) else f"{count:g}"


def role(status: Status) -> str:
    """Whether a router is the active one of its farm, in a sentence."""
    if status.role == "active":
        term = "" if status.term is None else f", term {status.term}"
        return f"active for {age(status.role_for)}{term}"
    if status.role == "claiming":
        return "claiming: it becomes the active one"
    is_told = status.standby_because is not None and "watched" in status.standby_because
    watched = ""
    if status.watched_for and not is_told:
        watched = f", which has been watched for {age(status.watched_for)}"
    return f"standby for {age(status.role_for)}: {status.standby_because}{watched}"


def doubts(backend: BackendReport) -> tuple[str, ...]:
    """Why a backend does not serve, and what it may lack, a sentence each; nothing in good times."""
    return tuple(f"{backend.name} {each}" for each in advice(backend))


def advice(backend: BackendReport) -> tuple[str, ...]:
    """The same without its name: why, until when, and which command helps."""
    told = [] if backend.why_out is None else [backend.why_out]
    if backend.dirty and not backend.removed:
        told.append(
            f"is written down as dirty: it may lack {_lacking(backend)}, and after a crash of this router it "
            "is not read until that is put right"
        )
    return tuple(told)


def _lacking(backend: BackendReport) -> str:
    return " and ".join(_REASONS.get(reason, reason) for reason in backend.dirty)


def clock_time(at: str, today: datetime) -> str:
    """A moment, written in ISO 8601, on the router's own clock; with its date unless that is today."""
    local = datetime.fromisoformat(at).astimezone(today.tzinfo)
    return f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%d %b %H:%M:%S}"


def _three_digits(value: float) -> str:
    if value >= 100:
        return number(round(value))
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
