"""What a state server remembers of its engine over a restart: whose sessions that has (store/canary.py)."""

from pathlib import Path
from typing import TYPE_CHECKING

from partitioner.daemon.files import check_usable, write_whole
from partitioner.errors import FileUnusable
from partitioner.ops.log import Log
from partitioner.store.canary import Canary
from partitioner.store.engine import Canaries
from partitioner.store.policy import Acknowledge, StorePolicy

if TYPE_CHECKING:  # it reads a configuration
    from partitioner.daemon.state_dir import StatePlace


def canary_opener(
    policy: StorePolicy, place: "StatePlace | None", name: str, log: Log, worker: str = ""
) -> Canaries:
    """Say how to learn what is expected of a canary: what the state server before this one has left.

    It stands in NAME.canary, or in NAME.SLOT.canary where a Cluster has several. Workers share it: whoever
    writes it last has seen the same engine.

    Raises FileUnusable if the directory was asked for; a default one that cannot be used is a warning.
    """
    may_go_back = policy.acknowledge is Acknowledge.PRIMARY
    if place is None:
        return lambda item: Canary(policy.lost_sessions, may_go_back=may_go_back)
    directory = place.directory
    try:
        _read(directory / f"{name}.canary", worker)
    except FileUnusable as error:
        if place.is_asked_for:
            raise
        consequence = (
            "a restarted state server takes the engine as it stands; `state_dir` says where to keep it"
        )
        log.complain("state is not kept", cause=str(error), consequence=consequence)
        return lambda item: Canary(policy.lost_sessions, may_go_back=may_go_back)

    def open_canary(item: bytes) -> Canary:
        tag = item.removeprefix(policy.prefix).partition(b"{")[2].partition(b"}")[0].decode()
        file = directory / (f"{name}.{tag}.canary" if tag else f"{name}.canary")

        def keep(value: bytes) -> None:
            try:
                write_whole(file, [value, b"\n"], worker)
            except FileUnusable as error:
                consequence = "a restarted state server takes the engine as it stands"
                log.complain("state cannot be kept", cause=str(error), consequence=consequence)

        return Canary(policy.lost_sessions, _maybe_read(file, worker, log), keep, may_go_back=may_go_back)

    return open_canary


def _maybe_read(file: Path, worker: str, log: Log) -> bytes | None:
    try:
        return _read(file, worker)
    except FileUnusable as error:
        log.complain("state is not known", cause=str(error), consequence="the engine is taken as it stands")
        return None


def _read(file: Path, worker: str) -> bytes | None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_usable(file, worker)
        return file.read_bytes().strip() or None if file.exists() else None
    except OSError as error:
        raise FileUnusable(f"{file} cannot be used: {error.strerror or error}") from error
