"""What all dashboards have around their panels: choices on top, links to each other, events drawn in."""

from tools.dashboards.model import Annotation, Colour, Variable
from tools.dashboards.queries import backend, router

OVERVIEW = "partitioner-overview"
BACKENDS = "partitioner-backends"
SESSIONS_AND_LOCKS = "partitioner-sessions-and-locks"
STORE = "partitioner-store"

LINKS = (
    ("Overview", OVERVIEW),
    ("Backends", BACKENDS),
    ("Sessions and locks", SESSIONS_AND_LOCKS),
    ("Store", STORE),
)
"""Title and uid of each dashboard."""

VARIABLES = (
    # Metrics that only routers have: a state server that is scraped by the same job is not a choice.
    Variable("job", "Job", "label_values(partitioner_backends_serving, job)"),
    Variable("instance", "Router", 'label_values(partitioner_backends_serving{job=~"$job"}, instance)'),
    # Everything, so that a state server whose scrape job does not name its backend is shown as well.
    Variable("backend", "Backend", f"label_values({router('backend_up')}, backend)", all_value=".*"),
    Variable("state_server", "State server", "label_values(partitioner_sessions, instance)"),
    Variable("store", "With a store", "label_values(partitioner_engine_up, instance)"),
)

WINDOW = "1m"
"""How far back each point of an annotation looks: long enough for two scrapes."""

ANNOTATIONS = (
    Annotation(
        "Health of backends",
        f"sum by (backend, state) (increase({backend('backend_state_changes_total')}[{WINDOW}])) > 0",
        "{{backend}} is {{state}}",
        ("backend", "state"),
        Colour.RED,
    ),
    Annotation(
        "Orders of operators",
        f"max by (backend, intent) (changes({backend('backend_intent')}[{WINDOW}]) > 0"
        f" and {backend('backend_intent')} == 1)",
        "{{backend}} is now {{intent}}",
        ("backend", "intent"),
        Colour.BLUE,
    ),
    Annotation(
        "Reloads",
        f"sum by (instance, outcome) (increase({router('config_reloads_total')}[{WINDOW}])) > 0",
        "reload of {{instance}}: {{outcome}}",
        ("instance", "outcome"),
        Colour.PURPLE,
    ),
    Annotation(
        "Starts of routers",
        f"changes({router('process_start_time_seconds')}[{WINDOW}]) > 0",
        "{{instance}} was restarted",
        ("instance",),
        Colour.YELLOW,
    ),
)
