"""Time lines of one request through two replicas, worked out by hand.

Links of 0.5 ms; a step takes 1 ms and 10 us a token.  The prompt of 1,600 tokens is computed in 17 ms.  Its 100 blocks
are 100 x 16 x 128 KiB = 209.7 MB, which take 5.243 ms at 80 % of 50 GB/s; the start takes 10 us on the network, 20 us,
and 0.2 us for each block of 32 layers, 670 us in all.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from cluster_sim.units import NS_PER_MS
from tests.simulation.test_handover_studies import ENGINE_OF, pool, rows_of, study

TRANSFER_MS = 0.010 + 0.020 + 100 * 32 * 0.2e-3 + 100 * 16 * 131_072 / 40e6
STEP_MS = 1.01
ARRIVAL_S = 1.0


def row_of(connector: str, faults: Sequence[dict[str, Any]] = (), **engine: Any) -> dict[str, float]:
    """Return times in ms of the row of a request of 1,600 + 3 tokens that arrives at 0."""
    kind = ENGINE_OF[connector]
    pools = (pool(role, kind, replicas=1, engine_options=engine) for role in ("prefill", "decode"))
    lengths = {"prompt": {"kind": "fixed", "value": 1600}, "output": {"kind": "fixed", "value": 3}}
    workload = {"kind": "synthetic", "count": 1, "arrivals": {"kind": "constant", "request_rate": 1}}
    run = study(
        *pools,
        handover={"connector": connector},
        workload=workload | {"lengths": lengths},
        faults=list(faults),
        predictor={"kind": "linear", "alpha_us": 1000.0, "beta_us": 10.0},
    )
    (row,) = rows_of(run)
    names = ("scheduled_ns", "transfer_start_ns", "transfer_ns", "first_token_ns", "finish_ns")
    times = {name: (row[name] - row["arrival_ns"] * (name != "transfer_ns")) / NS_PER_MS for name in names}
    return times | {"transfer_bytes": row["transfer_bytes"]}


def test_nixl() -> None:
    """The prompt ends at 17.5 ms, the decode replica has its blocks at 18.5 ms; behind the transfer comes one step for
    the first token and two more.
    """
    row = row_of("nixl")
    assert row["scheduled_ns"] == 0.5
    assert row["transfer_bytes"] == 100 * 16 * 131_072
    assert row["transfer_start_ns"] == 18.5
    assert row["transfer_ns"] == pytest.approx(TRANSFER_MS, abs=1e-5)
    ready = 18.5 + TRANSFER_MS
    assert row["first_token_ns"] == pytest.approx(ready + STEP_MS + 0.5, abs=1e-5)
    assert row["finish_ns"] == pytest.approx(ready + 3 * STEP_MS + 0.5, abs=1e-5)


def test_tensorrt_llm() -> None:
    """The same, but the client has the first token as soon as the cache has arrived."""
    row = row_of("tensorrt_llm")
    assert row["transfer_start_ns"] == 18.5
    ready = 18.5 + TRANSFER_MS
    assert row["first_token_ns"] == pytest.approx(ready + 0.5, abs=1e-5)
    assert row["finish_ns"] == pytest.approx(ready + 2 * STEP_MS + 0.5, abs=1e-5)


def test_sglang() -> None:
    """The decode server has memory at 0.5 ms, the prefill server the request at 1.5 ms; the transfer begins when the
    prompt ends, at 18.5 ms.
    """
    row = row_of("sglang")
    assert row["scheduled_ns"] == pytest.approx(1.5, abs=1e-5)
    assert row["transfer_start_ns"] == pytest.approx(18.5, abs=1e-5)
    assert row["transfer_ns"] == pytest.approx(TRANSFER_MS, abs=1e-5)
    assert row["first_token_ns"] == pytest.approx(18.5 + TRANSFER_MS + 0.5, abs=1e-5)


def test_sglang_sends_chunks_as_they_end() -> None:
    """Chunks of 800 tokens take 9 ms each.  The first half moves while the second is computed; from 19.5 ms on the
    other half takes half the time, and half the reads.
    """
    row = row_of("sglang", max_num_batched_tokens=800, max_num_seqs=8)
    half = 0.010 + 0.020 + 50 * 32 * 0.2e-3 + 50 * 16 * 131_072 / 40e6
    assert row["transfer_start_ns"] == pytest.approx(10.5, abs=1e-5)
    assert row["first_token_ns"] == pytest.approx(19.5 + half + 0.5, abs=1e-5)


def test_layerwise_leaves_the_last_layer() -> None:
    """17 ms of the step are enough for 31 of 32 layers: a 32nd of the bytes is left when it ends, at 18.5 ms.  That and
    the start take less than the way over the router, 1 ms, after which one step makes the first token.
    """
    row = row_of("layerwise")
    assert row["transfer_start_ns"] == pytest.approx(18.5, abs=1e-5)
    assert 0.67 + 5.243 / 32 < 1
    assert row["first_token_ns"] == pytest.approx(18.5 + 1.0 + STEP_MS + 0.5, abs=1e-5)


@pytest.mark.parametrize("replica", [0, 1])
@pytest.mark.parametrize(
    ("ratio", "lasts_ms", "rest_ms"),
    [(0.25, 1000.0, 2.62144 / 0.25), (0.25, 4.0, 4 + 2.62144 - 1), (0.0, 4.0, 4 + 2.62144)],
)
def test_a_link_that_is_degraded_half_way(replica: int, ratio: float, lasts_ms: float, rest_ms: float) -> None:
    """Half of the 209.7 MB takes 2.62144 ms, behind a start of 0.67 ms at 18.5 ms; the other half is slower.

    At a quarter it takes four times as long, or in 4 ms as much as in 1 ms otherwise; at 0 it waits.  The router counts
    with what moves a forward link later, 0.5 ms.
    """
    half_ms = 18.5 + 0.67 + 2.62144
    at_s = ARRIVAL_S + (half_ms - 0.5) / 1000
    times = {"at_s": at_s, "duration_s": lasts_ms / 1000}
    row = row_of("nixl", [{"kind": "link_degraded", "replicas": [replica], "bandwidth_ratio": ratio, **times}])
    assert row["transfer_start_ns"] == 18.5
    assert row["transfer_ns"] == pytest.approx(0.67 + 2.62144 + rest_ms, abs=1e-5)
    assert row["first_token_ns"] == pytest.approx(half_ms + rest_ms + STEP_MS + 0.5, abs=1e-5)
