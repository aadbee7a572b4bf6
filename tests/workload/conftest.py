"""Helpers of the workload tests: configurations from plain data, and a toy server that ends requests."""

import gzip
import heapq
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from cluster_sim.workload.build import build_columns, build_source
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.kind_interface import WorkloadConfig
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource, RequestSource

ADAPTER: TypeAdapter[Any] = TypeAdapter(WorkloadConfig)


def parse(**section: Any) -> Any:
    return ADAPTER.validate_python(section)


def rows_of(section: dict[str, Any], seed: int = 1, notices: list[str] | None = None) -> Columns:
    return concatenate(list(build_columns(parse(**section), seed, notices).columns()))


def requests_of(source: Any) -> list[Request]:
    assert isinstance(source, RequestSource)
    return [request for chunk in source.chunks() for request in chunk]


class Driven:
    """Every request a feedback source made, in order of arrival, served by a server without queues."""

    def __init__(self, source: FeedbackSource, service_ns: Callable[[Request], int], status: Callable[[Request], str]):
        self.requests: list[Request] = []
        self.ends: dict[int, int] = {}
        self.most_in_flight = 0
        events: list[tuple[int, int, int, Request]] = []
        for chunk in source.initial():
            for request in chunk:
                heapq.heappush(events, (request.arrival_ns, 1, request.request_id, request))
        in_flight = 0
        while events:
            now_ns, is_arrival, request_id, request = heapq.heappop(events)
            if is_arrival:
                self.requests.append(request)
                in_flight += 1
                self.most_in_flight = max(self.most_in_flight, in_flight)
                heapq.heappush(events, (now_ns + service_ns(request), 0, request_id, request))
                continue
            in_flight -= 1
            self.ends[request_id] = now_ns
            for caused in source.on_end(request, now_ns, status(request)):
                assert caused.arrival_ns >= now_ns + source.think_floor_ns
                heapq.heappush(events, (caused.arrival_ns, 1, caused.request_id, caused))
        assert len(self.ends) == len(self.requests), "ids are unique and every request ends"


@pytest.fixture(name="parse")
def _parse() -> Callable[..., Any]:
    """Return a workload configuration from plain data."""
    return parse


@pytest.fixture(name="rows")
def _rows() -> Callable[..., Columns]:
    """Return all rows of an open-loop workload."""
    return rows_of


@pytest.fixture(name="requests")
def _requests() -> Callable[..., list[Request]]:
    """Return all requests of an open-loop workload."""

    def make(section: dict[str, Any], seed: int = 1) -> list[Request]:
        return requests_of(build_source(parse(**section), seed))

    return make


@pytest.fixture(name="drive")
def _drive() -> Callable[..., tuple[Any, Driven]]:
    """Run a feedback workload against a server whose service takes a function of the request."""

    def make(
        section: dict[str, Any],
        seed: int = 1,
        service_ns: Callable[[Request], int] = lambda request: 1_000_000 * (50 + request.output_tokens),
        status: Callable[[Request], str] = lambda _: "finished",
    ) -> tuple[Any, Driven]:
        source = build_source(parse(**section), seed)
        assert isinstance(source, FeedbackSource)
        return source, Driven(source, service_ns, status)

    return make


@pytest.fixture(name="trace_file")
def _trace_file(tmp_path: Path) -> Callable[..., str]:
    """Write a trace file and return its path; a name that ends in .gz is compressed."""

    def make(content: str | bytes, name: str = "trace.csv") -> str:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return make
