"""What an engine says of itself now and then (INFO), as far as somebody wants to know it."""

from dataclasses import dataclass

from partitioner.store.calls import Reply

SECTIONS = (b"memory", b"persistence", b"replication")

NO_EVICTION = "noeviction"


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """How an engine is. Sizes are bytes."""

    used_memory: int
    max_memory: int  # 0: no limit
    policy: str  # what is done when the memory is full
    is_persistent: bool  # an append-only file, or snapshots, are written
    replicas: int  # that are connected

    @property
    def memory_ratio(self) -> float:
        """The share of the memory that is in use, 0 to 1; 0 where there is no limit."""
        return self.used_memory / self.max_memory if self.max_memory else 0.0

    @property
    def trouble(self) -> str | None:
        """Why it must not hold sessions, if so: it would drop some of them, and say that they are absent."""
        if self.policy == NO_EVICTION:
            return None
        return (
            f"its `maxmemory-policy` is {self.policy!r}, by which sessions are dropped when its memory is "
            f"full; expected {NO_EVICTION!r}"
        )


def read_facts(reply: Reply) -> EngineFacts:
    """Read the reply to INFO; what does not stand there is taken for the usual."""
    said: dict[str, str] = {}
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            said[name] = value
    return EngineFacts(
        used_memory=int(said.get("used_memory", 0)),
        max_memory=int(said.get("maxmemory", 0)),
        policy=said.get("maxmemory_policy", NO_EVICTION),
        is_persistent=said.get("aof_enabled") == "1" or _saves(said),
        replicas=int(said.get("connected_slaves", 0)),
    )


def _saves(said: dict[str, str]) -> bool:
    """Whether snapshots are written: one was since the start, or is under way."""
    return int(said.get("rdb_saves", 0)) > 0 or said.get("rdb_bgsave_in_progress") == "1"
