"""One study under every executor and placement, and what must be equal between them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.launcher import run_on_ray
from actors.messages_as_columns import serving_codec
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.group import Group
from cluster_sim.engine.instant import time_of
from cluster_sim.engine.loop import DirectExchange, Unwatched, run_loop
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.composition import build_hub, build_predictors, build_replica, process_links, wirings
from cluster_sim.simulation.ending import end_of
from cluster_sim.simulation.inline import RunOutcome, run_inline
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_recorder import RunRecorder
from tests.engine.random_exchange import Choose, RandomExchange


def study_of(base: Path | None = None, **parts: Any) -> Study:
    """Return a checked study from its parts, as a study file would have them."""
    context = {BASE_DIRECTORY: base or Path.cwd()}
    return Study.model_validate_json(json.dumps(parts), strict=True, context=context)


def small_study(policy: str, pipeline_parallel: int = 1) -> Study:
    """Return a study of four replicas and 150 requests."""
    lengths = {
        "prompt": {"kind": "lognormal", "mean": 800, "std": 600, "min": 2, "max": 4000},
        "output": {"kind": "lognormal", "mean": 60, "std": 60, "min": 1, "max": 400},
    }
    return study_of(
        name="small",
        seed=3,
        workload={
            "kind": "synthetic",
            "count": 150,
            "arrivals": {"kind": "poisson", "request_rate": 30},
            "lengths": lengths,
        },
        fleet={
            "pools": [
                {
                    "name": "main",
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 4,
                    "pipeline_parallel": pipeline_parallel,
                }
            ]
        },
        router={"policy": policy, "telemetry": {"period_ms": 50.0, "latency_ms": 1.0}},
        run={"series_interval_s": 0.5},
    )


@dataclass
class Evidence:
    """What a run left, in a form that compares."""

    digest: str
    replicas: dict[int, Any]
    """Counters by replica."""
    series: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)
    """Rows of the time series by replica."""


class SeriesBook:
    """Collects the replicas' series, however they are cut into deliveries."""

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[int, ...]]] = {}

    def add(self, replica: int, columns: dict[str, Any]) -> None:
        values = zip(*(column.tolist() for column in columns.values()), strict=True)
        self.rows.setdefault(replica, []).extend(values)


def evidence(outcome: RunOutcome, book: SeriesBook) -> Evidence:
    """Return what must be equal of an outcome."""
    counters = {index: result.counters for index, result in enumerate(outcome.replicas)}
    return Evidence(outcome.hub.digest, counters, {index: rows for index, rows in book.rows.items() if rows})


def inline(study: Study) -> Evidence:
    """Run in this process, as the inline executor does."""
    plan = make_plan(study)
    predictors = build_predictors(plan)
    book = SeriesBook()
    books = RunRecorder(plan.metadata(predictors))
    return evidence(run_inline(plan, predictors, books, book.add, lambda _hub, _log: Unwatched()), book)


def in_memory(study: Study, groups: list[list[int]], choose: Choose | None) -> Evidence:
    """Run in this process with replicas placed in groups, behind frames that random delays reorder.

    Without ``choose`` the groups are called directly.
    """
    plan = make_plan(study)
    predictors = build_predictors(plan)
    books = RunRecorder(plan.metadata(predictors))
    hub = build_hub(plan, books.log)
    replicas = [build_replica(plan, index, predictors, hub.observation) for index in range(plan.replicas)]
    every = wirings(plan)
    placed = {
        number: Group(
            [replicas[each] for each in members], {each + 1: every[each + 1] for each in members}, hub.observation
        )
        for number, members in enumerate(groups)
    }
    group_of = {replica: number for number, members in enumerate(groups) for replica in members}
    links = process_links(plan, predictors, [group_of[each] for each in range(plan.replicas)])
    coordinator = Coordinator(hub, links, plan.run_end)
    exchange = DirectExchange(placed) if choose is None else RandomExchange(placed, serving_codec(), choose)
    run_loop(hub, coordinator, exchange)
    end = end_of(plan.run_end, hub)
    for group in placed.values():
        group.finish(end)
    hub.close()
    book = SeriesBook()
    for replica in replicas:
        book.add(replica.settings.index, replica.log.take_series())
    counters = {replica.settings.index: replica.log.counters(time_of(end)) for replica in replicas}
    return Evidence(books.digest.hexdigest(), counters, {index: rows for index, rows in book.rows.items() if rows})


def on_ray(study: Study, address: str | None = None, **run: Any) -> Evidence:
    """Run on Ray actors; ``run`` changes keys of the study's ``run`` block (actors, placement_seed, stages ...)."""
    changed = study.model_copy(update={"run": study.run.model_copy(update=run)})
    plan = make_plan(changed)
    book = SeriesBook()
    done = run_on_ray(
        plan,
        build_predictors(plan),
        address=address,
        requests_path=None,
        series=book.add,
        progress=lambda _simulated_ns, _done: None,
        labels={},
    )
    return evidence(done.outcome, book)
