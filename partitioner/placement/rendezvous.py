"""Weighted rendezvous hashing: the preference list of a session.

Every server gets a score for the session; the highest score is first choice, the next one second,
and so on. Removing a server removes it from the lists and changes nothing else in them, so exactly
its own sessions move; a server that joins takes its due from all others alike. There is no ring and
no state: the same names and weights give the same lists in every router and every release.

A ring with virtual nodes (the way not chosen) balances worse, moves more when weights change, and
does not give distinct second choices without extra rules. The price of rendezvous is a hash per
server and session, about half a microsecond, which pools of state servers can afford.

Sources: Thaler & Ravishankar (1998); weights after Schindelhauer & Schomaker (2005); specified to
the bit in design.md 4.
"""

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from math import log
from operator import itemgetter
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from partitioner.errors import EmptyPool

REMEMBERED = 1024
"""Sessions whose preference lists a map remembers. One exchange asks for the list several times, and a page
makes two exchanges; so it need only be as many as are in the middle of a page."""

_UNIT = 2.0**-52


class _Score(NamedTuple):
    """How much a server wants a session; the greatest wins, and ties fall by hash, then by name."""

    score: float
    hash: int


class Ranking:
    """The servers of a map with their weights, ready to rank them for any session."""

    __slots__ = ("_alike", "_ranked", "_servers", "weights")

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Take the servers' names and weights; a weight is greater than 0."""
        self.weights = dict(weights)
        # In order of name, so that a stable sort leaves full ties in that order.
        self._servers = [(name, _seed(name), self.weights[name]) for name in sorted(self.weights)]
        self._alike = _by_weight(self._servers)
        self._ranked = lru_cache(REMEMBERED)(self._rank)

    def preference_list(self, key: bytes, length: int | None = None) -> tuple[str, ...]:
        """Name the servers that should hold a session, best first.

        `key` is what placement_key answers. Keeps the first `length` names; without it, all of them.

        Raises EmptyPool if there are no servers.
        """
        if not self._servers:
            raise EmptyPool("a preference list was asked of a pool without servers")
        return self._ranked(key)[:length]

    def best(self, key: bytes) -> tuple[float, int, str] | None:
        """The first choice with its score and hash, by which several maps compare; None: no servers.

        Servers of one weight are in the order of their hashes, so that only the greatest one needs a score.
        """
        found: tuple[float, int, str] | None = None
        for weight, seeds, names in self._alike:
            digests = [xxh3_64_intdigest(key, seed) for seed in seeds]
            digest = max(digests)
            score = _of_digest(digest, weight)
            name = names[digests.index(digest)]
            if (
                found is None
                or (score, digest) > found[:2]
                or ((score, digest) == found[:2] and name < found[2])
            ):
                found = (score, digest, name)
        return found

    def first_choice(self, key: bytes, among: Container[str]) -> str | None:
        """Name the first of the preference list that is `among` these, without sorting the rest."""
        best: str | None = None
        best_score = _Score(-1.0, -1)
        for name, seed, weight in self._servers:
            if name in among and (score := _score(key, seed, weight)) > best_score:
                best, best_score = name, score
        return best

    def _rank(self, key: bytes) -> tuple[str, ...]:
        if len(self._alike) == 1:  # servers of one weight are in the order of their hashes
            _, seeds, names = self._alike[0]
            digests = [xxh3_64_intdigest(key, seed) for seed in seeds]
            ranked = sorted(zip(digests, names, strict=True), key=itemgetter(0), reverse=True)
            return tuple([name for _, name in ranked])
        scored = [(_score(key, seed, weight), name) for name, seed, weight in self._servers]
        scored.sort(key=lambda pair: pair[0], reverse=True)
        return tuple(name for _, name in scored)


def _seed(name: str) -> int:
    return xxh3_64_intdigest(name.encode("utf-8"))


def _by_weight(servers: Sequence[tuple[str, int, float]]) -> list[tuple[float, list[int], list[str]]]:
    """Servers of one weight together: the weight, their seeds, their names."""
    found: dict[float, tuple[list[int], list[str]]] = {}
    for name, seed, weight in servers:
        seeds, names = found.setdefault(weight, ([], []))
        seeds.append(seed)
        names.append(name)
    return [(weight, seeds, names) for weight, (seeds, names) in found.items()]


def _score(key: bytes, seed: int, weight: float) -> _Score:
    digest = xxh3_64_intdigest(key, seed)
    return _Score(_of_digest(digest, weight), digest)


def _of_digest(digest: int, weight: float) -> float:
    u = ((digest >> 12) + 0.5) * _UNIT
    return weight / -log(u)
