"""`partitioner` with one rule of the store switched off, to see that the judge notices.

The variable STORE_WITHOUT says which: ids, giving_back, stays, or counting. That nothing is carried out late
is seen by tests/store/test_scripts.py.
"""

import os

from partitioner.store import calls, canary, giving_back, topology

VARIABLE = "STORE_WITHOUT"


def _without_ids() -> None:
    """What is sent again is not known by its id: each try has another one."""
    write_to = calls.Call.write_to

    def write_with_another_id(call: calls.Call, pieces: list[bytes], clock_offset: float) -> None:
        if call.is_again and call.script.name in ("acquire", "set", "insert"):
            call.arguments = (os.urandom(8), *call.arguments[1:])
            call.is_again = False
        write_to(call, pieces, clock_offset)

    calls.Call.write_to = write_with_another_id  # type: ignore[method-assign, assignment]


def _without_giving_back() -> None:
    """The lock of a page that has failed stays."""
    giving_back.GivingBack._begin = lambda *_: None  # type: ignore[method-assign]


def _without_stays() -> None:
    """A primary that replicas have left is believed."""

    async def tenure(self: topology.SentinelTopology, primary: topology.Primary) -> topology.Tenure:
        return topology.Tenure.LASTED

    topology.SentinelTopology.tenure = tenure  # type: ignore[method-assign]


def _without_counting() -> None:
    """An engine that has gone back is believed."""
    canary.Canary.mark = property(lambda self: canary.NO_MARK)  # type: ignore[assignment, method-assign]


RULES = {
    "nothing": lambda: None,  # the configuration does it
    "ids": _without_ids,
    "giving_back": _without_giving_back,
    "stays": _without_stays,
    "counting": _without_counting,
}


def main() -> None:
    """The same as the console script."""
    from partitioner.__main__ import run

    RULES[os.environ[VARIABLE]]()
    run()


if __name__ == "__main__":
    main()
