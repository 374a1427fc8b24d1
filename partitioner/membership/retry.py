"""May a request be retried? The retry table.

A retry is safe where the operation may run twice, or where nothing of it was written. The
alternative is to close the client's connection: its page fails loudly, and nothing is lost. A set
that ran twice might overwrite a newer save; an acquire that ran twice would find the lock taken by
its own first run, and it would stay for 110 s without a holder (protocol.md 10.1.9, design.md 6).
"""

from enum import Enum

from partitioner.errors import Phase
from partitioner.protocol.messages import Operation


class Verdict(Enum):
    """What to do about an exchange that failed."""

    RETRY = "retry"
    GIVE_UP = "close the client's connection"


_RETRY, _GIVE_UP = Verdict.RETRY, Verdict.GIVE_UP

RETRIES: dict[tuple[Operation, Phase], Verdict] = {
    (Operation.GET, Phase.CONNECTING): _RETRY,
    (Operation.GET, Phase.SENDING): _RETRY,
    (Operation.GET, Phase.READING): _RETRY,  # only a one-shot ActionFlags can be lost
    (Operation.ACQUIRE, Phase.CONNECTING): _RETRY,
    (Operation.ACQUIRE, Phase.SENDING): _GIVE_UP,
    (Operation.ACQUIRE, Phase.READING): _GIVE_UP,
    (Operation.RELEASE, Phase.CONNECTING): _RETRY,
    (Operation.RELEASE, Phase.SENDING): _RETRY,
    (Operation.RELEASE, Phase.READING): _RETRY,  # a second one is a no-op, or a harmless 423
    (Operation.SET, Phase.CONNECTING): _RETRY,
    (Operation.SET, Phase.SENDING): _GIVE_UP,
    (Operation.SET, Phase.READING): _GIVE_UP,
    (Operation.CREATE_UNINITIALIZED, Phase.CONNECTING): _RETRY,
    (Operation.CREATE_UNINITIALIZED, Phase.SENDING): _RETRY,
    (Operation.CREATE_UNINITIALIZED, Phase.READING): _RETRY,  # insert only
    (Operation.REMOVE, Phase.CONNECTING): _RETRY,
    (Operation.REMOVE, Phase.SENDING): _RETRY,
    (Operation.REMOVE, Phase.READING): _RETRY,  # the second one's 404 counts as done
    (Operation.RESET_TIMEOUT, Phase.CONNECTING): _RETRY,
    (Operation.RESET_TIMEOUT, Phase.SENDING): _RETRY,
    (Operation.RESET_TIMEOUT, Phase.READING): _RETRY,
}

MOST_SENDINGS = 2
"""How often a request may be written, wholly or in part. Connecting may fail until the deadline."""


def verdict(operation: Operation, phase: Phase, sendings: int) -> Verdict:
    """Decide about an exchange that failed in `phase`, the request having been written `sendings` times."""
    if phase is not Phase.CONNECTING and sendings >= MOST_SENDINGS:
        return Verdict.GIVE_UP
    return RETRIES[operation, phase]
