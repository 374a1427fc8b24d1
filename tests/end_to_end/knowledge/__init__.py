"""What the router knows of sessions must outlive the router, and follow the memory that it is about.

Each module is a group of things that operators and machines do to a farm of real processes: a file that
names a server differently, a router that is restarted or replaced, a server that comes back with an old
memory, servers that are away for a while.

    site.py            the processes: state servers at ports that they keep, and routers in front of them
    users.py           the users of the sessions, and the checker: what was acknowledged, and what is read
    foreign_server.py  a state server that leaves half-closed connections open
    fast_clock.py      `partitioner` whose clock runs fast, and stands still while the process is stopped
    short_waits.py     `partitioner` with a constant of its code set to another value

The checker reads every session and compares it with the last acknowledged change, and a second web server
tries to acquire every lock that is held. It says how many of how many were wrong.

The processes run the `partitioner` package of this checkout. Another checkout is tested with
`PARTITIONER_CHECKOUT=/path/to/checkout pytest tests/end_to_end/knowledge`; the tests, and what they import
themselves, stay those of this checkout.
"""
