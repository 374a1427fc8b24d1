"""Ledgers with a lock or a mark in them, to see what becomes of these."""

from collections.abc import Container

from partitioner.membership.backend import BackendId
from partitioner.membership.ledger import Ledger, LedgerPolicy

HOUR = 3_600.0
KEY, OTHER = b"/app/one", b"/app/another"
TARGET = b"%2fapp%2fone"
NOW = 100_000.0


def ledger(keys: int = 1_000_000) -> Ledger:
    return Ledger(LedgerPolicy(session_timeout=HOUR, session_timeout_max=24 * HOUR, keys=keys))


def marked(*servers: BackendId, is_stale: bool = False, since: float = NOW) -> Ledger:
    book = ledger()
    for server in servers:
        book.mark(KEY, TARGET, server, since, is_stale=is_stale)
    return book


class Everybody:
    """Contains every server."""

    def __contains__(self, server: object) -> bool:
        return True


EVERYBODY = Everybody()


def sweep(book: Ledger, now: float, answering: Container[BackendId] = EVERYBODY) -> None:
    for _ in book.sweep(now, answering):
        pass
