"""SGLang's own series of engines (``python/sglang/srt/observability/metrics_collector.py``).

SGLang registers ``sglang:x``; a scraper that negotiates OpenMetrics stores that as ``sglang_x``, which SGLang's public
dashboard asks for.  Both spellings are served.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from cluster_sim.metrics.exposition.engine_group import EngineGroup
from cluster_sim.metrics.exposition.family import Family, Histograms, Labels, Scalars, seconds
from cluster_sim.metrics.exposition.vllm_names import kv_usage
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.request_totals import HISTOGRAMS, SUMS
from cluster_sim.recording import buckets, first_tokens
from cluster_sim.recording.statuses import CANCELLED, STATUSES

SPELLINGS: Final = ("sglang:", "sglang_")
_SUM: Final = {name: index for index, name in enumerate(SUMS)}
_GAP_BOUNDS: Final = tuple(bound for bound in buckets.SGLANG_TOKEN_GAP_S if bound in buckets.TOKEN_GAP_S)
"""Those of SGLang's boundaries that token gaps are counted on: every bucket is exact, some are missing."""


def sglang_families(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    """Yield the families of the engines of ``group``, in both spellings."""
    families = list(_families(group, snapshot))
    for prefix in SPELLINGS:
        for family in families:
            yield family._replace(name=prefix + family.name)


def _families(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    yield from _gauges(group, snapshot)
    yield from _counters(group, snapshot)
    yield from _histograms(group, snapshot)


def _gauges(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    labels, engines, rows = group.labels, snapshot.engines, group.rows
    used = engines.figure("kv_used_blocks")[rows].tolist()
    sizes = [engine.pool.block_size_tokens for engine in group.engines]
    room = [engine.pool.kv_blocks * size for engine, size in zip(group.engines, sizes, strict=True)]
    tokens = [blocks * size for blocks, size in zip(used, sizes, strict=True)]
    queries = engines.figure("prefix_queries_tokens")[rows]
    hits = engines.figure("prefix_hits_tokens")[rows]
    gauges = (
        ("num_running_reqs", "The number of running requests.", engines.figure("running")[rows].tolist()),
        ("num_queue_reqs", "The number of requests in the waiting queue.", engines.figure("waiting")[rows].tolist()),
        ("num_used_tokens", "The number of used tokens.", tokens),
        ("max_total_num_tokens", "Maximum total number of tokens in the KV cache pool.", room),
        ("token_usage", "The token usage.", kv_usage(group, snapshot)),
        ("gen_throughput", "The generation throughput (token/s).", snapshot.generation_rates[rows].tolist()),
        ("cache_hit_rate", "The prefix cache hit rate.", (hits / np.maximum(queries, 1)).tolist()),
    )
    for name, text, values in gauges:
        yield Scalars(name, "gauge", text, labels, values)


def _counters(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    labels, engines, requests, rows = group.labels, snapshot.engines, snapshot.requests, group.rows
    statuses = requests.engine_statuses[rows]
    firsts = {
        row: engines.first_tokens(row)[rows]
        for row in (first_tokens.PROMPT_TOKENS, first_tokens.CACHED_TOKENS, first_tokens.EXTERNAL_TOKENS)
    }
    generated = engines.figure("generated_tokens")[rows]
    aborted = statuses[:, STATUSES.index(CANCELLED)]
    counters = (
        ("prompt_tokens_total", "Number of prefill tokens processed.", labels, firsts[first_tokens.PROMPT_TOKENS]),
        ("generation_tokens_total", "Number of generation tokens processed.", labels, generated),
        ("num_requests_total", "Number of requests processed.", labels, statuses.sum(axis=1)),
        ("num_aborted_requests_total", "Number of requests aborted.", labels, aborted),
        ("num_retracted_requests_total", "Number of retracted requests.", labels, engines.figure("preemptions")[rows]),
    )
    for name, text, series, values in counters:
        yield Scalars(name, "counter", text, series, values.tolist())
    by_source = np.stack([firsts[first_tokens.CACHED_TOKENS], firsts[first_tokens.EXTERNAL_TOKENS]], axis=1)
    sources: list[Labels] = group.labelled("cache_source", ("device", "storage"))
    text = "Number of cached prompt tokens, by where they were."
    yield Scalars("cached_tokens_total", "counter", text, sources, by_source.ravel().tolist())


def _histograms(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    engines, requests, rows = snapshot.engines, snapshot.requests, group.rows
    counts = engines.first_tokens(first_tokens.TTFT_COUNTS)[rows]
    totals = seconds(engines.first_tokens(first_tokens.TTFT_SUM_NS)[rows])
    parts = group.histogram(counts, buckets.TTFT_GRID_S, buckets.SGLANG_TTFT_S, totals)
    yield Histograms("time_to_first_token_seconds", "Histogram of time to first token in seconds.", parts)
    totals = seconds(engines.figure("itl_sum_ns")[rows])
    parts = group.histogram(engines.itl_counts[rows], buckets.TOKEN_GAP_S, _GAP_BOUNDS, totals)
    yield Histograms("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", parts)
    for key, name, bounds, text in (
        ("e2e", "e2e_request_latency_seconds", buckets.SGLANG_E2E_S, "Histogram of End-to-end request latency."),
        ("queue", "queue_time_seconds", buckets.SGLANG_QUEUE_S, "Histogram of queueing time in seconds."),
    ):
        totals = seconds(requests.sums[rows, _SUM[f"{key}_ns"]])
        yield Histograms(name, text, group.histogram(requests.histograms[key][rows], HISTOGRAMS[key], bounds, totals))
