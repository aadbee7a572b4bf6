"""OpenTelemetry: a trace of every request, with a span for each of its phases, over OTLP.

The span of a request is named and described as vLLM's own is (``vllm/tracing``: ``llm_request``, ``gen_ai.*``).  Ids
follow from the run and the request, so that a run that is exported twice has the same traces; simulated time 0 is a
fixed date.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.report.export_target import EXPORTS, ExportOptions, optional_module
from cluster_sim.report.request_phases import chosen_rows, phases, request_end_s, told_of
from cluster_sim.report.run_data import RunData
from cluster_sim.report.trace_filter import TraceFilter
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

EPOCH_NS: Final = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
"""The date of simulated time 0, as in the export of metrics."""
BATCH: Final = 512
"""Spans of one message."""
_EXTRA: Final = "otlp"
_TOKENS: Final = {"prompt_tokens": "gen_ai.usage.prompt_tokens", "output_tokens": "gen_ai.usage.completion_tokens"}


class OtlpExport(ExportOptions):
    """Traces of requests to an OpenTelemetry collector, Jaeger or Tempo, over OTLP with HTTP."""

    kind: Literal["otlp"] = "otlp"
    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces", pattern=r"^https?://\S+$", description="Where the collector takes traces."
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="Longest wait for one message of spans to be taken.")
    replicas: str = Field("", description='Only requests that these replicas served, for example "0,4-7".')
    window: str = Field("", description='Only what reaches into these simulated seconds, for example "10:20.5".')
    slowest: int | None = Field(None, ge=1, description="Only so many requests, those that took longest.")


@EXPORTS.register("otlp", OtlpExport)
def export_spans(data: RunData, options: OtlpExport) -> str:
    """Send the spans of the requests that are chosen, and return how many there were."""
    exporter_module = optional_module("opentelemetry.exporter.otlp.proto.http.trace_exporter", _EXTRA)
    chosen = TraceFilter.parse(options.replicas or None, options.window or None, options.slowest)
    chosen.check(len(data.summary["replicas"]))
    exporter = exporter_module.OTLPSpanExporter(endpoint=options.endpoint, timeout=options.timeout_s)
    export = optional_module("opentelemetry.sdk.trace.export", _EXTRA)
    batch: list[Any] = []
    requests = spans = 0
    try:
        for own in _traces(data, chosen):
            requests += 1
            batch += own
            if len(batch) >= BATCH:
                spans += _send(exporter, export, batch, options.endpoint)
                batch = []
        if batch:
            spans += _send(exporter, export, batch, options.endpoint)
    finally:
        exporter.shutdown()
    return f"OTLP: {counted(spans, 'span')} of {counted(requests, 'request')} to {options.endpoint}"


def _send(exporter: Any, export: Any, batch: list[Any], endpoint: str) -> int:
    """Send some spans; return how many."""
    if exporter.export(batch) != export.SpanExportResult.SUCCESS:
        raise InputError(
            f"otlp: {endpoint} took no spans; start a collector that listens there, or set endpoint to where one does"
        )
    return len(batch)


def _traces(data: RunData, chosen: TraceFilter) -> Iterator[list[Any]]:
    """Yield the spans of one request after the other, the request's own first."""
    trace = optional_module("opentelemetry.sdk.trace", _EXTRA)
    resources = optional_module("opentelemetry.sdk.resources", _EXTRA)
    api = optional_module("opentelemetry.trace", _EXTRA)
    run = f"{data.summary['name']}-{data.manifest.get('config_hash')}"
    router, end_s = len(data.summary["replicas"]), data.summary["simulated_s"]
    names = {replica["replica"]: f"{replica['pool']} {replica['replica']}" for replica in data.summary["replicas"]}
    names[router] = "router"
    attributes = {"service.name": "cluster-sim", "service.instance.id": run, "cluster_sim.seed": data.summary["seed"]}
    resource = resources.Resource(attributes)

    def span(name: str, key: str, parent: Any, start_s: float, stop_s: float, told: dict[str, Any]) -> Any:
        """Return one span; ``parent`` is the context of the request's, or None for that itself."""
        trace_id = _identity(f"{run} {key.partition(' ')[0]}", 16) if parent is None else parent.trace_id
        flags = api.TraceFlags(api.TraceFlags.SAMPLED)
        return trace.ReadableSpan(
            name,
            api.SpanContext(trace_id, _identity(f"{run} {key}", 8), is_remote=False, trace_flags=flags),
            parent,
            resource,
            told,
            kind=api.SpanKind.SERVER if parent is None else api.SpanKind.INTERNAL,
            start_time=EPOCH_NS + round(start_s * NS_PER_S),
            end_time=EPOCH_NS + round(stop_s * NS_PER_S),
        )

    for row in chosen_rows(data, chosen):
        request_id, stop_s = row["request_id"], request_end_s(row, end_s)
        own = span("llm_request", f"{request_id}", None, row["arrival_s"], stop_s, _attributes(row, stop_s))
        yield [
            own,
            *(
                span(name, f"{request_id} {number}", own.context, start_s, until_s, {"process": names[process]})
                for number, (name, process, start_s, until_s) in enumerate(phases(row, router, stop_s))
            ),
        ]


def _attributes(row: dict[str, Any], end_s: float) -> dict[str, Any]:
    """Return what the span of a request tells, under vLLM's names where it has them."""
    told = told_of(row)
    found: dict[str, Any] = {"gen_ai.request.id": str(row["request_id"]), "gen_ai.response.model": told.pop("model")}
    found |= {_TOKENS[name]: told.pop(name) for name in _TOKENS if name in told}
    found["gen_ai.latency.e2e"] = end_s - row["arrival_s"]
    if row["first_token_s"] is not None:
        found["gen_ai.latency.time_to_first_token"] = row["first_token_s"] - row["arrival_s"]
    if row["scheduled_s"] is not None and row["dispatch_s"] is not None:
        found["gen_ai.latency.time_in_queue"] = row["scheduled_s"] - row["dispatch_s"]
    return found | {f"cluster_sim.{name}": value for name, value in told.items()}


def _identity(text: str, size: int) -> int:
    """Return an id of so many bytes, never 0."""
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big") | 1
