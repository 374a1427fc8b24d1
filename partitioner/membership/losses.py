"""What becomes of the sessions of a server that is out: configuration key `lost_sessions`."""

from enum import Enum


class LostSessions(Enum):
    """How requests are met whose sessions were on an ejected server (design.md, promise P2)."""

    NEW = "new"  # their keys are served by the next of their preference list, where the users start anew
    CLOSE = "close"  # they are refused by closing the client's connection, until their server is back
