"""The document of all metrics."""

from pathlib import Path

from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, PROCESS, STATE_SERVER
from partitioner.ops.metrics.reference import reference

DOCUMENT = Path(__file__).parents[3] / "conf" / "metrics.md"


def test_the_document_is_that_of_the_catalogue() -> None:
    """After a change of the catalogue run `python -m partitioner.ops.metrics > conf/metrics.md`."""
    assert reference() == DOCUMENT.read_text(encoding="utf-8")


def test_every_metric_is_in_it_once() -> None:
    """In one of its tables."""
    names = [*{each.full_name for each in (*EMBEDDING_ROUTER, *STATE_SERVER)}, *PROCESS]

    assert dict.fromkeys(names, 1) == {name: reference().count(f"| `{name}` |") for name in names}
