"""Who is in the pool and how they fare; what is remembered of sessions; what to do on a failure. Pure.

The servers:

    backend.py            a state server as the router knows it
    health.py             the health machine, and its table
    identification.py     which member a server is that was renamed or has moved
    memories.py           what is known of memories by their tokens
    pool.py               the snapshot that a request goes by: who acts for a key
    eras.py               what was in force before
    redundancy.py         whether the next server may fail
    wholeness.py          whether a session is where it belongs, whole
    fingerprint.py        whether two routers place sessions in the same way

The sessions:

    exchange.py           the rules of an exchange: what may be asked, and what an answer means
    retry.py              the retry table
    ledger.py             what has to be remembered of single sessions
    entry.py              that of one of them: a lock, and marks
    mark_index.py         marks by server
    settled_keys.py       keys that are known to lie where they belong
    losses.py             when sessions count as lost
    legacy.py             the ledger as bytes

One router after the other:

    tenure.py             which router is the active one
    items.py              what it keeps on every server: canary, term and record
    fencing.py            whose connection it is
    survey.py             what was read at all servers, and how far it is believed
    record.py             what the next router must know
    record_format.py      that as bytes
    numbers.py            whether its numbers can be reckoned with
    inheritance.py        what a router begins with
    quarantine.py         who may hold a lock of the router before
    farm_clock.py         a clock that all routers of a farm share
"""
