"""Fast-forwarding in every engine: never a difference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.messages import Cancellation, Dispatch, Response
from cluster_sim.serving.ordering import Ordering
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions, engine_options
from cluster_sim.workload.request import Attributes, Request
from tests.serving.step_times import Linear

KINDS = ENGINES.names()
TURN = st.tuples(
    st.integers(0, 2), st.integers(1, 40), st.integers(1, 30), st.integers(0, 300_000), st.booleans(), st.booleans()
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    turns=st.lists(TURN, min_size=1, max_size=20),
    tokens=st.integers(160, 420),
    budget=st.integers(70, 150),
    seqs=st.integers(1, 6),
    policy=st.sampled_from(["fcfs", "priority", "sjf", "priority_aging", "lrs", "st", "vtc"]),
    timeout_s=st.sampled_from([0.0, 0.0001]),
    is_adaptive=st.booleans(),
    capacity_policy=st.sampled_from(["guaranteed_no_evict", "max_utilization"]),
    swap_blocks=st.sampled_from([None, 0, 12, 1000]),
    is_mixed=st.booleans(),
)
@pytest.mark.parametrize("kind", KINDS)
def test_fast_forwarding_changes_nothing(
    kind: str,
    turns: list,
    tokens: int,
    budget: int,
    seqs: int,
    policy: str,
    timeout_s: float,
    is_adaptive: bool,
    capacity_policy: str,
    swap_blocks: int | None,
    is_mixed: bool,
) -> None:
    """Every request ends alike, and the books agree, fast-forwarded or not, also after snapshots."""
    block = 1 if kind == "lightllm" else 4
    switches = {
        "sglang": {"enable_prefix_caching": True, "enable_mixed_chunk": is_mixed},
        "static_two_phase": {"batch_timeout_s": timeout_s, "adaptive_batch_size": is_adaptive},
        "vllm_v0": {"swap_blocks": swap_blocks or 0, "preemption_mode": "recompute" if swap_blocks is None else "swap"},
    }
    results = []
    for can_fast_forward in (True, False):
        limits = SchedulerLimits(
            kv_blocks=tokens // block,
            block_size=block,
            max_num_seqs=seqs,
            max_num_batched_tokens=budget,
            max_model_len=100,
            pipeline_parallel=1,
            batches_in_flight=1,
            is_async=False,
            can_fast_forward=can_fast_forward,
        )
        engine = engine_options(
            kind=kind,
            block_size=block,
            policy=policy,
            ordering=Ordering(long_prompt_tokens=30),
            max_waiting_iters=3,
            capacity_policy=capacity_policy,
            **switches.get(kind, {}),
        )
        predictor = Linear()

        def build(
            engine: EngineOptions = engine, limits: SchedulerLimits = limits, predictor: Predictor = predictor
        ) -> Replica:
            scheduler = build_scheduler(engine, limits)
            settings = ReplicaSettings(0, limits, 0, late_cancellation_ns=150_000)
            return Replica(settings, scheduler, predictor, ReplicaLog(0))

        replica = build()
        now = 0
        messages: list[Message] = []
        earlier: tuple[tuple[int, int], ...] = ()
        for index, (session, prompt, output, gap, gives_up, follows) in enumerate(turns):
            now += gap
            segments = ((session, 20), (100 + index, prompt))
            if follows and sum(tokens for _, tokens in (*earlier, *segments)) + output <= 70:
                segments = (*earlier, *segments)  # The turn before, which may still be writing its output.
            earlier = (*segments, (500 + index, output))
            attributes = Attributes(
                segments=segments, output_segment=500 + index, tenant=str(session), priority=session
            )
            request = Request(index, now, sum(tokens for _, tokens in segments), output, attributes)
            messages += replica.advance(instant(now, Kind.GLOBAL_SCHEDULE))
            replica.receive(Message(instant(now, Kind.DELIVERY), HUB_SOURCE, index, Dispatch(request, 0)))
            if gives_up:
                at = instant(now + 150_000, Kind.CANCELLATION)
                replica.receive(Message(at, HUB_SOURCE, index, Cancellation(index, 0)))
            if index == 5:
                restored = build()
                restored.restore(replica.snapshot())
                replica = restored
        messages += replica.advance(NEVER)
        responses = {each.payload.request_id: each.payload for each in messages if isinstance(each.payload, Response)}
        scheduler = replica._scheduler
        assert (scheduler.running_count, scheduler.waiting_count, scheduler.kv_used_blocks) == (0, 0, 0)
        assert set(responses) >= {index for index, turn in enumerate(turns) if not turn[4]}
        log = replica.log
        results.append((responses, log.iterations, log.generated_tokens, log.preemptions, replica.pipeline.busy_ns))
    assert results[0] == results[1]
