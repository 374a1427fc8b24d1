"""Every head is read, refused or waited for, the same in whatever pieces it comes."""

from random import Random

from partitioner.errors import MalformedRequest
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.reader import BodyPiece, Event, request_reader
from tests.fuzz.hostile import draw_hostile

Outcome = list[tuple[bytes, bytes] | str]


def read(dialect: Dialect, pieces: list[bytes]) -> Outcome:
    """Head and body of each message, and the refusal at the end, if there is one."""
    reader, found = request_reader(dialect), Outcome()
    head, body = b"", b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not Event.NEED_DATA:
                match event:
                    case RequestHead():
                        head, body = event.raw, b""
                    case BodyPiece():
                        body += event.data
                    case _:
                        found.append((head, body))
    except MalformedRequest:
        found.append("refused")
    return found


def try_slice(seed: int, count: int) -> int:
    """Read so many drawn by this seed; return how many heads there were in them. Raises AssertionError."""
    rng, heads = Random(seed), 0
    for number in range(count):
        said, dialect = draw_hostile(rng), rng.choice((Dialect.STOCK, Dialect.GUARDED))
        cut = rng.randrange(len(said) + 1)
        whole, cut_up = read(dialect, [said]), read(dialect, [said[:cut], said[cut:]])
        assert whole == cut_up, f"seed {seed}, number {number}: {said!r}, cut at {cut}"
        heads += max(1, len(whole))
    return heads
