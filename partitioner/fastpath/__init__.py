"""The fast path: ordinary exchanges served synchronously, over one epoll and without a task for each.

The slow path (transport.client_connection, and routing.router with all it leans on) defines what is right,
and costs several times what the work itself does. Most exchanges need none of its care. Those are served
here, by one of two listeners.

In a router most exchanges find the session's server well, no other exchange at the key, a connection idle,
and their answer whole. FastRouter passes them on:

    client --- request ---> FastRouter: gate, ledger ---> link to the acting primary
                                                          a write: then links to all acting copies, and
                                                                   while its key is not settled
                                                                   to former holders, for removes
                                                          a 404 of such a key: links to all who may
                                                                   have the session
    client <--- answer ---- FastRouter: ledger, gate <--- links

In a state server nearly all are requests of ordinary size and form. FastStateServer answers them itself:

    client --- request ---> FastStateServer: session table
    client <--- answer ---- FastStateServer

One trio task waits for the epoll and pumps its events for a few milliseconds at a time. Every socket is
registered once. A connection is a small object with a state; states.py has the tables.

An attribute that is called in every exchange gets a local name first (`send = client.send`): the interpreter
specialises calls of methods and of local names, and looks other attributes up anew each time.

A module imports only those above it in this list:

    states.py             the tables
    connections.py        Client, BackendConnection (a link), BackendLinks, Route, Touch: data
    reactor.py            the epoll: what comes in; and the dispatch of events to reactions
    round.py              the clients of a listener, and what its parts share in one round
    request_collector.py  requests come in, and are recognised
    listener.py           FastListener: a round of work
    task.py               the task, for either listener
    answering_listener.py what FastStateServer and FastStore share
    state_server.py       FastStateServer
    store.py              FastStore: the same from the sessions on an engine

    routes.py             where the requests of a target go
    recorder.py           gate, ledger and expiry sync, as both paths share them
    handover.py           what goes to the slow path
    links.py              links are taken over, given requests, freed, and shared with the slow path
    copies.py             who is asked besides the acting primary: copies, former holders
    backends.py           reactions of links
    clients.py            reactions of clients
    router.py             FastRouter

Whatever is out of the ordinary is handed over to the slow path, which then does what it always does:

    before anything was sent    the client's connection, with the bytes that have come in
    after that                  the backend's connection as well, as a lease in the phase that it is in, with
                                the bytes of an answer, or the failure, that have come; the gate stays entered

and the slow path gives the client back when its exchange is over. FastStateServer hands over in the first way
only: it answers a request that it has carried out. So failures are judged and sessions are looked for in one
place. Both paths of a router share gate, ledger, roster and connections: the fast path opens none, it takes
those that the slow path leaves idle. Both paths of a state server share its table.
"""
