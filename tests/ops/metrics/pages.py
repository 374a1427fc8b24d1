"""A page of metrics as Prometheus reads it: what is declared, and what each number says."""

from dataclasses import dataclass

from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class MetricsPage:
    """What stands on a page in the text format."""

    text: str

    @property
    def families(self) -> list[Family]:
        return list(text_string_to_metric_families(self.text))

    @property
    def samples(self) -> dict[Key, float]:
        """Every number by its name and labels. No series may stand there twice."""
        found: dict[Key, float] = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in found, f"{key} stands there twice"
                found[key] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        """The number of the series that has exactly these labels; the prefix is put before its name."""
        return self.samples[f"partitioner_{name}", frozenset(labels.items())]

    def by(self, label: str, name: str, **others: str) -> dict[str, float]:
        """The numbers of a metric by one label, of the series that have these other labels."""
        return {
            dict(labels)[label]: value
            for (sample, labels), value in self.samples.items()
            if sample == f"partitioner_{name}" and others.items() <= dict(labels).items()
        }
