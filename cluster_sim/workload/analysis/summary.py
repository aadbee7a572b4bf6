"""Summary of a workload: one pass over its columns, in bounded memory however long it is.

Design: the rate over time is counted in bins whose width doubles whenever there would be too many; lengths go into
logarithmic bins (relative width 1/64, so quantiles are within 1 %), with exact moments beside them.  Prefix sharing is
what a cache without limit would find: tokens of prompt segments that an earlier prompt held or its output became, as
long as the chain is unbroken.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.random_streams import Floats, Ints

_MOST_BINS: Final = 4096
_FIRST_BIN_NS: Final = 100_000_000
_SUB_BINS: Final = 64
_QUANTILES: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class LengthStatistics:
    """Moments and quantiles of a length."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self._squares = 0.0
        self.least = 0
        self.most = 0
        self._bins: Counter[int] = Counter()

    def add(self, values: Ints) -> None:
        """Take in a block of values of at least 1 (0 counts as 1 in the quantiles)."""
        self.least = int(values.min()) if not self.count else min(self.least, int(values.min()))
        self.most = max(self.most, int(values.max()))
        self.count += len(values)
        self.total += int(values.sum())
        self._squares += float(np.square(values.astype(np.float64)).sum())
        places, counts = np.unique(_log_bin(np.maximum(values, 1)), return_counts=True)
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            self._bins[place] += count

    @property
    def mean(self) -> float:
        """Mean."""
        return self.total / self.count if self.count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation of the whole population."""
        return math.sqrt(max(self._squares / self.count - self.mean**2, 0.0)) if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return a quantile, within 1 %."""
        wanted = share * self.count
        seen = 0
        for place in sorted(self._bins):
            seen += self._bins[place]
            if seen >= wanted:
                return min(max(_bin_middle(place), self.least), self.most)
        return float(self.most)

    def histogram(self, bins: int = 12) -> list[tuple[float, float, int]]:
        """Return (from, below, count) over bins of equal ratio between the least and the greatest value."""
        low, high = max(self.least, 1), max(self.most, 1) + 1
        edges = np.unique(np.rint(np.geomspace(low, high, bins + 1)))
        counts = np.zeros(max(len(edges) - 1, 1), dtype=np.int64)
        for place, count in self._bins.items():
            counts[min(max(int(np.searchsorted(edges, _bin_middle(place), side="right")) - 1, 0), len(counts) - 1)] += (
                count
            )
        if len(edges) < 2:
            return [(float(low), float(high), int(counts[0]))]
        return [
            (float(start), float(end), int(count)) for start, end, count in zip(edges, edges[1:], counts, strict=False)
        ]

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name, in tokens."""
        result = {"mean": self.mean, "std": self.std, "min": float(self.least), "max": float(self.most)}
        return result | {f"p{share * 100:g}": self.quantile(share) for share in _QUANTILES}


def _log_bin(values: Ints) -> Ints:
    """Number bins of equal relative width: exact below 64, then 64 to every doubling."""
    exponent = np.maximum(np.floor(np.log2(values.astype(np.float64))).astype(np.int64) - 6, 0)
    result: Ints = exponent * _SUB_BINS + (values >> exponent)
    return result


def _bin_middle(place: int) -> float:
    if place < 2 * _SUB_BINS:
        return float(place)
    exponent = place // _SUB_BINS - 1
    within = place - exponent * _SUB_BINS
    return float((within << exponent) + ((1 << exponent) - 1) / 2)


class RateOverTime:
    """Counts of arrivals in bins of a width that grows with the trace."""

    def __init__(self) -> None:
        self.bin_ns = _FIRST_BIN_NS
        self._counts = np.zeros(_MOST_BINS, dtype=np.int64)

    def add(self, arrival_ns: Ints) -> None:
        """Take in a block of arrivals."""
        while int(arrival_ns[-1]) // self.bin_ns >= _MOST_BINS:
            paired = self._counts[0::2] + self._counts[1::2]
            self._counts = np.concatenate([paired, np.zeros(_MOST_BINS // 2, dtype=np.int64)])
            self.bin_ns *= 2
        self._counts += np.bincount(arrival_ns // self.bin_ns, minlength=_MOST_BINS)

    def series(self, end_ns: int, points: int) -> list[tuple[float, float]]:
        """Return (start in s, requests per second) for at most ``points`` equal intervals up to ``end_ns``.

        What is left behind the last whole interval would give no rate of its own: that interval reaches to the end.
        """
        used = min(end_ns // self.bin_ns + 1, _MOST_BINS)
        step = -(-used // points)
        starts = [start for start in range(0, used, step) if (start + step) * self.bin_ns <= end_ns + 1]
        if not starts and end_ns > 0:
            starts = [0]
        result = []
        for start, following in zip_longest(starts, starts[1:]):
            width_ns = step * self.bin_ns if following is not None else end_ns - start * self.bin_ns
            count = int(self._counts[start:following].sum())
            result.append((start * self.bin_ns / NS_PER_S, count * NS_PER_S / width_ns))
        return result

    def dispersion(self, end_ns: int, width_s: float) -> float | None:
        """Return variance over mean of the counts in whole intervals near ``width_s``; 1 for Poisson."""
        step = max(round(width_s * NS_PER_S / self.bin_ns), 1)
        if not 0.5 <= step * self.bin_ns / (width_s * NS_PER_S) <= 2:
            return None
        whole = min((end_ns + 1) // self.bin_ns, _MOST_BINS) // step
        if whole < 10:
            return None
        counts = self._counts[: whole * step].reshape(whole, step).sum(axis=1)
        return float(counts.var() / counts.mean()) if counts.any() else None


@dataclass
class WorkloadSummary:
    """Figures of a workload, from its columns."""

    requests: int = 0
    last_ns: int = 0
    prompt: LengthStatistics = field(default_factory=LengthStatistics)
    output: LengthStatistics = field(default_factory=LengthStatistics)
    rate: RateOverTime = field(default_factory=RateOverTime)
    tenants: Counter[str] = field(default_factory=Counter)
    session_turns: Counter[int] = field(default_factory=Counter)
    shared_prompt_tokens: int = 0
    requests_with_prefix: int = 0
    reasoning_tokens: int = 0
    encoder_tokens: int = 0
    first_ns: int = 0
    _gap_total: float = 0.0
    _gap_squares: float = 0.0
    _product: float = 0.0
    _seen: dict[int, int] = field(default_factory=dict)
    """The most tokens known of each segment: a conversation's own one grows from turn to turn."""

    def add(self, block: Columns) -> None:
        """Take in a block of rows in order of arrival."""
        before = self.last_ns if self.requests else int(block.arrival_ns[0])
        gaps: Floats = np.diff(block.arrival_ns, prepend=before) / NS_PER_S
        self._gap_total += float(gaps.sum())
        self._gap_squares += float(np.square(gaps).sum())
        if not self.requests:
            self.first_ns = before
        self.requests += len(block)
        self.last_ns = int(block.arrival_ns[-1])
        self.prompt.add(block.prompt_tokens)
        self.output.add(block.output_tokens)
        self._product += float((block.prompt_tokens.astype(np.float64) * block.output_tokens).sum())
        self.rate.add(block.arrival_ns)
        lengths = zip(block.prompt_tokens.tolist(), block.output_tokens.tolist(), strict=True)
        for attributes, (prompt, output) in zip(block.attributes or (), lengths, strict=False):
            if attributes.tenant:
                self.tenants[attributes.tenant] += 1
            if attributes.session_id >= 0:
                self.session_turns[attributes.session_id] += 1
            self.reasoning_tokens += attributes.reasoning_tokens
            self.encoder_tokens += attributes.encoder_tokens
            if attributes.segments:
                self._share(attributes, prompt, output)

    def _share(self, attributes: Attributes, prompt_tokens: int, output_tokens: int) -> None:
        """Count the tokens at the prompt's head that are known, and note what its segments and its output hold."""
        self.requests_with_prefix += 1
        is_found = True
        left = prompt_tokens
        last, length = -1, 0
        for segment, tokens in attributes.segments:
            last, length = segment, min(tokens, left)
            left -= length
            known = self._seen.get(segment, 0)
            if is_found:
                self.shared_prompt_tokens += min(known, length)
                is_found = known >= length
            self._seen[segment] = max(known, length)
        output = attributes.output_segment
        if output >= 0:
            goes_on = output == last and not left
            self._seen[output] = max(self._seen.get(output, 0), output_tokens + (length if goes_on else 0))

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last, seconds."""
        return (self.last_ns - self.first_ns) / NS_PER_S

    @property
    def request_rate(self) -> float | None:
        """Mean requests per second between the first and the last arrival."""
        return (self.requests - 1) / self.duration_s if self.duration_s > 0 else None

    @property
    def gap_cv(self) -> float | None:
        """Coefficient of variation of the gaps between arrivals; 1 for Poisson."""
        gaps = self.requests - 1
        if gaps < 2 or self._gap_total <= 0:
            return None
        mean = self._gap_total / gaps
        return math.sqrt(max(self._gap_squares / gaps - mean**2, 0.0)) / mean

    @property
    def correlation(self) -> float | None:
        """Linear correlation of prompt and output lengths."""
        spread = self.prompt.std * self.output.std
        if spread <= 0:
            return None
        return (self._product / self.requests - self.prompt.mean * self.output.mean) / spread

    def as_dict(self) -> dict[str, Any]:
        """Return every figure by name, units in the names, for JSON."""
        turns = np.asarray(list(self.session_turns.values()) or [0])
        return {
            "requests": self.requests,
            "first_arrival_s": self.first_ns / NS_PER_S,
            "duration_s": self.duration_s,
            "request_rate": self.request_rate,
            "gap_cv": self.gap_cv,
            "dispersion": {f"{width:g}_s": self.rate.dispersion(self.last_ns, width) for width in (1.0, 10.0, 60.0)},
            "prompt_tokens": self.prompt.as_dict(),
            "output_tokens": self.output.as_dict(),
            "total_prompt_tokens": self.prompt.total,
            "total_output_tokens": self.output.total,
            "prompt_output_correlation": self.correlation,
            "requests_with_prefix": self.requests_with_prefix,
            "shared_prompt_ratio": self.shared_prompt_tokens / self.prompt.total if self.prompt.total else 0.0,
            "sessions": len(self.session_turns),
            "turns_per_session": float(turns.mean()),
            "tenants": dict(self.tenants.most_common(20)),
            "reasoning_tokens": self.reasoning_tokens,
            "encoder_tokens": self.encoder_tokens,
            "rate_over_time": [
                {"start_s": start, "request_rate": rate} for start, rate in self.rate.series(self.last_ns, 48)
            ],
        }


def summarise(blocks: Iterator[Columns]) -> WorkloadSummary:
    """Return the summary of all blocks."""
    summary = WorkloadSummary()
    for block in blocks:
        summary.add(block)
    return summary
