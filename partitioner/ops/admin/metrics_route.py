"""The route that Prometheus scrapes, of a router and a state server alike."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.exposition import write_page


def metrics_route(collector: TableCollector) -> Route:
    """/metrics, in Prometheus's text format or in OpenMetrics, as the request's Accept says."""

    async def metrics(request: Request) -> Response:
        page = await write_page(collector, request.headers.get("accept", ""))
        return Response(page.content, headers={"Content-Type": page.content_type})

    return Route("/metrics", metrics)
