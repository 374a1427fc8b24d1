"""The operator's port: HTTP with JSON, beside the port for sessions and never in its way.

reports.py        what operators are told: values, whose fields are those of the JSON
api.py            RouterAdminApi: takes orders to a router's parts, and reports from them
guard.py          who may ask
router_app.py     the routes of a router, over an AdminApi
refusals.py       how a request is refused, by both
page.py           the status page, from reports: page.html and page.css are its template and its style
units.py          how that page writes numbers, times, and what others have named
key_pages.py      pages of a table
keys_app.py       the routes of a state server of our own: which sessions it holds
metrics_route.py  what Prometheus scrapes, of both
serving.py        the HTTP server
listing.py        the router's end of keys_app: asks a state server for its sessions
"""
