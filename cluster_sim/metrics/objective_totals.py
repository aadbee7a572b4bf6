"""Running totals over rows for the objectives: which requests each limit covers, and how they fared.

Design.  A finished request has its intervals.  One that was lost - refused, failed, cancelled or shed - is worse than
any limit.  One that the end of the run cut off is worse than the limits that it had already passed, and is left out,
and counted, where it had not.  All state is integer and depends on the set of rows alone.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.latencies import Latencies, latencies_ns
from cluster_sim.metrics.objectives import GAPS, ClassMatch, Limit, LimitSet, Slo
from cluster_sim.metrics.slo_intervals import SloIntervals
from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.sketch import EXACT_LIMIT, QuantileSketch
from cluster_sim.recording.statuses import CANCELLED, FAILED, FINISHED, REFUSED, SHED, STATUSES, UNFINISHED
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LOST: Final = (REFUSED, FAILED, CANCELLED, SHED)
"""Ends of requests that count as worse than any limit."""

_FINISHED_CODE: Final = STATUSES.index(FINISHED)
_UNFINISHED_CODE: Final = STATUSES.index(UNFINISHED)
_LOST_CODES: Final = np.array([STATUSES.index(status) for status in LOST])
_COUNTS: Final = ("requests", "finished", "lost", "cut_off", "good", "left_out")


class LimitTotals:
    """Totals of the requests that one set of limits is for: all of them, or a class."""

    def __init__(self, limits: LimitSet, match: ClassMatch | None, exact_limit: int) -> None:
        self.match = match
        self.limits = [limit for limit in limits.all_limits() if limit.metric != GAPS]
        self.request_limits_ns = limits.request_limits_ns()
        self.requests = self.finished = self.lost = self.cut_off = 0
        self.good = 0
        """Finished requests within the limits of one request."""
        self.left_out = 0
        """Cut-off requests that had passed none of those."""
        self.passed = [0] * len(self.limits)
        """Cut-off requests that had passed each limit."""
        intervals = dict.fromkeys(limit.interval for limit in self.limits)
        self.sketches = {name: QuantileSketch(exact_limit) for name in intervals}

    def add(self, rows: "ClassifiedRows") -> tuple[Flags, Flags]:
        """Add rows; return which are bad by these limits, and which these limits leave open."""
        block, is_member = rows.block, rows.members(self.match)
        is_finished, is_lost, is_cut_off = (flags & is_member for flags in rows.ends)
        self.requests += int(is_member.sum())
        self.finished += int(is_finished.sum())
        self.lost += int(is_lost.sum())
        self.cut_off += int(is_cut_off.sum())
        several = block.column("output_tokens") > 1
        for name, sketch in self.sketches.items():
            has_interval = is_finished & several if name == "tpot" else is_finished
            sketch.add_many(getattr(rows.latencies, name)[has_interval])
        for index, limit in enumerate(self.limits):
            if not limit.is_mean:
                limit_ns = round(limit.limit_s * NS_PER_S)
                self.passed[index] += int((is_cut_off & rows.has_passed(limit.interval, limit_ns)).sum())
        is_bad = is_lost.copy()
        for name, limit_ns in self.request_limits_ns.items():
            is_bad |= is_finished & (getattr(rows.latencies, name) > limit_ns)
            is_bad |= is_cut_off & rows.has_passed(name, limit_ns)
        self.good += int((is_finished & ~is_bad).sum())
        is_open = is_cut_off & ~is_bad
        self.left_out += int(is_open.sum())
        return is_bad, is_open

    def worse(self, index: int) -> int:
        """Return how many requests are worse than limit ``index`` without an interval that says so."""
        return self.lost + self.passed[index]

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {
            "counts": [getattr(self, name) for name in _COUNTS],
            "passed": list(self.passed),
            "sketches": {name: sketch.to_plain() for name, sketch in self.sketches.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        for name, value in zip(_COUNTS, state["counts"], strict=True):
            setattr(self, name, value)
        self.passed = list(state["passed"])
        self.sketches = {name: QuantileSketch.from_plain(plain) for name, plain in state["sketches"].items()}


class ClassifiedRows:
    """Rows with what the limits ask of them; ``end_ns`` is the end of the run, which cut off the unfinished ones."""

    def __init__(self, block: RowBlock, end_ns: int) -> None:
        self.block = block
        self.latencies: Latencies = latencies_ns(block)
        status = block.column("status")
        self.ends = (status == _FINISHED_CODE, np.isin(status, _LOST_CODES), status == _UNFINISHED_CODE)
        """Which are finished, lost and cut off."""
        self._end_ns = end_ns

    def members(self, match: ClassMatch | None) -> Flags:
        """Return which rows belong to a class; None is all."""
        block = self.block
        chosen: Flags = np.ones(len(block.rows), np.bool_)
        words = {"tenant": block.tenants, "model": block.models, "slo_class": block.slo_classes}
        for name, value in match.given().items() if match is not None else ():
            known = words.get(name)
            if known is None:
                chosen &= block.column(name) == value
            else:
                chosen &= block.column(name) == (list(known).index(str(value)) if value in known else -1)
        return chosen

    def has_passed(self, interval: str, limit_ns: int) -> Flags:
        """Return which rows, if they are cut off, had passed a limit of ``interval`` when the run ended."""
        block = self.block
        first_ns, waited_ns = block.column("first_token_ns"), self._end_ns - block.column("arrival_ns")
        if interval == "ttft":
            return np.where(first_ns >= 0, self.latencies.ttft, waited_ns) > limit_ns
        if interval == "e2e":
            return waited_ns > limit_ns
        gaps = np.maximum(block.column("output_tokens") - 1, 0)
        return (first_ns >= 0) & (self._end_ns - first_ns > limit_ns * gaps) & (gaps > 0)


class ObjectiveTotals:
    """Totals for all limits of a study; a request is good when it finished and is within every limit for it."""

    def __init__(self, slo: Slo, end_ns: int = -1, exact_limit: int = EXACT_LIMIT) -> None:
        """``end_ns`` is the end of the run, if the study says so."""
        self._end_ns = end_ns
        self.all = LimitTotals(slo, None, exact_limit)
        self.classes = [LimitTotals(limited, limited.match, exact_limit) for limited in slo.classes or ()]
        self.has_limits = slo.has_limits
        self.good = 0
        self.left_out = 0
        """Cut-off requests of which nobody knows whether they would have been good."""
        self.intervals = SloIntervals()
        sets = (slo, *(slo.classes or ()))
        ranks = [limit.rank for limits in sets for limit in limits.limits()]
        self.allowed_ratio = round(1.0 - max(ranks), 9) if ranks else None
        """Share of bad requests that the strictest percentile lets be; None if no percentile is limited."""

    def over_s(self, span_ns: tuple[int, int]) -> float | None:
        """Time in which a larger share of the requests was bad."""
        return None if self.allowed_ratio is None else self.intervals.over_s(self.allowed_ratio, span_ns)

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``; without limits nothing is counted."""
        if not self.has_limits:
            return
        rows = ClassifiedRows(block, self._end_ns)
        is_bad = np.zeros(len(block.rows), np.bool_)
        is_open = np.zeros(len(block.rows), np.bool_)
        for totals in (self.all, *self.classes):
            bad, is_left = totals.add(rows)
            is_bad |= bad
            is_open |= is_left
        self.good += int((rows.ends[0] & ~is_bad).sum())
        self.left_out += int((is_open & ~is_bad).sum())
        is_known = is_bad | ~is_open
        self.intervals.add(block.column("arrival_ns")[is_known], is_bad[is_known])

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {
            "good": self.good,
            "left_out": self.left_out,
            "intervals": self.intervals.snapshot(),
            "sets": [totals.snapshot() for totals in (self.all, *self.classes)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self.good, self.left_out = state["good"], state["left_out"]
        self.intervals.restore(state["intervals"])
        for totals, plain in zip((self.all, *self.classes), state["sets"], strict=True):
            totals.restore(plain)


def limit_value_s(limit: Limit, sketch: QuantileSketch, worse: int) -> float | None:
    """Return the figure that ``limit`` limits, in seconds, with ``worse`` more values beyond any limit among them.

    It is infinite where it falls among those, and None if there are no values at all.
    """
    if not sketch.count + worse:
        return None
    if limit.is_mean:
        return float("inf") if worse else sketch.mean() / NS_PER_S
    return sketch.quantile(limit.rank, beyond=worse) / NS_PER_S
