"""Commands as bytes (RESP 2). Replies are read by hiredis."""


def write_command(*arguments: bytes) -> bytes:
    """One command: its name and its arguments."""
    pieces = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        pieces.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(pieces)
