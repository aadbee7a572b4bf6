"""The contract of every kind of workload."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cluster_sim.workload.build import build_columns, build_source, reacts, total_requests
from cluster_sim.workload.columns import concatenate
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, OpenLoopOptions
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import BLOCK
from cluster_sim.workload.source import FeedbackSource, RequestSource
from tests.parts import every_name, example_options
from tests.workload.conftest import Driven

ServiceTime = Callable[[Request], int]


def constant_time(request: Request) -> int:
    return 50_000_000


def uneven_time(request: Request) -> int:
    return 1 + request.request_id * 7_919_000_003 % 30_000_000_000


def made(source: RequestSource | FeedbackSource, service_ns: ServiceTime = constant_time) -> list[Request]:
    """Return all requests of a source; one that reacts is driven by a server without queues."""
    if isinstance(source, FeedbackSource):
        return Driven(source, service_ns, lambda _: "finished").requests
    return [request for chunk in source.chunks() for request in chunk]


def contents(requests: list[Request]) -> dict[int, Any]:
    """Return everything of each request but its time."""
    return {
        request.request_id: (request.prompt_tokens, request.output_tokens, request.attributes) for request in requests
    }


@every_name(WORKLOAD_KINDS)
def test_a_kind_that_reacts_has_a_source_that_does(name: str, tmp_path: Path) -> None:
    """``reacts`` agrees with the source, also for a client that limits the requests in flight."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    assert isinstance(build_source(options, 1), FeedbackSource) == reacts(options)
    if isinstance(options, OpenLoopOptions):
        limited: Any = options.model_copy(update={"max_concurrency": 3})
        assert reacts(limited)
        assert Driven(build_source(limited, 1), constant_time, lambda _: "finished").most_in_flight <= 3  # type: ignore[arg-type]


@every_name(WORKLOAD_KINDS)
def test_requests_are_in_order_and_their_number_is_known(name: str, tmp_path: Path) -> None:
    """Ids are unique, times never decrease, lengths are positive, and no more requests come than are announced."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    requests = made(build_source(options, 1))
    assert requests
    assert len({request.request_id for request in requests}) == len(requests)
    times = [request.arrival_ns for request in requests]
    assert times == sorted(times)
    assert times[0] >= 0
    assert min(min(request.prompt_tokens, request.output_tokens) for request in requests) >= 1
    total = total_requests(options)
    assert total is None or len(requests) <= total
    if not reacts(options):
        assert [request.request_id for request in requests] == list(range(len(requests)))


@every_name(WORKLOAD_KINDS)
def test_lists_of_requests_are_bounded(name: str, tmp_path: Path) -> None:
    """A source hands on at most 4,096 requests at once, so memory is bounded."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    if "count" in type(options).model_fields:
        options = options.model_copy(update={"count": 2 * BLOCK + 1})
    source = build_source(options, 1)
    chunks = source.initial() if isinstance(source, FeedbackSource) else source.chunks()
    assert all(0 < len(chunk) <= BLOCK for chunk in chunks)


@every_name(WORKLOAD_KINDS)
def test_a_source_starts_over_and_depends_on_its_seed(name: str, tmp_path: Path) -> None:
    """Every start, and a source built again, gives the same requests."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    source = build_source(options, 1)
    once = [repr(request) for request in made(source)]
    assert once == [repr(request) for request in made(source)]
    assert once == [repr(request) for request in made(build_source(options, 1))]


@every_name(WORKLOAD_KINDS)
def test_contents_do_not_depend_on_service(name: str, tmp_path: Path) -> None:
    """The request of an id is the same however fast the others are served: draws are keyed."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    assert contents(made(build_source(options, 1))) == contents(made(build_source(options, 1), uneven_time))


@every_name(WORKLOAD_KINDS)
def test_columns_hold_the_requests(name: str, tmp_path: Path) -> None:
    """As columns a workload has the same requests; one that reacts, as if each were served at once."""
    options: Any = example_options(WORKLOAD_KINDS, name, tmp_path)
    columns = concatenate(list(build_columns(options, 1).columns()))
    requests = made(build_source(options, 1), lambda _: 0)
    assert (np.diff(columns.arrival_ns) >= 0).all()
    found = zip(
        columns.arrival_ns.tolist(), columns.prompt_tokens.tolist(), columns.output_tokens.tolist(), strict=True
    )
    assert sorted(found) == sorted(
        (request.arrival_ns, request.prompt_tokens, request.output_tokens) for request in requests
    )
