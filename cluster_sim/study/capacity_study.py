"""Capacity of every configuration of a study: searches side by side, answers as rows, resumable at any moment."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.load import check_study
from cluster_sim.document import Document
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.metrics.intervals import Estimate
from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.metrics.verdicts import Interval
from cluster_sim.shown_values import counted
from cluster_sim.simulation.task_pool import TaskPool
from cluster_sim.study.capacity import Capacity, search_capacity
from cluster_sim.study.capacity_directory import CapacityDirectory, default_directory
from cluster_sim.study.replications import check_full_runs
from cluster_sim.study.search_driver import Search, run_searches
from cluster_sim.study.steady_load import steady_task
from cluster_sim.study.sweep_directory import FAILED, Row
from cluster_sim.study.variants import Variant, configurations

TOLERANCE: Final = 0.03


@dataclass(frozen=True, slots=True)
class CapacityOptions:
    """Requests of a caller beside the study."""

    out: Path | None = None
    """Directory of the results; None means ``capacity/<name>-<config hash>``."""
    address: str | None = None
    """Ray cluster to join; None starts a local one."""
    resume: bool = False
    """Continue a search that did not finish."""
    tolerance_ratio: float = TOLERANCE
    """Relative precision of the rates; 0.05 at most is used."""


@dataclass(frozen=True, slots=True)
class CapacityResult:
    """The answers for all configurations."""

    directory: Path
    rows: list[Row]

    @property
    def has_capacity(self) -> bool:
        """Whether any configuration serves any load within the limits."""
        return any(row["requests_per_s"] is not None for row in self.rows)


def run_capacity(
    path: Path,
    document: Document,
    options: CapacityOptions,
    pool: TaskPool | None = None,
    on_row: Callable[[Variant, Row], None] | None = None,
    on_kept: Callable[[int], None] | None = None,
    on_start: Callable[[Variant], None] | None = None,
) -> CapacityResult:
    """Search the capacity of every configuration of the study file ``path``; failures are rows too.

    ``pool`` makes the runs; None starts Ray tasks.  ``on_kept`` is called with the number of answers that an earlier
    attempt has left, ``on_start`` as each further search begins, ``on_row`` as its answer is known.  Raises
    ``InputError`` if the study is wrong, nothing can be searched, or the directory holds something else;
    ``UnfinishedError`` if the search was stopped.
    """
    variants = configurations(path, document)
    searches = _searches(path, variants, options.tolerance_ratio)
    base = check_study(document, path.resolve().parent)
    check_full_runs(base)
    with CapacityDirectory(options.out or default_directory(base)) as directory:
        done = directory.begin(base, options.tolerance_ratio, is_resumed=options.resume)
        rows = {index: row for index, row in done.items() if row["status"] != FAILED}
        if on_kept is not None:
            on_kept(len(rows))
        if directory.is_complete:
            return CapacityResult(
                directory.final, directory.whole_results(done, [variant.run_id for variant in variants])
            )

        def keep(variant: Variant, answer: Any) -> None:
            row = rows[variant.index] = row_of(variant, answer)
            directory.keep_answer(variant.run_id, row)
            if on_row is not None:
                on_row(variant, row)

        def begun(number: int) -> None:
            if on_start is not None:
                on_start(variants[number])

        for variant in variants:
            if variant.study is None:
                keep(variant, InputError(variant.error))
        missing = [search for search in searches if search.number not in rows]
        for search in missing:
            search.store = directory.store(variants[search.number].run_id)
        try:
            with INTERRUPTION.restored(), _pool(pool, options.address, bool(missing)) as tasks:
                for number, answer in run_searches(missing, tasks, begun):
                    keep(variants[number], answer)
        except KeyboardInterrupt as error:
            raise UnfinishedError(
                f"interrupted; {len(rows)} of {counted(len(variants), 'answer')} and the runs of the next ones are "
                f"in {directory.partial}; add --resume to go on"
            ) from error
        ordered = [rows[variant.index] for variant in variants]
        head = {
            "version": __version__,
            "name": base.name,
            "seed": base.seed,
            "tolerance_ratio": options.tolerance_ratio,
            "confidence": CONFIDENCE,
        }
        return CapacityResult(directory.complete_with(ordered, head), ordered)


def _searches(path: Path, variants: list[Variant], tolerance_ratio: float) -> list[Search]:
    """Return the search of every configuration that can be searched; the others become invalid.

    Raises InputError if none can.
    """
    searches, errors = [], []
    for index, variant in enumerate(variants):
        if variant.study is None:
            continue
        try:
            steps = search_capacity(variant.study, tolerance_ratio)
        except InputError as error:
            errors.append(f"{path}: {error}")
            variants[index] = Variant(variant.index, variant.values, None, str(error))
            continue
        searches.append(Search(variant.index, steps, partial(steady_task, variant.study)))
    if not searches:
        raise InputError(errors[0])
    return searches


def _pool(pool: TaskPool | None, address: str | None, is_needed: bool) -> AbstractContextManager[TaskPool]:
    if pool is not None:
        return nullcontext(pool)
    from cluster_sim.simulation.launcher import ray_pool
    from cluster_sim.simulation.task_pool import InlinePool

    return ray_pool(address) if is_needed else nullcontext(InlinePool())


def row_of(variant: Variant, answer: Capacity | Exception) -> Row:
    """Return the answer for one configuration as plain data; what does not apply is None."""
    row: Row = {"run": variant.run_id, "values": variant.values, "status": FAILED, "requests_per_s": None}
    names = ("low", "high")
    row |= dict.fromkeys(f"requests_per_s_{name}" for name in names)
    row |= dict.fromkeys(f"band_requests_per_s_{name}" for name in names)
    row |= dict.fromkeys(("limited_by", "figures", "lost_requests_ratio", "gpus", "usd_per_hour"))
    row |= dict.fromkeys(("requests_per_usd", "output_tokens_per_usd", "output_tokens_per_gpu_s", "rates", "error"))
    if isinstance(answer, Exception):
        kind = "" if isinstance(answer, InputError | UnfinishedError) else f"{type(answer).__name__}: "
        return row | {"error": f"{kind}{answer}"}
    row |= {"status": answer.status, "requests_per_s": answer.rate_per_s, "rates": answer.rates}
    row["limited_by"] = answer.reason or None
    row["lost_requests_ratio"] = answer.lost_ratio
    for prefix, interval in (("", answer.interval), ("band_", answer.band)):
        row |= _ends(f"{prefix}requests_per_s", interval)
    if answer.figures is not None:
        row["figures"] = {name: _plain(estimate) for name, estimate in answer.figures.items()}
    summary = answer.summary
    if summary is None or answer.rate_per_s is None:
        return row
    gpus = summary["gpus"]
    usd_per_hour = summary["cost_usd"] / summary["gpu_hours"] * gpus if summary["gpu_hours"] else 0.0
    tokens_per_request = summary["output_tokens"] / max(summary["requests.finished"], 1)
    tokens_per_s = answer.rate_per_s * tokens_per_request
    return row | {
        "gpus": int(gpus),
        "usd_per_hour": usd_per_hour,
        "requests_per_usd": answer.rate_per_s * 3600 / usd_per_hour if usd_per_hour else None,
        "output_tokens_per_usd": tokens_per_s * 3600 / usd_per_hour if usd_per_hour else None,
        "output_tokens_per_gpu_s": tokens_per_s / gpus if gpus else None,
    }


def _ends(name: str, interval: Interval | None) -> Row:
    if interval is None:
        return {}
    return {f"{name}_low": _finite(interval.low), f"{name}_high": _finite(interval.high)}


def _plain(estimate: Estimate) -> Row:
    return {
        "value": _finite(estimate.value),
        **{name: _finite(end) for name, end in zip(("low", "high"), estimate.interval, strict=True)},
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
