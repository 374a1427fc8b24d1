"""Hostile bytes in large numbers: heads at the parser, conversations with a real router.

    python -m tests.fuzz heads --count 10000000 [--seed 1]
    python -m tests.fuzz conversations --count 1000000 [--seed 1]

In slices, each of which is repeated by its seed alone; a bar shows how far it is. At the end it says how much
memory and how many open files the process has that was tried, and had at the start.

    hostile.py        draws heads and conversations: valid ones, cut, mutated, and junk
    heads.py          every head is read, refused or waited for, the same in whatever pieces
    conversations.py  a router and three state servers, and sockets that say all that to it
"""
