"""Inflates a compressed body, as much of it as can be and may be."""

import zlib

ENDS = "it ends here"
"""Why there is no more of a body that is whole, or was cut off."""

_STEP = 4096
"""Bytes that are fed to the decompressor at once. They may become four megabytes."""

_BEHIND = b"\xff"
"""What ASP.NET writes behind the compressed stream (protocol.md 9)."""


def inflate(body: bytes, at_most: int) -> tuple[bytes, str]:
    """What comes out of a raw DEFLATE stream, `at_most` bytes of it, and why there is no more. Never raises.

    Where the stream is damaged, that is everything up to the damage.
    """
    run = _Run(at_most)
    begin = 0
    while begin < len(body) and run.goes_on:
        step = body[begin : begin + _STEP]
        if not run.feed(step):
            return _up_to_the_damage(body, begin, at_most)
        begin += len(step)
    content = b"".join(run.pieces)
    if run.is_full:
        return content, f"no more than {at_most} bytes of a compressed body are read"
    if not run.has_ended:
        return content, "the compressed stream is cut off here"
    behind = run.behind + body[begin:]
    return content, ENDS if behind == _BEHIND else "the compressed stream is not followed by one byte ff"


def _up_to_the_damage(body: bytes, begin: int, at_most: int) -> tuple[bytes, str]:
    """The same of a stream whose step from `begin` on is damaged: this time it is fed byte by byte there."""
    run = _Run(at_most)
    for start in range(0, begin, _STEP):
        run.feed(body[start : start + _STEP])
    at = begin
    while run.feed(body[at : at + 1]):
        at += 1
    return b"".join(run.pieces), f"the compressed stream is damaged, at its byte {at}"


class _Run:
    """One way through a stream."""

    def __init__(self, at_most: int) -> None:
        self.pieces: list[bytes] = []
        self._stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._left = at_most

    @property
    def has_ended(self) -> bool:
        return self._stream.eof

    @property
    def is_full(self) -> bool:
        """Whether there is more than may be inflated."""
        return not self._left and not self._stream.eof

    @property
    def goes_on(self) -> bool:
        return self._left > 0 and not self._stream.eof

    @property
    def behind(self) -> bytes:
        """What was fed beyond the end of the stream."""
        return self._stream.unused_data

    def feed(self, step: bytes) -> bool:
        """Inflate some bytes of it; return whether that was possible."""
        while step and self.goes_on:
            try:
                piece = self._stream.decompress(step, self._left)
            except zlib.error:
                return False
            self.pieces.append(piece)
            self._left -= len(piece)
            step = self._stream.unconsumed_tail
        return True
