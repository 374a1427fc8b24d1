"""How a store is reached, and what it takes for a reply to count."""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

from partitioner.membership.backend import Address, parse_address
from partitioner.membership.losses import LostSessions


class Engine(Enum):
    """Which engine it is; what `check` says about versions differs, and nothing else."""

    VALKEY = "valkey"
    REDIS = "redis"


class Acknowledge(Enum):
    """Who must have a change before it is answered."""

    REPLICAS = "replicas"  # all that are known
    PRIMARY = "primary"  # the primary alone


class Otherwise(Enum):
    """What is done where a replica is away."""

    DEGRADED = "degraded"  # answered, and counted
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are for an engine, or for Sentinels. Without a password nothing is said."""

    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"<Credentials of {self.user or 'the default user'}>"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the engine; files are PEM. Without `ca` the system's authorities are trusted."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """Sentinels, and the name by which they know the primary."""

    name: str
    addresses: tuple[Address, ...]
    credentials: Credentials = Credentials()


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """Everything about a store. Times are seconds, sizes bytes.

    Exactly one of `primary`, `sentinel` and `cluster` is given.
    """

    primary: Address | None = None
    sentinel: SentinelGroup | None = None
    cluster: tuple[Address, ...] = ()
    engine: Engine = Engine.VALKEY
    credentials: Credentials = Credentials()
    tls: Tls | None = None
    database: int = 0
    prefix: bytes = b"aspnet:"
    acknowledge: Acknowledge = Acknowledge.REPLICAS
    otherwise: Otherwise = Otherwise.DEGRADED
    lost_sessions: LostSessions = LostSessions.CLOSE
    connections: int = 2  # to each primary
    connect_timeout: float = 1.0
    answer_timeout: float = 1.0
    waiting_memory: int = 256 * 1024 * 1024  # bytes of requests that wait for the engine

    @property
    def place(self) -> str:
        """Where the engine is, for people."""
        if self.sentinel is not None:
            return f"the primary {self.sentinel.name!r} that Sentinels name"
        if self.cluster:
            return f"the Cluster of {self.cluster[0]}"
        return str(self.primary)


_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
"""The schemes of an engine's URL, and whether it is spoken to by TLS."""


def parse_store_url(url: str) -> StorePolicy:
    """Read `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`; `rediss` is by TLS, `valkey` is the same.

    Raises ValueError with a sentence that does not repeat the password.
    """
    expected = "expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS"
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the scheme is {parts.scheme!r}; {expected}")
    where = parts.netloc.rpartition("@")[2]
    database = parts.path.strip("/")
    if not where or (database and not database.isdecimal()):
        raise ValueError(f"{where!r} with the path {parts.path!r}; {expected}")
    has_port = parts.port is not None
    return StorePolicy(
        primary=parse_address(where if has_port else f"{where}:6379"),
        engine=Engine.VALKEY if parts.scheme.startswith("valkey") else Engine.REDIS,
        credentials=Credentials(unquote(parts.username or ""), unquote(parts.password or "")),
        tls=Tls() if _SCHEMES[parts.scheme] else None,
        database=int(database or 0),
    )
