"""Sessions on an engine: Valkey or Redis, alone, with Sentinel, or as a Cluster.

A state server that keeps nothing itself. Each request is one atomic script on one key (scripts.py, the rows
of protocol.md 6), so any number of equal state servers may use one engine at the same time.

    request -> responder.py -> translation.py: a Call -> engine.py: which shard
            -> shard.py: queue -> pipe.py: one batch -> the engine -> the replies, all at once
            <- translation.py: an Answer <- shard.py: acknowledged? <-

What makes it safe, each rule beside the code that obeys it:

- A request that got no reply is sent again under the same id, and the scripts recognise it (scripts.py).
- A script that starts after its deadline does nothing (scripts.py, `until`).
- A reply counts when all replicas have it, or when the Sentinels say that no failover can lose it (shard.py).
- A lock whose page has failed is given back (giving_back.py).
- An engine that has lost its sessions is not believed when it says that one is absent (canary.py).
"""
