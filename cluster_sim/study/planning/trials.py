"""Trials: single fleets that are tried because arithmetic cannot order them, prefill and decode apart for one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout
from cluster_sim.study.planning.load_profile import LoadProfile
from cluster_sim.study.planning.screening import OperatingPoint


class Trials:
    """Fleets that are tried once each, and confirmed if they meet the limits."""

    def __init__(self, fleets: Sequence[FleetEvidence]) -> None:
        self._fleets = list(fleets)

    @property
    def known(self) -> list[FleetEvidence]:
        """The fleets of which something is known."""
        return [evidence for evidence in self._fleets if evidence.is_known]

    def wanted(self, most: int) -> list[tuple[FleetEvidence, int]]:
        """Return the runs that are needed next, among fleets of up to ``most`` replicas."""
        runs: list[tuple[FleetEvidence, int]] = []
        for evidence in self._fleets:
            if evidence.fleet.size > most:
                continue
            if not evidence.is_known:
                runs.append((evidence, 0))
            elif evidence.is_met:
                runs += [(evidence, number) for number in evidence.missing()]
        return runs


def tuned_layouts(
    layout: Layout, budgets: Sequence[int], seats: Sequence[int], policies: Sequence[str]
) -> Iterator[Layout]:
    """Yield a layout with other limits of a step and other routing policies, one change each."""
    plain = layout.plain
    for budget in budgets:
        yield replace(plain, max_num_batched_tokens=budget)
    for most in seats:
        yield replace(plain, max_num_seqs=most)
    for policy in policies:
        yield replace(plain, policy=policy)


def prefill_splits(
    size: int, predictor: Predictor, limits: SchedulerLimits, load: LoadProfile
) -> list[tuple[int, int]]:
    """Return the divisions of ``size`` replicas into prefill and decode that are worth a run, the likelier first.

    Prompts take the share of the fleet that their arithmetic takes of all; its neighbour towards more prefill is tried
    as well, since a prefill pool that queues delays first tokens.
    """
    if size < 2:
        return []
    try:
        point = OperatingPoint(predictor, limits, load)
        prompt_s = load.prompt_tokens * point.prompt_s(load.prompt_tokens) / max(load.prompt_tokens, 1.0)
        running = max(1.0, point.most_requests / 4)
        output_s = load.output_tokens * point.token_s(running) / running
    except (InputError, NotImplementedError, ValueError):
        return []
    share = prompt_s / (prompt_s + output_s)
    prefill = min(max(1, round(size * share)), size - 1)
    found = [prefill, *([prefill + 1] if prefill + 1 < size else [])]
    return [(count, size - count) for count in found]


def disaggregated(layout: Layout, splits: Sequence[tuple[int, int]]) -> list[Fleet]:
    """Return fleets of a layout with prefill and decode apart."""
    apart = replace(layout.plain, is_disaggregated=True)
    return [Fleet(apart, split) for split in splits]
