"""Counts what a store reports, and reads what there is to know of it."""

from collections import Counter

from partitioner.errors import EngineEmpty, EngineLost, EngineTooSlow, EngineUnfit, StoreFailure
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.readings import Read, Readings, note_serving
from partitioner.store.engine import EngineClient
from partitioner.store.observer import StoreObserver
from partitioner.transport.listener import Downstream

REASONS = {EngineLost: "lost", EngineTooSlow: "too_slow", EngineUnfit: "unfit", EngineEmpty: "empty"}
OTHER_REASON = "unreachable"


class StoreCounters(StoreObserver):
    """Everything that a store has reported since the start, counted."""

    def __init__(self) -> None:
        self.losses: Counter[str] = Counter()  # of the engine, by reason
        self.repeated = 0
        self.degraded = 0
        self.late = 0
        self.locks_given_back = 0
        self.locks_left = 0
        self.foreign_records = 0
        self.refused_creations = 0

    def engine_lost(self, failure: StoreFailure) -> None:
        self.losses[_reason_of(failure)] += 1

    def call_repeated(self) -> None:
        self.repeated += 1

    def calls_degraded(self, count: int) -> None:
        self.degraded += count

    def call_was_late(self) -> None:
        self.late += 1

    def lock_given_back(self) -> None:
        self.locks_given_back += 1

    def lock_left(self, reason: str) -> None:
        self.locks_left += 1

    def record_is_foreign(self, name: bytes) -> None:
        self.foreign_records += 1

    def memory_is_full(self) -> None:
        self.refused_creations += 1


def _reason_of(failure: StoreFailure) -> str:
    return REASONS.get(type(failure), OTHER_REASON)


def store_reading(
    counters: Counters, store_counters: StoreCounters, downstream: Downstream, engine: EngineClient
) -> Read:
    """How the numbers of a state server with a store are read."""

    def read() -> Readings:
        readings = Readings()
        note_serving(readings, counters, downstream)
        readings.note("workers_serving", 1)
        readings.note("worker_restarts_total", 0)
        _note_engine(readings, engine)
        _note_counts(readings, store_counters)
        return readings

    return read


def _note_engine(readings: Readings, engine: EngineClient) -> None:
    note = readings.note
    shards = engine.shards
    note("ready", float(engine.why_not_ready is None))
    note("engine_up", sum(shard.trouble is None for shard in shards) / len(shards) if shards else 0.0)
    troubles = {_reason_of(shard.trouble) for shard in shards if shard.trouble is not None}
    for reason in (*REASONS.values(), OTHER_REASON):
        note("engine_trouble", float(reason in troubles), reason)
    note("engine_degraded", float(any(shard.is_degraded for shard in shards)))
    offsets = [shard.pipe.clock_difference() for shard in shards if shard.pipe is not None]
    note("engine_clock_offset_seconds", max(offsets, key=abs, default=0.0))
    ratios = [shard.facts.memory_ratio for shard in shards if shard.facts is not None]
    note("engine_memory_used_ratio", max(ratios, default=0.0))
    for shard in shards[:1]:
        readings.note_copy("engine_request_duration_seconds", shard.round_trips)


def _note_counts(readings: Readings, counters: StoreCounters) -> None:
    note = readings.note
    for reason in (*REASONS.values(), OTHER_REASON):
        note("engine_reconnects_total", counters.losses[reason], reason)
    note("requests_again_total", counters.repeated)
    note("requests_degraded_total", counters.degraded)
    note("requests_late_total", counters.late)
    note("locks_given_back_total", counters.locks_given_back)
    note("locks_left_total", counters.locks_left)
    note("foreign_records_total", counters.foreign_records)
    note("creations_refused_total", counters.refused_creations)
