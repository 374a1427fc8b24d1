"""One line that says how a bench is getting on."""

from partitioner.bench.counters import Counters
from partitioner.bench.run import Bench, Stage


class Progress:
    """Writes the line; rates are those since the line before."""

    def __init__(self, bench: Bench, now: float) -> None:
        self._bench = bench
        self._looked_at = now
        self._counters = bench.counters
        self._before = bench.counters.all_latencies()

    def line(self, now: float) -> str:
        """Say how things stand now."""
        bench = self._bench
        if bench.stage is not Stage.WORKING:
            return f"{bench.stage.value}: {bench.done:,} of {bench.plan.sessions:,}"
        working = now - bench.counters.began_at
        return f"{working:.0f} s of {bench.plan.duration:g} s  {self._pace(bench.counters, now)}"

    def _pace(self, counters: Counters, now: float) -> str:
        if counters is not self._counters:  # the working time has begun, and with it another count
            self._counters = counters
            self._before = Counters(now).all_latencies()
            self._looked_at = counters.began_at
        latencies = counters.all_latencies()
        recent = latencies.since(self._before)
        per_second = recent.count / max(now - self._looked_at, 1e-3)
        self._before, self._looked_at = latencies, now
        p99 = recent.quantile(0.99) * 1000
        return f"{per_second:,.0f} exchanges/s  p99 {p99:.2f} ms  failed {counters.failed:,}"
