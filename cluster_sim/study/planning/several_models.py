"""Plans of several models that share a fleet: one plan a model, and what they make together.

Design.  A request is served by the replicas of its model alone, so the cheapest fleet of each model within its limits
gives the cheapest whole.  The requests of a model are written to a trace of its own; its plan has its pool, its part of
the limits and an equal share of the time.  At last the whole fleet serves the whole load once, and is judged by every
limit.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.canonical import study_text
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.named_files import movable
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.hardware.model import load_model
from cluster_sim.shown_values import counted
from cluster_sim.simulation.model_names import default_model, distinct_names
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.simulation.task_pool import TaskPool
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.plan_document import PLAN_FILE, WINNER_FILE, plan_text
from cluster_sim.study.planning.plan_run import PlanOutcome, default_directory, run_plan
from cluster_sim.study.planning.single_run import RunTask, make_run
from cluster_sim.study.replications import Replication
from cluster_sim.workload.build import build_columns, reacts
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.traces.parquet_writer import write_trace

_SUMS: Final = ("gpus", "mean_gpus", "most_gpus", "usd_per_hour", "mean_power_w", "output_tokens_per_s")
"""Figures of the whole that are sums over the models."""


REQUESTS_SUFFIX: Final = "-requests.parquet"
"""Ends the name of the file with a model's requests; the name of its pool begins it."""


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """Plans of several models that all found an answer."""

    directory: Path
    document: dict[str, Any]
    """The content of ``plan.json``."""
    plans: dict[str, PlanOutcome]
    """By the model's name."""
    study: Study
    """The whole fleet under the whole load."""

    def winner(self) -> list[Pool]:
        """Return the pools of the whole fleet, their engines' defaults filled in."""
        return [planned.pool for planned in make_plan(self.study).pools]


def has_several_models(base: Study) -> bool:
    """Return whether the pools of a study serve more than one model."""
    return len({pool.model for pool in base.fleet.pools}) > 1


def run_shared_plan(
    base: Study,
    out: Path | None = None,
    *,
    has_scaled_load: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    pool: AbstractContextManager[TaskPool] | None = None,
    watch: Callable[[Callable[[], str]], None] = lambda _: None,
) -> SharedPlan:
    """Find the best fleet of each model of a study, and write the directory of the whole.

    The plan of each model has a directory in it, by the name of its pool, and goes on there if it was stopped.  Raises
    InputError and UnfinishedError as ``run_plan`` does, and InputError if the fleets together break a constraint.
    """
    names = _served(base)
    _check_classes(base, names)
    rows = _rows_by_model(base, names)
    directory = out or default_directory(base)
    _check_directory(directory, base)
    plans: dict[str, PlanOutcome] = {}
    with pool or ProcessPool() as tasks:
        for index, name in enumerate(names):
            own = directory / base.fleet.pools[index].name
            tell(f"{name}: {counted(len(rows[name]), 'request')}")
            trace = _written(rows[name], own, directory)
            try:
                study = _part(base, index, name, names, trace)
                shared = nullcontext(tasks)
                plans[name] = run_plan(
                    study, own, has_scaled_load=has_scaled_load, tell=tell, pool=shared, root=directory, watch=watch
                )
            except (InputError, UnfinishedError) as error:
                if not own.exists():  # Nothing was learned.
                    trace.unlink()
                    if not any(directory.iterdir()):
                        directory.rmdir()
                raise type(error)(f"{name}: {error}") from None
        document = _document(base, plans)
        _check_sums(base, document["answer"])
        whole = _whole(base, list(plans.values()))
        watch(lambda: "the whole fleet serves the whole load")
        tasks.submit(make_run, RunTask(whole, 0))
        run = tasks.next_ended()[1]
    if isinstance(run, Exception):
        raise run
    document["whole_fleet"] = {"verdict": _verdict(base, plans[names[0]], run), "runs": 1}
    winner = study_text(whole, movable(directory, directory))
    for file, text in ((PLAN_FILE, plan_text(document)), (WINNER_FILE, winner)):
        with whole_file(directory / file, UnfinishedError) as partial:
            partial.write_text(text, encoding="utf-8")
    return SharedPlan(directory, document, plans, whole)


def _check_directory(directory: Path, base: Study) -> None:
    """Raise InputError for a directory that holds something else than a plan of these pools, and for pools that have
    the name of one of its files.
    """
    for number, pool in enumerate(base.fleet.pools):
        if pool.name in (PLAN_FILE, WINNER_FILE):
            raise InputError(f"fleet.pools.{number}.name: {pool.name} is a file of the plan; give another name")
    if not directory.exists():
        return
    requests = [directory / f"{pool.name}{REQUESTS_SUFFIX}" for pool in base.fleet.pools]
    if not directory.is_dir() or (any(directory.iterdir()) and not any(path.exists() for path in requests)):
        raise InputError(
            f"--out {directory}: exists and is not the directory of a plan of these models; give another or remove it"
        )


def _served(base: Study) -> list[str]:
    """Return the name of each pool's model; raises InputError for a study that is not of one pool a model."""
    sources = [pool.model for pool in base.fleet.pools]
    twice = next((source for source in sources if sources.count(source) > 1), None)
    if twice is not None:
        raise InputError(f"fleet.pools: plan proposes the fleet of each model and needs one pool for {twice}")
    if base.autoscaler is not None:
        raise InputError("autoscaler: plan tries fleets with an autoscaler for a study of one model only; leave it out")
    if reacts(base.workload):
        raise InputError(
            f"workload: the requests of kind {base.workload.kind} wait for one another, so they cannot be divided by "
            "model; plan each model by itself"
        )
    found = distinct_names(sources)
    return [found[source] or load_model(source).name for source in sources]


def _check_classes(base: Study, names: list[str]) -> None:
    """Raise InputError for limits of a model that no pool serves."""
    for number, one in enumerate(base.slo.classes or ()):
        try:
            default_model(one.match.model or names[0], names)
        except InputError as error:
            raise InputError(str(error).replace("workload.model", f"slo.classes.{number}.match.model", 1)) from None


def _rows_by_model(base: Study, names: list[str]) -> dict[str, Columns]:
    """Return the requests of each model; raises InputError for those that name none, and for a model without any."""
    rows = concatenate(list(build_columns(base.workload, base.seed).columns()))
    asked = [attributes.model for attributes in rows.attribute_list()]
    known = {name: default_model(name or base.workload.model, names) for name in set(asked)}
    if not all(known.values()):
        raise InputError("workload: some requests name no model; set traits.model of each part, or workload.model")
    found: dict[str, Columns] = {}
    for name in names:
        places = [place for place, model in enumerate(asked) if known[model] == name]
        if not places:
            raise InputError(f"workload: no request is for {name}, which a pool serves; leave the pool out")
        found[name] = rows.rows(np.array(places, np.int64))
    return found


def _written(rows: Columns, own: Path, directory: Path) -> Path:
    """Write the requests of a model to a trace beside the directory of its plan; return its path.

    Raises InputError if there is a plan of other requests, whose fleets are simulated with the file that is there.
    """
    own.parent.mkdir(parents=True, exist_ok=True)
    path = own.with_name(own.name + REQUESTS_SUFFIX)
    fresh = own.with_name(f"{path.name}.new") if own.exists() and path.exists() else path
    try:
        write_trace(iter([rows]), fresh, with_attributes=rows.attributes is not None)
        if fresh != path and not _is_same_table(fresh, path):
            raise InputError(
                f"--out {directory}: holds a plan of other requests ({path.name}); give another, or remove it"
            )
    finally:
        if fresh != path:
            fresh.unlink(missing_ok=True)
    return path.resolve()


def _is_same_table(first: Path, second: Path) -> bool:
    """Return whether two Parquet files have the same columns and rows; a damaged one has none."""
    try:
        return bool(pq.read_table(first).equals(pq.read_table(second)))
    except (OSError, pa.ArrowException):
        return False


def _part(base: Study, index: int, name: str, names: list[str], trace: Path) -> Study:
    """Return the study of one model: its pool, its requests, its limits, and its share of the time."""
    document = base.document()
    data, block = document.data, base.plan or PlanBlock()
    data["fleet"]["pools"] = [data["fleet"]["pools"][index]]
    data["workload"] = {"kind": "trace", "format": "parquet", "path": str(trace)}
    classes = (data.get("slo") or {}).get("classes") or []
    kept = [one for one in classes if default_model(one["match"].get("model") or name, names) == name]
    data.setdefault("slo", {})["classes"] = kept or None
    # The router is one for all models, so a plan of one does not change it.
    data["plan"] = {
        **(data.get("plan") or {}),
        "time_limit_s": block.time_limit_s / len(names),
        "policies": [base.router.policy],
    }
    return check_study(document, Path.cwd())


def _whole(base: Study, plans: list[PlanOutcome]) -> Study:
    """Return the study of all fleets under the whole load."""
    document = base.document()
    for key in ("plan", "sweep"):
        document.data.pop(key, None)
    document.data["fleet"]["pools"] = [pool for plan in plans for pool in _pools(plan)]
    return check_study(document, Path.cwd())


def _pools(plan: PlanOutcome) -> Iterator[dict[str, Any]]:
    pools = plan.winner_study().document().data["fleet"]["pools"]
    own = plan.result.base.fleet.pools[0].name
    for pool in pools:
        yield pool | {"name": own if len(pools) == 1 else f"{own}-{pool['name']}"}


def _document(base: Study, plans: dict[str, PlanOutcome]) -> dict[str, Any]:
    answers = {name: plan.document["answer"] for name, plan in plans.items()}
    sums = {key: sum(one[key] or 0.0 for one in answers.values()) for key in _SUMS}
    return {
        "name": base.name,
        "is_complete": all(plan.document["is_complete"] for plan in plans.values()),
        "runs": sum(plan.document["runs"] for plan in plans.values()),
        "answer": {"fleet": "; ".join(f"{name}: {one['fleet']}" for name, one in answers.items()), **sums},
        "models": {name: plan.document for name, plan in plans.items()},
    }


def _verdict(base: Study, plan: PlanOutcome, run: Replication) -> str:
    """Return the verdict on every limit of the study by one run of the whole fleet."""
    best = plan.result.best
    assert best is not None
    return FleetEvidence(best.fleet, load_limits(base.slo), 1, {0: run}).verdict.value


def _check_sums(base: Study, answer: dict[str, Any]) -> None:
    block = base.plan or PlanBlock()
    for key, most, value in (
        ("max_gpus", block.max_gpus, answer["gpus"]),
        ("max_usd_per_hour", block.max_usd_per_hour, answer["usd_per_hour"]),
    ):
        if most is not None and value > most * (1 + 1e-9):
            raise InputError(
                f"plan.{key}: {most:,g} is too little for the cheapest fleets of all models together, which take "
                f"{value:,g}: {answer['fleet']}"
            )
