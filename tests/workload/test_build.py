"""The builder of workloads: the source of each kind, and refusals."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source, reacts, total_requests
from cluster_sim.workload.kind_interface import WorkloadConfig
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource
from tests.workload.sections import AGENT, LENGTHS, POISSON, closed_loop, sessions


def made(section: dict[str, Any], service_ns: Callable[[Request], int]) -> dict[int, Any]:
    source = build_source(TypeAdapter(WorkloadConfig).validate_python(section), 3)
    assert isinstance(source, FeedbackSource)
    waiting = [request for chunk in source.initial() for request in chunk]
    found: dict[int, Any] = {}
    while waiting:
        waiting.sort(key=lambda one: one.arrival_ns + service_ns(one))
        request = waiting.pop(0)
        found[request.request_id] = (request.prompt_tokens, request.output_tokens, request.attributes)
        waiting += source.on_end(request, request.arrival_ns + service_ns(request), "finished")
    return found


def test_feedback_has_its_place(parse: Callable[..., Any]) -> None:
    """What reacts cannot be a phase, nor stand in a mix with a limit."""
    phases = {"kind": "phases", "phases": [{"duration_s": 1, "workload": closed_loop()}]}
    with pytest.raises(InputError, match="cannot stand inside phases"):
        build_source(parse(**phases), 1)
    with pytest.raises(InputError, match="need parts that do not react"):
        build_source(parse(kind="mix", parts=[closed_loop()], max_concurrency=3), 1)


def test_what_reacts_and_totals(parse: Callable[..., Any]) -> None:
    """The builder knows which workloads react, and how many requests they make where the study says so."""
    synthetic = {"kind": "synthetic", "arrivals": POISSON, "count": 100, "lengths": LENGTHS}
    assert not reacts(parse(**synthetic))
    assert reacts(parse(**synthetic, max_concurrency=5))
    assert reacts(parse(kind="mix", parts=[synthetic, closed_loop()]))
    assert total_requests(parse(**closed_loop())) == 500
    assert total_requests(parse(kind="mix", parts=[synthetic, closed_loop()])) == 600
    assert total_requests(parse(**sessions())) is None
    assert total_requests(parse(kind="mix", parts=[synthetic, sessions()])) is None


def test_repeated_starts_are_equal(parse: Callable[..., Any]) -> None:
    """``initial`` starts over and gives the same requests."""
    for section in (sessions(), closed_loop(), AGENT):
        source = build_source(parse(**section), 9)
        assert isinstance(source, FeedbackSource)
        once, twice = ([repr(one) for chunk in source.initial() for one in chunk] for _ in range(2))
        assert once == twice


@settings(max_examples=15, deadline=None)
@given(
    services=st.lists(st.integers(1, 10**10), min_size=7, max_size=7), which=st.sampled_from(["sessions", "agentic"])
)
def test_what_is_drawn_does_not_depend_on_what_happens(services: list[int], which: str) -> None:
    """Ids, lengths and contents are the same however fast requests are served."""
    section = sessions(count=30) if which == "sessions" else {**AGENT, "count": 30}
    reference = made(section, lambda _: 10**6)
    assert made(section, lambda request: services[request.request_id % 7]) == reference
