"""Per-request lists of ``vllm bench serve`` and SGLang's ``bench_serving``, and the figures that they give.

Both write one list for each quantity, with an entry for every request, those that failed included.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from cluster_sim.calibration.case import FloatArray, Int64Array
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.errors import InputError

LISTS: Final = ("input_lens", "output_lens", "ttfts", "itls", "start_times", "errors")


@dataclass(frozen=True, slots=True)
class ServingLists:
    """The lists of one run, without the entries of requests that failed; None where a list is not there."""

    total: int
    """Entries with those left out."""
    kept: Int64Array
    """Positions of the entries that are used, by start where starts are known."""
    prompt_tokens: Int64Array | None
    output_tokens: Int64Array | None
    start_s: FloatArray | None
    ttft_s: FloatArray | None
    gaps_s: list[list[float]] | None

    @property
    def failed(self) -> int:
        """Entries left out."""
        return self.total - len(self.kept)


def read_lists(document: ResultDocument) -> ServingLists | None:
    """Return the lists of a result; None if it has none.

    Raises InputError for lists of different lengths, and for entries that are no numbers.
    """
    errors, gaps = document.items("errors"), document.items("itls")
    numbers = {name: document.numbers(name) for name in ("input_lens", "output_lens", "ttfts", "start_times")}
    lengths = {name: len(values) for name, values in {**numbers, "itls": gaps, "errors": errors}.items() if values}
    if not lengths:
        return None
    total = max(lengths.values())
    short = [f"{name} {length}" for name, length in lengths.items() if length != total]
    if short:
        longest = next(name for name, length in lengths.items() if length == total)
        raise InputError(
            f"{document.place(short[0].split()[0])}: the lists of requests have different lengths: {longest} {total}, "
            f"{', '.join(short)}"
        )
    outputs, ttfts = numbers["output_lens"], numbers["ttfts"]
    has_failed = [
        bool(errors and errors[index])
        or bool(outputs and outputs[index] <= 0)
        or bool(not errors and ttfts and ttfts[index] <= 0)
        for index in range(total)
    ]
    kept = np.flatnonzero(~np.array(has_failed))
    starts = np.array(numbers["start_times"], np.float64)
    if len(starts):
        kept = kept[np.argsort(starts[kept], kind="stable")]

    def column(name: str) -> FloatArray | None:
        values = numbers[name]
        return np.array(values, np.float64)[kept] if values else None

    prompts, generated = column("input_lens"), column("output_lens")
    return ServingLists(
        total,
        kept,
        None if prompts is None else np.maximum(1, prompts.astype(np.int64)),
        None if generated is None else np.maximum(1, generated.astype(np.int64)),
        column("start_times"),
        column("ttfts"),
        [_gaps(document, gaps[index], index) for index in kept.tolist()] if gaps else None,
    )


def _gaps(document: ResultDocument, value: object, index: int) -> list[float]:
    is_right = isinstance(value, list) and all(
        isinstance(gap, int | float) and not isinstance(gap, bool) and math.isfinite(gap) for gap in value
    )
    if not is_right:
        raise document.wrong(("itls",), f"a list of lists of numbers (item {index})", value)
    assert isinstance(value, list)
    return value


def mean_ttft_s(lists: ServingLists) -> float | None:
    """Return the mean time to the first token of the requests that are used."""
    if lists.ttft_s is None or not len(lists.ttft_s):
        return None
    return float(lists.ttft_s.mean())


def mean_tpot_s(lists: ServingLists, duration_s: float | None) -> float | None:
    """Return the mean time per output token.

    The gaps of a request add up to its decoding, also where several tokens come at once.  Where the run's duration
    contradicts their sums, the file holds samples of the gaps, and their mean is the time per token.
    """
    if lists.gaps_s is None or lists.output_tokens is None:
        return None
    pairs = [
        (gaps, tokens)
        for gaps, tokens in zip(lists.gaps_s, lists.output_tokens.tolist(), strict=True)
        if tokens > 1 and gaps
    ]
    if not pairs:
        return None
    summed = [sum(gaps) / (tokens - 1) for gaps, tokens in pairs]
    sampled = [sum(gaps) / len(gaps) for gaps, _ in pairs]
    if duration_s is None or lists.start_s is None or lists.ttft_s is None:
        return float(np.mean(summed))
    ends = lists.start_s - lists.start_s.min() + lists.ttft_s
    decoding = np.array([sum(gaps) for gaps in lists.gaps_s])
    tokens = lists.output_tokens - 1
    means = np.array([sum(gaps) / len(gaps) if gaps else 0.0 for gaps in lists.gaps_s])
    by_sum, by_mean = float((ends + decoding).max()), float((ends + means * tokens).max())
    is_sample = abs(by_mean - duration_s) < abs(by_sum - duration_s) / 2
    return float(np.mean(sampled if is_sample else summed))
