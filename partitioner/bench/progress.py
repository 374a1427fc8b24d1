"""One line that says how a bench is getting on."""

from partitioner.bench.counters import Tally
from partitioner.bench.run import Bench, Stage


class Progress:
    """Writes the line; rates are those since the line before."""

    def __init__(self, bench: Bench, now: float) -> None:
        self._bench = bench
        self._looked_at = now
        self._tally = bench.tally
        self._before = bench.tally.all_latencies()

    def line(self, now: float) -> str:
        """Say how things stand now."""
        bench = self._bench
        if bench.stage is not Stage.WORKING:
            return f"{bench.stage.value}: {bench.done:,} of {bench.plan.sessions:,}"
        return (
            f"{now - bench.tally.began_at:.0f} s of {bench.plan.duration:g} s  {self._pace(bench.tally, now)}"
        )

    def _pace(self, tally: Tally, now: float) -> str:
        if tally is not self._tally:  # the working time has begun, and with it another count
            self._tally = tally
            self._before = Tally(now).all_latencies()
            self._looked_at = tally.began_at
        latencies = tally.all_latencies()
        recent = latencies.since(self._before)
        per_second = recent.count / max(now - self._looked_at, 1e-3)
        self._before, self._looked_at = latencies, now
        p99 = recent.quantile(0.99) * 1000
        return f"{per_second:,.0f} exchanges/s  p99 {p99:.2f} ms  failed {tally.failed:,}"
