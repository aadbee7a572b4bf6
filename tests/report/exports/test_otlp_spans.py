"""Tests of the export of traces over OTLP, with stand-ins for the packages and with the packages themselves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.exports.otlp_spans import EPOCH_NS
from cluster_sim.report.run_export import export_run

FIELDS = ("name", "context", "parent", "resource", "attributes")


class Span(SimpleNamespace):
    """A span as the package takes it."""

    def __init__(self, *values: Any, **more: Any) -> None:
        super().__init__(**dict(zip(FIELDS, values, strict=True)), **more)


def _module(**names: Any) -> ModuleType:
    module = ModuleType("stand-in")
    module.__dict__.update(names)
    return module


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The spans that the stand-ins were given."""
    spans: list[Span] = []

    class Exporter:
        """Takes every span."""

        def __init__(self, endpoint: str, timeout: float) -> None:
            assert timeout > 0
            self._takes = "refuses" not in endpoint

        def export(self, batch: list[Span]) -> str:
            spans.extend(batch)
            return "taken" if self._takes else "lost"

        def shutdown(self) -> None:
            """Hold nothing."""

    flags = type("TraceFlags", (int,), {"SAMPLED": 1})
    context = lambda trace_id, span_id, **_: SimpleNamespace(trace_id=trace_id, span_id=span_id)  # noqa: E731
    kinds = SimpleNamespace(SERVER="server", INTERNAL="internal")
    result = SimpleNamespace(SUCCESS="taken")
    modules = {
        "opentelemetry.exporter.otlp.proto.http.trace_exporter": _module(OTLPSpanExporter=Exporter),
        "opentelemetry.sdk.trace": _module(ReadableSpan=Span),
        "opentelemetry.sdk.trace.export": _module(SpanExportResult=result),
        "opentelemetry.sdk.resources": _module(Resource=dict),
        "opentelemetry.trace": _module(TraceFlags=flags, SpanContext=context, SpanKind=kinds),
    }
    for name, module in modules.items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    return spans


def test_every_request_is_a_trace_with_its_phases(run_directory: Path, sent: list[Span]) -> None:
    """The span of a request has vLLM's name and attributes, its phases lie in it, and ids stay the same."""
    told = export_run(run_directory, "otlp")
    own = [span for span in sent if span.parent is None]
    assert told == f"OTLP: {len(sent)} spans of 200 requests to http://127.0.0.1:4318/v1/traces"
    assert len(own) == 200
    row = pq.read_table(run_directory / "requests.parquet").slice(17, 1).to_pylist()[0]
    span = next(span for span in own if span.attributes["gen_ai.request.id"] == "17")
    assert (span.name, span.kind) == ("llm_request", "server")
    assert span.attributes["gen_ai.usage.prompt_tokens"] == row["prompt_tokens"]
    assert span.attributes["gen_ai.latency.time_to_first_token"] == pytest.approx(row["ttft_s"])
    assert span.attributes["cluster_sim.status"] == "finished"
    assert span.end_time - span.start_time == pytest.approx(row["e2e_s"] * 1e9, abs=2)
    assert span.start_time == pytest.approx(EPOCH_NS + row["arrival_s"] * 1e9, abs=1000)
    phases = [phase for phase in sent if phase.parent is span.context]
    assert [phase.name for phase in phases] == ["queue", "prefill", "decode"]
    assert all(span.start_time <= phase.start_time <= phase.end_time <= span.end_time for phase in phases)
    assert {phase.attributes["process"] for phase in phases} == {f"main {row['replica']}"}
    assert len({each.context.span_id for each in sent}) == len(sent)
    before = [each.context.span_id for each in sent]
    sent.clear()
    export_run(run_directory, "otlp")
    assert [each.context.span_id for each in sent] == before


def test_part_of_a_run_and_nobody_who_listens(run_directory: Path, sent: list[Span]) -> None:
    """The choices are those of the trace for Perfetto; a collector that takes nothing is named."""
    export_run(run_directory, "otlp", ["slowest=3", "window=1:4", "replicas='0'"])
    assert sum(span.parent is None for span in sent) == 3
    with pytest.raises(InputError, match="otlp: http://refuses took no spans; start a collector"):
        export_run(run_directory, "otlp", ["endpoint=http://refuses"])
    with pytest.raises(InputError, match="--trace-window 9: must be two times"):
        export_run(run_directory, "otlp", ["window='9'"])


@contextmanager
def _collector() -> Iterator[tuple[int, list[bytes]]]:
    """Take what is posted to a free port."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        """Takes everything."""

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_collector_gets_the_spans(run_directory: Path) -> None:
    """With the packages installed, a collector on loopback gets every span in OTLP's own encoding."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with _collector() as (port, bodies):
        told = export_run(run_directory, "otlp", [f"endpoint=http://127.0.0.1:{port}/v1/traces"])
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert told.startswith(f"OTLP: {len(spans)} spans of 200 requests")
    assert sum(span.name == "llm_request" and not span.parent_span_id for span in spans) == 200
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano >= EPOCH_NS for span in spans)
    with pytest.raises(InputError, match="took no spans"):
        export_run(run_directory, "otlp", [f"endpoint=http://127.0.0.1:{port}/v1/traces", "timeout_s=0.5"])
