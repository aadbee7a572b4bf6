"""Failures of either leg in any phase: the other one is taken back, nothing leaks, and the request is served."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.engine.loop import DirectExchange, run_loop
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.reasons import ATTEMPT_TIMEOUT, REASONS
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import FIELD
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.routing.component import HubComponent, HubServices, Recovery
from cluster_sim.routing.handover.connector_interface import CONNECTORS
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from tests.engine.in_memory import InMemoryExecutor
from tests.equality import equal_everywhere
from tests.evidence import Evidence, evidence_of
from tests.simulation.test_handover_studies import ENGINE_OF, pool, rows_of, study


class Tick(NamedTuple):
    number: int


class Again(NamedTuple):
    request_id: int


class Failures(HubComponent):
    """Gives up the oldest open attempt of one leg every 40 ms, as a time-out of attempts would."""

    def __init__(self, leg: str) -> None:
        self._leg = leg

    def start(self, hub: HubServices) -> None:
        super().start(hub)
        for number in range(60):
            hub.events.schedule(20_000_000 + 40_000_000 * number, Kind.TIMER, number, Tick(number))

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {Tick: self._on_tick}

    def _on_tick(self, tick: Tick, now_ns: int) -> list[Send]:
        for tracked in [self.hub.requests[key] for key in sorted(self.hub.requests)][tick.number % 3 :]:
            for attempt in list(tracked.open.values()):
                if attempt.leg == self._leg:
                    cancellation = self.hub.dispatcher.cancel(tracked, attempt, now_ns)
                    tracked.open[attempt.number] = attempt
                    return [cancellation, *self.hub.fail_attempt(tracked, attempt, ATTEMPT_TIMEOUT, now_ns)]
        return []


class TryAgain(Recovery):
    """Submits a request again 5 ms later."""

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {Again: self._on_again}

    def on_failure(self, tracked: TrackedRequest, attempt: Attempt | None, failure: str, now_ns: int) -> list[Send]:
        del attempt, failure
        again = Again(tracked.request.request_id)
        self.hub.events.schedule(now_ns + 5_000_000, Kind.GLOBAL_SCHEDULE, again.request_id, again)
        return []

    def _on_again(self, again: Again, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(again.request_id)
        return [] if tracked is None else self.hub.submit(tracked, now_ns)


def failing(connector: str, leg: str, *, retries: bool, **router: Any) -> Simulation:
    engine = ENGINE_OF[connector]
    handover = {"connector": connector}
    options = {"policy": "round_robin", **router}
    simulation = make_plan(
        study(pool("prefill", engine), pool("decode", engine), handover=handover, router=options)
    ).simulation()
    more = (lambda _: Failures(leg), *((lambda _: TryAgain(),) if retries else ()))
    return replace(simulation, components=(*simulation.components, *more), keeps_rows=True)


def statuses(evidence: Evidence) -> list[str]:
    return [STATUSES[row[FIELD["status"]]] for row in evidence.rows]


@pytest.mark.parametrize("connector", CONNECTORS.names())
@pytest.mark.parametrize("leg", ["prefill", "decode"])
def test_a_request_whose_leg_fails_is_tried_again_as_a_whole(connector: str, leg: str) -> None:
    """Every request is served, some of them by later pairs, with equal results everywhere."""
    simulation = failing(connector, leg, retries=True)
    evidence = evidence_of(InlineExecutor(), simulation)
    assert set(statuses(evidence)) == {"finished"}
    retries = [row[FIELD["retries"]] for row in evidence.rows]
    assert sum(retries) > 5
    assert all(
        row[FIELD["attempts"]] == 2 + 2 * row[FIELD["retries"]] or row[FIELD["attempts"]] >= 1 + row[FIELD["retries"]]
        for row in evidence.rows
    )
    for groups in ([[0], [1], [2], [3]], [[0, 3], [1, 2]]):
        assert evidence_of(InMemoryExecutor(groups, lambda count: count // 2), simulation) == evidence


@pytest.mark.parametrize("connector", CONNECTORS.names())
@pytest.mark.parametrize("leg", ["prefill", "decode", "neither"])
def test_nothing_is_left_behind(connector: str, leg: str) -> None:
    """At the end no replica holds a block, the router no request and the links no transfer, though clients give up."""
    simulation = failing(connector, leg, retries=True, client_timeout_s=0.6)
    processes = simulation.build_processes(RequestLog(RequestTotals(4, ["prefill", "decode"])))
    run_loop(processes.hub, processes.coordinator, DirectExchange(processes.groups))
    assert [replica.counters()[:3] for replica in processes.replicas] == [(0, 0, 0.0)] * 4
    assert processes.hub.in_flight == 0


@pytest.mark.parametrize("connector", CONNECTORS.names())
@pytest.mark.parametrize("leg", ["prefill", "decode"])
def test_without_retries_a_request_fails_with_its_leg(connector: str, leg: str) -> None:
    """The row says why; the others are served."""
    evidence = evidence_of(InlineExecutor(), failing(connector, leg, retries=False))
    assert set(statuses(evidence)) == {"finished", "failed"}
    reasons = {REASONS[row[FIELD["reason"]]] for row in evidence.rows}
    assert reasons == {REASONS[0], ATTEMPT_TIMEOUT}


def test_a_prompt_that_nobody_reads_is_dropped() -> None:
    """A decode pool that is full for longer than prompts are held: their requests fail, the prefill pool goes on."""
    handover = {"connector": "nixl", "hold_timeout_s": 0.05}
    tight = pool("decode", replicas=1, engine_options={"num_kv_blocks": 330})
    simulation = make_plan(study(pool("prefill"), tight, handover=handover)).simulation()
    evidence = evidence_of(InlineExecutor(), replace(simulation, keeps_rows=True))
    assert set(statuses(evidence)) == {"finished", "failed"}
    reasons = {REASONS[row[FIELD["reason"]]] for row in evidence.rows}
    assert "transfer_failed" in reasons


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_crashes_of_both_kinds_of_replicas(connector: str) -> None:
    """A prefill and a decode replica crash and come back; with retries most requests are served, equally everywhere."""
    engine = ENGINE_OF[connector]
    faults = [{"kind": "crash", "replicas": [index], "at_s": 1.0 + index / 4, "duration_s": 0.6} for index in (0, 3)]
    run = study(
        pool("prefill", engine),
        pool("decode", engine),
        handover={"connector": connector},
        router={"policy": "least_outstanding", "retries": {}},
        faults=faults,
    )
    equal_everywhere(run, placements=1)
    found = [STATUSES[row["status"]] for row in rows_of(run)]
    assert found.count("finished") > 100
    assert set(found) == {"finished", "failed"}


def test_degraded_links_beside_crashes() -> None:
    """Links at a share and lost, at given and at drawn times, overlapping, while replicas crash; equal everywhere, and
    the transfers take longer.
    """
    links = [
        {"kind": "link_degraded", "pool": "prefill", "mtbf_s": 0.4, "mttr_s": 0.3, "bandwidth_ratio": 0.02},
        {"kind": "link_degraded", "replicas": [2], "at_s": [0.5, 1.2], "duration_s": 0.4, "bandwidth_ratio": 0},
        {"kind": "link_degraded", "pool": "decode", "at_s": 1.5, "is_permanent": True, "bandwidth_ratio": 0.1},
    ]
    crashes = [{"kind": "crash", "replicas": [index], "at_s": 1.0 + index / 4, "duration_s": 0.6} for index in (0, 3)]
    router = {"policy": "least_outstanding", "retries": {}}
    runs = [
        study(pool("prefill"), pool("decode"), router=router, faults=faults) for faults in (links + crashes, crashes)
    ]
    equal_everywhere(runs[0], placements=2)
    slow, usual = ([row for row in rows_of(run) if STATUSES[row["status"]] == "finished"] for run in runs)
    assert len(slow) > 100
    assert sum(row["transfer_ns"] for row in slow) > 2 * sum(row["transfer_ns"] for row in usual)
