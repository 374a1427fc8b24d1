"""The route that Prometheus scrapes, of a router and a state server alike."""

from collections.abc import Awaitable, Callable

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.exposition import ProcessNumbers, write_page
from partitioner.ops.metrics.process_numbers import process_numbers


def metrics_route(
    collector: TableCollector,
    numbers: ProcessNumbers = process_numbers,
    look: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> Route:
    """/metrics, in Prometheus's text format or in OpenMetrics, as the request's Accept says.

    `look` comes before everything is read, for what other processes have to be asked; `numbers` tells of the
    process, or of all of them, and comes last.
    """

    async def metrics(request: Request) -> Response:
        await look()
        page = await write_page(collector, request.headers.get("accept", ""), numbers)
        return Response(page.content, headers={"Content-Type": page.content_type})

    return Route("/metrics", metrics)
