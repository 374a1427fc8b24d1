"""The whole router against a world that goes wrong, in virtual time; a seed decides everything.

    scenario.py      what a seed draws: servers, copies, sessions, workers, faults
    world.py         runs it: a router on an in-memory network, and everybody around it
    router.py        one process of a router: it begins, is paused, stops, dies, and leaves a disk behind
    pausing.py       stops the tasks of one process while the world goes on
    stock_server.py  state servers as protocol.md 6 has them; they die, freeze, dawdle and come back
    web.py           web servers: the page cycle of the real client (protocol.md 8.1)
    reloads.py       what operators change in the configuration
    restarts.py      what becomes of memories and of routers that end, stand still and begin again
    faults.py        what goes wrong, one server at a time unless the seed says otherwise
    history.py       what the clients saw, in order
    checker.py       judges it: lost, stale, resurrected, double holder, lie, stuck lock, wrong session
    mutations/       rules of the router, each broken on purpose, and what catches each
    observers.py     what of the router's reports a history keeps
    seeded.py        the one place where trio's own order of tasks is made to follow the seed

`python -m tests.simulation --seed N` replays one history and prints it; with `--theme NAME` it is one of the
worlds of that kind.
"""
