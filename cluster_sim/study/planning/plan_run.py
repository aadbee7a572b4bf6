"""One plan from its study to its files: ``plan.json``, ``winner.yaml``, and what is said if there is no answer."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_sim.config.loading.canonical import HASH_DIGITS, resolved_yaml
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.shown_values import counted
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.simulation.task_pool import TaskPool
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.planning.plan_document import (
    PLAN_FILE,
    WINNER_FILE,
    plan_document,
    plan_text,
    winner_pools,
    winner_study,
    winner_text,
)
from cluster_sim.study.planning.planner import Planner, PlanResult
from cluster_sim.study.planning.run_store import RunStore, without_time_limit
from cluster_sim.study.replications import check_full_runs


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """A plan that found an answer."""

    directory: Path
    document: dict[str, Any]
    """The content of ``plan.json``."""
    result: PlanResult

    def winner_study(self) -> Study:
        """Return the study of the best fleet."""
        assert self.result.best is not None
        return winner_study(self.result.base, self.result.best)

    def winner(self) -> list[Pool]:
        """Return the pools of the best fleet, their engines' defaults filled in."""
        assert self.result.best is not None
        return winner_pools(self.result.base, self.result.best)


def run_plan(
    base: Study,
    out: Path | None = None,
    *,
    has_scaled_load: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    pool: AbstractContextManager[TaskPool] | None = None,
    root: Path | None = None,
    watch: Callable[[Callable[[], str]], None] = lambda _: None,
) -> PlanOutcome:
    """Find the best fleet for a study's load within its limits, and write the plan's directory.

    ``pool`` makes the runs; None makes them in processes of this machine.  What an earlier attempt in the directory has
    learned is used.  With ``has_scaled_load`` the load is a multiple that somebody chose, and one that is beyond every
    fleet by arithmetic is refused before anything runs.  ``root`` is a folder around the directory: files below it are
    named by relative paths, so that it can be moved; None is the directory itself.  ``watch`` is given what describes
    how far the plan is.  Raises InputError if the study is wrong or no fleet meets the limits, UnfinishedError if the
    plan was interrupted or out of time before it had an answer; ``plan.json`` then has what was learned.
    """
    _check(base)
    with RunStore(out or default_directory(base), base, root) as store, pool or ProcessPool() as tasks:
        try:
            with INTERRUPTION.restored():
                planner = Planner(base, store, tasks, tell)
                watch(planner.state)
                if has_scaled_load:
                    planner.refuse_overload()
                result = planner.plan()
            document = plan_document(result)
            has_answer = result.best is not None and not result.is_interrupted
            if has_answer or result.is_complete or result.runs >= _runs_told(store.directory):
                store.write(PLAN_FILE, plan_text(document))
                if result.best is not None:
                    store.write(WINNER_FILE, winner_text(base, result.best, store.paths))
        except InputError:
            store.discard()
            raise
        except KeyboardInterrupt:
            raise UnfinishedError(_interrupted(store)) from None
    if result.is_interrupted:
        raise UnfinishedError(_interrupted(store))
    where = f"what was learned is in {store.directory / PLAN_FILE}"
    runs = counted(result.runs, "run")
    if result.best is None and not result.is_complete:
        raise UnfinishedError(
            f"no fleet was confirmed within the time limit; the same command goes on after {runs}, or give a longer "
            f"--time-limit; {where}"
        )
    if result.best is None and result.runs == 0 and (broken := [one for one in result.fleets if one.is_broken_off]):
        first = broken[0]
        raise UnfinishedError(
            f"no run could be finished: the first, {first.fleet.label}, because {first.error}; {where}"
        )
    if result.best is None:
        raise InputError(f"{nothing_meets(result)}; {where}")
    return PlanOutcome(store.directory, document, result)


def _interrupted(store: RunStore) -> str:
    """Return what is left of a plan that was stopped, and how it goes on."""
    left = f"{counted(store.runs, 'run')} kept, and the same command goes on in {store.directory}"
    told = store.directory / PLAN_FILE
    return f"interrupted; {left}" + (f"; what was learned is in {told}" if told.exists() else "")


def _runs_told(directory: Path) -> int:
    """Return the runs behind the ``plan.json`` that an earlier attempt has left: -1 if there is none.

    An attempt that is stopped early has looked at few of the fleets that are known, and must not hide the others.
    """
    try:
        return int(json.loads((directory / PLAN_FILE).read_text(encoding="utf-8"))["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def default_directory(base: Study) -> Path:
    """Return the directory of a plan that was given none: ``plans/<name>-<hash>``."""
    digest = hashlib.sha256(resolved_yaml(without_time_limit(base)).encode()).hexdigest()
    return Path("plans") / f"{base.name}-{digest[:HASH_DIGITS]}"


def nothing_meets(result: PlanResult) -> str:
    """Return how near the best fleet came to the limits, and what limits it."""
    block = result.base.plan or PlanBlock()
    tried = [evidence for evidence in result.fleets if not evidence.error]
    met = [evidence for evidence in tried if evidence.is_met and not evidence.fleet.layout.is_disaggregated]
    if met and block.max_usd_per_hour is not None:
        cheapest = min(met, key=result.ranking.usd_spent_per_hour)
        return (
            f"no fleet meets the limits for {block.max_usd_per_hour:g} USD an hour (plan.max_usd_per_hour); the "
            f"cheapest that meets them is {cheapest.fleet.label}, at "
            f"{result.ranking.usd_spent_per_hour(cheapest):,.2f} USD an hour"
        )
    nearest = min(tried, key=lambda evidence: evidence.ratio, default=None)
    if nearest is not None:
        text = f"no fleet meets the limits; the nearest is {nearest.fleet.label}: {nearest.reason}"
        proposal = result.ranking.proposal(nearest.fleet.layout)
        needed = proposal.screen.replicas if proposal.screen is not None else None
        if needed is not None and needed > nearest.fleet.size:
            text += f"; by arithmetic it takes about {needed} replicas ({needed * nearest.fleet.layout.gpus} GPUs)"
        constraints = [name for name in ("max_gpus", "max_usd_per_hour") if getattr(block, name) is not None]
        return text + (f", which {' or '.join(constraints)} does not allow" if constraints else "")
    reachable = [one for one in result.proposals if one.screen is not None]
    if not reachable:
        first = result.proposals[0]
        return f"no layout fits: the first, {first.layout.label}, because {first.error}"
    nearest_layout = min(reachable, key=lambda one: one.screen.floor_ratio if one.screen else 0.0)
    assert nearest_layout.screen is not None
    return (
        f"no fleet of any size meets the limits; the nearest is {nearest_layout.layout.label}, where "
        f"{nearest_layout.screen.limited_by}"
    )


def _check(base: Study) -> None:
    check_full_runs(base)
    if not load_limits(base.slo):
        raise InputError("slo: a plan needs at least one limit, for example slo.ttft_p99_s, or --slo ttft_p99=2s")
    if len(base.fleet.pools) != 1:
        raise InputError(
            f"fleet.pools: plan proposes the fleet itself and needs one pool for each model; got "
            f"{len(base.fleet.pools)}"
        )
