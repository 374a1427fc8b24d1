"""The client's end of one exchange, for what this program asks on its own account.

Probes, canaries and releases of ghost locks are small: request and answer are held whole.
"""

from partitioner.errors import ConnectionEnded, MalformedAnswer
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.protocol.reader import BodyPiece, Event, answer_reader
from partitioner.transport.channel import Channel


async def exchange(
    channel: Channel, operation: Operation, request: bytes, most_bytes: int
) -> tuple[AnswerHead, bytes]:
    """Send a whole request of this operation and read its answer, head and body of at most so many bytes.

    Raises ConnectionBroken, ConnectionEnded or MalformedAnswer; the channel is of no use then.
    """
    await channel.send(request)
    reader = answer_reader(operation)
    head: AnswerHead | None = None
    pieces: list[bytes] = []
    while (event := reader.next_event()) is not Event.END_OF_MESSAGE:
        match event:
            case AnswerHead():
                head = event
                if head.content_length > most_bytes:
                    raise MalformedAnswer(f"{head.content_length} bytes where {most_bytes} are the most")
            case BodyPiece(data):
                pieces.append(data)
            case Event.NEED_DATA:
                data = await channel.receive()
                if not data:
                    raise ConnectionEnded("closed the connection before the answer was complete")
                reader.feed(data)
    if not reader.is_between_messages:
        raise MalformedAnswer("more bytes than its answer has")
    assert head is not None
    return head, b"".join(pieces)
