"""What was measured, as a table and as JSON."""

import statistics

from rich.table import Table

from tests.benchmarks.yardstick.rivals import Measured

Results = dict[tuple[str, str], list[Measured]]
"""By point and rival, one for each round."""

YARDSTICK = "haproxy"


def as_table(results: Results) -> Table:
    """A line for each point and rival."""
    columns = ("exchanges/s", "CPU us/exchange", "fastest", "ratio, paired", "to router", "p50 ms", "p99 ms")
    table = Table("point", "", *columns)
    last = ""
    for (point, rival), measured in results.items():
        if last not in ("", point):
            table.add_section()
        cpu = [each.cpu_per_exchange for each in measured]
        router = first_router(results)
        table.add_row(
            point if point != last else "",
            rival,
            f"{statistics.median(each.result.exchanges / each.result.seconds for each in measured):.0f}",
            f"{statistics.median(cpu):.1f}",
            f"{min(cpu):.1f}",
            "" if rival == YARDSTICK else f"{paired_ratio(results, point, rival):.2f}",
            "" if rival == YARDSTICK else f"{paired_ratio(results, point, rival, router):.2f}",
            f"{statistics.median(each.result.p50 for each in measured) / 1e3:.2f}",
            f"{statistics.median(each.result.p99 for each in measured) / 1e3:.2f}",
        )
        last = point
    return table


def first_router(results: Results) -> str:
    """The rival to which a state server is compared."""
    return next(rival for _, rival in results if rival != YARDSTICK)


def paired_ratio(results: Results, point: str, rival: str, to: str = YARDSTICK) -> float:
    """CPU for each exchange, as the median of the ratios to another rival in each round."""
    pairs = zip(results[point, rival], results[point, to], strict=True)
    return statistics.median(one.cpu_per_exchange / other.cpu_per_exchange for one, other in pairs)


def as_json(results: Results) -> list[dict[str, object]]:
    """All that is known; the rounds' figures in their order."""
    return [
        {
            "point": point,
            "rival": rival,
            "ratio": paired_ratio(results, point, rival),
            "ratio_to_router": paired_ratio(results, point, rival, first_router(results)),
            "cpu_us_per_exchange": [each.cpu_per_exchange for each in measured],
            "exchanges_per_second": [each.result.exchanges / each.result.seconds for each in measured],
            "p50_us": [each.result.p50 for each in measured],
            "p99_us": [each.result.p99 for each in measured],
        }
        for (point, rival), measured in results.items()
    ]
