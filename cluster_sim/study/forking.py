"""Forking: a run that was warmed up once goes on in several ways, which are compared in pairs.

A branch is a run of the study with ``run.changes`` at the time of the checkpoint, or with other ``faults`` from then
on: its directory equals that of the run that is made with these from the start.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.output.out_path import result_path
from cluster_sim.output.resume_advice import begin_anew
from cluster_sim.output.run_directory import MANIFEST_FILE, is_empty_directory
from cluster_sim.shown_values import by_number, counted
from cluster_sim.simulation.checkpoint import Checkpoint, copy_checkpoint
from cluster_sim.simulation.fleet_changes import CHANGING_POOLS
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import ExecutorName, Origin, RunOptions
from cluster_sim.simulation.task_pool import InlinePool, TaskPool
from cluster_sim.study.forked_faults import FAULTS_KEY, is_fault_key, with_faults

UNCHANGED: Final = "unchanged"
"""Name of the branch that goes on as the run would have."""
FORK_FILE: Final = "fork.json"
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Branch:
    """One way to go on."""

    name: str
    """Of its directory."""
    values: Mapping[str, Any]
    """New values by dotted keys; empty changes nothing."""
    study: Study


@dataclass(frozen=True, slots=True)
class BranchResult:
    """A branch that has been run."""

    branch: Branch
    directory: Path
    summary: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class ForkOptions:
    """Requests of a caller."""

    out: Path
    executor: ExecutorName | None = None
    address: str | None = None


def branches_of(checkpoint: Checkpoint, values: Mapping[str, Any], varied: Mapping[str, Sequence[Any]]) -> list[Branch]:
    """Return the branches of a checkpoint: one without changes, and one for every combination of ``varied``, each with
    ``values``, too.

    Raises InputError for keys that cannot change during a run and values that they cannot have.
    """
    if not values and not varied:
        raise InputError("a fork needs a change: --set router.policy=random, or --vary router.policy=[random, ...]")
    for key, choices in varied.items():
        if not isinstance(choices, list | tuple) or not choices:
            raise InputError(f"--vary {key}: must be a list of values, for example [1, 2]")
    branches = [Branch(UNCHANGED, {}, checkpoint.study)]
    for combination in product(*varied.values()):
        varying = dict(zip(varied, combination, strict=True))
        changes = {**values, **varying}
        name = _name(varying or changes)
        taken = {branch.name for branch in branches}
        name = next(each for each in (name, *(f"{name}-{n}" for n in range(2, 1000))) if each not in taken)
        branches.append(Branch(name, changes, branch_study(checkpoint, changes)))
    return branches


def branch_study(checkpoint: Checkpoint, values: Mapping[str, Any]) -> Study:
    """Return the study with new values from the time of a checkpoint on; raises InputError for impossible ones."""
    study = with_faults(checkpoint, {key: value for key, value in values.items() if is_fault_key(key)})
    changed = {key: value for key, value in values.items() if not is_fault_key(key)}
    changes = [change.model_dump(mode="json") for change in study.run.changes]
    if changed:
        changes.append({"at_s": checkpoint.at_s, "set": changed})
    try:
        if changed:
            study = study.with_changes({"run.changes": changes})
        make_plan(study, can_branch=True)
    except InputError as error:
        words = str(error).replace(f"run.changes.{len(changes) - 1}.set", "fork")
        raise InputError(words.replace(CHANGING_POOLS, f"{CHANGING_POOLS}; and {FAULTS_KEY}")) from None
    return study


def run_branches(
    checkpoint: Checkpoint,
    branches: Sequence[Branch],
    options: ForkOptions,
    pool: TaskPool | None = None,
    on_end: Callable[[BranchResult], None] | None = None,
) -> list[BranchResult]:
    """Run every branch into its directory below ``options.out``; return their results in the same order.

    ``pool`` runs several at a time.  Raises InputError if ``options.out`` or the checkpoint is wrong, UnfinishedError
    if a branch cannot go on; what has ended stays.
    """
    out = result_path(options.out)
    is_ours = not out.exists() or is_empty_directory(out) or (out / UNCHANGED / MANIFEST_FILE).exists()
    if not is_ours:
        raise InputError(f"--out {out}: exists and is not the directory of a fork; give another or remove it")
    pool = pool or InlinePool()
    results: dict[int, BranchResult] = {}
    waiting = list(enumerate(branches))
    numbers: dict[int, int] = {}
    is_new = not out.exists()
    try:
        with INTERRUPTION.restored():
            while waiting or numbers:
                while waiting and len(numbers) < pool.slots:
                    position, branch = waiting.pop(0)
                    numbers[pool.submit(_run_branch, (checkpoint, branch, out / branch.name, options))] = position
                number, outcome = pool.next_ended()
                position = numbers.pop(number)
                if isinstance(outcome, Exception):
                    raise outcome
                results[position] = outcome
                if on_end is not None:
                    on_end(outcome)
    except InputError:
        if is_new:
            shutil.rmtree(out, ignore_errors=True)
        raise
    except KeyboardInterrupt as error:
        raise UnfinishedError(
            f"interrupted; {len(results)} of {counted(len(branches), 'branch', 'branches')} "
            f"{by_number(len(results), 'is', 'are')} in {out}"
        ) from error
    return [results[position] for position in range(len(branches))]


def _run_branch(task: tuple[Checkpoint, Branch, Path, ForkOptions]) -> BranchResult:
    checkpoint, branch, directory, options = task
    partial = directory.with_name(f"{directory.name}.partial")
    with suppress(FileNotFoundError):
        shutil.rmtree(partial)
    try:
        copy_checkpoint(checkpoint, partial)
    except OSError as error:
        raise InputError(f"{partial}: cannot be written: {error.strerror or error}") from error
    origin = Origin(checkpoint.study, checkpoint.state_ns)
    run = RunOptions(
        executor=options.executor,
        address=options.address,
        out=directory,
        resumes=True,
        origin=origin,
    )
    try:
        result = run_study(branch.study, run)
    except InputError as error:
        shutil.rmtree(partial, ignore_errors=True)
        words = str(error).replace(begin_anew(partial), "make the checkpoint again")
        raise InputError(words.replace(str(partial), str(checkpoint.directory))) from None
    return BranchResult(branch, result.directory, result.summary, result.digest)


def _name(values: Mapping[str, Any]) -> str:
    """Return a directory's name that says what changes."""
    words = ",".join(f"{key}={value}" for key, value in values.items())
    return re.sub(r"[^\w.=,+-]+", "_", words)[:_LONGEST_NAME].strip("_.")
