"""Checks of a run's outcome: what shows only afterwards that its input was wrong."""

from collections.abc import Mapping
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.reasons import CONTEXT_LENGTH, KV_CACHE, LOSSES, NO_MODEL, REASONS
from cluster_sim.shown_values import by_number
from cluster_sim.units import NS_PER_S

_LAWS: Final = ("requests", "tokens", "blocks", "transfers")
_REMEDIES: Final = {
    CONTEXT_LENGTH: "engine.max_model_len is the longest context of a pool",
    KV_CACHE: "engine.num_kv_blocks, or the memory of more or larger GPUs, bounds a pool's KV cache",
    NO_MODEL: "workload.model, or the trait model, names the model that requests ask for",
}
"""Where each of ``IMPOSSIBLE`` can be changed."""
IMPOSSIBLE: Final = tuple(_REMEDIES)
"""The reasons for which no replica can ever run a request."""


def check_arrivals(end_ns: int, first_ns: int) -> None:
    """Raise InputError if the run ends (-1: never by itself) before the first request arrives."""
    if 0 <= end_ns <= first_ns:
        raise InputError(
            f"run.end_s: {end_ns / NS_PER_S:g} s is before anything happens: the first request arrives at "
            f"{first_ns / NS_PER_S:g} s; let the run end later, or leave end_s out to serve every request"
        )


def check_laws(checks: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RuntimeError, a fault of the program, if requests, tokens, blocks or bytes were lost or doubled.

    ``checks`` are those of the summary; Little's law holds on average only, so it is reported instead.
    """
    broken = [f"{name} {dict(checks[name])}" for name in _LAWS if not checks[name]["holds"]]
    if broken:
        raise RuntimeError(f"the run breaks its own laws: {'; '.join(broken)}")


def check_service(metadata: RunMetadata, totals: RequestTotals, arrived: int) -> None:
    """Raise InputError if not one request could be run by any replica, whatever the load.

    Requests that failed, were shed or gave up are results, and so are refusals beside requests that ran.
    """
    counts = dict(zip(REASONS, totals.reasons.tolist(), strict=True))
    impossible = {reason: counts[reason] for reason in IMPOSSIBLE if counts[reason]}
    if arrived and sum(impossible.values()) >= arrived:
        raise InputError(none_can_run(metadata, impossible))


def none_can_run(metadata: RunMetadata, impossible: Mapping[str, int]) -> str:
    """Return the message for a workload of which no replica can run a request; ``impossible`` counts the reasons."""
    arrived = sum(impossible.values())
    pools = "; ".join(
        f"pool {pool.name} serves {pool.model} with {pool.max_model_tokens:,} tokens of context and "
        f"{pool.kv_blocks * pool.block_size_tokens:,} of KV cache a replica"
        for pool in metadata.pools
    )
    remedies = "; ".join(remedy for reason, remedy in _REMEDIES.items() if reason in impossible)
    return (
        f"workload: no replica can ever run {by_number(arrived, 'the', f'any of the {arrived:,}')} "
        f"{by_number(arrived, 'request', 'requests')} ({impossible_causes(impossible)}): {pools}; {remedies}"
    )


def impossible_causes(impossible: Mapping[str, int]) -> str:
    """Return how many requests can never run for which reason."""
    return ", ".join(f"{impossible[reason]:,} {LOSSES[reason]}" for reason in IMPOSSIBLE if reason in impossible)
