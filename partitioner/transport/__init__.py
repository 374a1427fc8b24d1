"""Connections, one at a time: opened, used for exchanges, closed.

Any connection:

    channel.py              the seam to the network: one connection, and what opens it
    sockets.py              a connected socket as a stream
    messages.py             what travels above it: Request, Response, and who answers
    limits.py               what callers wait for in order: connections, and memory for bodies
    precedence.py           large bodies come in one after the other
    slices.py               bursts are worked off in slices
    standstill.py           notices that this process has stood still
    observer.py             what is reported, in the past tense

Web servers:

    listener.py             accepts connections
    client_connection.py    the talk with one client
    state_server.py         a session table as a responder

Backends:

    connector.py            opens a connection, so far that it is known which memory answers
    backend_connections.py  those of one backend, idle and leased
    backend_exchange.py     one exchange
    exchange_states.py      how far it has come, and what its end means: the tables
    one_exchange.py         one that this program asks on its own account
    half_closed.py          connections whose requests went unanswered
    canary.py               the router's items on a backend
    authority.py            whether this router may write to them
    shortcomings.py         what a backend does that no state server does
    traffic.py              what was exchanged, in integers
    checkup.py              a backend tried before it is trusted
"""
