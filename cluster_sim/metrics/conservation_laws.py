"""Checks of the laws that every run must obey, reported in its summary.

The two sides of each check are independent records: one by the replicas while they run, one in the rows of the hub.
"""

from typing import Any, Final

from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.recording.statuses import CANCELLED, FAILED, FINISHED, REFUSED, STATUSES, UNFINISHED
from cluster_sim.units import NS_PER_S

_CANCELLED_CODE: Final = STATUSES.index(CANCELLED)
_UNFINISHED_CODE: Final = STATUSES.index(UNFINISHED)

LITTLE_TOLERANCE: Final = 1e-3
"""Largest relative difference between L and lambda W that passes."""


def little_check(metadata: RunMetadata, records: RunRecords) -> dict[str, Any]:
    """Check Little's law, L = lambda W, for the replicas together.

    L is the time average of requests at the replicas by their own entries and departures; lambda W is the rate of
    requests that reached a replica times their mean stay by the rows, without the links.

    The row of a cancelled request ends when its client gives up.  The replicas record its stay from the arrival of
    the cancellation to the departure (``cancellation_lag_ns``).  If a run of fixed length cuts requests off, the sides
    may differ by the time that a message spends on a link when the run ends.  Rows tell of one attempt, so the law says
    nothing where requests had several; and of an attempt that failed, or whose answer a lost link held up, they tell
    the time at the router, so it says nothing then either.
    """
    totals, replicas, end_ns = records.totals, records.replicas, records.end_ns
    stay_ns = totals.served_ns - totals.in_service_since_ns + totals.in_service * end_ns
    stay_ns += sum(counters.cancellation_lag_ns for counters in replicas)
    requests = totals.served + totals.in_service
    area_ns = sum(counters.in_system_area_ns for counters in replicas)
    cut_off_ns = 0
    for number, pool in enumerate(records.pool_of_replica(metadata)):
        forward_ns, return_ns = metadata.pools[pool].forward_link_ns, metadata.pools[pool].return_link_ns
        ends = totals.replica_statuses[number].tolist()
        in_service = ends[_UNFINISHED_CODE]
        stay_ns -= (sum(ends) - in_service - ends[_CANCELLED_CODE]) * (forward_ns + return_ns) + in_service * forward_ns
        present = replicas[number].entered - replicas[number].left
        cut_off_ns += in_service * (forward_ns + return_ns) + present * forward_ns
    is_disturbed = totals.attempts_all > requests or totals.count(FAILED) > 0 or metadata.has_faults
    error = max(abs(area_ns - stay_ns) - cut_off_ns, 0) / max(area_ns, stay_ns, 1)
    return {
        "mean_in_system": area_ns / end_ns if end_ns else 0.0,
        "arrivals_per_s": requests / records.duration_s if end_ns else 0.0,
        "mean_stay_s": stay_ns / NS_PER_S / requests if requests else 0.0,
        "relative_error": error,
        "holds": error <= LITTLE_TOLERANCE or is_disturbed,
    }


def token_check(records: RunRecords) -> dict[str, Any]:
    """Check that the replicas computed the tokens that the finished requests consist of.

    Equality is due when every request finished or was refused, none was preempted and none had several attempts;
    otherwise the replicas computed at least as much.
    """
    totals, replicas = records.totals, records.replicas
    generated = sum(counters.generated_tokens for counters in replicas)
    computed = sum(counters.prompt_tokens for counters in replicas)
    expected_generated = totals.total("output_tokens")
    expected_computed = totals.total("prompt_tokens") - totals.total("cached_tokens")
    is_undisturbed = (
        totals.count(FINISHED) + totals.count(REFUSED) == totals.requests
        and totals.attempts_all <= totals.served + totals.in_service
        and not totals.transfers.handed_over
        and not sum(counters.preemptions for counters in replicas)
    )
    if is_undisturbed:
        holds = generated == expected_generated and computed == expected_computed
    else:
        holds = generated >= expected_generated and computed >= expected_computed
    return {
        "generated_tokens": generated,
        "finished_output_tokens": expected_generated,
        "computed_prompt_tokens": computed,
        "finished_uncached_prompt_tokens": expected_computed,
        "relation": "equal" if is_undisturbed else "at least",
        "holds": holds,
    }


def request_check(records: RunRecords) -> dict[str, Any]:
    """Check that every request that arrived ended once: its row has one of the statuses, and no other row its id."""
    arrived, rows = records.arrived, records.totals.requests
    return {
        "arrived": arrived,
        "rows": rows,
        "repeated": records.repeated,
        "holds": arrived == rows and not records.repeated,
    }


def block_check(records: RunRecords) -> dict[str, Any]:
    """Check that replicas without requests hold no KV blocks when the run ends.

    Blocks of a prompt that was handed over are given back by a message, which the end of the run may cut off.
    """
    totals = records.totals
    held = sum(counters.held_blocks for counters in records.replicas)
    is_cut_off = totals.transfers.handed_over > 0 and totals.count(FINISHED) + totals.count(REFUSED) < totals.requests
    return {"held_blocks": held, "holds": not held or is_cut_off}


def transfer_check(records: RunRecords) -> dict[str, Any]:
    """Check that the rows tell of the bytes that were moved between replicas.

    Rows tell of one transfer each, so more may have moved where requests were tried again or did not finish.
    """
    totals, moved = records.totals, records.moved_bytes
    told = totals.transfers.moved_bytes
    is_undisturbed = totals.count(FINISHED) + totals.count(REFUSED) == totals.requests and not totals.retries_all
    holds = moved is None or (moved == told if is_undisturbed else moved >= told)
    return {"moved_bytes": moved, "bytes_of_rows": told, "holds": holds}
