"""The status page of a state server with a store: its headline, and what it shows."""

from dataclasses import replace

from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.reports import Locks, ShardReport, StoreLocation, StoreStatus, WorkerReport
from partitioner.ops.admin.store_app import store_app
from partitioner.ops.admin.store_page import concerns, store_headline
from partitioner.ops.event_log import EventLog, Level
from tests.ops.admin.asking import Operator
from tests.tables import each_case

SHARD = ShardReport("10.0.0.21:6379", True, None, 1, False, 0.25, 0.001)
WORKER = WorkerReport(1, 4711, True, 60.0, 10, 1000, 0)
WELL = StoreStatus(
    name="store-1",
    version="1",
    uptime=61.0,
    ready=True,
    reasons=(),
    shards=(SHARD,),
    clients=20,
    requests=2000,
    closed=3,
    locks_to_give_back=0,
    workers=(WORKER, replace(WORKER, number=2, pid=4712)),
    rates={"ok": 12.0, "closed": 0.5},
)


def with_shard(**changes: object) -> StoreStatus:
    return replace(WELL, shards=(replace(SHARD, **changes),))  # type: ignore[arg-type]


HEADLINES = [
    (WELL, "good", "The engine serves, and all its replicas have what was saved"),
    (with_shard(replicas=0), "good", "The engine serves; it has no replica"),
    (
        replace(WELL, ready=False, reasons=("no engine answers", "it is starting")),
        "bad",
        "Not ready: no engine answers; it is starting",
    ),
    (
        replace(WELL, workers=(WORKER, replace(WORKER, number=2, is_serving=False))),
        "caution",
        "1 of 2 workers serve; the others are being started",
    ),
    (
        with_shard(is_degraded=True, memory_used=0.9),
        "caution",
        "10.0.0.21:6379 lacks a replica: should it fail now, the last saves may be lost (and 1 more)",
    ),
    (with_shard(memory_used=0.9), "caution", "10.0.0.21:6379 uses 90% of its memory"),
    (
        with_shard(clock_offset=-2.0),
        "caution",
        "The clock of 10.0.0.21:6379 is -2.0 s from this machine's",
    ),
    (
        replace(WELL, shards=(SHARD, replace(SHARD, primary=None, is_serving=False, trouble="is away"))),
        "caution",
        "A primary carries nothing out: is away",
    ),
]


@each_case(("status", "level", "sentence"), HEADLINES, ids=[sentence for _, _, sentence in HEADLINES])
def test_the_headline_tells_the_worst(status: StoreStatus, level: str, sentence: str) -> None:
    """What keeps users from being served before what may do so next."""
    found = store_headline(status, concerns(status))

    assert (level, sentence) == (found.level, found.sentence)


class FakeStoreApi:
    """Tells what a test wants."""

    def __init__(self, told: StoreStatus) -> None:
        self._told = told

    async def status(self) -> StoreStatus:
        return self._told

    async def locate(self, key: bytes) -> StoreLocation:
        raise AssertionError("the page asks for no session")

    async def locks(self) -> Locks:
        raise AssertionError("the page walks through no sessions")

    async def accept_loss(self) -> str:
        raise AssertionError("the page changes nothing")

    async def reload(self) -> object:
        raise AssertionError("the page changes nothing")


async def test_the_page_shows_engine_workers_and_events() -> None:
    """In words and numbers that are escaped, under headers that let it load and run nothing."""
    event_log = EventLog()
    event_log.record(Level.ERROR, "engine lost", {"cause": "<script>alert(1)</script>"})
    status = with_shard(trouble="<b>away</b>", is_serving=False)
    operator = Operator(store_app(FakeStoreApi(status), AccessPolicy(is_loopback=True), event_log=event_log))
    answer = await operator.get("/?refresh=0")
    refused = await operator.get("/?refresh=x")

    assert (200, 400) == (answer.status_code, refused.status_code)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for text in ("10.0.0.21:6379", "4712", "2 000", "12.5", "engine lost", "&lt;b&gt;away&lt;/b&gt;"):
        assert text in answer.text
    assert "<script" not in answer.text
