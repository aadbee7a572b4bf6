"""``search``: the values of some keys that make a figure of the runs least or greatest, with Optuna.

Optuna is an optional package (``pip install 'cluster-sim[optuna]'``), imported when a search begins.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from cluster_sim.config.schema.study import Study
from cluster_sim.config.schema.sweep import Sample, SampledRange
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.output.out_path import result_path
from cluster_sim.output.run_directory import is_empty_directory
from cluster_sim.plain_file import read_text
from cluster_sim.report.export_target import optional_module
from cluster_sim.shown_values import counted, shortened
from cluster_sim.study.study_record import check_record, record_text
from cluster_sim.study.summary_figures import flat_figures
from cluster_sim.study.sweep import run_variant
from cluster_sim.study.sweep_directory import FAILED, FINISHED, RESULTS_FILE
from cluster_sim.study.sweep_table import write_rows
from cluster_sim.suggestion import suggestion

if TYPE_CHECKING:
    from pandas import DataFrame

JOURNAL_FILE: Final = "search.journal"
BASE_FILE: Final = "search.yaml"
"""The study of a search that is kept."""
QUESTION_FILE: Final = "search.json"
"""What it varies, and what it looks for."""
_VERDICT: Final = "slo.verdict"
_MET: Final = "met"
_ROW: Final = "row"
"""Attribute of a trial."""


@dataclass(frozen=True)
class SearchTable:
    """The runs of a search."""

    rows: tuple[dict[str, Any], ...]
    """One per run, in order."""
    figure: str
    """The figure of interest, by its dotted name."""
    is_least_best: bool
    study: Study

    @cached_property
    def runs(self) -> "DataFrame":
        """One row per run: ``run``, the keys, ``status``, ``error``, and every figure by its dotted name."""
        from pandas import DataFrame

        return DataFrame(self.rows)

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best run that finished and keeps the limits of the study, if it has any.

        Raises InputError if there is none.
        """
        good = [row for row in self.rows if row["status"] == FINISHED and row.get(_VERDICT) in (None, _MET)]
        if not good:
            raise InputError(f"none of {counted(len(self.rows), 'run')} finished and keeps the limits")
        return (min if self.is_least_best else max)(good, key=lambda row: float(row[self.figure]))

    @property
    def winner(self) -> Study:
        """The study of the best run."""
        keys = list(self.rows[0])[1 : list(self.rows[0]).index("status")]
        return self.study.with_changes({key: self.best[key] for key in keys})

    def __repr__(self) -> str:
        """Return the best run in words."""
        return f"<SearchTable of {counted(len(self.rows), 'run')}; best {self.figure}: {self.best[self.figure]:.6g}>"


def search(
    study: Study,
    ranges: Mapping[str, Mapping[str, Any] | Sequence[Any]],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    runs: int = 50,
    out: str | Path | None = None,
    seed: int = 0,
) -> SearchTable:
    """Search the values of some keys for the least or the greatest value of a figure of the summary.

    ``ranges`` has for each dotted key a range as in ``sweep.sample.ranges``, or a list to choose from.  Runs that miss
    the study's limits count only until one keeps them.  With ``out`` the search is resumed by the same call, and goes
    on as it would have; the table is kept there, and a call for another search is refused.  The next values follow from
    all runs before (TPE, Bergstra et al., NeurIPS 2011), so runs are made one after the other.

    Raises InputError for wrong keys or ranges, a figure that no run has, a directory of another search or release, and
    if Optuna is not installed.
    """
    if (minimize is None) == (maximize is None):
        raise InputError("search: give one of minimize and maximize, for example minimize='cost_usd'")
    optuna = optional_module("optuna", "optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    figure, direction = (minimize, "minimize") if minimize is not None else (str(maximize), "maximize")
    known = _ranges(ranges)
    storage, place = None, None if out is None else result_path(Path(out))
    if place is not None:
        asked = {"ranges": _plain_ranges(ranges), direction: figure, "seed": seed}
        _hold(place, study, asked)
        journal = optional_module("optuna.storages.journal", "optuna")
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(place / JOURNAL_FILE)))
    found = optuna.create_study(storage=storage, study_name=study.name, direction=direction, load_if_exists=True)
    ended = [trial for trial in found.get_trials() if trial.state.is_finished() and _ROW in trial.user_attrs]
    rows = [dict(trial.user_attrs[_ROW]) for trial in ended]
    while len(rows) < runs:
        # A sampler of its own for each run: what it draws depends on the runs before alone, also after a resumption.
        found.sampler = optuna.samplers.TPESampler(seed=seed + len(rows))
        trial = found.ask()
        values = {key: _suggested(trial, key, spread) for key, spread in known.items()}
        row = {"run": len(rows), **values, **_row(study, values)}
        if row["status"] == FINISHED and not isinstance(row.get(figure), int | float):
            raise InputError(f"search: no run has the figure {figure!r}{suggestion(figure, list(row))}")
        trial.set_constraint("limits", 0.0 if row.get(_VERDICT) in (None, _MET) else 1.0)
        trial.set_user_attr(_ROW, row)
        if row["status"] == FINISHED:
            found.tell(trial, float(row[figure]))
        else:
            found.tell(trial, state=optuna.trial.TrialState.FAIL)
        rows.append(row)
        if place is not None:
            write_rows(rows, place / RESULTS_FILE)
    return SearchTable(tuple(rows[:runs]), figure, direction == "minimize", study)


def _ranges(ranges: Mapping[str, Any]) -> dict[str, SampledRange | list[Any]]:
    try:
        return Sample.model_validate({"count": 1, "ranges": _plain_ranges(ranges)}).ranges
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in fault["loc"][:2])
        raise InputError(f"search: {key}: {fault['msg'].removeprefix('Value error, ')}") from None


def _plain_ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(spread) if isinstance(spread, Mapping) else list(spread) for key, spread in ranges.items()}


def _hold(place: Path, study: Study, asked: Mapping[str, Any]) -> None:
    """Record a search in its directory, or hold it against the one that is there; raises InputError for another."""
    text = json.dumps(asked, indent=1, default=str)
    if not place.exists() or is_empty_directory(place):
        place.mkdir(parents=True, exist_ok=True)
        (place / QUESTION_FILE).write_text(f"{text}\n", encoding="utf-8")
        (place / BASE_FILE).write_text(record_text(study), encoding="utf-8")
        return
    check_record(place / BASE_FILE, study, "search")
    try:
        before, now = json.loads(read_text(place / QUESTION_FILE)), json.loads(text)
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise InputError(f"{place / QUESTION_FILE}: is damaged; give another out, or remove it")
    different = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if different:
        shown = (f"{key} is {_shown(before.get(key))} there and {_shown(now.get(key))} here" for key in different)
        raise InputError(f"{place}: holds another search: {', '.join(shown)}; give another out, or remove it")


def _shown(value: Any) -> str:
    return "absent" if value is None else shortened(value)


def _suggested(trial: Any, key: str, spread: SampledRange | list[Any]) -> Any:
    if isinstance(spread, list):
        return trial.suggest_categorical(key, spread)
    is_log = spread.scale == "log"
    if spread.is_whole:
        return trial.suggest_int(key, int(-(-spread.min // 1)), int(spread.max // 1), log=is_log)
    return trial.suggest_float(key, spread.min, spread.max, log=is_log)


def _row(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one run, or why it has none."""
    try:
        result = run_variant(study.with_changes(values))
    except (InputError, UnfinishedError) as error:
        return {"status": FAILED, "error": str(error), "digest": None}
    return {"status": FINISHED, "error": None, "digest": result["digest"], **flat_figures(result["summary"])}
