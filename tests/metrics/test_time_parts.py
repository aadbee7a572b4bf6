"""Parts of the time of a request."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.time_parts import PARTS, Fleet, IdleReplica, time_parts_ns, total_ns
from cluster_sim.output.request_rows import read_blocks
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow, RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.workload.request import Request
from tests.small_run import run_small

ALONE = IdleReplica(
    np.array([0.0, 1000.0]), np.array([0.0, 1000.0]), np.array([0.0, 5000.0]), forward_link_ns=2, return_link_ns=3
)
"""1 ns a token of prompt, 5 ns a token of answer."""


def _parts(row: RequestRow, pool: IdleReplica = ALONE, joined_ns: int = 0, end_ns: int = 9_999) -> dict[str, int]:
    """Return the parts of one request that take any time."""
    blocks: list[RowBlock] = []
    log = RequestLog(RequestTotals(2, ["a", "b"]), [blocks.append])
    log.add(row)
    log.flush()
    fleet = Fleet((pool, pool), np.array([0, 1]), np.array([joined_ns, joined_ns]))
    parts = time_parts_ns(blocks[0], fleet, end_ns)
    return {name: value for name, value in zip(PARTS, parts[0].tolist(), strict=True) if value}


def _row(status: str = "finished", **values: Any) -> RequestRow:
    row = RequestRow(Request(0, 100, 40, 11), status, 0, "a", 110, 152, 225, 345)
    return row._replace(**values)


def test_one_replica_by_hand() -> None:
    """10 ns at the router; 42 to the first batch, 2 of them the link; 73 to the first token, 3 of them the link and 40
    the prompt alone; 120 for ten tokens that take 50 alone.
    """
    assert _parts(_row()) == {
        "router": 10, "network": 5, "queue": 40, "prefill": 40, "prefill_batch": 30, "decode": 50, "decode_batch": 70,
    }  # fmt: skip


def test_preemption_failed_attempts_and_cached_prompts_by_hand() -> None:
    """What was lost to attempts and preemptions is taken off first; a cached part of the prompt is not computed."""
    row = _row(first_dispatch_ns=104, preempted_ns=60, interrupted_ns=25, cached_tokens=30)
    assert _parts(row) == {
        "router": 4, "failed_attempts": 6 + 25, "network": 5, "queue": 40, "prefill": 10, "prefill_batch": 60,
        "preemption": 60, "decode": 35,
    }  # fmt: skip


def test_a_prompt_that_is_begun_again_by_hand() -> None:
    """Begun at 152 and, after a preemption, at 170: these 18 ns are lost; of the rest the prompt alone takes 40."""
    parts = _parts(_row(restarted_ns=170))
    assert (parts["preemption"], parts["prefill"], parts["prefill_batch"]) == (18, 40, 12)


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        (104, 108, {"router": 4 + 2, "encoding": 4}),
        (100, 110, {"encoding": 10}),
        (104, 500, {"router": 4, "encoding": 6}),  # What a client does not wait for takes none of its time.
    ],
)
def test_encoders_by_hand(start: int, end: int, parts: dict[str, int]) -> None:
    """What an encoder takes, its queue included, is no time at the router."""
    found = _parts(_row(encode_start_ns=start, encoded_ns=end))
    assert {name: value for name, value in found.items() if name in {"router", "encoding"}} == parts
    assert sum(found.values()) == 245


@pytest.mark.parametrize(
    ("start", "length", "handover", "transfer"),
    [
        (190, 20, 5 + 12, 20),  # After the prompt, which is computed at 185.
        (170, 30, 22, 15),  # While it is computed: only the rest counts.
        (150, 20, 37, 0),
        (-1, -1, 37, 0),  # Nothing had to move.
    ],
)
def test_hand_over_by_hand(start: int, length: int, handover: int, transfer: int) -> None:
    """The prompt is computed at 185 and its first token is there at 225, 3 ns of that on the link back."""
    row = _row(replica=1, pool="b", prefill_replica=0, prefilled_ns=185, transfer_start_ns=start, transfer_ns=length)
    parts = _parts(row)
    assert sum(parts.values()) == 245
    assert parts.get("transfer", 0) == transfer
    assert parts["handover"] == handover
    assert (parts["prefill"], parts.get("prefill_batch", 0)) == (33, 0)


def test_a_replica_that_starts_is_waited_for() -> None:
    """A replica that began to start at 102 and took 6 ns accounts for these of the 10 ns at the router."""
    parts = _parts(_row(), ALONE._replace(cold_start_ns=6), joined_ns=102)
    assert (parts["router"], parts["cold_start"]) == (4, 6)


def test_requests_without_a_finish_have_the_parts_up_to_their_end() -> None:
    """Shed at the router, cancelled in the queue, cut off while computed, refused: each up to its end."""
    shed = _row("shed", replica=-1, pool="", dispatch_ns=-1, scheduled_ns=-1, first_token_ns=-1, finish_ns=160)
    assert _parts(shed) == {"router": 60}
    cancelled = _row("cancelled", scheduled_ns=-1, first_token_ns=-1, finish_ns=160, reason="client_timeout")
    assert _parts(cancelled) == {"router": 10, "network": 2, "queue": 48}
    cut_off = _row("unfinished", first_token_ns=-1, finish_ns=-1, reason="run_end")
    assert _parts(cut_off, end_ns=170) == {"router": 10, "network": 2, "queue": 40, "prefill": 18}
    refused = _row("refused", replica=-1, pool="", dispatch_ns=-1, scheduled_ns=-1, first_token_ns=-1, finish_ns=-1)
    assert _parts(refused) == {}


def test_steps_that_are_not_known_split_nothing() -> None:
    """Without times on an idle replica all of prefill and decode counts as the request's own."""
    parts = _parts(_row(), ALONE._replace(tokens=np.zeros(1), prefill_ns=np.zeros(1), decode_ns=np.zeros(1)))
    assert (parts["prefill"], parts["decode"]) == (70, 120)
    assert "prefill_batch" not in parts


PAIR = (
    "fleet.pools=[{name: p, model: llama-3-8b, device: h100-sxm, replicas: 1, role: prefill}, "
    "{name: d, model: llama-3-8b, device: h100-sxm, replicas: 2, role: decode}]"
)
CHUNKED = (
    "fleet.pools.0.engine={num_kv_blocks: 90, max_num_batched_tokens: 128}",
    "workload.arrivals={kind: poisson, request_rate: 60}",
)
"""Prompts are preempted while they are computed in chunks."""
FAULTS = (
    "faults=[{kind: crash, replicas: [1], at_s: 2, duration_s: 1}]",
    "router.retries={max_retries: 5, back_off: {initial_ms: 100}}",
    "router.migration={limit: 3}",
)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("fleet.pools.0.engine.num_kv_blocks=150",), {"queue", "preemption", "decode_batch", "prefill_batch"}),
        (CHUNKED, {"preemption"}),
        ((PAIR,), {"handover", "transfer"}),
        ((PAIR, "fleet.handover={connector: layerwise}"), {"handover"}),
        (FAULTS, {"failed_attempts"}),
        (("fleet.pools.0.engine={kind: vllm_v0, num_kv_blocks: 150, preemption_mode: swap}",), {"preemption"}),
    ],
    ids=("pressed", "chunked", "handed over", "layerwise", "faults", "swapped"),
)
def test_parts_of_whole_runs_add_up(tmp_path: Path, overrides: tuple[str, ...], expected: set[str]) -> None:
    """For every request of a run no part is negative, and they add up to the time to its end, to the nanosecond."""
    result = run_small(tmp_path, *overrides)
    fleet = Fleet.from_summary(result.summary)
    names = [pool["name"] for pool in result.summary["pools"]]
    (block,) = read_blocks(result.directory / "requests.parquet", names)
    parts = time_parts_ns(block, fleet, round(result.summary["simulated_s"] * 1e9))
    assert (parts >= 0).all()
    has_ended = block.column("finish_ns") >= 0
    assert has_ended.sum() > 100
    assert (parts.sum(axis=1) == block.column("finish_ns") - block.column("arrival_ns"))[has_ended].all()
    assert expected <= {name for name in PARTS if total_ns(parts, [name]).any()}
    finished = block.column("status") == STATUSES.index(FINISHED)
    was_preempted = finished & (block.column("preemptions") > 0) & (block.column("interrupted_ns") < 0)
    assert (total_ns(parts, ["preemption"])[was_preempted] > 0).all()
