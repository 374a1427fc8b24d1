"""From the target of a request to the key of a session, as a stock server derives it.

The same session comes in many spellings: `%2fLM`, `%2FLM` and `/LM` are one key, `//LM` is the same
once more, and an application with the AntiXss encoder escapes what others leave literal. Server and
router must agree on what is one session, so both decode by the rules of protocol.md 4.2.

Keys are UTF-8 bytes (lone surrogates pass): half the size of text, and what placement hashes.
"""

import re
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes
from zlib import crc32

_UTF_16_UNIT = re.compile(rb"%u([0-9A-Fa-f]{4})")
_SURROGATE = re.compile("([\ud800-\udfff])")
# HttpUtility.UrlEncode leaves these literal (protocol.md 4.1); quote() always leaves letters, digits and _.-~
_LITERAL = "-_.!*()"

PIECES = 4096
"""Into so many pieces a table of sessions is divided. Changing it changes the order of listings."""

_MOST_APPLICATIONS = 256
"""More than a farm has. Others that clients invent are served all the same, at the price of decoding them."""


def server_key(target: bytes) -> bytes:
    """The key under which a stock server files the session: decoded, one of two leading slashes dropped.

    Source: protocol.md 4.2.
    """
    return _decode(target[1:] if target.startswith(b"//") else target)


def canonical_key(target: bytes) -> bytes:
    """The key by which sessions are routed: decoded, and with exactly one leading slash.

    Coarser than server_key, so that no spelling that any server may take for the same session is
    routed elsewhere.
    Source: protocol.md 4.3.
    """
    return canonical_form(server_key(target))


def canonical_form(key: bytes) -> bytes:
    """The canonical key of a session of which the server_key is known: that saves decoding a target again."""
    return b"/" + key.lstrip(b"/")


def encode_target(key: str) -> bytes:
    """Percent-encode a key as the real client does: lower-case hex, parentheses literal.

    Source: protocol.md 4.1.
    """
    upper = quote(key, safe=_LITERAL).replace("~", "%7E").replace("%20", "+")
    return re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), upper).encode()


def target_of(key: bytes) -> bytes:
    """A target from which server_key derives this key, which it has derived from some target before."""
    pieces = _SURROGATE.split(key.decode("utf-8", "surrogatepass"))  # text, surrogate, text, ..., text
    spelt = [
        b"%%u%04x" % ord(piece) if index % 2 else encode_target(piece) for index, piece in enumerate(pieces)
    ]
    return b"".join(spelt)


def piece_of(key: bytes) -> int:
    """The piece of a table in which a key is filed, 0..PIECES-1: the same in every process and release."""
    return crc32(key) % PIECES


def listing_place(key: bytes) -> tuple[int, bytes]:
    """What listings of sessions are ordered by: the piece, then the key.

    A server sorts one piece of a few hundred keys at a time, and a router that merges the listings of several
    servers computes the same order from the keys alone.
    """
    return crc32(key) % PIECES, key


class Applications:
    """Derives keys as one of the functions above does, at a fraction of the price.

    A target is mostly that of its application, `%2f`, and an ID that stands for itself. No escape and no
    character reaches across a `%2f`, so the part before it can be decoded once for all of the sessions.
    """

    def __init__(self, key_of: Callable[[bytes], bytes]) -> None:
        self._key_of = key_of
        self._decoded: dict[bytes, bytes] = {}  # of applications: the beginning of the keys of their sessions

    def key_of(self, target: bytes) -> bytes:
        """The key that the function derives from this target."""
        application, slash, session_id = target.rpartition(b"%2f")
        if not application or not session_id.isalnum():
            return self._key_of(target)
        decoded = self._decoded.get(application)
        if decoded is None:
            decoded = self._key_of(application + slash)
            if len(self._decoded) < _MOST_APPLICATIONS:
                self._decoded[application] = decoded
        return decoded + session_id


class Spellings:
    """Spells keys as `target_of` does, at a fraction of the price: applications are encoded once."""

    def __init__(self) -> None:
        self._encoded: dict[bytes, bytes] = {}  # of applications: the beginning of their sessions' targets

    def target_of(self, key: bytes) -> bytes:
        application, slash, session_id = key.rpartition(b"/")
        if not slash or not session_id.isalnum():
            return target_of(key)
        encoded = self._encoded.get(application)
        if encoded is None:
            encoded = target_of(application + slash)
            if len(self._encoded) < _MOST_APPLICATIONS:
                self._encoded[application] = encoded
        return encoded + session_id


def _decode(target: bytes) -> bytes:
    blank = target.replace(b"+", b" ")
    if b"%u" in blank:
        return _decode_with_utf_16_units(blank)
    decoded = unquote_to_bytes(blank)
    if decoded.isascii():
        return decoded
    return decoded.decode("utf-8", "replace").encode()


def _decode_with_utf_16_units(blank: bytes) -> bytes:
    """Decode `%uXXXX` as well; a pair of surrogates joins to the one character that it stands for."""
    pieces = _UTF_16_UNIT.split(blank)  # text, unit, text, unit, ..., text
    text = ""
    for index, piece in enumerate(pieces):
        text += chr(int(piece, 16)) if index % 2 else unquote_to_bytes(piece).decode("utf-8", "replace")
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined.encode("utf-8", "surrogatepass")
