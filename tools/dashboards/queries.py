"""The PromQL that dashboards share: whose metrics are asked for, and how their states become one number.

Routers and state servers serve clients in the same protocol and tell of it under the same names, so each
selector says whose numbers it means: `$job` and `$instance` are those of routers, `$state_server` is one of
the project's own state servers, and `$store` one whose sessions are on an engine. A state server does not
know which backend of which router it is; the scrape job tells it by a label `backend`
(conf/prometheus/prometheus.yml).
"""

from partitioner.ops.metrics.catalog import PROCESS, ROUTER, STATE_SERVER, STORE
from tools.dashboards.model import Colour, Meaning

SCRAPED = "up"
"""Prometheus's own metric of whether a target answers it."""

_ELSEWHERE = {*PROCESS, SCRAPED}
_FULL_NAMES = {metric.name: metric.full_name for metric in (*ROUTER, *STATE_SERVER, *STORE)}

FAILED = 'outcome=~"closed|rejected"'
"""Requests whose pages failed: the client got no answer, or a 400."""

NOT_IDLE = 'state!="idle"'
NOT_LEASED = 'state!="leased"'
"""Connections to backends; only leased and unanswered ones count against the limit."""


def router(name: str, *matchers: str, **labels: str) -> str:
    """The chosen routers' series of a metric, named as in the catalogue."""
    return _selector(name, 'job=~"$job"', 'instance=~"$instance"', *matchers, **labels)


def backend(name: str, *matchers: str, **labels: str) -> str:
    """The same of the chosen backends, as these routers see them."""
    return router(name, 'backend=~"$backend"', *matchers, **labels)


def state_server(name: str, *matchers: str, **labels: str) -> str:
    """The series of the project's own state servers: what they tell of themselves."""
    return _selector(name, 'instance=~"$state_server"', 'backend=~"$backend"', *matchers, **labels)


def store(name: str, *matchers: str, **labels: str) -> str:
    """The series of the chosen state servers whose sessions are on an engine."""
    return _selector(name, 'instance=~"$store"', *matchers, **labels)


def _selector(name: str, *matchers: str, **labels: str) -> str:
    """Raises KeyError where the catalogue has no such metric."""
    base, part = _of_histogram(name)
    full_name = name if name in _ELSEWHERE else _FULL_NAMES[base] + part
    equal = (f'{label}="{value}"' for label, value in labels.items())
    return f"{full_name}{{{', '.join([*matchers, *equal])}}}"


def _of_histogram(name: str) -> tuple[str, str]:
    """A metric, and which part of a histogram is meant."""
    for part in ("_bucket", "_sum"):
        if name.endswith(part):
            return name.removesuffix(part), part
    return name, ""


def per_second(selector: str, *labels: str) -> str:
    """How many a second, added up for each combination of these labels."""
    return f"{_sum_by(labels)}(rate({selector}[$__rate_interval]))"


def within_range(selector: str, *labels: str) -> str:
    """How many there were in the time that the dashboard shows."""
    return f"{_sum_by(labels)}(increase({selector}[$__range]))"


def lately(selector: str, *labels: str) -> str:
    """How many there were around each point of a graph."""
    return f"{_sum_by(labels)}(increase({selector}[$__rate_interval]))"


def quantile(share: float, buckets: str, *labels: str) -> str:
    """The value below which this share of what the histogram has counted lately lies."""
    return f"histogram_quantile({share}, {per_second(buckets, 'le', *labels)})"


def _sum_by(labels: tuple[str, ...]) -> str:
    return f"sum by ({', '.join(labels)}) " if labels else "sum"


# --- a backend's state as one number: the worst is the highest, so that `max` of several routers shows it ---

STATES = {
    1: Meaning("UP", Colour.GREEN),
    2: Meaning("was DOWN", Colour.AMBER),
    3: Meaning("drains", Colour.BLUE),
    4: Meaning("RECOVERING", Colour.YELLOW),
    5: Meaning("unknown", Colour.GREY),
    6: Meaning("DOWN", Colour.RED),
    7: Meaning("leaves", Colour.BLUE),
    8: Meaning("maint", Colour.PURPLE),
}
"""In maintenance a backend's health is not looked at, so that comes last."""

_SEEN_AS = {
    1: f"{backend('backend_state', state='up')} == 1",
    # A fall between two scrapes would not be seen but for the counter.
    2: f"increase({backend('backend_state_changes_total', state='down')}[$__rate_interval]) > bool 0 == 1",
    3: f"{backend('backend_intent', intent='drain')} == 1",
    4: f"{backend('backend_state', state='recovering')} == 1",
    5: f"{backend('backend_state', state='unknown')} == 1",
    6: f"{backend('backend_state', state='down')} == 1",
    7: f"{backend('backend_intent', intent='removed')} == 1",
    8: f"{backend('backend_intent', intent='maint')} == 1",
}


def state_of_backends() -> str:
    """One of STATES for each backend."""
    # The worst first: of what has the same labels `or` takes the left.
    cases = [f"{number} * ({_SEEN_AS[number]})" for number in sorted(STATES, reverse=True)]
    return f"max by (backend) ({' or '.join(cases)})"
