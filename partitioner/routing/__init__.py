"""The router: which server a session is on, and what keeps that true. The slow path, which defines what is
right.

How a request is answered, in the order in which it passes:

    router.py             what surrounds every exchange, from its gate to its client
    key_gate.py           one exchange of a key at a time
    answering.py          finds the answer, or stands in for a lock's server
    dispatch.py           which server is asked, and what is retried
    lookup.py             searches for a session that is missed where it belongs
    losses.py             declares lost what only servers have that are out of reach
    answer_recorder.py    does what follows from an answer
    replication.py        brings a write to all other servers that it concerns
    undelivered_locks.py  gives locks back whose answers did not reach their clients
    farm_mismatch.py      notices web servers that are not set up as one farm

What all of them stand on:

    core.py               puts a router together, and runs what goes on beside the exchanges
    roster.py             who is in the pool, and the one place where that changes
    ledger_keeper.py      turns what happens to connections and servers into marks
    internal_requests.py  what the router asks on its own account

What goes on beside the exchanges:

    probes.py             whether each server is there, and still the same
    expiry_sync.py        copies live as long as their primaries
    repair.py             puts marked servers right
    healing.py            walks through what servers hold, and has it put right
    session_healing.py    one session of that
    drain.py              hands over what a leaving server holds
    relocation.py         moves one session, for drains, searches and healing
    redundancy_watch.py   reports when a failure could lose sessions
    verification.py       counts what servers hold, and changes nothing
    inventory.py          the listings of servers, merged by key

Which router is the active one, and what the next one must know:

    tenure.py             claims, watches, and is superseded
    surveyor.py           asks all servers whose they are
    succession.py         what the router before has left
    lock_quarantine.py    locks that it may have granted
    record_keeper.py      writes down what the next router must know

What operators ask:

    withdrawal.py         what an order would lose
    inspection.py         where a session is, and what each server tells of it
    memory_survey.py      what takes the memory of servers
    session_looks.py      what a state server of our own tells of a single session
    item_weights.py       what items and sessions take of the memory
"""
