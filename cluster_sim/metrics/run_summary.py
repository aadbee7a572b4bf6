"""Summary of a run, the content of ``summary.json``: every figure with its unit in the name.

Seconds are simulated.  Figures of requests, rates and costs are those of the measured window; ``whole_run`` has them
for the whole run, to which everything else refers.  Latencies are those of finished requests.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np

from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.metrics.attainment import Bands, attainment
from cluster_sim.metrics.conservation_laws import (
    block_check,
    little_check,
    request_check,
    token_check,
    transfer_check,
)
from cluster_sim.metrics.imbalance import imbalance_entry
from cluster_sim.metrics.llm_infer_names import flat_metrics
from cluster_sim.metrics.objective_totals import LOST
from cluster_sim.metrics.occupancy import Occupancy, edge_warnings, occupancy_entry
from cluster_sim.metrics.request_totals import SKETCHED, SUMS, RequestTotals
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.metrics.verdicts import BANDED_FIGURES, band_percent
from cluster_sim.metrics.whole_run import hidden_misses, hidden_words, part_words
from cluster_sim.metrics.window import Measured, Window
from cluster_sim.recording.reasons import LOSSES, REASONS
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.sketch import RELATIVE_ERROR, QuantileSketch
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

SUMMARY_VERSION: Final = 2
"""Increased when a key changes its meaning or disappears."""

PERCENTILES: Final = (50, 90, 95, 99)


def distribution_s(sketch: QuantileSketch) -> dict[str, Any]:
    """Return a distribution of nanoseconds in seconds; the figures are None when it is empty.

    ``exact`` is False once the percentiles and ``std`` carry the sketch's relative error.
    """
    names = ["mean", "std", "min", *(f"p{rank}" for rank in PERCENTILES), "max"]
    if not sketch.count:
        return {"count": 0, **dict.fromkeys(names), "exact": True}
    return {
        "count": sketch.count,
        "mean": sketch.mean() / NS_PER_S,
        "std": sketch.std() / NS_PER_S,
        "min": sketch.minimum / NS_PER_S,
        **{f"p{rank}": sketch.quantile(rank / 100) / NS_PER_S for rank in PERCENTILES},
        "max": sketch.maximum / NS_PER_S,
        "exact": sketch.is_exact,
    }


def merged(sketches: Sequence[QuantileSketch]) -> QuantileSketch:
    """Return one sketch of all values in ``sketches``."""
    whole = QuantileSketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole


def summarise(metadata: RunMetadata, records: RunRecords, measured: Measured | None = None) -> dict[str, Any]:
    """Return the summary of a finished run; without ``measured`` the whole of it is measured."""
    replicas = records.replicas
    bands = error_bands(metadata, records)
    whole_run = whole(metadata, records)
    measured = measured or whole_run
    growth_ratio = records.totals.presence.growth_ratio(measured.window.start_ns)
    figures = _figures(metadata, records, measured, bands["error_band_percent"])
    whole_figures = _figures(metadata, records, whole_run, bands["error_band_percent"])
    return {
        "summary_version": SUMMARY_VERSION,
        "name": metadata.name,
        "seed": metadata.seed,
        "predictor": ", ".join(dict.fromkeys(pool.predictor_label for pool in metadata.pools)),
        "warnings": [
            *loss_warnings(records.totals),
            *growth_warnings(growth_ratio),
            *hidden_warnings(measured.window, figures["slo"], whole_figures["slo"]),
            *edge_warnings(metadata, records.occupancies, records.totals),
        ],
        "simulated_s": records.duration_s,
        "window": {
            "start_s": measured.window.start_ns / NS_PER_S,
            "end_s": measured.window.end_ns / NS_PER_S,
            "warmup": measured.warmup,
            "measure": measured.measure,
        },
        "is_steady_state": None if growth_ratio is None else not growth_ratio,
        "growth_ratio": growth_ratio,
        **figures,
        "preemptions": sum(counters.preemptions for counters in replicas),
        "iterations": sum(counters.iterations for counters in replicas),
        "sketch_relative_error": RELATIVE_ERROR,
        "predictor_coverage": bands,
        "imbalance": imbalance_entry(records.imbalances, -1),
        "prefix_hit_ratio": _hit_ratio(replicas),
        "gpus": sum(pool.replicas * pool.gpus_per_replica for pool in metadata.pools)
        + (metadata.encoders.gpus if metadata.encoders else 0),
        "checks": {
            "requests": request_check(records),
            "tokens": token_check(records),
            "little": little_check(metadata, records),
            "blocks": block_check(records),
            "transfers": transfer_check(records),
        },
        "replicas": _replicas(metadata, records),
        "flat": flat_metrics(
            records,
            are_static=[metadata.pools[pool].has_static_batches for pool in records.pool_of_replica(metadata)],
        ),
        "whole_run": whole_figures,
    }


def whole(metadata: RunMetadata, records: RunRecords) -> Measured:
    """Return the whole run as what is measured."""
    totals = records.totals
    columns = [SUMS.index(name) for name in ("prompt_tokens", "output_tokens")]
    by_pool = [totals.sums[members][:, columns].sum(axis=0) for members in members_of(metadata, records)]
    return Measured(
        Window(0, records.end_ns),
        totals,
        totals.count(FINISHED),
        totals.prefilled_tokens,
        totals.generated_tokens,
        np.array(by_pool, np.int64),
    )


def members_of(metadata: RunMetadata, records: RunRecords) -> list[list[int]]:
    """Return the numbers of each pool's replicas, those that have joined included."""
    members: list[list[int]] = [[] for _ in metadata.pools]
    for number, pool in enumerate(records.pool_of_replica(metadata)):
        members[pool].append(number)
    return members


def _figures(metadata: RunMetadata, records: RunRecords, measured: Measured, bands: Bands) -> dict[str, Any]:
    """Return the figures of what is measured: a window, or the whole run."""
    totals, window = measured.totals, measured.window
    duration_s = window.duration_s
    pools = _pools(metadata, records, measured)
    encoders = metadata.encoders
    apart = None if encoders is None else encoders.entry(records.encoder_work, window, records.end_ns)
    paid = pools if apart is None else [*pools, apart]
    gpu_hours = sum(each["gpu_hours"] for each in paid)
    cost_usd = sum(each["cost_usd"] for each in paid)
    output_tokens, prompt_tokens = totals.total("output_tokens"), totals.total("prompt_tokens")
    gaps = merged(records.gaps)
    slo = attainment(metadata.slo, totals.objectives, gaps, (window.start_ns, window.end_ns), bands)
    good_per_s = slo["good_requests_per_s"]
    return {
        "requests": {status: totals.count(status) for status in STATUSES} | {"total": totals.requests},
        "reasons": dict(zip(REASONS[1:], totals.reasons.tolist()[1:], strict=True)),
        "attempts": totals.attempts_all,
        "retries": totals.retries_all,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "cached_tokens": totals.total("cached_tokens"),
        "throughput": _throughput(measured),
        **{f"{name}_s": distribution_s(totals.sketches[name]) for name in SKETCHED},
        "itl_s": distribution_s(gaps),
        "handover": _handover(totals),
        "slo": slo,
        "good_requests_per_gpu_s": _per_gpu_s(good_per_s, duration_s, gpu_hours),
        "gpu_hours": gpu_hours,
        "mean_gpus": gpu_hours * 3600 / duration_s if duration_s else 0.0,
        "most_gpus": _most_gpus(metadata, records, window),
        "cost_usd": cost_usd,
        **_cost_per_token(cost_usd, *measured.useful_tokens.sum(axis=0).tolist()),
        "encoders": apart,
        "pools": pools,
    }


def _handover(totals: RequestTotals) -> dict[str, Any] | None:
    """Return the figures of the transfers between prefill and decode; None where no request was handed over."""
    transfers = totals.transfers
    if not transfers.handed_over:
        return None
    return {
        "requests": transfers.handed_over,
        "transfers": transfers.sketch.count,
        "transfer_bytes": transfers.moved_bytes,
        "transfer_s": distribution_s(transfers.sketch),
        "transfer_ttft_ratio": transfers.share_of_ttft,
    }


def loss_warnings(totals: RequestTotals) -> list[str]:
    """Return a sentence about the requests that were lost, with the reasons, if there are any."""
    lost = sum(totals.count(status) for status in LOST)
    if not lost:
        return []
    counts = dict(zip(REASONS, totals.reasons.tolist(), strict=True))
    reasons = "; ".join(f"{words}: {counts[reason]:,}" for reason, words in LOSSES.items() if counts[reason])
    were, they_count = ("was", "it counts") if lost == 1 else ("were", "they count")
    total = f"{lost:,} of {counted(totals.requests, 'request')} {were} lost"
    return [f"{total} ({reasons or 'reasons unknown'}); {they_count} as worse than any limit."]


def growth_warnings(growth_ratio: float | None) -> list[str]:
    """Return a sentence about a run that is not in steady state."""
    if not growth_ratio:
        return []
    growth = f"by {growth_ratio:.0%} of its mean over the measured part"
    text = "the number of requests in the system still grows when the arrivals end"
    return [f"The run is not in steady state: {text} ({growth}), so its figures depend on its length."]


def hidden_warnings(window: Window, measured: dict[str, Any], whole_run: dict[str, Any]) -> list[str]:
    """Return a sentence about limits that are met only in the measured window, by the ``slo`` blocks of both."""
    misses = hidden_misses(measured, whole_run)
    part = part_words(window.start_ns / NS_PER_S, window.end_ns / NS_PER_S)
    return [f"{hidden_words(misses, part)}."] if misses else []


def error_bands(metadata: RunMetadata, records: RunRecords) -> dict[str, Any]:
    """Return the case of the run's predictions, whether it sits near saturation, and the half widths of its bands.

    The case is the pools' worst; a figure without a known band has None.
    """
    cases = list(BandCase)
    return {
        "case": max((pool.error_band.case for pool in metadata.pools), key=cases.index).value,
        "is_near_saturation": records.is_on_edge,
        "error_band_percent": {
            figure: band_percent(metadata, figure, is_near_saturation=records.is_on_edge) for figure in BANDED_FIGURES
        },
    }


def _throughput(measured: Measured) -> dict[str, float]:
    duration_s = measured.window.duration_s
    if not duration_s:
        return {"requests_per_s": 0.0, "output_tokens_per_s": 0.0, "total_tokens_per_s": 0.0}
    return {
        "requests_per_s": measured.completions / duration_s,
        "output_tokens_per_s": measured.generated_tokens / duration_s,
        "total_tokens_per_s": (measured.prefilled_tokens + measured.generated_tokens) / duration_s,
    }


def _cost_per_token(cost_usd: float, prompt_tokens: int, output_tokens: int) -> dict[str, float | None]:
    total = prompt_tokens + output_tokens
    return {
        "usd_per_million_output_tokens": cost_usd / output_tokens * 1e6 if output_tokens else None,
        "usd_per_million_tokens": cost_usd / total * 1e6 if total else None,
    }


def _pools(metadata: RunMetadata, records: RunRecords, measured: Measured) -> list[dict[str, Any]]:
    totals = measured.totals
    entries = []
    for index, (pool, members) in enumerate(zip(metadata.pools, members_of(metadata, records), strict=True)):
        sketches = totals.pool_sketches[index] if len(metadata.pools) > 1 else totals.sketches
        occupancy = records.occupancies[index] if records.occupancies else None
        entry = _pool(pool, members, sketches, records, measured, occupancy)
        entry["imbalance"] = imbalance_entry(records.imbalances, index)
        entries.append(entry | _cost_per_token(entry["cost_usd"], *measured.useful_tokens[index].tolist()))
    return entries


def _pool(
    pool: PoolMetadata,
    members: list[int],
    sketches: dict[str, QuantileSketch],
    records: RunRecords,
    measured: Measured,
    occupancy: Occupancy | None,
) -> dict[str, Any]:
    totals, end_ns = measured.totals, records.end_ns
    totals.reserve(len(records.replicas))
    replicas = [records.replicas[number] for number in members]
    gaps = [records.gaps[number] for number in members]
    sums = dict(zip(SUMS, totals.sums[members].sum(axis=0).tolist(), strict=True))
    statuses = totals.replica_statuses[members].sum(axis=0).tolist()
    window = measured.window
    presence_s = sum(counters.presence_ns(window.start_ns, window.end_ns) for counters in replicas) / NS_PER_S
    gpu_hours = presence_s * pool.gpus_per_replica / 3600
    cost_usd = gpu_hours * pool.price_usd_per_gpu_hour
    return {
        "name": pool.name,
        "role": pool.role or "both",
        "site": pool.site or None,
        "model": pool.model,
        "model_keys_not_understood": list(pool.not_understood),
        "model_parts_left_out": list(pool.left_out),
        "device": pool.device,
        "replicas": pool.replicas,
        "mean_replicas": presence_s / window.duration_s if window.duration_s else 0.0,
        "most_replicas": _most_present(replicas, window),
        "gpus": pool.replicas * pool.gpus_per_replica,
        "predictor": pool.predictor_label,
        "predictor_choice": pool.predictor_choice,
        "error_band_case": pool.error_band.case.value,
        **occupancy_entry(occupancy),
        "prefix_hit_ratio": _hit_ratio(replicas),
        "requests": dict(zip(STATUSES, statuses, strict=True)),
        "prompt_tokens": sums["prompt_tokens"],
        "output_tokens": sums["output_tokens"],
        "cached_tokens": sums["cached_tokens"],
        "busy_ratio": float(np.mean([_busy_ratio(counters, end_ns) for counters in replicas])) if replicas else 0.0,
        "gpu_hours": gpu_hours,
        "cost_usd": cost_usd,
        **{f"{name}_s": distribution_s(sketches[name]) for name in SKETCHED},
        "itl_s": distribution_s(merged(gaps)),
    }


def _replicas(metadata: RunMetadata, records: RunRecords) -> list[dict[str, Any]]:
    end_ns = records.end_ns
    entries = []
    pool_of = records.pool_of_replica(metadata)
    for number, counters in enumerate(records.replicas):
        sums = dict(zip(SUMS, records.totals.sums[number].tolist(), strict=True))
        finished = sums["finished"]
        queries = counters.prefix_queries_tokens
        entries.append(
            {
                "replica": number,
                "pool": metadata.pools[pool_of[number]].name,
                "finished": finished,
                "output_tokens": sums["output_tokens"],
                "iterations": counters.iterations,
                "preemptions": counters.preemptions,
                "crashes": counters.crashes,
                "down_s": counters.down_ns / NS_PER_S,
                "joined_s": counters.joined_ns / NS_PER_S if counters.joined_ns >= 0 else None,
                "left_s": counters.left_ns / NS_PER_S if counters.left_ns >= 0 else None,
                "busy_ratio": _busy_ratio(counters, end_ns),
                "stage_busy_ratio": _stage_busy_ratios(counters, end_ns),
                "prefix_hit_ratio": counters.prefix_hits_tokens / queries if queries else None,
                "mean_ttft_s": sums["ttft_ns"] / finished / NS_PER_S if finished else None,
                "mean_queue_s": sums["queue_ns"] / finished / NS_PER_S if finished else None,
            }
        )
    return entries


def _per_gpu_s(per_s: float | None, duration_s: float, gpu_hours: float) -> float | None:
    """Return a rate over the GPUs that were there on average; None if it is unknown, or none were."""
    return per_s * duration_s / (gpu_hours * 3600) if per_s is not None and gpu_hours else None


def _hit_ratio(replicas: Sequence[ReplicaCounters]) -> float | None:
    """Return the share of prompt tokens looked up in prefix caches that were there; None if none were looked up."""
    queries = sum(counters.prefix_queries_tokens for counters in replicas)
    return sum(counters.prefix_hits_tokens for counters in replicas) / queries if queries else None


def _busy_ratio(counters: ReplicaCounters, end_ns: int) -> float:
    """Return the busy share of the busiest stage, which limits the replica."""
    return max(_stage_busy_ratios(counters, end_ns), default=0.0)


def _stage_busy_ratios(counters: ReplicaCounters, end_ns: int) -> list[float]:
    """Return the busy share of each stage in the time for which the replica exists."""
    presence_ns = counters.presence_ns(0, end_ns)
    return [busy / presence_ns if presence_ns else 0.0 for busy in counters.busy_ns]


def _most_gpus(metadata: RunMetadata, records: RunRecords, window: Window) -> int:
    """Return how many GPUs of all pools were there at the same time at most, in a window."""
    gpus = [metadata.pools[pool].gpus_per_replica for pool in records.pool_of_replica(metadata)]
    encoders = metadata.encoders.gpus if metadata.encoders else 0
    return _most_present(records.replicas, window, gpus) + encoders


def _most_present(replicas: Sequence[ReplicaCounters], window: Window, weights: Sequence[int] | None = None) -> int:
    """Return how many replicas, or how much of their ``weights``, existed at the same time at most, in a window."""
    changes = []
    for counters, weight in zip(replicas, weights or [1] * len(replicas), strict=True):
        if counters.presence_ns(window.start_ns, window.end_ns):
            changes.append((counters.joined_ns, weight))
            if counters.left_ns >= 0:
                changes.append((counters.left_ns, -weight))
    return max(accumulate(change for _, change in sorted(changes)), default=0)
