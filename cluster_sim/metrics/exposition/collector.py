"""Collector of a run's metric families for prometheus-client: registries, pushes, and the pages of large fleets."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.family import Family, Histograms
from cluster_sim.metrics.live import LiveSnapshot


class RunCollector(Collector):
    """Yields the families of the latest snapshot, which ``source`` returns; none while that is None."""

    def __init__(self, exposition: Exposition, source: Callable[[], LiveSnapshot | None]) -> None:
        self._exposition = exposition
        self._source = source

    def describe(self) -> list[Metric]:
        """Describe nothing: names depend on the fleet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield prometheus-client's families."""
        snapshot = self._source()
        if snapshot is not None:
            for family in self._exposition.families(snapshot):
                yield client_family(family)


def client_family(family: Family) -> Metric:
    """Return a family as prometheus-client holds it."""
    if isinstance(family, Histograms):
        return _histograms(family)
    pairs = [labels.pairs for labels in family.labels]
    names = [name for name, _ in pairs[0]] if pairs else []
    metric: GaugeMetricFamily | CounterMetricFamily
    if family.kind == "counter":
        metric = CounterMetricFamily(family.name, family.text, labels=names)
    else:
        metric = GaugeMetricFamily(family.name, family.text, labels=names)
    for labels, value in zip(pairs, family.values, strict=True):
        metric.add_metric([text for _, text in labels], value)
    return metric


def _histograms(family: Histograms) -> Metric:
    names = [name for name, _ in family.parts[0].labels[0].pairs]
    metric = HistogramMetricFamily(family.name, family.text, labels=names)
    for part in family.parts:
        for labels, row, total in zip(part.labels, part.cumulative.tolist(), part.sums, strict=True):
            metric.add_metric([text for _, text in labels.pairs], list(zip(part.bounds, row, strict=True)), total)
    return metric


def client_page(exposition: Exposition, snapshot: LiveSnapshot) -> bytes:
    """Return the page of a snapshot in the text format 0.0.4, written by prometheus-client."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(exposition, lambda: snapshot))
    return bytes(generate_latest(registry))
