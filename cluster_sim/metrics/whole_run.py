"""Limits that the measured part of a run keeps to and the whole run breaks: what the rest of it hides."""

from collections.abc import Mapping
from math import inf, isinf
from typing import Any, NamedTuple

from cluster_sim.metrics.verdicts import Verdict


class WholeRunFigure(NamedTuple):
    """A limited figure of the whole run."""

    name: str
    """The key that limits it, after its class."""
    limit_s: float
    value_s: float
    """Infinite where lost requests decide it."""

    @property
    def words(self) -> str:
        """The figure and its limit, for example ``TTFT p99 54 s, limit 2 s``."""
        owner, _, name = self.name.rpartition(": ")
        metric, percentile, _ = name.split("_")
        value = "beyond every limit" if isinf(self.value_s) else _shown(self.value_s)
        return f"{owner} {metric.upper()} {percentile} {value}, limit {_shown(self.limit_s)}".strip()


def limited_figures(slo: Mapping[str, Any]) -> list[WholeRunFigure]:
    """Return the limited figures of a summary's ``slo`` block, those of classes included, that any request has."""
    entries = [("", entry) for entry in slo["limits"]]
    for limited in slo["classes"]:
        label = ", ".join(f"{name} {value}" for name, value in limited["match"].items())
        entries += [(f"{label}: ", entry) for entry in limited["limits"]]
    found = []
    for owner, entry in entries:
        value_s = inf if entry["value_s"] is None and entry["verdict"] == Verdict.MISSED.value else entry["value_s"]
        if value_s is not None:
            found.append(WholeRunFigure(f"{owner}{entry['name']}", entry["limit_s"], value_s))
    return found


def hidden_misses(measured: Mapping[str, Any], whole: Mapping[str, Any]) -> list[WholeRunFigure]:
    """Return the figures that are within their limits in one ``slo`` block and beyond them in that of the whole run."""
    beyond = {figure.name for figure in limited_figures(measured) if figure.value_s > figure.limit_s}
    return [one for one in limited_figures(whole) if one.value_s > one.limit_s and one.name not in beyond]


def hidden_words(misses: list[WholeRunFigure], measured: str) -> str:
    """Return what is said of limits that the whole run breaks; ``measured`` says which part of it was measured."""
    figures = "; ".join(miss.words for miss in misses)
    return (
        f"The whole run breaks limits that the measured part, {measured}, keeps to ({figures}); run.warmup and "
        "run.measure of {kind: none} judge all of it"
    )


def part_words(start_s: float, end_s: float) -> str:
    """Return the measured part in words, for example ``from 1 s to 41 s``."""
    return f"from {_shown(start_s)} to {_shown(end_s)}"


def after_words(warm_up_s: float) -> str:
    """Return the measured parts of several runs in words, by the longest of their warm-ups."""
    return f"after a warm-up of at most {_shown(warm_up_s)}" if warm_up_s else "from the beginning"


def _shown(seconds: float) -> str:
    return f"{seconds:,.3g} s" if seconds >= 1 or not seconds else f"{seconds * 1000:.3g} ms"
