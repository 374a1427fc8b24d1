"""Stops the tasks of one simulated process for a while, as SIGSTOP does, while the world goes on.

A stopped process runs nothing: its time-outs strike, and bytes and connections arrive for it, but what it
makes of them it makes afterwards, all at once. So here its tasks become ready as they always do, and are
then held back from trio's scheduler until the process goes on. The queue of tasks that are ready is a
private name of trio, like those in generator.py, and a test fails when it has moved.
"""

from typing import Any

import trio


class Pauses:
    """The processes that are paused now, each known by the nursery that all its tasks live in."""

    def __init__(self) -> None:
        """Must be made in the run whose tasks it will hold back."""
        run: Any = trio._core._run
        self._runner = run.GLOBAL_RUN_CONTEXT.runner
        self._held: dict[trio.Nursery, list[Any]] = {}

    def pause(self, process: trio.Nursery) -> None:
        """Let no task in this nursery, or below it, run until `resume`."""
        if not isinstance(self._runner.deadlines, _Deadlines):
            self._runner.deadlines = _Deadlines(self._runner.deadlines, self)
        self._held.setdefault(process, [])

    def resume(self, process: trio.Nursery) -> None:
        """Let them run again, those first that have become ready first."""
        self._runner.runq.extend(self._held.pop(process, ()))

    def is_paused(self, process: trio.Nursery) -> bool:
        return process in self._held

    def hold_back(self) -> None:
        """Take the tasks of paused processes out of those that trio is about to run."""
        if not self._held:
            return
        ready, going_on = self._runner.runq, list[Any]()
        for task in ready:
            process = self._maybe_paused(task)
            (going_on if process is None else self._held[process]).append(task)
        if len(going_on) < len(ready):
            ready.clear()
            ready.extend(going_on)

    def _maybe_paused(self, task: Any) -> trio.Nursery | None:
        nursery = task.parent_nursery
        while nursery is not None:
            if nursery in self._held:
                found: trio.Nursery = nursery
                return found
            nursery = nursery.parent_task.parent_nursery
        return None


class _Deadlines:
    """trio's own deadlines: to see which have expired is the last thing it does before it runs tasks."""

    def __init__(self, deadlines: Any, pauses: Pauses) -> None:
        self._deadlines = deadlines
        self._pauses = pauses

    def expire(self, now: float) -> bool:
        has_expired: bool = self._deadlines.expire(now)
        self._pauses.hold_back()
        return has_expired

    def __getattr__(self, name: str) -> Any:
        return getattr(self._deadlines, name)
