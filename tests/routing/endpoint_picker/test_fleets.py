"""Endpoint pickers in front of small fleets: the same rows however the fleet is executed."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster_sim.document import Document
from cluster_sim.routing.policies.endpoint_picker import EndpointPickerOptions
from cluster_sim.routing.policy_interface import build_policy
from cluster_sim.simulation.inline import InlineExecutor
from tests.engine.in_memory import Choose, InMemoryExecutor, RestoringExecutor
from tests.engine.small_fleet import SmallFleet, draw_fleet, draw_placement, simulation_of, single_stepped
from tests.evidence import Evidence, evidence_of
from tests.routing.endpoint_picker.picking import config

EXAMPLES = Path(__file__).resolve().parents[4] / "shared/epp"
FILES = sorted(EXAMPLES.glob("*.yaml"))
FLEETS: dict[str, dict[str, Any]] = {
    "approximate": config("prefix-cache-scorer", "queue-scorer", "no-hit-lru-scorer"),
    "precise": config("precise-prefix-cache-scorer", "kv-cache-utilization-scorer"),
    "counts": config("active-request-scorer", "token-load-scorer", "prefix-cache-scorer", "weighted-random-picker"),
    "affinities": config("session-affinity-scorer", "lora-affinity-scorer", "prefix-cache-affinity-filter"),
    "latency": config("slo-headroom-tier-filter", "latency-scorer", "prefix-cache-scorer"),
}


def run(small: SmallFleet, document: dict[str, Any], executor: InlineExecutor | None = None) -> Evidence:
    """Run a small fleet behind a picker."""
    block = {"config": document, "telemetry": {"period_ms": 5, "latency_ms": 1}}
    options = EndpointPickerOptions.model_validate(block | {"kv_events": {"period_ms": 3, "latency_ms": 0.5}})
    simulation = replace(simulation_of(small), policy=partial(build_policy, options))
    return evidence_of(executor or InlineExecutor(), simulation)


def draw_caching(choose: Choose) -> SmallFleet:
    """Return a random small study whose replicas cache prefixes, and load adapters."""
    small = draw_fleet(choose)
    engine = small.engine | {"enable_prefix_caching": True, "lora": {"max_loras": 2, "load_ms": 3.0}}
    return replace(small, engine=engine, replicas=3, is_varied=True)


@pytest.mark.parametrize("name", FLEETS)
def test_execution_changes_nothing(name: str) -> None:
    """Rows, counters and series are equal with single steps, in groups with random delays, and after restores."""
    random = Random(name)
    for _ in range(6):
        small = draw_caching(random.randrange)
        expected = run(small, FLEETS[name])
        assert run(single_stepped(small), FLEETS[name]) == expected
        placement = draw_placement(small.replicas, random.randrange)
        assert run(small, FLEETS[name], InMemoryExecutor(placement, random.randrange)) == expected
        assert run(small, FLEETS[name], RestoringExecutor(random.randrange)) == expected


@pytest.mark.skipif(not FILES, reason="the examples are not part of the repository")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_llm_d_serve_a_fleet(path: Path) -> None:
    """The unmodified files serve every request of a fleet without roles, also the one with a prefill profile."""
    arrivals = tuple((number * 0.7, 5 + number % 30, 4) for number in range(40))
    evidence = run(SmallFleet(arrivals=arrivals, replicas=3, is_varied=True), Document.read(path).data)
    assert len(evidence.rows) == 40
    assert set(evidence.column("replica")) == {0, 1, 2}
