"""What a router keeps on every state server under its own name, as bytes: canary, term and record.

    /partitioner/NAME/canary        a random token, which names one memory of one server; and the last beat
    /partitioner/NAME/term          which router may write: the highest term, a number and a random word
    /partitioner/NAME/record-TERM   what the next router must know (membership.record)

State servers have no identity: one that was restarted looks like itself and has forgotten everything. The
token tells one memory from the next. The beat, milliseconds by the clock of the active router, tells whether
a memory has gone back in time: a snapshot that was restored, or an old state file (design.md 5.1).

    canary   TOKEN | TOKEN beat=MILLISECONDS used=0|1|- [others=MEMORY-MILLISECONDS[,...]]
    term     NUMBER WORD [NUMBER-WORD ...]      with earlier ones, whose records may still be there

`used=-` says that the writer has stopped in order. `others` are the last beats that other memories have
taken, each named by eight digits of its token's hash: so the next router knows what a memory must show.
"""

import re
from dataclasses import dataclass

from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedAnswer

ITEMS = "/partitioner/"
"""Where the keys of all such items begin. No client has any business there."""

MOST_CANARY_BYTES = 2048
MOST_TERM_BYTES = 256
MOST_RECORD_BYTES = 64 * 1024

MOST_OTHERS = 60
"""Memories whose beats one canary tells."""

_CANARY = re.compile(
    rb"(?P<token>[!-~]{1,256})(?: beat=(?P<beat>[0-9]{1,15}) used=(?P<used>[01-])"
    rb"(?: others=(?P<others>[0-9a-f]{8}-[0-9]{1,15}(?:,[0-9a-f]{8}-[0-9]{1,15})*))?)?"
)
_TERM = re.compile(
    rb"(?P<number>[0-9]{1,15}) (?P<word>[0-9a-z]{1,16})(?P<earlier>(?: [0-9]{1,15}-[0-9a-z]{1,16})*)"
)
MOST_EARLIER = 4
"""Terms whose records are looked for: the latest ones that have left any."""


@dataclass(frozen=True, slots=True)
class CanaryItem:
    """What a server's canary says."""

    token: bytes  # of this memory
    beat: int = 0  # milliseconds; 0 where none was written yet
    is_used: bool = False  # whether its writer answered a client's exchange since the beat before
    is_last: bool = False  # whether its writer has stopped in order
    others: tuple[tuple[str, int], ...] = ()  # beats of other memories, each by `short_of` its token

    def written(self) -> bytes:
        used = b"-" if self.is_last else b"%d" % self.is_used
        told = ",".join(f"{memory}-{beat}" for memory, beat in self.others[:MOST_OTHERS])
        others = b" others=" + told.encode() if told else b""
        return b"%b beat=%d used=%b%b" % (self.token, self.beat, used, others)


def short_of(token: bytes) -> str:
    """Eight digits that tell the memories of one farm apart."""
    return xxh3_64_hexdigest(token)[:8]


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """The right to write. The higher one is the later one: by its number, then by its word."""

    number: int
    word: str

    def __str__(self) -> str:
        return f"{self.number}-{self.word}"


@dataclass(frozen=True, slots=True)
class TermItem:
    """What a server's term says."""

    term: Term
    earlier: tuple[Term, ...] = ()  # the latest first

    @property
    def all(self) -> tuple[Term, ...]:
        return (self.term, *self.earlier)

    def written(self) -> bytes:
        earlier = "".join(f" {term}" for term in self.earlier[:MOST_EARLIER])
        return f"{self.term.number} {self.term.word}{earlier}".encode()


def read_canary(content: bytes) -> CanaryItem:
    """Read the content of a canary.

    Raises MalformedAnswer.
    """
    match = _CANARY.fullmatch(content)
    if match is None:
        raise MalformedAnswer(f"has {content[:40]!r} for a canary; expected a token and its beat")
    told = (each.split("-") for each in (match["others"] or b"").decode().split(",") if each)
    return CanaryItem(
        match["token"],
        int(match["beat"] or 0),
        is_used=match["used"] == b"1",
        is_last=match["used"] == b"-",
        others=tuple((memory, int(beat)) for memory, beat in told),
    )


def read_term(content: bytes) -> TermItem:
    """Read the content of a term.

    Raises MalformedAnswer.
    """
    match = _TERM.fullmatch(content)
    if match is None:
        raise MalformedAnswer(f"has {content[:40]!r} for a term; expected a number and a word")
    earlier = (each.partition(b"-") for each in match["earlier"].split())
    return TermItem(
        Term(int(match["number"]), match["word"].decode()),
        tuple(Term(int(number), word.decode()) for number, _, word in earlier),
    )
