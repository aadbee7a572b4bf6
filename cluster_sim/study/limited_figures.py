"""Figures that a study limits: over all requests, or over a class of them."""

from typing import NamedTuple

from cluster_sim.metrics.objectives import GAPS, ClassMatch, Limit, Slo


class LoadLimit(NamedTuple):
    """A limit on all requests, or on a class of them."""

    limit: Limit
    match: ClassMatch | None = None

    @property
    def name(self) -> str:
        """The key that sets it, after the class."""
        return self._of_class(self.limit.name)

    @property
    def figure(self) -> str:
        """The figure that it limits, for example ``ttft_p99``."""
        return f"{self.limit.interval}_{self.limit.percentile}"

    @property
    def sample(self) -> str:
        """The name of the values that the figure is of, for example ``ttft_s``."""
        return self._of_class(self.limit.metric)

    @property
    def is_of_gaps(self) -> bool:
        """Whether the values are gaps between tokens, of which a run keeps only the figures."""
        return self.limit.metric == GAPS

    def _of_class(self, name: str) -> str:
        return name if self.match is None else f"{self.match.label}: {name}"


def load_limits(slo: Slo) -> list[LoadLimit]:
    """Return every limit of a study."""
    classes = [LoadLimit(limit, limited.match) for limited in slo.classes or () for limit in limited.all_limits()]
    return [*map(LoadLimit, slo.all_limits()), *classes]
