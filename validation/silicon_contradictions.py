"""Rows of aiconfigurator's table that their own figures, the data sheet, or other rows rule out.

- *Little's law*: of N requests in flight N (n - 1) TPOT / (TTFT + (n - 1) TPOT) decode at any time.  If that is less
  than half of those that the KV cache holds, the client or the engine kept others out, and N is not the batch.
- *Peak arithmetic*: a step reads weights and cache at the data sheet's bandwidth at best, and computes the prompts that
  replace finished requests at its peak: max(weights, operations) + attention.  A TPOT below that did less than stated:
  prompts were found in a cache, or tokens were drafted.
- *Equal rows*: the same configuration measured twice with TPOTs a factor of 1.3 apart: one of them ran with something
  that the table does not name.
- *Drafted tokens*: where the faster of equal rows gains most with the fewest requests in flight, and less and less with
  more, it drafted tokens: a step then yields several tokens of each request, and checks as many times the tokens, which
  is free only as long as weights decide.  Such a benchmark was started to show drafting: all rows of a version of an
  engine and a model that were measured in one go are ruled out, and the slower row is right.
- *Falling times*: with more requests in flight on one server a token takes a factor of 1.3 less; both are ruled out.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations
from statistics import median
from typing import Final, NamedTuple

from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shards

FEWEST_DECODING: Final = 0.5
"""Least share of the requests that could decode which does."""
MOST_APART: Final = 1.3
"""Most by which equal rows differ."""
Configuration = tuple[str, ...]


class Series(NamedTuple):
    """What the rows of one server of one day have in common."""

    server: Configuration
    day: str
    version: str


class Run(NamedTuple):
    """One row, as far as equal rows and series are told by it."""

    id: str
    series: Series
    lengths: tuple[int, int]
    """(prompt, output)."""
    concurrency: float
    tpot_s: float
    benchmark: tuple[str, ...] = ()
    """Engine, version and model of what was measured in one go, and when; the hour is not known of every series."""


class Pair(NamedTuple):
    """Two equal rows of different series, seen from one of them."""

    concurrency: float
    gain: float
    """TPOT of the other one over the own one."""


def decoding_share(ttft_s: float, tpot_s: float, output_tokens: int) -> float:
    """Return the share of its life for which a request decodes, which is that of the requests that do."""
    decode_s = (output_tokens - 1) * tpot_s
    return decode_s / (ttft_s + decode_s) if ttft_s + decode_s else 1.0


def row_contradiction(
    hardware: ReplicaHardware,
    in_flight: float,
    running: float,
    lengths: tuple[int, int],
    times_s: tuple[float, float],
) -> str:
    """Return why a row cannot be right; "" if it can.

    ``in_flight`` requests are a rank's share of the concurrency, of which its cache holds ``running``; ``lengths`` are
    (prompt, output) and ``times_s`` (TTFT, TPOT) as measured.
    """
    (prompt, output), (ttft_s, tpot_s) = lengths, times_s
    decoding = in_flight * decoding_share(ttft_s, tpot_s, output)
    if decoding < FEWEST_DECODING * min(in_flight, running):
        return (
            f"Little's law: {decoding:.0f} requests decode by the row's own figures, not {min(in_flight, running):.0f}"
        )
    least_s = least_step_s(hardware, decoding, prompt, output)
    if tpot_s < least_s:
        return f"peak arithmetic: a token takes at least {1e3 * least_s:.1f} ms, not {1e3 * tpot_s:.1f}"
    return ""


def least_step_s(hardware: ReplicaHardware, decoding: float, prompt_tokens: int, output_tokens: int) -> float:
    """Return the least time of a token at the data sheet's rates, s, with ``decoding`` requests on a rank."""
    part, device, model = shards(hardware)[0], hardware.device, hardware.model
    bandwidth = device.memory_bandwidth_bytes_per_s
    weights = part.dense_weight_bytes + part.head_weight_bytes
    if part.moe_layers:
        routed = max(1, round(decoding * hardware.experts.ranks))
        weights += part.expert_weight_bytes * hardware.experts.activated_ratio(model, routed)
    dtype = hardware.expert_dtype if part.moe_layers else hardware.projection_dtype
    tokens = decoding * (1 + prompt_tokens / output_tokens)
    arithmetic_s = tokens * part.flops_per_token / device.peak_flops(dtype)
    cached = decoding * (prompt_tokens + output_tokens / 2) * part.kv_bytes_per_token * (1.0 - part.windowed_kv_ratio)
    pairs = decoding / output_tokens * prompt_tokens**2 / 2 * (1.0 - part.windowed_pairs_ratio)
    attention_s = cached / bandwidth + pairs * part.attention_flops_per_pair / device.peak_flops(model.activation_dtype)
    return max(weights / bandwidth, arithmetic_s) + attention_s


def unequal_runs(runs: Sequence[Run]) -> dict[str, str]:
    """Return the reason for every row that drafted tokens, was measured again with a TPOT far away, or has one that
    falls where more requests are in flight, by its id.
    """
    groups: dict[tuple[Configuration, tuple[int, int], float], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.series.server, run.lengths, run.concurrency].append(run)
    drafting = drafting_series(groups.values())
    benchmarks = {run.benchmark: drafting[run.series] for run in runs if run.series in drafting}
    found = {run.id: f"drafted tokens: {benchmarks[run.benchmark]}" for run in runs if run.benchmark in benchmarks}
    for members in groups.values():
        plain = [run for run in members if run.id not in found]
        times = [run.tpot_s for run in plain]
        if plain and max(times) > MOST_APART * min(times):
            low, high = 1e3 * min(times), 1e3 * max(times)
            found |= {run.id: f"equal rows: TPOT {low:.1f} and {high:.1f} ms in one configuration" for run in plain}
    return falling_runs([run for run in runs if run.id not in found]) | found


def falling_runs(runs: Sequence[Run]) -> dict[str, str]:
    """Return the reason for every row of a server that is far slower than one with more in flight, and for that one."""
    curves: dict[tuple[Series, tuple[int, int]], list[Run]] = defaultdict(list)
    for run in runs:
        curves[run.series, run.lengths].append(run)
    found: dict[str, str] = {}
    for curve in curves.values():
        for few, many in permutations(curve, 2):
            if few.concurrency < many.concurrency and few.tpot_s > MOST_APART * many.tpot_s:
                slow, fast = (f"{1e3 * run.tpot_s:.1f} ms with {run.concurrency:.0f}" for run in (few, many))
                reason = f"falling times: TPOT {slow} in flight, {fast}"
                found |= {few.id: reason, many.id: reason}
    return found


def drafting_series(groups: Iterable[Sequence[Run]]) -> dict[Series, str]:
    """Return the series that drafted tokens, with what they gained over equal rows of other series."""
    pairs: dict[Series, list[Pair]] = defaultdict(list)
    for members in groups:
        for own, other in permutations(members, 2):
            if own.series != other.series:
                pairs[own.series].append(Pair(own.concurrency, other.tpot_s / own.tpot_s))
    found: dict[Series, str] = {}
    for series, seen in pairs.items():
        least, most = min(pair.concurrency for pair in seen), max(pair.concurrency for pair in seen)
        few = median(pair.gain for pair in seen if pair.concurrency == least)
        many = median(pair.gain for pair in seen if pair.concurrency == most)
        if few > MOST_APART and few >= many:
            found[series] = f"equal rows of other days take {few:.1f} times as long with {least:.0f} in flight"
    return found
