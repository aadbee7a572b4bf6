"""Series of the router under the names of llm-d's endpoint picker (``pkg/epp/metrics``).

``llm_d_epp_x`` is its own prefix; the names of the Gateway API inference extension, from which it comes, are served as
well, as it does itself.  Requests are observed when they end.  Times per output token and token counts are those of
finished requests.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.exposition.engine_group import Engine
from cluster_sim.metrics.exposition.family import (
    Family,
    HistogramPart,
    Histograms,
    Labels,
    Scalars,
    bound_texts,
    seconds,
)
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.request_totals import HISTOGRAMS, SUMS
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording import buckets, first_tokens
from cluster_sim.recording.statuses import FINISHED, STATUSES, UNFINISHED

Int64Array = npt.NDArray[np.int64]

PREFIX: Final = "llm_d_epp_"
EARLIER_NAMES: Final = {
    "request_total": "inference_objective_request_total",
    "request_error_total": "inference_objective_request_error_total",
    "request_running": "inference_objective_running_requests",
    "request_duration_seconds": "inference_objective_request_duration_seconds",
    "request_ttft_seconds": "inference_objective_request_ttft_seconds",
    "request_input_tokens": "inference_objective_input_tokens",
    "request_output_tokens": "inference_objective_output_tokens",
    "request_cached_tokens": "inference_objective_prompt_cached_tokens",
    "average_kv_cache_utilization": "inference_pool_average_kv_cache_utilization",
    "average_queue_size": "inference_pool_average_queue_size",
    "average_running_requests": "inference_pool_average_running_requests",
    "ready_endpoints": "inference_pool_ready_pods",
    "per_endpoint_queue_size": "inference_pool_per_pod_queue_size",
    "flow_control_queue_size": "inference_extension_flow_control_queue_size",
}
"""Names of the inference extension for what has one."""

_ENDED_BADLY: Final = tuple(index for index, status in enumerate(STATUSES) if status not in {FINISHED, UNFINISHED})
_ERROR_CODES: Final = ("BadRequest", "Internal", "Canceled", "ResourceExhausted")
"""Codes of these, in the same order."""
_SUM: Final = {name: index for index, name in enumerate(SUMS)}


class RouterSeries:
    """The series of a run's router; sets of labels stay the same objects while the fleet does."""

    def __init__(self, metadata: RunMetadata, engines: Sequence[Engine], common: dict[str, str]) -> None:
        """``common`` are labels that every series has."""
        self._pools = metadata.pools
        self._engines = list(engines)
        self._rows_of_pool = [[e.row for e in engines if e.pool is pool] for pool in metadata.pools]
        models = list(dict.fromkeys(pool.model for pool in metadata.pools))
        self._rows_of_model = [[e.row for e in engines if e.pool.model == model] for model in models]
        self._models = [
            Labels.of(model_name=model, target_model_name=model, fairness_id="", priority="0", **common)
            for model in models
        ]
        self._errors = [labels.plus(error_code=code) for labels in self._models for code in _ERROR_CODES]
        self._streaming = [labels.plus(streaming="true") for labels in self._models]
        self._pool_labels = [Labels.of(name=pool.name, **common) for pool in metadata.pools]
        self._endpoints = [
            Labels.of(name=engine.pool.name, model_server_endpoint=engine.name, **common) for engine in engines
        ]
        self._whole = [Labels.of(**common)]

    def families(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        """Yield the families in the picker's spelling, then those that have an earlier one in that."""
        families = list(self._families(snapshot))
        for family in families:
            yield family._replace(name=PREFIX + family.name)
        for family in families:
            if family.name in EARLIER_NAMES:
                yield family._replace(name=EARLIER_NAMES[family.name])

    def _families(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        yield from self._requests(snapshot)
        yield from self._distributions(snapshot)
        yield from self._pools_now(snapshot)

    def _requests(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        statuses = self._of_models(snapshot.requests.engine_statuses)
        at_replicas = self._of_models(snapshot.engines.figure("running") + snapshot.engines.figure("waiting"))
        # What no replica took names no model's pool; with one model it is that model's.  How many are at replicas
        # falls before their ends are known here, so no counter may contain it.
        if len(self._models) == 1:
            statuses = snapshot.requests.statuses[None]
            under_way = np.array([snapshot.arrived - int(statuses.sum())])
            total = np.array([snapshot.arrived])
        else:
            under_way = at_replicas
            total = statuses.sum(axis=1)
        text = "Requests that the router took; with several models, those that have ended."
        yield Scalars("request_total", "counter", text, self._models, total.tolist())
        yield Scalars(
            "request_error_total",
            "counter",
            "Requests that ended with an error.",
            self._errors,
            statuses[:, list(_ENDED_BADLY)].ravel().tolist(),
        )
        yield Scalars("request_running", "gauge", "Requests under way.", self._models, under_way.tolist())

    def _distributions(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        requests, engines = snapshot.requests, snapshot.engines
        counts = self._of_models(engines.first_tokens(first_tokens.TTFT_COUNTS))
        totals = seconds(self._of_models(engines.first_tokens(first_tokens.TTFT_SUM_NS)))
        yield Histograms(
            "request_ttft_seconds",
            "Time to first token in seconds.",
            [_part(self._streaming, counts, buckets.TTFT_GRID_S, buckets.PICKER_TTFT_S, totals)],
        )
        for key, name, bounds, text in (
            ("e2e", "request_duration_seconds", buckets.PICKER_E2E_S, "End-to-end latency in seconds."),
            ("tpot", "request_streaming_tpot_seconds", buckets.PICKER_TOKEN_S, "Time per output token in seconds."),
        ):
            totals = seconds(self._of_models(requests.sums[:, _SUM[f"{key}_ns"]]))
            part = _part(self._models, self._of_models(requests.histograms[key]), HISTOGRAMS[key], bounds, totals)
            yield Histograms(name, text, [part])
        for key, name, text in (
            ("prompt_tokens", "request_input_tokens", "Prompt tokens of requests."),
            ("output_tokens", "request_output_tokens", "Output tokens of requests."),
            ("cached_tokens", "request_cached_tokens", "Prompt tokens of requests that were found in caches."),
        ):
            sums = self._of_models(requests.sums[:, _SUM[key]]).tolist()
            counts = self._of_models(requests.histograms[key])
            part = _part(self._models, counts, requests.token_bounds, buckets.PICKER_TOKENS, sums)
            yield Histograms(name, text, [part])

    def _pools_now(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        engines, labels = snapshot.engines, self._pool_labels
        present = [int(engines.figure("present")[rows].sum()) for rows in self._rows_of_pool]
        blocks = [max(pool.kv_blocks, 1) for pool in self._pools]
        ones = [1] * len(blocks)
        for name, text, figure, units in (
            ("average_kv_cache_utilization", "Mean share of KV blocks in use.", "kv_used_blocks", blocks),
            ("average_queue_size", "Mean number of requests waiting.", "waiting", ones),
            ("average_running_requests", "Mean number of requests running.", "running", ones),
        ):
            sums = [int(engines.figure(figure)[rows].sum()) for rows in self._rows_of_pool]
            values = [total / (max(count, 1) * unit) for total, count, unit in zip(sums, present, units, strict=True)]
            yield Scalars(name, "gauge", text, labels, values)
        ready = [pool.ready for pool in snapshot.fleet.pools]
        yield Scalars("ready_endpoints", "gauge", "Replicas that take requests.", labels, ready)
        waiting = engines.figure("waiting")[[engine.row for engine in self._engines]].tolist()
        yield Scalars("per_endpoint_queue_size", "gauge", "Requests waiting at an endpoint.", self._endpoints, waiting)
        text = "Requests that wait at the router."
        yield Scalars("flow_control_queue_size", "gauge", text, self._whole, [snapshot.fleet.queued])

    def _of_models(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Return the sums over the engines of each model."""
        return np.array([values[rows].sum(axis=0) for rows in self._rows_of_model], values.dtype)


def _part(
    labels: Sequence[Labels],
    counts: Int64Array,
    counted: Sequence[float],
    bounds: Sequence[float],
    sums: Sequence[float],
) -> HistogramPart:
    return HistogramPart(bound_texts(bounds), labels, buckets.cumulative(counts, counted, bounds), sums)
