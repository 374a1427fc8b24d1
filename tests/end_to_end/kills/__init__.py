"""Real processes are killed and frozen under load; the judge is that of the simulation.

    wire.py      a web server's end of a connection, over a real socket
    site.py      the processes: state servers and routers, each at a port that it keeps
    load.py      workers who run pages, and everybody who touches every session again and again
    faults.py    what goes wrong
    run.py       one run from its beginning to its end
    figures.py   for how long sessions were out of reach, fault by fault

The router is killed, restarted and replaced as well, with a `state_dir` and without, and reloads rename,
respell, swap and reweigh servers: `--drawn` draws from all faults, `--only` from some.

The page cycle, the history and the checker are those of tests/simulation; here time is real.

The full size, `python -m tests.end_to_end.kills --sessions 2000 --workers 32 --faults 6`, tells the router
the truth: sessions live for a minute (T_max), and so the pool is redundant a minute after a server has
lost what it had. Its sessions are all touched within that minute.

The size that is part of the suite cannot wait so long, and has T_max set to less than the sessions live.
Then T_max has to be as good as true: whatever the router takes to have expired or to be in place by then
must be so. A touch is not enough for that. It renews the copies of a session; but what an earlier change of
the pool has left elsewhere expires when its minute is over, not when T_max is, and would be found again
and believed. A save removes it. So every session is *saved* within T_max, again and again, all locks that
are left behind included. A run in which that did not succeed proves nothing, and says so.
"""
