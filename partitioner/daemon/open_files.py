"""How many files this process may have open, and how many connections fit into that.

A router that takes as many clients as there are files cannot reach its own state servers any more. So the
limits of connections are fitted to the limit of files before the first client is accepted, with room kept for
state servers, probes, the admin port and the files of the process itself.
"""

import resource
from contextlib import suppress
from dataclasses import dataclass

BESIDE_CONNECTIONS = 256
"""Files for everything else: 64 of the admin port, probes and canaries, listeners, the state directory."""


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """How many connections there may be."""

    clients: int
    per_backend: int = 0
    backends: int = 0
    ends_here: int = 1  # 2 where the backends live in this process, and it has both ends of a connection

    @property
    def files(self) -> int:
        """How many files they take, with all that is open beside them."""
        return self.clients + self.backends * self.per_backend * self.ends_here + BESIDE_CONNECTIONS

    def fitted(self, files: int) -> "ConnectionCounts":
        """As many of them as so many files allow; at least one of each.

        Of what there is, half is for clients, and more where the backends do not need their half.
        """
        if self.files <= files:
            return self
        room = max(files - BESIDE_CONNECTIONS, files // 2)
        for_backends = min(self.backends * self.per_backend * self.ends_here, room // 2)
        clients = max(1, min(self.clients, room - for_backends))
        if not self.backends:
            return ConnectionCounts(clients)
        per_backend = (room - clients) // (self.backends * self.ends_here)
        per_backend = max(1, min(self.per_backend, per_backend))
        return ConnectionCounts(clients, per_backend, self.backends, self.ends_here)


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to so many, as far as it may be; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
