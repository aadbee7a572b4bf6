"""Planner: simulates as few fleets as it takes to name the best one within the limits.

Design.  Arithmetic orders the layouts by the price of what they probably need.  Each layout's search then asks for
runs, the best layout's first.  As soon as a fleet is confirmed no dearer one is looked at, but for one layout more,
which gives the runner-up.  Then fleets that are one replica smaller than the best are tried with other limits of a
step, other routing, and prefill apart from decode, and the fixed fleets that meet the limits with the study's
autoscaler.  Last the best layout is sized for more load and longer prompts.  Verdicts do not depend on the order in
which runs end, and every run is stored: a plan that is stopped goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.metrics.verdicts import Verdict
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions
from cluster_sim.shown_values import by_number, counted
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.task_pool import TaskPool
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.planning.autoscaled import AutoscaledSearch, BoundsSearch, autoscaled, check_autoscaler
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Bounds, Fleet, Layout, fleet_study
from cluster_sim.study.planning.layout_search import LayoutSearch
from cluster_sim.study.planning.load_profile import LoadProfile, load_profile
from cluster_sim.study.planning.other_load_search import OtherLoad, OtherLoadSearch
from cluster_sim.study.planning.other_loads import with_longer_prompts, with_more_load
from cluster_sim.study.planning.proposals import Proposal, proposals
from cluster_sim.study.planning.ranking import Ranking
from cluster_sim.study.planning.run_store import RunStore
from cluster_sim.study.planning.single_run import RunKey, RunTask, make_run, reason_of
from cluster_sim.study.planning.trials import Trials, disaggregated, prefill_splits, tuned_layouts
from cluster_sim.study.replications import Replication

MOST_REPLICAS: Final = 4096
MUCH_DEARER: Final = 1.5
"""A layout whose estimate is so many times the best price is not simulated while others are left."""
HOPELESS_RATIO: Final = 2.0
"""A fleet whose figure is so far beyond the limit is not tuned."""
OTHER_LOAD: Final = 1.2
"""Load, and length of prompts, for which the best layout is sized as well."""
LEFT_RATIO: Final = 0.4
"""Share of the time limit that must be left for fleets that are not to be the answer."""

Event = Callable[[str], None]


class Source(Protocol):
    """Something that asks for runs."""

    @property
    def known(self) -> list[FleetEvidence]:
        """Fleets of which something is known."""

    def wanted(self, most: int) -> list[tuple[FleetEvidence, int]]:
        """Return the runs that are needed next, among fleets of up to ``most`` replicas."""


@dataclass(slots=True)
class PlanResult:
    """Everything that a plan has learned."""

    base: Study
    load: LoadProfile
    proposals: list[Proposal]
    ranking: Ranking
    fleets: list[FleetEvidence]
    best: FleetEvidence | None = None
    runner_up: FleetEvidence | None = None
    smaller: FleetEvidence | None = None
    """The best fleet's layout with one replica fewer."""
    too_close: FleetEvidence | None = None
    """The cheapest fleet below the best that the runs do not rule out."""
    other_scaling: FleetEvidence | None = None
    """The best fixed fleet if the answer has an autoscaler, else the best fleet with one that was tried."""
    other_loads: tuple[OtherLoad, ...] = ()
    runs: int = 0
    """Runs behind the answer, those of earlier attempts included."""
    disaggregated: FleetEvidence | None = None
    """The best fleet with prefill apart that meets the limits for less, if such fleets are not to be the answer."""
    is_complete: bool = False
    """Whether nothing cheaper is left to be tried."""
    is_interrupted: bool = False

    def is_allowed(self, proposal: Proposal) -> bool:
        """Return whether one replica of a layout keeps to the limits on GPUs and on the price."""
        return most_allowed(self.base, proposal) >= 1


def most_allowed(base: Study, proposal: Proposal) -> int:
    """Return the most replicas that the limits on GPUs and on the price allow.

    With an autoscaler the price of a fleet is known only from its runs, so that it does not count here.
    """
    block = base.plan or PlanBlock()
    most = MOST_REPLICAS
    if block.max_gpus is not None:
        most = min(most, block.max_gpus // proposal.layout.gpus)
    if base.autoscaler is None and block.max_usd_per_hour is not None and proposal.usd_per_replica_hour:
        most = min(most, int(block.max_usd_per_hour / proposal.usd_per_replica_hour + 1e-9))
    return most


class Planner:
    """One plan: what is known, and the loop that learns more."""

    def __init__(self, base: Study, store: RunStore, pool: TaskPool, tell: Event = lambda _: None) -> None:
        """``base`` is the study with its plan block; raises InputError if it has no limit, or no load."""
        self.base = base
        self.block = base.plan or PlanBlock()
        self.limits = load_limits(base.slo)
        self._store = store
        self._pool = pool
        self._tell = tell
        self._end_s = time.monotonic() + self.block.time_limit_s
        self._evidence: dict[str, FleetEvidence] = {}
        self._bases: dict[str, Study] = {}
        check_autoscaler(base)
        self.load = load_profile(base)
        self.proposals = proposals(base, self.load)
        self.ranking = Ranking(self.block.objective, {one.layout.plain: one for one in self.proposals})
        self._running: dict[int, RunKey] = {}
        self.is_out_of_time = False

    def refuse_overload(self) -> None:
        """Raise InputError if by arithmetic not even the largest fleet of any layout carries the load."""
        possible = [one for one in self.proposals if one.is_possible and one.screen is not None]
        if possible and all(one.screen is not None and one.screen.is_beyond_every_fleet for one in possible):
            raise InputError(
                f"workload: {self.load.peak_rate_per_s:,.4g} requests a second (its busiest part) are more than "
                f"{MOST_REPLICAS:,} replicas of any layout carry by arithmetic; give a smaller load"
            )

    def plan(self) -> PlanResult:
        """Return the answer; with no best fleet if none meets the limits, or time ran out before one was found."""
        possible = [one for one in self.proposals if one.is_possible]
        allowed = [one for one in possible if most_allowed(self.base, one) >= 1]
        if possible and not allowed:
            raise InputError(_contradiction(self.block, possible))
        self._searches = [
            LayoutSearch(one.layout, (one.screen.replicas if one.screen else None) or 1, self.evidence_of)
            for one in sorted(allowed, key=self.ranking.estimated)
        ]
        if allowed and self.base.autoscaler is not None:  # A wrong one is refused before anything runs.
            smallest = min((one.layout for one in allowed), key=lambda layout: layout.gpus)
            make_plan(fleet_study(self.base, Fleet(smallest, (1,), Bounds(1, 1))))
        self._tell(f"{counted(len(self.proposals), 'layout')}; {len(allowed)} can be simulated within the constraints")
        other: tuple[OtherLoad, ...] = ()
        is_complete = is_interrupted = False
        try:
            with INTERRUPTION.restored():
                self._drive(self._main_runs)
                if (best := self._best()) is not None:
                    self._tune(best)
                if self.base.autoscaler is not None:
                    self._scale(self.base.autoscaler)
                is_complete = not self.is_out_of_time
                if (best := self._best()) is not None:
                    other = self._other_loads(best)
                    if self.block.disaggregation is None and self._has_time:
                        self._split(best)
        except KeyboardInterrupt:
            is_interrupted = True
        return self._result(other, is_complete=is_complete, is_interrupted=is_interrupted)

    def evidence_of(self, fleet: Fleet, prefix: str = "", replications: int | None = None) -> FleetEvidence:
        """Return what is known of a fleet, stored runs included; ``prefix`` names another load."""
        key = prefix + fleet.key
        if key not in self._evidence:
            found = FleetEvidence(fleet, self.limits, replications or self.block.replications)
            found.runs.update(self._store.load(key))
            self._evidence[key] = found
            self._bases.setdefault(key, self._bases.get(prefix, self.base))
        return self._evidence[key]

    def state(self) -> str:
        """Return how far the plan is, for somebody who waits."""
        made = sum(len(evidence.runs) for evidence in list(self._evidence.values()))
        left_s = max(0.0, self._end_s - time.monotonic())
        return f"{counted(made, 'run')} made, {len(self._running)} at work; no further one starts after {left_s:.0f} s"

    @property
    def _has_time(self) -> bool:
        """Whether much of the time is left, so that fleets may be tried that are not to be the answer."""
        return self._end_s - time.monotonic() > LEFT_RATIO * self.block.time_limit_s

    # ------------------------------------------------------------------------------------------------------ the loop

    def _drive(self, wanted: Callable[[], list[tuple[str, FleetEvidence, int]]]) -> None:
        """Make the runs that ``wanted`` asks for, as often as it asks, until it asks for none or time is up."""
        while True:
            INTERRUPTION.check()
            runs = wanted()
            is_over = time.monotonic() >= self._end_s
            self.is_out_of_time = self.is_out_of_time or (is_over and bool(runs))
            running = set(self._running.values())
            fresh = [] if is_over else [run for run in runs if RunKey(run[0], run[2]) not in running]
            while fresh and len(self._running) < self._pool.slots:
                self._start(*fresh.pop(0))
            if self._running:
                number, outcome = self._pool.next_ended()
                self._learn(self._running.pop(number), outcome)
            elif is_over or not runs:
                return  # Else every fleet that was to start was refused: ask again.

    def _start(self, key: str, evidence: FleetEvidence, number: int) -> None:
        try:
            study = fleet_study(self._bases[key], evidence.fleet)
            make_plan(study)
        except InputError as error:
            evidence.error = str(error)
            return
        self._running[self._pool.submit(make_run, RunTask(study, number))] = RunKey(key, number)

    def _learn(self, key: RunKey, outcome: Replication | Exception) -> None:
        evidence = self._evidence[key.fleet]
        if isinstance(outcome, Exception):
            evidence.error = reason_of(outcome)
            evidence.is_broken_off = isinstance(outcome, UnfinishedError)
        else:
            evidence.runs[key.number] = outcome
            self._store.save(key, outcome)
        state = "fails" if evidence.error else evidence.verdict.value.replace("_", " ")
        certainty = "" if evidence.is_confirmed else " so far"
        runs = counted(len(evidence.runs), "run")
        self._tell(f"{key.fleet}: {state}{certainty} after {runs}{f': {evidence.reason}' if evidence.reason else ''}")

    # -------------------------------------------------------------------------------------------------- main search

    def _main_runs(self) -> list[tuple[str, FleetEvidence, int]]:
        leader = self._leader()
        cheapest = self._least_estimate() if leader is None else self.ranking.price(leader)
        correction = self._correction(leader)
        runner_up = self._runner_up_search(leader) if leader is not None and leader.is_confirmed else None
        runs: list[tuple[str, FleetEvidence, int]] = []
        late: list[tuple[str, FleetEvidence, int]] = []
        for search in self._searches:
            proposal = self.ranking.proposal(search.layout)
            most = most_allowed(self.base, proposal)
            is_dear = self.ranking.estimated(proposal, correction) > MUCH_DEARER * cheapest
            if leader is not None and search.layout != leader.fleet.layout and self.ranking.has_prices:
                if is_dear and search is not runner_up:
                    continue
                room = 2 * cheapest if search is runner_up else cheapest
                most = min(most, int(room / proposal.usd_per_replica_hour + 1e-9))
            wanted = [(evidence.fleet.key, evidence, number) for evidence, number in search.wanted(most)]
            (late if is_dear and leader is None else runs).extend(wanted)
        return runs or late

    def _correction(self, leader: FleetEvidence | None) -> float:
        """Return how many times the estimate of a fleet's layout is its size; 1 before any meets the limits."""
        need = None if leader is None else self.ranking.proposal(leader.fleet.layout).need
        return leader.fleet.size / max(need, 0.5) if leader is not None and need is not None else 1.0

    def _leader(self) -> FleetEvidence | None:
        """Return the best fleet that meets the limits as far as is known; others must be cheaper."""
        met = [evidence for evidence in self._known() if evidence.is_met and self._is_choice(evidence)]
        return min(met, key=self.ranking.key, default=None)

    def _runner_up_search(self, best: FleetEvidence) -> LayoutSearch | None:
        """Return the search of the layout that gives the runner-up: the likeliest beside the best fleet's."""
        others = [search for search in self._searches if search.layout != best.fleet.layout]
        return next((search for search in others if not any(one.error for one in search.known)), None)

    def _least_estimate(self) -> float:
        return min((self.ranking.estimated(self.ranking.proposal(s.layout)) for s in self._searches), default=0.0)

    # ------------------------------------------------------------------------------------------------------- tuning

    def _tune(self, best: FleetEvidence) -> None:
        """Try fleets that are smaller than the best by other limits, other routing, and prefill apart."""
        size = best.fleet.size - 1
        smaller = self.evidence_of(Fleet(best.fleet.layout, (size,))) if size >= 1 else None
        if smaller is None or smaller.ratio > HOPELESS_RATIO:
            return
        layout = best.fleet.layout
        budget = make_plan(fleet_study(self.base, best.fleet)).pools[0].limits.max_num_batched_tokens
        budgets = self.block.max_num_batched_tokens or (budget // 4, budget * 2)
        known = [entry.name for entry in ROUTING_POLICIES.entries()]
        policies = self.block.policies or tuple(name for name in ("least_tokens",) if name in known)
        targets = size * (layout.data_parallel if self.base.fleet.pools[0].route_ranks else 1)
        # With one target the policy decides nothing: its runs would be those of the fleet as it is.
        others = [name for name in policies if name != self.base.router.policy] if targets > 1 else []
        words = "other limits and other routing" if others else "other limits"
        self._tell(f"trying {counted(size, 'replica')} of {layout.label} with {words}")
        sources: list[Source] = [
            LayoutSearch(tuned, size, self.evidence_of)
            for tuned in tuned_layouts(layout, budgets, self.block.max_num_seqs or (), others)
        ]
        if self.block.disaggregation:
            sources.append(self._divided(best))
        self._drive_sources(sources, size)

    def _scale(self, options: AutoscalerOptions) -> None:
        """Try the fixed fleets that meet the limits, the best of each layout, with an autoscaler."""
        fixed: dict[Layout, FleetEvidence] = {}
        for evidence in sorted(self._known(), key=self.ranking.key):
            if evidence.is_confirmed and evidence.is_met and len(evidence.fleet.replicas) == 1:
                fixed.setdefault(evidence.fleet.layout.plain, evidence)
        widest = [(one.fleet.size, autoscaled(one.fleet, options, self.block)) for one in fixed.values()]
        searches = [self._bounds_search(fleet, size - 1) for size, fleet in widest if fleet is not None]
        if searches:
            self._tell(f"trying {counted(len(searches), 'layout')} with the autoscaler {options.kind}")
        self._drive(
            lambda: [
                (evidence.fleet.key, evidence, number)
                for search in searches
                for evidence, number in search.wanted(MOST_REPLICAS)
                if not evidence.runs or not self._is_dearer(evidence)
            ]
        )

    def _is_dearer(self, evidence: FleetEvidence) -> bool:
        """Return whether a fleet that has run costs more than the best, so that it needs no further runs."""
        best = self._best()
        return best is not None and self.ranking.has_prices and self.ranking.price(evidence) > self.ranking.price(best)

    def _bounds_search(
        self, widest: Fleet, highest: int, prefix: str = "", replications: int | None = None
    ) -> BoundsSearch:
        """Return the search of the lower bound of a fleet, from its own up to ``highest``."""
        bounds = widest.bounds
        assert bounds is not None

        def evidence_at(least: int) -> FleetEvidence:
            start = max(least, *widest.replicas)
            fleet = replace(widest, replicas=(start,), bounds=bounds._replace(least=least))
            return self.evidence_of(fleet, prefix, replications)

        return BoundsSearch(evidence_at, bounds.least, min(highest, bounds.most))

    def _split(self, best: FleetEvidence) -> None:
        """Try fleets that are smaller than the best with prefill and decode apart."""
        size = best.fleet.size - 1
        if size >= 2 and best.fleet.bounds is None and not best.fleet.layout.is_disaggregated:
            self._tell(f"trying {size} replicas with prefill apart")
            self._drive_sources([self._divided(best)], size)

    def _divided(self, best: FleetEvidence) -> Trials:
        planned = make_plan(fleet_study(self.base, best.fleet)).pools[0]
        splits = prefill_splits(best.fleet.size - 1, planned.predictor(self.base), planned.limits, self.load)
        return Trials([self.evidence_of(fleet) for fleet in disaggregated(best.fleet.layout, splits)])

    def _drive_sources(self, sources: Sequence[Source], most: int) -> None:
        self._drive(
            lambda: [
                (evidence.fleet.key, evidence, number) for source in sources for evidence, number in source.wanted(most)
            ]
        )

    def _other_loads(self, best: FleetEvidence) -> tuple[OtherLoad, ...]:
        """Size the best layout for more load and for longer prompts, by one run a size."""
        percent = f"{OTHER_LOAD - 1:.0%}"
        more = f"{percent} more {'load' if self.load.unit == 'requests' else self.load.unit}"
        folder = self._store.directory
        sized = [
            self._sized(best, more, "more-load-", lambda: with_more_load(self.base, OTHER_LOAD)),
            self._sized(
                best,
                f"prompts {percent} longer",
                "longer-prompts-",
                lambda: with_longer_prompts(self.base, OTHER_LOAD, folder),
            ),
        ]
        self._drive(lambda: [run for one in sized for run in one.wanted()])
        return tuple(one.answer(is_out_of_time=self.is_out_of_time) for one in sized)

    def _sized(self, best: FleetEvidence, name: str, prefix: str, change: Callable[[], Study]) -> OtherLoadSearch:
        if best.fleet.layout.is_disaggregated:
            return OtherLoadSearch(name, prefix, best, None, "sizes of fleets with prefill apart are not searched")
        try:
            self._bases[prefix] = change()
        except InputError as error:
            return OtherLoadSearch(name, prefix, best, None, str(error))
        size, bounds, options = sum(best.fleet.replicas), best.fleet.bounds, self.base.autoscaler
        search = LayoutSearch(best.fleet.layout, size, lambda fleet: self.evidence_of(fleet, prefix, 1))
        if bounds is None or options is None:
            return OtherLoadSearch(name, prefix, best, search)

        def around(fixed: Fleet) -> BoundsSearch | None:
            widest = autoscaled(fixed, options, self.block)
            if widest is None or widest.bounds is None:
                return None
            least = max(bounds.least, widest.bounds.least)
            kept = replace(widest, bounds=widest.bounds._replace(least=least))
            return self._bounds_search(kept, fixed.size - 1, prefix, 1)

        return OtherLoadSearch(name, prefix, best, AutoscaledSearch(search, around))

    # ------------------------------------------------------------------------------------------------------- result

    def _known(self) -> list[FleetEvidence]:
        """Return every fleet that was simulated at the load itself."""
        return [evidence for key, evidence in self._evidence.items() if evidence.is_known and key == evidence.fleet.key]

    def _best(self) -> FleetEvidence | None:
        met = [evidence for evidence in self._known() if evidence.is_confirmed and evidence.is_met]
        return min(filter(self._is_choice, met), key=self.ranking.key, default=None)

    def _is_choice(self, evidence: FleetEvidence) -> bool:
        """Return whether a fleet may be the answer."""
        most_usd = self.block.max_usd_per_hour
        if most_usd is not None and self.ranking.usd_spent_per_hour(evidence) > most_usd * (1 + 1e-9):
            return False
        return self.block.disaggregation is True or not evidence.fleet.layout.is_disaggregated

    def _result(self, other: tuple[OtherLoad, ...], *, is_complete: bool, is_interrupted: bool) -> PlanResult:
        best = self._best()
        fleets = sorted(self._known(), key=self.ranking.key)
        result = PlanResult(self.base, self.load, self.proposals, self.ranking, fleets, best, other_loads=other)
        result.runs = sum(len(evidence.runs) for evidence in self._evidence.values())
        result.is_complete, result.is_interrupted = is_complete, is_interrupted
        if best is None:
            return result
        met = [evidence for evidence in fleets if evidence.is_confirmed and evidence.is_met and evidence is not best]
        others = [one for one in met if one.fleet.layout.plain != best.fleet.layout.plain and self._is_choice(one)]
        result.runner_up = others[0] if others else None
        result.smaller = _smaller(best, fleets)
        result.other_scaling = _other_scaling(best, fleets)
        cheaper = [one for one in fleets if self.ranking.price(one) < self.ranking.price(best)]
        close = [one for one in cheaper if not one.error and one.verdict is Verdict.TOO_CLOSE and self._is_choice(one)]
        result.too_close = close[0] if close else None
        result.disaggregated = next((one for one in met if one in cheaper and not self._is_choice(one)), None)
        return result


def _smaller(best: FleetEvidence, fleets: Sequence[FleetEvidence]) -> FleetEvidence | None:
    """Return the evidence on the best fleet with one replica fewer."""
    fleet = best.fleet
    if fleet.bounds is not None:
        wanted_bounds = fleet.bounds._replace(least=fleet.bounds.least - 1)
        same_layout = (one for one in fleets if one.fleet.layout == fleet.layout)
        return next((one for one in same_layout if one.fleet.bounds == wanted_bounds), None)
    if len(fleet.replicas) != 1:
        wanted = [Fleet(fleet.layout, (fleet.replicas[0], fleet.replicas[1] - 1))]
    else:
        wanted = [replace(fleet, replicas=(fleet.size - 1,))]
    return next((evidence for evidence in fleets if evidence.fleet in wanted), None)


def _other_scaling(best: FleetEvidence, fleets: Sequence[FleetEvidence]) -> FleetEvidence | None:
    """Return the best fixed fleet that meets the limits beside an autoscaled answer, or the reverse.

    If no autoscaled fleet is confirmed it is the best of those that meet them so far, as one that costs no less than
    the answer is run once; if none does, the one that comes nearest.
    """
    others = [one for one in fleets if (one.fleet.bounds is None) != (best.fleet.bounds is None)]
    met = [one for one in others if one.is_confirmed and one.is_met and not one.fleet.layout.is_disaggregated]
    if met or best.fleet.bounds is not None:
        return met[0] if met else None
    so_far = [one for one in others if one.is_met and not one.fleet.layout.is_disaggregated]
    return so_far[0] if so_far else min(others, key=lambda one: one.ratio, default=None)


def _contradiction(block: PlanBlock, possible: Sequence[Proposal]) -> str:
    """Return why no layout keeps to the limits on GPUs and on the price."""
    smallest = min(possible, key=lambda one: one.layout.gpus)
    cheapest = min(possible, key=lambda one: one.usd_per_replica_hour)
    if block.max_gpus is not None and smallest.layout.gpus > block.max_gpus:
        held = f"{counted(block.max_gpus, 'GPU')} {by_number(block.max_gpus, 'holds', 'hold')} no replica"
        return f"plan.max_gpus: {held}; the smallest is {smallest.layout.label}"
    return (
        f"plan.max_usd_per_hour: {block.max_usd_per_hour:g} USD an hour pay for no replica"
        f"{'' if block.max_gpus is None else f' of at most {block.max_gpus} GPUs'}; the cheapest is "
        f"{cheapest.layout.label} at {cheapest.usd_per_replica_hour:,.2f} USD an hour"
    )
