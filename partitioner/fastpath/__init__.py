"""The express lane: ordinary exchanges served synchronously, over one epoll and without a task for each.

The await lane (transport.client_connection, and routing.router with all it leans on) is the definition of
what is right, and costs several times what the work itself does. Most exchanges need none of its care. Those
are served here, at one of two stations.

In a router most exchanges find the session's server well, nobody else at the key, a connection idle, and
their answer whole. The relay passes them on:

    client --- request ---> relay: gate, ledger ---> link to the acting primary
                                                     a write: then links to all acting copies
    client <--- answer ---- relay: ledger, gate <--- links

In a state server nearly all are requests of ordinary size and form. The origin answers them itself:

    client --- request ---> origin: session table
    client <--- answer ---- origin

One trio task waits for the epoll and pumps its events for a few milliseconds at a time. Every socket is
registered once. A connection is a small object with a state; states.py has the tables.

An attribute that is called in every exchange gets a local name first (`send = client.send`): the interpreter
specialises calls of methods and of local names, and looks other attributes up anew each time.

    lane.py     the task, for any station      reactor.py   the epoll, and a round of events
    station.py  clients come and go            intake.py    requests come in, and are recognised
    origin.py   the origin                     relay.py     the relay, with clients, links, routes, books

Whatever is out of the ordinary is handed over to the await lane, which then does what it always does:

    before anything was sent    the client's connection, with the bytes that have come in
    after that                  the backend's connection as well, as a lease in the phase that it is in, with
                                the bytes of an answer, or the trouble, that have come; the gate stays entered

and the await lane gives the client back when its exchange is over. The origin hands over in the first way
only: a request that it has carried out is answered here. So there is but one place where failures are
judged and sessions looked for. The lanes of a router share gate, ledger, roster, and connections: the
express lane opens none, it takes those that the await lane leaves idle. Those of a state server share its
table.
"""
