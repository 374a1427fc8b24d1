"""The operator's port: HTTP with JSON, beside the port for sessions and never in its way.

The port of any process:

    serving.py            the HTTP server
    guard.py              who may ask
    refusals.py           how a request is refused
    metrics_route.py      what Prometheus scrapes

Of a router:

    router_app.py         the routes, over an AdminApi
    api.py                RouterAdminApi: takes orders to a router's parts, and reports from them
    backend_reports.py    what is reported of each backend
    reports.py            what operators are told: values, whose fields are those of the JSON
    page.py               the status page, from reports: page.html and page.css are its template and its style
    event_reports.py      the events at its end
    headline.py           the one sentence of that page, and of `partitioner top`
    drawing.py            its small pictures
    units.py              how that page and the verbs write numbers, times, and what others have named
    session_routes.py     the routes that tell of single sessions, or release their locks
    sessions_api.py       what they ask for
    session_reports.py    what operators are told of single sessions

Of a state server of our own:

    keys_app.py           the routes: which sessions it holds
    key_pages.py          pages of a table
    session_views.py      single sessions
    store_app.py          the routes where sessions are on an engine
    store_page.py         the status page there, in the frame of a router's (frame.html)

The router's end of a state server's port:

    listing.py            asks for its sessions
    session_source.py     asks for single sessions
    memory_watch.py       asks how full it is
    admin_checkup.py      whether an admin address leads to the server that it is written at
"""
