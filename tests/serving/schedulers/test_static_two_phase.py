"""The batch server of llm-infer: its documented example and its reference runs."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.kinds.two_phase import TwoPhaseOptions, TwoPhasePredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.messages import Cancellation, Dispatch, EndOfArrivals, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.request import Attributes, Request
from tests.hardware.replicas import hardware

MS = 1_000_000


def replica_of(batch_size: int, *, can_fast_forward: bool = True, **engine: object) -> Replica:
    """Return one batch server."""
    limits = SchedulerLimits(
        kv_blocks=1,
        block_size=16,
        max_num_seqs=batch_size,
        max_num_batched_tokens=1 << 40,
        max_model_len=1 << 40,
        pipeline_parallel=1,
        batches_in_flight=1,
        is_async=False,
        can_fast_forward=can_fast_forward,
    )
    scheduler = build_scheduler(engine_options(kind="static_two_phase", **engine), limits)
    predictor = TwoPhasePredictor(TwoPhaseOptions(), hardware())
    return Replica(ReplicaSettings(0, limits, 0), scheduler, predictor, ReplicaLog(0))


def serve(
    requests: list[Request], batch_size: int, cancels: tuple[int, ...] = (), drain_ns: int = -1, **engine: object
) -> dict[int, Response]:
    """Run requests through one batch server and return what became of them."""
    return run_on(replica_of(batch_size, **engine), requests, cancels, drain_ns)


def run_on(
    replica: Replica, requests: list[Request], cancels: tuple[int, ...] = (), drain_ns: int = -1
) -> dict[int, Response]:
    """Run requests through a batch server."""
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    for request_id in cancels:
        replica.receive(Message(instant(MS, Kind.CANCELLATION), HUB_SOURCE, request_id, Cancellation(request_id, 0)))
    if drain_ns >= 0:
        replica.receive(Message(instant(drain_ns, Kind.CANCELLATION), HUB_SOURCE, 0, EndOfArrivals(len(requests))))
    payloads = [message.payload for message in replica.advance(NEVER)]
    return {payload.request_id: payload for payload in payloads if isinstance(payload, Response)}


def test_documented_prefill_example() -> None:
    """A prefill of 100 tokens takes 0.001 * 100 + 0.05 = 0.15 s."""
    predictor = TwoPhasePredictor(TwoPhaseOptions(), hardware())
    assert predictor.step_ns(BatchShape(prefills=[(100, 0)])) == 150 * MS
    assert predictor.step_ns(BatchShape(decodes=7, decode_kv_tokens=700)) == 500_000
    assert predictor.decode_run_ns(7, 700, 3).tolist() == [500_000] * 3


def test_batch_waits_for_its_last_member_and_runs_to_the_longest_output() -> None:
    """Two requests start when the second is there: 0.05 + 0.001 * 150 + 0.0005 * 40 = 0.22 s for both."""
    responses = serve([Request(0, 0, 100, 10), Request(1, 30 * MS, 50, 40), Request(2, 40 * MS, 10, 5)], 2)
    assert set(responses) == {0, 1}
    assert [responses[index].scheduled_ns for index in range(2)] == [30 * MS] * 2
    assert [responses[index].finish_ns for index in range(2)] == [250 * MS] * 2
    assert responses[0].first_token_ns == 30 * MS + 200 * MS + 500_000


@pytest.mark.parametrize("can_fast_forward", [True, False])
def test_gaps_add_up_to_the_time_between_first_and_last_token(can_fast_forward: bool) -> None:
    """A step takes 0.5 ms.  Of outputs of 4, 2, 1 and 4 tokens the second's last comes with the batch.

    Gaps of 0.5 ms: 3 each of the first and the last; the second has one of 1.5 ms, the third none.
    """
    requests = [Request(index, index, 10, output) for index, output in enumerate((4, 2, 1, 4))]
    replica = replica_of(4, can_fast_forward=can_fast_forward)
    responses = run_on(replica, requests)
    gaps = replica.log.gaps()
    assert (gaps.count, gaps.total) == (7, 6 * 500_000 + 1_500_000)
    spans = [responses[index].finish_ns - responses[index].first_token_ns for index in (0, 1, 3)]
    assert sum(spans) == gaps.total
    assert replica.log.generated_tokens == 11


def test_time_out_starts_an_incomplete_batch() -> None:
    """After 0.5 s a lone request runs alone; one that arrives meanwhile waits for its own time-out."""
    responses = serve([Request(0, 0, 100, 10), Request(1, 600 * MS, 100, 10)], 2, batch_timeout_s=0.5)
    assert [responses[index].scheduled_ns for index in range(2)] == [500 * MS, 1100 * MS]
    assert responses[0].finish_ns == 655 * MS


def test_the_end_of_arrivals_starts_an_incomplete_batch() -> None:
    """Of three requests the first two run from 30 to 205 ms; the third starts then, or when it hears it is the last."""
    requests = [Request(0, 0, 100, 10), Request(1, 30 * MS, 20, 10), Request(2, 40 * MS, 50, 10)]
    assert set(serve(requests, 2)) == {0, 1}
    for drain_ms, start_ms in ((40, 205), (205, 205), (300, 300)):
        responses = serve(requests, 2, drain_ns=drain_ms * MS)
        assert [responses[index].scheduled_ns // MS for index in range(3)] == [30, 30, start_ms]


def test_adaptive_size_goes_half_of_the_way_to_the_queue() -> None:
    """A batch of n takes 55 + 10 n ms: 1 alone, (1 + 7) / 2 = 4 until 160 ms, of 3 waiting 3, which leaves nothing.

    At 1,000 ms one comes and the size is 2, so it waits until 1,200 ms; at 2,000 ms the size becomes 1.
    """
    waiting = [Request(index, index and MS, 10, 10) for index in range(8)]
    later = [Request(8, 1000 * MS, 10, 10), Request(9, 1200 * MS, 10, 10), Request(10, 2000 * MS, 10, 10)]
    responses = serve([*waiting, *later], 32, adaptive_batch_size=True)
    starts = [responses[index].scheduled_ns // MS for index in range(11)]
    assert starts == [0, 65, 65, 65, 65, 160, 160, 160, 1200, 1200, 2000]


def test_adaptive_size_is_capped_and_a_time_out_still_holds() -> None:
    """Of 13, 9 and 5 waiting the size becomes 4; for the last it falls to 2, and 10 s after its arrival it starts."""
    requests = [Request(index, index and MS, 10, 10) for index in range(14)]
    responses = serve(requests, 4, adaptive_batch_size=True, batch_timeout_s=10.0)
    starts = [responses[index].scheduled_ns // MS for index in range(14)]
    assert starts == [0] + [65] * 4 + [160] * 4 + [255] * 4 + [10_001]


def test_waiting_for_a_batch_is_no_stall() -> None:
    """Two requests five hours apart wait for each other, longer than a run may go without a token."""
    responses = serve([Request(0, 0, 100, 10), Request(1, 18_000_000 * MS, 50, 40)], 2)
    assert responses[0].scheduled_ns == 18_000_000 * MS


@pytest.mark.parametrize(
    ("policy", "first"), [("fcfs", {0, 1}), ("sjf", {2, 4}), ("predicted_sjf", {1, 2}), ("priority_aging", {3, 4})]
)
def test_policy_chooses_the_batch_from_the_whole_queue(policy: str, first: set[int]) -> None:
    """While a first batch runs five requests come; the next batch of two holds those that the policy puts first."""
    running = [Request(10 + index, 0, 100, 10) for index in range(2)]
    waiting = [
        Request(0, 1 * MS, 300, 300, Attributes(priority=4)),
        Request(1, 2 * MS, 200, 10, Attributes(priority=3)),
        Request(2, 3 * MS, 100, 200, Attributes(priority=2)),
        Request(3, 4 * MS, 400, 500, Attributes(priority=0)),
        Request(4, 5 * MS, 50, 900, Attributes(priority=1)),
    ]
    responses = serve([*running, *waiting], 2, policy=policy, batch_timeout_s=10.0)
    start = min(responses[index].scheduled_ns for index in range(5))
    assert {index for index in range(5) if responses[index].scheduled_ns == start} == first


def test_cancelled_request_is_computed_but_not_answered() -> None:
    """Giving up in the middle of a batch changes nothing for the others."""
    responses = serve([Request(0, 0, 100, 10), Request(1, 0, 50, 40)], 2, cancels=(1,))
    assert set(responses) == {0}
    assert responses[0].finish_ns == 220 * MS


@pytest.mark.parametrize("name", ["fcfs_b1_rate2", "fcfs_b8_rate4", "fcfs_b32_rate10", "fcfs_b128_rate50"])
def test_reference_runs_agree(shared: Path, name: str) -> None:
    """Every start and end of llm-infer's own runs to 1e-6 s, and nothing but its last, incomplete batch is left."""
    folder = shared / "llm-infer-ref"
    config = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    requests = [
        Request(
            int(row["request_id"]),
            round(float(row["arrival_s"]) * 1e9),
            int(row["prompt_tokens"]),
            int(row["output_tokens"]),
        )
        for row in rows
    ]
    requests.sort(key=lambda request: (request.arrival_ns, request.request_id))
    responses = serve(requests, config["config"]["batch_size"])
    assert len(responses) == config["completed"] == len(rows)
    for row in rows:
        outcome = responses[int(row["request_id"])]
        assert outcome.scheduled_ns / 1e9 == pytest.approx(float(row["processing_start_s"]), abs=1e-6)
        assert outcome.finish_ns / 1e9 == pytest.approx(float(row["processing_end_s"]), abs=1e-6)
