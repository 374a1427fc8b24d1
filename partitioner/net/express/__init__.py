"""The express lane: ordinary exchanges relayed synchronously, over one epoll and without a task for each.

The await lane (net.router and all it leans on) is the definition of what is right, and costs ten times what
the work itself does. Most exchanges need none of its care: the session's server is well, nobody else is at
the key, a connection is idle, and the answer comes whole. Those are relayed here:

    client --- request ---> relay: gate, ledger ---> link to the acting primary
                                                     a write: then links to all acting copies
    client <--- answer ---- relay: ledger, gate <--- links

One trio task waits for the epoll and pumps its events for a few milliseconds at a time. Every socket is
registered once. A connection is a small object with a state; states.py has the tables.

Whatever is out of the ordinary is handed over to the await lane, which then does what it always does:

    before anything was sent    the client's connection, with the bytes that have come in
    after that                  the backend's connection as well, as a lease in the phase that it is in, with
                                the bytes of an answer, or the trouble, that have come; the gate stays entered

and the await lane gives the client back when its exchange is over. So there is but one place where failures
are judged and sessions looked for. The lanes share gate, ledger, roster, and connections: the express lane
opens none, it takes those that the await lane leaves idle.

A state server has an express lane, too: there the origin, in the place of the relay, answers its clients
straight from the session table.
"""
