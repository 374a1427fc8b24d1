"""Identities of backends, for tests. A backend whose memory is the only one of its name goes by that name."""

from collections.abc import Iterable

from partitioner.membership.backend import BackendId

A, B, C, D = map(BackendId, "abcd")

STATE_1, STATE_2, STATE_3 = map(BackendId, ("state-1", "state-2", "state-3"))


def identities(names: Iterable[str]) -> list[BackendId]:
    """The identities of backends that go by their names; of a word, one for each letter."""
    return [BackendId(name) for name in names]
