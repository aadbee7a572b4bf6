"""A small replica that takes part in hand-overs, driven by messages."""

from typing import Any

from cluster_sim.engine.instant import KIND_BITS, NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request
from tests.serving.step_times import Linear

RETURN_NS = 500


def replica(kind: str = "vllm_v1", *, reports_chunks: bool = False, **changes: Any) -> Replica:
    """Return a replica of 64 blocks of 4 tokens, 8 sequences and 256 tokens a step; ``engine`` has further options."""
    options = changes.pop("engine", {})
    values = {
        "kv_blocks": 64,
        "block_size": 4,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 256,
        "max_model_len": 256,
        "pipeline_parallel": 1,
        "batches_in_flight": 1,
        "is_async": False,
        "can_fast_forward": True,
        **changes,
    }
    limits = SchedulerLimits(**values)
    scheduler = build_scheduler(engine_options(kind, block_size=limits.block_size, **options), limits)
    settings = ReplicaSettings(0, limits, RETURN_NS, reports_chunks=reports_chunks)
    return Replica(settings, scheduler, Linear(), ReplicaLog(0))


def request(request_id: int, prompt: int, output: int, attributes: Attributes = NO_ATTRIBUTES) -> Request:
    return Request(request_id, 0, prompt, output, attributes)


def send(to: Replica, at_ns: int, request_id: int, payload: Any, kind: int = Kind.DELIVERY) -> None:
    to.receive(Message(instant(at_ns, kind), HUB_SOURCE, request_id, payload))


def answers(of: Replica, until_ns: int = -1) -> list[tuple[int, Any]]:
    """Advance and return (arrival at the router in ns, payload) of every message."""
    horizon = NEVER if until_ns < 0 else instant(until_ns, Kind.CANCELLATION)
    return [(message.instant >> KIND_BITS, message.payload) for message in of.advance(horizon)]
