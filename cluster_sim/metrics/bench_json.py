"""``bench.json``: a run in the layout of ``vllm bench serve``, which plotting and comparison tools read.

Definitions are that program's (``vllm/benchmarks/serve.py``): milliseconds; the duration runs from the first arrival
to the last completion; time per output token is (e2e - ttft) / (n - 1) for n > 1; inter-token latencies pool all gaps;
goodput counts requests that meet every limit; peaks are those of one second.
"""

from typing import Any, Final, NamedTuple

from cluster_sim.metrics.peaks import SecondPeaks
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.metrics.run_summary import PERCENTILES, merged
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.recording.statuses import FINISHED, UNFINISHED
from cluster_sim.units import NS_PER_MS, NS_PER_S

DATE: Final = "20260101-000000"
"""The date of every record, which stands for simulated time 0: equal runs have equal files."""


class OfferedLoad(NamedTuple):
    """The load that a study asks for, under the names of ``vllm bench serve``."""

    request_rate: float | str = "inf"
    """Requests per second, or "inf" if the study names none."""
    burstiness: float = 1.0
    max_concurrency: int | None = None


def bench_json(metadata: RunMetadata, records: RunRecords, load: OfferedLoad, peaks: SecondPeaks) -> dict[str, Any]:
    """Return the record of one run, whose rows ``peaks`` has counted.

    Figures of intervals that no request has are 0, as in vLLM.
    """
    totals = records.totals
    duration_s = max(totals.last_completion_ns - totals.first_arrival_ns, 0) / NS_PER_S
    finished = totals.total("finished")
    prompt, output = totals.total("prompt_tokens"), totals.total("output_tokens")
    intervals = {
        "ttft": totals.sketches["ttft"],
        "tpot": totals.sketches["tpot"],
        "itl": merged(records.gaps),
        "e2el": totals.sketches["e2e"],
    }
    first = metadata.pools[0]
    has_limits = metadata.slo.has_limits
    record: dict[str, Any] = {
        "date": DATE,
        "endpoint_type": "cluster_sim",
        "backend": "cluster_sim",
        "label": metadata.name,
        "model_id": first.model,
        "tokenizer_id": first.model,
        "num_prompts": totals.requests,
        **load._asdict(),
        "duration": duration_s,
        "completed": finished,
        "failed": totals.requests - totals.count(FINISHED) - totals.count(UNFINISHED),
        "total_input_tokens": prompt,
        "total_output_tokens": output,
        "request_throughput": finished / duration_s if duration_s else 0.0,
        "request_goodput": totals.objectives.good / duration_s if has_limits and duration_s else None,
        "output_throughput": output / duration_s if duration_s else 0.0,
        "total_token_throughput": (prompt + output) / duration_s if duration_s else 0.0,
        "max_output_tokens_per_s": peaks.max_output_tokens_per_s,
        "max_concurrent_requests": peaks.max_concurrent_requests,
        "gpu_count": sum(pool.replicas * pool.gpus_per_replica for pool in metadata.pools),
        "tensor_parallel_size": first.gpus_per_replica // (first.stages * first.ranks),
        "pipeline_parallel_size": first.stages,
        "data_parallel_size": metadata.replicas,
    }
    for name, sketch in intervals.items():
        record |= _figures(name, sketch)
    return record


def _figures(name: str, sketch: QuantileSketch) -> dict[str, float]:
    return {
        f"mean_{name}_ms": sketch.mean() / NS_PER_MS,
        f"median_{name}_ms": sketch.quantile(0.5) / NS_PER_MS,
        f"std_{name}_ms": sketch.std() / NS_PER_MS,
        **{f"p{rank}_{name}_ms": sketch.quantile(rank / 100) / NS_PER_MS for rank in PERCENTILES if rank != 50},
    }
