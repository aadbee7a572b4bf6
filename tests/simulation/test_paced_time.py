"""Simulated time of a paced run, as its monitor sees it."""

from itertools import pairwise
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.loop import DirectExchange, run_loop
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_recorder import RunRecorder

S = 1_000_000_000


class Pacemaker:
    """Allows half a second more whenever the run has come to what it allowed, and notes that."""

    def __init__(self) -> None:
        self._allowed_ns = 0
        self._has_asked = False
        self.seen_s: list[float] = []

    def pace(self) -> Instant:
        if not self.seen_s or self.seen_s[-1] * S >= self._allowed_ns:
            self._allowed_ns += S // 2
        return instant(self._allowed_ns, Kind.RUN_END)

    def wants_counters(self) -> bool:
        self._has_asked = not self._has_asked
        return self._has_asked

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        assert clock < NEVER
        assert set(counters) <= {1}
        self.seen_s.append(time_of(clock) / S)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
@pytest.mark.parametrize(
    ("rate", "count", "tokens", "last_s"),
    [(10.0, 10, 1000, 21), (1 / 30, 2, 5, 60)],
    ids=["work after the last arrival", "a gap between arrivals"],
)
def test_time_passes_while_nothing_arrives(policy: str, rate: float, count: int, tokens: int, last_s: float) -> None:
    """The run comes to whatever it is allowed, to the end: while replicas work, after the last arrival, and in gaps."""
    lengths = {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": tokens}}
    arrivals = {"kind": "constant", "request_rate": rate}
    study = Study.model_validate(
        {
            "workload": {"kind": "synthetic", "count": count, "arrivals": arrivals, "lengths": lengths},
            "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm"}]},
            "router": {"policy": policy},
            "predictor": {"kind": "linear", "alpha_us": 20_000},
        }
    )
    simulation = make_plan(study).simulation()
    with RunRecorder(simulation.metadata) as recorder:
        processes = simulation.build_processes(recorder.log)
        pacemaker = Pacemaker()
        run_loop(processes.hub, processes.coordinator, DirectExchange(processes.groups), pacemaker)
    going = pacemaker.seen_s.index(max(pacemaker.seen_s)) + 1
    seen_s, closing_s = pacemaker.seen_s[:going], pacemaker.seen_s[going:]
    # When nothing is left, nothing is waited for: the run has come to the router's last event.
    assert set(closing_s) <= {time_of(processes.coordinator.clock) / S}
    assert len(closing_s) <= 3
    assert seen_s == sorted(seen_s)
    assert seen_s[-1] >= last_s - 1
    steps = [late - early for early, late in pairwise(seen_s)]
    assert max(steps) <= 0.5
