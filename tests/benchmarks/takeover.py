"""What the record and a takeover cost: `python -m tests.benchmarks.takeover`.

For pools of 3 and of 16 state servers, all of them real processes, it prints

- what the claim of a router that starts takes, and that of one that is started again by another machine;
- how often the record is written while one server is frozen, sessions are saved and it is put right again,
  and how large the record is then;
- how long the first degraded save takes, which waits for the record, beside the median of the later ones.
"""

import re
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

import click

from partitioner.membership.items import ITEMS, read_term
from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from tests.end_to_end.knowledge.site import QUICK_PROBES, Router, Site, site_in
from tests.end_to_end.knowledge.users import Users, session_ids
from tests.end_to_end.web_server import APPLICATION, WebServer

SIZES = (3, 16)
SESSIONS = 100
FARM = "farm"
CLAIM = re.compile(r"this router is the active one.*?took=(\S+)")


def main() -> None:
    """Measure each pool, and print a line for each."""
    click.echo("servers  first claim  takeover claim  records  bytes  first degraded save  later ones")
    for servers in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            click.echo(measure(servers, Path(directory)))


def measure(servers: int, directory: Path) -> str:
    """One line of the table."""
    settings = f"{QUICK_PROBES}name: {FARM}\n"
    with site_in(directory, servers=servers, settings=settings) as site:
        router = site.start_router()
        users = Users(router.port)
        sessions = copied_to("state-1", servers)
        users.save(sessions, b"before")
        before = router.metric("partitioner_record_written_total")
        durations = save_while_one_is_frozen(site, router, sessions)
        router.wait_until_health("state-1", "up")
        records = router.metric("partitioner_record_written_total") - before
        size = record_size(site)
        first_claim = claimed_in(router)
        router.program.kill()
        again = site.start_router(like=router, home="another machine")
        users.save(sessions[:1], b"after")
        takeover = claimed_in(again)
    later = median(durations[1:])
    return (
        f"{servers:7}  {first_claim:>11}  {takeover:>14}  {records:7.0f}  {size:5}"
        f"  {durations[0] * 1000:16.1f} ms  {later * 1000:7.1f} ms"
    )


def copied_to(server: str, servers: int) -> list[str]:
    """Sessions whose copy, and nothing else, lies on this one of so many servers."""
    ranking = Ranking({f"state-{number}": 1.0 for number in range(1, servers + 1)})
    found = (each for each in session_ids(100_000) if ranking.preference_list(each.encode(), 2)[1] == server)
    return list(islice(found, SESSIONS))


def save_while_one_is_frozen(site: Site, router: Router, sessions: list[str]) -> list[float]:
    """Freeze a server, save sessions of which it has the copy, and thaw it; return the seconds of the saves.

    All but the first are saved when the server is DOWN.
    """
    site.freeze("state-1")
    durations = []
    with WebServer(router.port) as web:
        for session in sessions:
            began_at = time.perf_counter()
            web.send(saving(session), Operation.SET)
            durations.append(time.perf_counter() - began_at)
            if len(durations) == 1:
                router.wait_until_health("state-1", "down")
    site.thaw("state-1")
    return durations


def saving(session: str) -> bytes:
    target = encode_target(APPLICATION + session)
    return write_request(Operation.SET, target, timeout_minutes=20, lock_cookie=0, body=b"during")


def claimed_in(router: Router) -> str:
    """What its log says of how long its claim took."""
    found = CLAIM.search(router.program.output)
    assert found is not None, router.program.output
    return found[1]


def record_size(site: Site) -> int:
    """The bytes of the record on a server that was there all the time."""
    with WebServer(site.servers["state-2"].port) as web:
        term = read_term(web.send(getting("term"), Operation.GET).body).term
        return len(web.send(getting(f"record-{term}"), Operation.GET).body)


def getting(item: str) -> bytes:
    return write_request(Operation.GET, encode_target(f"{ITEMS}{FARM}/{item}"))


if __name__ == "__main__":
    main()
