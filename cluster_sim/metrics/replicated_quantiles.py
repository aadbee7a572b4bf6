"""Quantiles over several replications of a run, whose values depend on each other inside a replication.

Design.  The estimate is the quantile of all values together.  Its interval is Woodruff's (1952): the share of values
beyond the estimate differs between replications, which gives the variance of the share and so the range of ranks that
holds the true quantile; the values at those ranks are the interval.  A few replications with few values beyond a high
percentile show that variance badly, so it is expressed as a design effect (its ratio to the variance of as many
independent values) and averaged over the shares p, 2p and 4p.  Where the upper rank is beyond the largest value, the
spread of the replications' own percentiles around that of all (sectioning, on a logarithmic scale) bounds it; as that
understates the spread, it is taken with a fifth of the miss.  On the waiting line of an M/M/1 queue, with ten
replications of 1,000 requests or five of 2,000, intervals of 95 % hold the true 99th percentile in 94 to 96 % up to a
load of 70 %; those by the spread of the replications' own percentiles alone do in 70 to 92 %.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.intervals import Estimate
from cluster_sim.metrics.student_t import CONFIDENCE, student_t
from cluster_sim.metrics.verdicts import Interval

Floats = npt.NDArray[np.float64]

SHARES: Final = (1, 2, 4)
"""Multiples of the share beyond a quantile at which the design effect is measured."""
LARGEST_SHARE: Final = 0.5
SECTIONING_MISS: Final = 0.2
"""Share of the miss with which an end by sectioning is taken."""
_MOST_EXPONENT: Final = 100.0


class ReplicatedValues:
    """The values of one figure in several replications; an infinite one is that of a lost request."""

    def __init__(self, samples: Sequence[Floats]) -> None:
        """``samples`` has one float64[n] a replication; those without values are left out.

        Raises ValueError if all are.
        """
        self._samples = [np.sort(sample) for sample in samples if len(sample)]
        if not self._samples:
            raise ValueError("an estimate needs at least one value")
        self._all = np.sort(np.concatenate(self._samples))

    @property
    def replications(self) -> int:
        """Replications that have values."""
        return len(self._samples)

    @property
    def count(self) -> int:
        """Values of all replications."""
        return len(self._all)

    def quantile(self, rank: float) -> float:
        """Return the quantile of all values: the smallest that at least a share of ``rank`` does not exceed."""
        return float(self._all[max(math.ceil(self.count * rank - 1e-9) - 1, 0)])

    def share_above(self, value: float) -> float:
        """Return the share of all values above ``value``."""
        return 1 - int(np.searchsorted(self._all, value, side="right")) / self.count

    def shares_above(self, value: float) -> Floats:
        """Return the share of values above ``value`` in each replication, float64[replications]."""
        return np.array([1 - np.searchsorted(part, value, side="right") / len(part) for part in self._samples])

    def design_effect(self, rank: float) -> float:
        """Return the variance of the share beyond a quantile over that of as many independent values."""
        effects = []
        for multiple in SHARES:
            share = multiple * (1 - rank)
            if multiple > 1 and share > LARGEST_SHARE:
                break
            value = self.quantile(1 - share)
            mean = self.share_above(value)
            if 0 < mean < 1:
                variance = float(self.shares_above(value).var(ddof=1)) / self.replications
                effects.append(variance / (mean * (1 - mean) / self.count))
        return sum(effects) / len(effects) if effects else 0.0

    def reach(self, rank: float, confidence: float = CONFIDENCE) -> float:
        """Return by how much the share of values beyond the true quantile may differ from ``1 - rank``."""
        if self.replications < 2:
            return math.inf
        independent = rank * (1 - rank) / self.count
        return student_t(self.replications - 1, confidence) * math.sqrt(self.design_effect(rank) * independent)

    def quantile_estimate(self, rank: float, confidence: float = CONFIDENCE) -> Estimate:
        """Return a quantile with its interval; an end that the values do not bound is infinite."""
        reach = self.reach(rank, confidence)
        low, high = rank - reach, rank + reach
        return Estimate(
            self.quantile(rank),
            Interval(
                self.quantile(low) if low > 0 else -math.inf,
                self.quantile(high) if high <= 1 else self._upper_end(rank, confidence),
            ),
        )

    def _upper_end(self, rank: float, confidence: float) -> float:
        """Return the upper end of a quantile's interval by sectioning, where the ranks do not bound it."""
        own = [part[max(math.ceil(len(part) * rank - 1e-9) - 1, 0)] for part in self._samples]
        together = self.quantile(rank)
        if self.replications < 2 or min(own) <= 0 or not math.isfinite(max(own)):
            return math.inf
        deviations = np.log(np.array(own) / together)
        spread = math.sqrt(float(deviations @ deviations) / (self.replications - 1) / self.replications)
        sure = 1 - (1 - confidence) * SECTIONING_MISS
        exponent = student_t(self.replications - 1, sure) * spread
        return together * math.exp(exponent) if exponent < _MOST_EXPONENT else math.inf

    def share_interval(self, value: float, confidence: float = CONFIDENCE) -> Interval:
        """Return Student's interval of the share of values above ``value``, by what the replications differ in it.

        Where a few replications alone are overloaded for a while, the variance at their common quantile is small beside
        that at a limit far below it: whether the limit holds is then better asked at the limit itself.
        """
        share = self.share_above(value)
        number = self.replications
        if number < 2:
            return Interval(-math.inf, math.inf)
        # Deviations of the counts: a replication with more values counts for more.
        counts = np.array([len(part) for part in self._samples])
        deviations = counts * (self.shares_above(value) - share)
        variance = number / (number - 1) * float(deviations @ deviations) / self.count**2
        reach = student_t(number - 1, confidence) * math.sqrt(variance)
        return Interval(share - reach, share + reach)

    def mean_estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """Return the mean of all values; its interval is that of a ratio of sums over the replications.

        With replications of equal numbers of values this is Student's interval of their means.
        """
        mean = float(self._all.mean())
        if self.replications < 2 or not math.isfinite(mean):
            return Estimate(mean, Interval(-math.inf, math.inf))
        # Deviations of the sums: a replication with more values counts for more.
        deviations = np.array([float((part - mean).sum()) for part in self._samples])
        number = self.replications
        variance = number / (number - 1) * float(deviations @ deviations) / self.count**2
        reach = student_t(number - 1, confidence) * math.sqrt(variance)
        return Estimate(mean, Interval(mean - reach, mean + reach))
