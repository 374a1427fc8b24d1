"""A page of metrics as text, written by the client library piece by piece.

With fifty backends a page has some three thousand numbers, at five to ten microseconds each. After so many
other tasks have a turn; not after each piece, because most are of a few lines, and under full load a turn
lasts for as long as the fast path pumps. The page is sent when it is whole: no scraper gets half of it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import trio
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.process import process_families
from partitioner.ops.metrics.process_numbers import process_numbers

LINES_AT_A_TIME = 100
"""Lines between two turns of other tasks, about a millisecond's worth."""

_HEAD = b"# "  # a line of a family's head: what it is, and of which type
_END = b"# EOF\n"  # of an OpenMetrics page


@dataclass(frozen=True, slots=True)
class Page:
    """What is scraped, and in which format it is."""

    content: bytes
    content_type: str


class _Single(Collector):
    """A registry of a single family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return (self._family,)


ProcessNumbers = Callable[[], Awaitable[Mapping[str, float]]]


async def write_page(
    collector: TableCollector, accept: str, numbers: ProcessNumbers = process_numbers
) -> Page:
    """Write what is collected and what is told of the process.

    The format is what `accept`, the field of a request, asks for.
    """
    encode, content_type = choose_encoder(accept)
    texts, end, lines = [], b"", 0
    for family, is_first in collector.pieces():
        text = encode(_Single(family))
        if text.endswith(_END):
            text, end = text.removesuffix(_END), _END
        texts.append(text if is_first else _without_head(text))
        lines += text.count(b"\n")
        if lines >= LINES_AT_A_TIME:
            lines = 0
            await trio.lowlevel.checkpoint()
    for family in process_families(await numbers()):
        texts.append(encode(_Single(family)).removesuffix(_END))
    return Page(b"".join(texts) + end, content_type)


def _without_head(text: bytes) -> bytes:
    return b"\n".join(line for line in text.split(b"\n") if not line.startswith(_HEAD))
