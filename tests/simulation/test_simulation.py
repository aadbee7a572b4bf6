"""Checks made when the processes of a study are built."""

from dataclasses import replace
from random import Random

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from tests.engine.small_fleet import MS, SmallFleet, run_apart, run_inline, simulation_of


class Instantaneous(Predictor):
    """Breaks the contract: steps that take no time."""

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002
        return 0

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        raise NotImplementedError

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        return 0


def with_instant_steps(small: SmallFleet) -> Simulation:
    """Return the simulation of a small fleet whose steps take no time."""
    simulation = simulation_of(small)
    return replace(simulation, pools=tuple(replace(pool, predictor=Instantaneous()) for pool in simulation.pools))


def test_a_cycle_without_delay_is_refused() -> None:
    """Links of 0 ms are fine as long as a step takes time, and a step may take none where a link does."""
    still, linked = (with_instant_steps(SmallFleet(return_ms=return_ms)) for return_ms in (0.0, 1e-6))
    assert len(linked.process_links([[0]])) == 1
    with pytest.raises(InputError, match=r"fleet.network: links of 0 ms .* cycle without delay"):
        still.process_links([[0]])


STATIC = {"kind": "static_two_phase", "max_num_seqs": 2, "max_num_batched_tokens": 128, "async_scheduling": False}


def test_the_last_incomplete_batch_starts_when_nothing_more_comes() -> None:
    """Three requests fill a batch and a half on one replica: the last starts when it has come.

    In a run that ends at 50 ms it waits instead, and is left unfinished.
    """
    small = SmallFleet(arrivals=((0, 8, 2), (1, 8, 2), (40, 8, 2)), engine=STATIC, forward_ms=1.0)
    evidence, _ = run_inline(small)
    assert [at // MS for at in evidence.column("scheduled_ns")] == [2, 2, 41]
    assert run_apart(small, [[0]], Random(1).randrange) == evidence
    evidence, _ = run_inline(replace(small, end_ms=60.0))
    assert [STATUSES[code] for code in evidence.column("status")] == ["finished", "finished", "unfinished"]


def test_batches_and_clients_that_wait_for_each_other_are_refused() -> None:
    """Users that send when they are answered may never fill a batch, so a time-out or an end is asked for."""
    lengths = {"prompt": {"kind": "fixed", "value": 8}, "output": {"kind": "fixed", "value": 2}}
    think = {"kind": "fixed", "value": 1}
    users = {"kind": "closed_loop", "users": 3, "count": 9, "lengths": lengths, "think_time_s": think}
    study = SmallFleet(engine=STATIC).study()
    closed = Study.model_validate({**study.model_dump(), "workload": users})
    log = RequestLog(RequestTotals(1, ["main"]))
    with pytest.raises(InputError, match=r"waits for 2 requests, .* set batch_timeout_s, or run.end_s"):
        make_plan(closed).simulation().build_hub(log)
    ending = closed.model_copy(update={"run": closed.run.model_copy(update={"end_s": 1.0})})
    assert make_plan(ending).simulation().build_hub(log).observation.reacts


LENGTHS = {"prompt": {"kind": "fixed", "value": 8}, "output": {"kind": "fixed", "value": 2}}
ONE = {"kind": "fixed", "value": 1}
POISSON = {"kind": "poisson", "request_rate": 1}
OPEN = {"kind": "synthetic", "arrivals": POISSON, "count": 3, "lengths": LENGTHS}
SESSIONS = {
    "kind": "sessions",
    "arrivals": POISSON,
    "count": 3,
    "lengths": LENGTHS,
    "turns": ONE,
    "think_time_s": ONE,
}
TALK = {"turns": ONE, "think_time_s": ONE}


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
@pytest.mark.parametrize("timeout_s", [None, 5.0])
@pytest.mark.parametrize(
    "workload",
    [
        OPEN,
        OPEN | {"max_concurrency": 2},
        SESSIONS,
        {"kind": "closed_loop", "users": 2, "count": 3, "lengths": LENGTHS, "think_time_s": ONE},
        {"kind": "agentic", "arrivals": POISSON, "count": 3, "steps": [{"name": "plan", "lengths": LENGTHS}]},
        {"kind": "clients", "arrivals": POISSON, "count": 3, "profiles": [{"name": "a", "lengths": LENGTHS}]},
        {
            "kind": "clients",
            "arrivals": POISSON,
            "count": 3,
            "profiles": [{"name": "a", "lengths": LENGTHS, "conversation": TALK}],
        },
        {"kind": "mix", "parts": [OPEN, OPEN]},
        {"kind": "mix", "parts": [OPEN, SESSIONS]},
        {"kind": "mix", "parts": [OPEN], "max_concurrency": 2},
        {"kind": "phases", "phases": [{"duration_s": 5, "workload": OPEN}]},
    ],
    ids=lambda workload: f"{workload['kind']}{len(str(workload))}",
)
def test_what_a_hub_observes_is_known_before_it_is_built(
    policy: str, timeout_s: float | None, workload: dict[str, object]
) -> None:
    """From the study alone follows what the hub will declare, whatever the workload."""
    document = SmallFleet(policy=policy).study().model_dump() | {"workload": workload}
    document["router"]["client_timeout_s"] = timeout_s
    simulation = make_plan(Study.model_validate(document)).simulation()
    assert simulation.observation == simulation.build_hub(RequestLog(RequestTotals(1, ["main"]))).observation
