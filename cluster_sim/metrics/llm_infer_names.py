"""Flat dictionary of metrics under the names of llm-infer's studies.

Latency is arrival to last token, queue wait is dispatch to first schedule, processing is first schedule to last token;
all in seconds over finished requests.  If a batch runs to its end as a whole (static_two_phase, faster_transformer)
it is one batch, as llm-infer counts, and its size is its number of requests.  In other engines requests join and leave
between steps, so a batch is a step, as for Vidur, and its size the number of requests that get a token in it.
Starvation counts requests whose latency exceeds a multiple of the median; fairness is Jain's index of the latencies,
(sum x)^2 / (n sum x^2): 1 when all are equal, 1 / n when one has all.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.units import NS_PER_S

STARVATION_FACTOR: Final = 3.0
"""A request starves when its latency exceeds this many medians."""


def jain_index(sketch: QuantileSketch) -> float:
    """Return Jain's fairness index of the values; 1 when there are none."""
    mean, std = sketch.mean(), sketch.std()
    square = mean * mean + std * std
    return mean * mean / square if square else 1.0


def starvation_rate(sketch: QuantileSketch, factor: float = STARVATION_FACTOR) -> float:
    """Return the share of values above ``factor`` medians."""
    return sketch.fraction_above(factor * sketch.quantile(0.5))


def flat_metrics(
    records: RunRecords, starvation_factor: float = STARVATION_FACTOR, are_static: Sequence[bool] = ()
) -> dict[str, float]:
    """Return llm-infer's dictionary for a finished run.

    ``are_static`` says for each replica whether its batches are static (empty: none).
    """
    totals, duration_s = records.totals, records.duration_s
    finished = totals.total("finished")
    prompt, output = totals.total("prompt_tokens"), totals.total("output_tokens")
    batches = members = 0
    for counters, is_static in zip_longest(records.replicas, are_static, fillvalue=False):
        assert isinstance(counters, ReplicaCounters)
        batches += counters.prompt_iterations if is_static else counters.iterations
        members += counters.left if is_static else counters.generated_tokens
    latency = totals.sketches["e2e"]
    return {
        **_spread("latency", latency, ("std", "min", "p50", "p95", "p99")),
        **_spread("queue_wait", totals.sketches["queue"], ("p95", "p99")),
        **_spread("processing_time", totals.sketches["inference"], ()),
        "throughput_req_per_sec": finished / duration_s if duration_s else 0.0,
        "token_throughput_per_sec": (prompt + output) / duration_s if duration_s else 0.0,
        "total_requests": totals.requests,
        "total_requests_processed": finished,
        "simulation_time": duration_s,
        "fairness_index": jain_index(latency),
        "starvation_rate": starvation_rate(latency, starvation_factor),
        "avg_prompt_length": prompt / finished if finished else 0.0,
        "avg_output_length": output / finished if finished else 0.0,
        "total_tokens_processed": prompt + output,
        "max_queue_length": records.max_waiting,
        "total_batches_processed": batches,
        "avg_batch_size": members / batches if batches else 0.0,
    }


def _spread(name: str, sketch: QuantileSketch, figures: tuple[str, ...]) -> dict[str, float]:
    """Return average, median, maximum and the further figures asked for, in seconds, as ``avg_<name>`` and so on."""
    spread = {
        f"avg_{name}": sketch.mean() / NS_PER_S,
        f"median_{name}": sketch.quantile(0.5) / NS_PER_S,
        f"max_{name}": sketch.maximum / NS_PER_S,
    }
    for figure in figures:
        if figure == "std":
            value = sketch.std()
        elif figure == "min":
            value = sketch.minimum
        else:
            value = sketch.quantile(int(figure.removeprefix("p")) / 100)
        spread[f"{figure}_{name}"] = value / NS_PER_S
    return spread
