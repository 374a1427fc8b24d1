"""Rules of the router, each broken on purpose.

A rule that can be broken without any test noticing is not tested. Each mutation here replaces one decision
of the package by the wrong one for the time of a history; `proofs` names what catches it.

    breaking.py     how a rule is broken, and the table of all mutations
    sessions.py     copies, marks, locks, and whether a session exists (design.md 7)
    memories.py     which memory is whose, and what has gone back in time (design.md 5.1)
    succession.py   the record, claims, terms and lock quarantine (design.md 5.2 to 5.5)
    proofs.py       for each mutation the seed or the unit test that turns red
"""

from tests.simulation.mutations import memories, sessions, succession
from tests.simulation.mutations.breaking import MUTATIONS, broken

__all__ = ["MUTATIONS", "broken", "memories", "sessions", "succession"]
