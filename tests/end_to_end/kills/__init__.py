"""Real processes are killed and frozen under load; the judge is that of the simulation.

    wire.py      a web server's end of a connection, over a real socket
    site.py      the processes: state servers and a router, each at a port that it keeps
    load.py      workers who run pages, and everybody who touches every session again and again
    faults.py    what goes wrong
    run.py       one run from its beginning to its end
    figures.py   for how long sessions were out of reach, fault by fault

The page cycle, the history and the checker are those of tests/simulation; here time is real.

Nobody waits an hour for the pool to be redundant again. The router is told that sessions live for some
seconds only (`session_timeout_max`), although they live for a minute at least. That is sound as long as
every session is touched within that time, all locks that were left behind included; so they are all touched
in rounds, and a run in which that did not succeed proves nothing and says so.

`python -m tests.end_to_end.kills --sessions 2000 --workers 32 --faults 6` is the full size.
"""
