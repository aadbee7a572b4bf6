"""Exposition of live metrics: vLLM's own series of the simulated engines, ``cluster_sim_*`` of the simulation itself.

Names, buckets and labels are vLLM v1's (``vllm/v1/metrics/loggers.py``): dashboards made for vLLM work unchanged.  Two
things differ because a simulation records them otherwise.  Per-request histograms are observed when the request
finishes, the time to first token too.  ``prompt_tokens`` counts prefill tokens as they are computed or found in the
prefix cache, those computed again after a preemption included.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.exposition_text import TextPage, bound_texts, label_text
from cluster_sim.metrics.live import LiveSnapshot, ReplicaLive
from cluster_sim.metrics.request_totals import HISTOGRAMS, SUMS
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.recording import buckets
from cluster_sim.recording.statuses import CANCELLED, FAILED, FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

ENGINE_LIMIT: Final = 64
"""Largest fleet whose replicas have series of their own; a larger one has one set of series per pool."""

FINISHED_REASONS: Final = {"stop": None, "length": FINISHED, "abort": CANCELLED, "error": FAILED, "repetition": None}
"""vLLM's reasons and the status that each counts; a request that finishes has reached its output length."""

_REQUEST_HISTOGRAMS: Final = {
    "ttft": ("vllm:time_to_first_token_seconds", "Time to first token in seconds."),
    "tpot": ("vllm:request_time_per_output_token_seconds", "Time per output token of a request in seconds."),
    "e2e": ("vllm:e2e_request_latency_seconds", "End to end request latency in seconds."),
    "queue": ("vllm:request_queue_time_seconds", "Time in WAITING phase for request."),
    "inference": ("vllm:request_inference_time_seconds", "Time in RUNNING phase for request."),
    "prefill": ("vllm:request_prefill_time_seconds", "Time in PREFILL phase for request."),
    "decode": ("vllm:request_decode_time_seconds", "Time in DECODE phase for request."),
}
_TOKEN_HISTOGRAMS: Final = {
    "vllm:request_prompt_tokens": ("prompt_tokens", "prompt_tokens", "Number of prefill tokens processed."),
    "vllm:request_generation_tokens": ("generation_tokens", "output_tokens", "Number of generation tokens processed."),
    "vllm:request_max_num_generation_tokens": (
        "generation_tokens",
        "output_tokens",
        "Maximum number of requested generation tokens.",
    ),
}
_SECONDS_BOUNDS: Final = {name: bound_texts(bounds) for name, bounds in HISTOGRAMS.items()}
_GAP_BOUNDS: Final = bound_texts(buckets.TOKEN_GAP_S)
_ITERATION_BOUNDS: Final = bound_texts(buckets.ITERATION_TOKENS)
_SUM_INDEX: Final = {name: index for index, name in enumerate(SUMS)}
_STATUS_INDEX: Final = {status: index for index, status in enumerate(STATUSES)}


class _Engine(NamedTuple):
    """One set of vLLM series: a replica, or a whole pool of a large fleet."""

    labels: str
    members: list[int]
    pool: PoolMetadata


class Exposition:
    """Renders snapshots of one run as text.

    ``run_labels`` describe the run in ``cluster_sim_run_info`` (name, version, config hash, executor ...).
    """

    def __init__(self, metadata: RunMetadata, run_labels: dict[str, str], engine_limit: int = ENGINE_LIMIT) -> None:
        self._run_labels = label_text(run_labels)
        self._pools = metadata.pools
        self._shows_replicas = metadata.replicas <= engine_limit
        self._at_start = metadata.pool_of_replica()
        self._engines = self._engines_of(self._at_start)

    def _engines_of(self, pool_of_replica: Sequence[int]) -> list[_Engine]:
        """Return an engine for each replica, in the order of the pools, or one for each pool of a large fleet."""
        members: list[list[int]] = [[] for _ in self._pools]
        for number, index in enumerate(pool_of_replica):
            members[index].append(number)
        if not self._shows_replicas:
            return [_engine(pool, pool.name, own) for pool, own in zip(self._pools, members, strict=True)]
        return [
            _engine(pool, str(number), [number])
            for pool, own in zip(self._pools, members, strict=True)
            for number in own
        ]

    def text(self, snapshot: LiveSnapshot) -> str:
        """Return the whole page for ``snapshot``."""
        page = TextPage()
        if len(snapshot.joined_pools) + len(self._at_start) != sum(len(engine.members) for engine in self._engines):
            self._engines = self._engines_of([*self._at_start, *snapshot.joined_pools])
        self._simulation(page, snapshot)
        replicas = [[snapshot.replicas[number] for number in engine.members] for engine in self._engines]
        self._gauges(page, replicas)
        self._counters(page, snapshot, replicas)
        self._iteration_histograms(page, replicas)
        self._request_histograms(page, snapshot)
        return page.text()

    def _simulation(self, page: TextPage, snapshot: LiveSnapshot) -> None:
        gauges: list[tuple[str, str, float]] = [
            ("cluster_sim_time_seconds", "Simulated time since the start of the run.", snapshot.simulated_s),
            ("cluster_sim_wall_seconds", "Wall time since the start of the run.", snapshot.wall_s),
            ("cluster_sim_speedup_ratio", "Simulated seconds per wall second, lately.", snapshot.speedup_ratio),
        ]
        if snapshot.completed_ratio is not None:
            gauges.append(("cluster_sim_run_completed_ratio", "Share of the run done.", snapshot.completed_ratio))
        in_system = snapshot.arrived - int(snapshot.requests.statuses.sum())
        gauges.append(("cluster_sim_requests_in_system", "Requests that have arrived and not ended.", in_system))
        for name, text, value in gauges:
            page.family(name, "gauge", text)
            page.sample(name, "", value)
        page.family("cluster_sim_run_info", "gauge", "What is running; always 1.")
        page.sample("cluster_sim_run_info", self._run_labels, 1)
        page.family("cluster_sim_requests_total", "counter", "Requests that have reached a state.")
        page.sample("cluster_sim_requests_total", label_text({"state": "arrived"}), snapshot.arrived)
        for status, count in zip(STATUSES, snapshot.requests.statuses.tolist(), strict=True):
            page.sample("cluster_sim_requests_total", label_text({"state": status}), count)
        page.family("cluster_sim_iterations_total", "counter", "Engine iterations of all replicas.")
        iterations = sum(replica.counters.iterations for replica in snapshot.replicas)
        page.sample("cluster_sim_iterations_total", "", iterations)

    def _gauges(self, page: TextPage, replicas: Sequence[Sequence[ReplicaLive]]) -> None:
        page.family("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.")
        for engine, members in zip(self._engines, replicas, strict=True):
            page.sample("vllm:num_requests_running", engine.labels, sum(replica.running for replica in members))
        page.family("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.")
        for engine, members in zip(self._engines, replicas, strict=True):
            page.sample("vllm:num_requests_waiting", engine.labels, sum(replica.waiting for replica in members))
        page.family("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.")
        for engine, members in zip(self._engines, replicas, strict=True):
            usage = sum(replica.kv_used_ratio for replica in members) / max(len(members), 1)
            page.sample("vllm:kv_cache_usage_perc", engine.labels, usage)
        page.family("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig")
        for engine in self._engines:
            config = label_text(
                {"block_size": str(engine.pool.block_size_tokens), "num_gpu_blocks": str(engine.pool.kv_blocks)}
            )
            page.sample("vllm:cache_config_info", f"{config},{engine.labels}", 1)

    def _counters(self, page: TextPage, snapshot: LiveSnapshot, replicas: Sequence[Sequence[ReplicaLive]]) -> None:
        figures = [_Figures.of(members) for members in replicas]
        families = (
            ("vllm:prompt_tokens_total", "Number of prefill tokens processed.", "prompt_tokens"),
            ("vllm:generation_tokens_total", "Number of generation tokens processed.", "generation_tokens"),
            ("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", "preemptions"),
            ("vllm:prefix_cache_queries_total", "Prefix cache queries, in terms of queried tokens.", "queries_tokens"),
            ("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of cached tokens.", "hits_tokens"),
        )
        for name, text, field in families:
            page.family(name, "counter", text)
            for engine, figure in zip(self._engines, figures, strict=True):
                page.sample(name, engine.labels, getattr(figure, field))
        page.family("vllm:request_success_total", "counter", "Count of successfully processed requests.")
        for engine in self._engines:
            counts = snapshot.requests.replica_statuses[engine.members].sum(axis=0)
            for reason, status in FINISHED_REASONS.items():
                count = 0 if status is None else int(counts[_STATUS_INDEX[status]])
                page.sample("vllm:request_success_total", f'{engine.labels},finished_reason="{reason}"', count)

    def _iteration_histograms(self, page: TextPage, replicas: Sequence[Sequence[ReplicaLive]]) -> None:
        name = "vllm:iteration_tokens_total"
        page.family(name, "histogram", "Histogram of number of tokens per engine_step.")
        for engine, members in zip(self._engines, replicas, strict=True):
            counts = _column_sums([replica.counters.iteration_tokens_counts for replica in members])
            total = sum(replica.counters.iteration_tokens_sum for replica in members)
            page.histogram(name, engine.labels, _ITERATION_BOUNDS, counts, total)
        name = "vllm:inter_token_latency_seconds"
        page.family(name, "histogram", "Histogram of inter-token latency in seconds.")
        for engine, members in zip(self._engines, replicas, strict=True):
            counts = _column_sums([replica.counters.itl_counts for replica in members])
            total_ns = sum(replica.counters.itl_sum_ns for replica in members)
            page.histogram(name, engine.labels, _GAP_BOUNDS, counts, total_ns / NS_PER_S)

    def _request_histograms(self, page: TextPage, snapshot: LiveSnapshot) -> None:
        requests = snapshot.requests
        for key, (name, text) in _REQUEST_HISTOGRAMS.items():
            page.family(name, "histogram", text)
            for engine in self._engines:
                counts = requests.histograms[key][engine.members].sum(axis=0).tolist()
                total_ns = int(requests.sums[engine.members, _SUM_INDEX[f"{key}_ns"]].sum())
                page.histogram(name, engine.labels, _SECONDS_BOUNDS[key], counts, total_ns / NS_PER_S)
        token_bounds = bound_texts(requests.token_bounds)
        for name, (key, sum_name, text) in _TOKEN_HISTOGRAMS.items():
            page.family(name, "histogram", text)
            for engine in self._engines:
                counts = requests.histograms[key][engine.members].sum(axis=0).tolist()
                total = int(requests.sums[engine.members, _SUM_INDEX[sum_name]].sum())
                page.histogram(name, engine.labels, token_bounds, counts, total)


def _engine(pool: PoolMetadata, name: str, members: list[int]) -> _Engine:
    return _Engine(label_text({"model_name": pool.model, "engine": name}), members, pool)


class _Figures(NamedTuple):
    """Counters of one engine's members together."""

    prompt_tokens: int
    generation_tokens: int
    preemptions: int
    queries_tokens: int
    hits_tokens: int

    @classmethod
    def of(cls, members: Sequence[ReplicaLive]) -> "_Figures":
        all_counters = [replica.counters for replica in members]
        hits_tokens = sum(counters.prefix_hits_tokens for counters in all_counters)
        return cls(
            prompt_tokens=sum(counters.prompt_tokens for counters in all_counters) + hits_tokens,
            generation_tokens=sum(counters.generated_tokens for counters in all_counters),
            preemptions=sum(counters.preemptions for counters in all_counters),
            queries_tokens=sum(counters.prefix_queries_tokens for counters in all_counters),
            hits_tokens=hits_tokens,
        )


def _column_sums(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]
