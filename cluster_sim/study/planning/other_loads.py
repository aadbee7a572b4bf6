"""Other loads of a study: more requests, or longer prompts, to say what a fleet would need for them."""

from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_columns, reacts
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.kind_interface import WorkloadConfig, kind_of
from cluster_sim.workload.kinds.trace import TraceWorkload
from cluster_sim.workload.traces.parquet_writer import write_trace

PROMPTS_FILE: Final = "longer-prompts.parquet"


def with_more_load(study: Study, factor: float) -> Study:
    """Return the study with so many times the load: requests or sessions per second, or users.

    Raises InputError if the load cannot be varied by one number.
    """
    return _with_workload(study, kind_of(study.workload).scaled(factor))


def with_longer_prompts(study: Study, factor: float, folder: Path) -> Study:
    """Return the study with prompts so many times as long; its requests are written to a trace in ``folder``.

    Raises InputError for workloads that react, and for prompts with shared content, whose parts have lengths.
    """
    if reacts(study.workload):
        raise InputError(f"workload: prompts of kind {study.workload.kind}, which reacts, are not lengthened")
    rows = concatenate(list(build_columns(study.workload, study.seed).columns()))
    if rows.attributes is not None and any(row.segments for row in rows.attributes):
        raise InputError("workload: prompts with shared content are not lengthened")
    prompts = np.rint(rows.prompt_tokens * factor).astype(np.int64)
    longer = Columns(rows.arrival_ns, prompts, rows.output_tokens, rows.attributes)
    path = folder / PROMPTS_FILE
    write_trace(iter([longer]), path, with_attributes=rows.attributes is not None)
    return _with_workload(study, TraceWorkload(kind="trace", format="parquet", path=str(path.resolve())))


def _with_workload(study: Study, workload: WorkloadConfig) -> Study:
    return study.model_copy(update={"workload": workload})
