"""What operators see: the log, metrics, and the admin port with its status page.

    fanout.py          one observer in front of several

    log.py             writes lines, and not too many
    client_log.py      the lines about clients
    router_log.py      the lines about a router, its backends and their sessions
    store_log.py       the lines about an engine
    log_output.py      where lines go, and how they look
    log_queue.py       a slow disk holds nothing up
    throttle.py        the same thing once in a while
    event_log.py       the last lines, for the status page

    rates.py           how much goes on just now
    history.py         what the last hour was like
    standing.py        whether a router is the active one, and what it knows
    out_of_service.py  why a server does not serve, and what helps
    printable.py       text from outside

The packages beside them are `metrics` and `admin`.
"""
