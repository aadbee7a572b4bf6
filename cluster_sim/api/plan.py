"""``plan``: the best fleet for a load within limits, from Python."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster_sim.api.progress_view import Html, notebook_display
from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.output.out_path import path_in_full
from cluster_sim.report.plan_report import answer_lines, last_line, load_line, shared_line
from cluster_sim.simulation.launcher import ray_pool
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.study.planning.plan_run import PlanOutcome, run_plan
from cluster_sim.study.planning.several_models import SharedPlan, has_several_models, run_shared_plan

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Plan:
    """A plan that found an answer."""

    _outcome: PlanOutcome | SharedPlan

    @property
    def directory(self) -> Path:
        """Where ``plan.json``, ``winner.yaml`` and the runs are."""
        return self._outcome.directory

    @property
    def document(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        return self._outcome.document

    @property
    def answer(self) -> dict[str, Any]:
        """The best fleet with its figures and its verdict."""
        answer: dict[str, Any] = self.document["answer"]
        return answer

    @property
    def winner(self) -> Study:
        """The study of the best fleet."""
        return self._outcome.study if isinstance(self._outcome, SharedPlan) else self._outcome.winner_study()

    @property
    def models(self) -> dict[str, "Plan"]:
        """The plan of each model, by its name, if several share the fleet; else empty."""
        plans = self._outcome.plans if isinstance(self._outcome, SharedPlan) else {}
        return {name: Plan(plan) for name, plan in plans.items()}

    @cached_property
    def candidates(self) -> "DataFrame":
        """One row per fleet that was simulated, the best first."""
        from pandas import DataFrame, concat

        if self.models:
            return concat([one.candidates.assign(model=name) for name, one in self.models.items()], ignore_index=True)
        rows = []
        for entry in self.document["candidates"]:
            row = {key: value for key, value in entry.items() if not isinstance(value, dict | list)}
            for limit in entry["limits"]:
                row[limit["name"]] = limit["value_s"]
            rows.append(row)
        return DataFrame(rows)

    def __repr__(self) -> str:
        """Return the GPUs and the price."""
        return f"<Plan {self._line}>"

    def _repr_html_(self) -> str:
        """Return the answer for a notebook."""
        if self.models:
            parts = "".join(f"<div>{escape(name)}</div>{one._repr_html_()}" for name, one in self.models.items())
            return f"{parts}<b>{escape(self._line)}</b>"
        lines = "".join(
            f"<div>{escape(line)}</div>" for line in (load_line(self.document), *answer_lines(self.document))
        )
        return f"<b>{escape(self._line)}</b>{lines}"

    @property
    def _line(self) -> str:
        return shared_line(self.document) if self.models else last_line(self.answer)


def plan(
    study: Study,
    out: str | Path | None = None,
    *,
    devices: Sequence[str] | None = None,
    time_limit_s: float | None = None,
    processes: int | None = None,
    address: str | None = None,
    progress: bool | None = None,
) -> Plan:
    """Find the best fleet for the load of a study within its limits, as the command ``plan`` does.

    The study's pools name the models, one each, and its ``plan`` block says what to choose from; ``devices`` and
    ``time_limit_s`` change that block.  ``out`` is the directory of the plan, which goes on there if it was stopped; a
    program that is run as a file must call this below ``if __name__ == "__main__":``, since runs are made by other
    processes; with ``address`` they are made by the nodes of a Ray cluster.  ``progress`` shows each run as it ends:
    None does so in a notebook and on a terminal.

    Raises InputError if the study is wrong or no fleet meets the limits, UnfinishedError if time ran out before one was
    found.
    """
    given: dict[str, Any] = {"devices": None if devices is None else list(devices), "time_limit_s": time_limit_s}
    changes = {f"plan.{key}": value for key, value in given.items() if value is not None}
    base = study.with_changes(changes) if changes else study
    if base.plan is None:
        base = base.model_copy(update={"plan": PlanBlock()})
    tell = _teller(progress)
    pool = ProcessPool(processes) if address is None else ray_pool(address)
    place = None if out is None else path_in_full(out)
    if has_several_models(base):
        return Plan(run_shared_plan(base, place, tell=tell, pool=pool))
    return Plan(run_plan(base, place, tell=tell, pool=pool))


def _teller(progress: bool | None) -> Any:
    """Return what shows the lines of a search."""
    show = notebook_display()
    if show is not None and progress is not False:
        place = show(Html(""), display_id=True)
        return lambda text: place.update(Html(escape(text)))
    if progress or (progress is None and sys.stderr.isatty()):
        return lambda text: sys.stderr.write(f"{text}\n")
    return lambda _: None
