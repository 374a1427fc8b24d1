"""Durations and sizes: what people write, and what the code holds."""

import pytest

from partitioner.units import (
    format_age,
    format_duration,
    format_length,
    format_share,
    format_size,
    parse_duration,
    parse_size,
)
from tests.tables import each_case

DURATIONS = [
    ("500us", 0.0005),
    ("250ms", 0.25),
    ("2s", 2.0),
    ("1.5s", 1.5),
    ("90s", 90.0),
    ("5m", 300.0),
    ("5min", 300.0),
    ("1h", 3600.0),
    ("2d", 172_800.0),
    ("0s", 0.0),
    ("2 s", 2.0),
    (" 2s ", 2.0),
]

SIZES = [
    ("512B", 512),
    ("64kB", 64_000),
    ("64KiB", 65_536),
    ("1MB", 1_000_000),
    ("1.5MiB", 1_572_864),
    ("2GB", 2_000_000_000),
    ("2GiB", 2_147_483_648),
    ("1TiB", 1_099_511_627_776),
    ("0B", 0),
]


@each_case(("text", "seconds"), DURATIONS)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    """A duration is a number and a unit, with at most one blank between them; it becomes float seconds."""
    assert seconds == pytest.approx(parse_duration(text), rel=1e-12)


@each_case(("text", "size"), SIZES)
def test_a_size_is_read(text: str, size: int) -> None:
    """A size is a number and a unit, decimal or binary; it becomes whole bytes."""
    assert size == parse_size(text)


@each_case("text", ["5", "0", "", "s", "-1s", "1,5s", "1e3s", "2s 3s", ".5s", "٣s", "nan s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Without a number or a unit, or with anything else around them, it is no duration; the error says so."""
    with pytest.raises(ValueError, match=r"is not a duration such as 250ms, 2s or 1h$"):
        parse_duration(text)


@each_case("text", ["5", "0", "", "MiB", "-1B", "1,5MiB", "64 K i B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Without a number or a unit, or with anything else around them, it is no size; the error says so."""
    with pytest.raises(ValueError, match=r"is not a size such as 512B, 64KiB or 2GiB$"):
        parse_size(text)


@each_case("text", ["2S", "2 sec", "2seconds", "2B"])
def test_an_unknown_unit_of_time_is_refused(text: str) -> None:
    """Units of time are spelt exactly; the error lists them."""
    with pytest.raises(ValueError, match=r"has the unit '\w+'; expected one of us, ms, s, m, min, h, d$"):
        parse_duration(text)


@each_case("text", ["64K", "64kib", "64mb", "64Mb", "64s"])
def test_an_unknown_unit_of_size_is_refused(text: str) -> None:
    """Units of size are spelt exactly, for `64K` and `64Mb` mean several things; the error lists them."""
    with pytest.raises(ValueError, match=r"has the unit '\w+'; expected one of B, kB, MB, GB, KiB, MiB,"):
        parse_size(text)


@each_case(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0005, "500us"),
        (0.25, "250ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (60.0, "1m"),
        (90.0, "1.5m"),
        (7200.0, "2h"),
        (86_400.0, "1d"),
    ],
)
def test_a_duration_is_written(seconds: float, text: str) -> None:
    """A duration is written in the largest unit of which it has at least one."""
    assert text == format_duration(seconds)


@each_case(
    ("size", "text"),
    [(0, "0B"), (512, "512B"), (65_536, "64KiB"), (67_108_864, "64MiB"), (1_610_612_736, "1.5GiB")],
)
def test_a_size_is_written(size: int, text: str) -> None:
    """A size is written in the largest binary unit of which it has at least one."""
    assert text == format_size(size)


@each_case(("share", "text"), [(0.0, "0.0 %"), (1 / 3, "33.3 %"), (1.0, "100.0 %")])
def test_a_share_is_written(share: float, text: str) -> None:
    """A share is written in per cent, to a tenth."""
    assert text == format_share(share)


@each_case(
    ("seconds", "text"),
    [
        (-1.0, "0s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (90.0, "1m 30s"),
        (7200.0, "2h"),
        (7385.0, "2h 3m"),
        (90_000.0, "1d 1h"),
    ],
)
def test_a_length_of_time_for_people(seconds: float, text: str) -> None:
    """Two units tell enough, and no fraction has to be converted. Less than a minute is exact in the log."""
    assert text == format_age(seconds)
    assert format_length(seconds) == (text if seconds >= 60 else format_duration(seconds))
