"""Checkpoint of a run: warmed up to one time, kept whole in a directory, for branches to go on from.

The directory has what a run that was broken off leaves (snapshot, tables in parts, study), and ``checkpoint.json``.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.instant import Instant, instant
from cluster_sim.engine.loop import Keeper, Observer, run_loop
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.output.out_path import result_path
from cluster_sim.output.run_directory import REQUESTS_FILE, RESOLVED_FILE, SERIES_FILE, is_empty_directory
from cluster_sim.output.series_table import SeriesTable
from cluster_sim.plain_file import read_text
from cluster_sim.simulation.disk_checkpoints import DiskCheckpoints
from cluster_sim.simulation.executor import Checkpoints, RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.replica_lead import ReplicaAhead, replicas_ahead
from cluster_sim.simulation.run import SILENT
from cluster_sim.simulation.simulation import Processes, Simulation
from cluster_sim.simulation.view import RunView
from cluster_sim.units import NS_PER_S

CHECKPOINT_FILE: Final = "checkpoint.json"
LEAD_NS: Final = NS_PER_S
"""How long before the time of a checkpoint its state is taken, at most: by then nearly all has ended that replicas had
decided before, so that a branch may have faults from that time on."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run as it is at one time."""

    directory: Path
    study: Study
    at_ns: int
    """When branches may begin to differ."""
    state_ns: int
    """What the state is of: nothing at or after this has happened."""
    replicas: Sequence[ReplicaAhead]
    """The replicas by number, as they were then."""

    @property
    def at_s(self) -> float:
        """The same in seconds."""
        return self.at_ns / NS_PER_S


def default_checkpoint_directory(study: Study, at_s: float) -> Path:
    """Return the directory of a checkpoint that was given none: ``checkpoints/<name>-<config hash>-<time>s``."""
    return Path("checkpoints") / f"{study.name}-{config_hash(study)}-{at_s:g}s"


def take_checkpoint(study: Study, at_s: float, out: Path | None = None, view: RunView = SILENT) -> Checkpoint:
    """Run a study in this process up to ``at_s``, and keep its state in ``out``.

    Raises InputError if the study or ``out`` is wrong, or the run ends before, and UnfinishedError if it cannot go on.
    """
    at_ns = round(at_s * NS_PER_S)
    _check_time(study, at_s, at_ns)
    final = result_path(out or default_checkpoint_directory(study, at_s))
    if final.exists() and not is_empty_directory(final) and not (final / CHECKPOINT_FILE).is_file():
        raise InputError(f"--out {final}: exists and is no checkpoint; give another or remove it")
    simulation = make_plan(study, can_branch=True).simulation()
    with _directory(final) as partial:
        (partial / RESOLVED_FILE).write_text(resolved_yaml(study), encoding="utf-8")
        state_ns = at_ns - min(LEAD_NS, at_ns // 2)
        series = _series(simulation, partial)
        checkpoints = DiskCheckpoints(study, partial, series, resumes=False)
        with view.progress(simulation.total_requests) as progress:
            outputs = RunOutputs(partial / REQUESTS_FILE, series.add, progress, checkpoints=checkpoints)
            try:
                ended = _CutExecutor(state_ns, at_ns, checkpoints).run(simulation, outputs)
            except _CutError as cut:
                replicas = cut.replicas
                series.close()
                for name in (REQUESTS_FILE, SERIES_FILE):  # Their parts hold all that is known.
                    (partial / name).unlink(missing_ok=True)
            else:
                end_s = ended.hub.end_ns / NS_PER_S
                raise InputError(f"--at {at_s:g}: the run ends before, at {end_s:g} s; give an earlier time")
        head = {"version": __version__, "name": study.name, "config_hash": config_hash(study), "at_ns": at_ns}
        whole = {**head, "state_ns": state_ns, "replicas": replicas}
        (partial / CHECKPOINT_FILE).write_text(json.dumps(whole) + "\n", encoding="utf-8")
    return Checkpoint(final, study, at_ns, state_ns, replicas)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Return the checkpoint in a directory; raises InputError if it holds none, or one of another version."""
    path = directory / CHECKPOINT_FILE
    if not path.is_file():
        raise InputError(f"{directory}: holds no checkpoint; `cluster-sim checkpoint STUDY --at TIME` makes one")
    try:
        head = json.loads(read_text(path))
        version, at_ns, state_ns = str(head["version"]), int(head["at_ns"]), int(head["state_ns"])
        replicas = [ReplicaAhead(str(pool), int(decided_ns)) for pool, decided_ns in head["replicas"]]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is damaged: {error!r:.200}; make the checkpoint again") from None
    if version != __version__:
        raise InputError(
            f"{path}: is of version {version} of the program, and this is {__version__}, which may compute something "
            "else; make the checkpoint again"
        )
    return Checkpoint(directory, load_study(directory / RESOLVED_FILE), at_ns, state_ns, replicas)


def copy_checkpoint(checkpoint: Checkpoint, partial: Path) -> None:
    """Put the state of a checkpoint where a run that was broken off would have left it."""
    shutil.copytree(checkpoint.directory, partial)
    (partial / CHECKPOINT_FILE).unlink()


def _check_time(study: Study, at_s: float, at_ns: int) -> None:
    if not 0 < at_s < float("inf"):
        raise InputError(f"--at {at_s:g}: must be a time after 0 in simulated seconds")
    end_s = study.run.end_s
    if end_s is not None and at_ns >= round(end_s * NS_PER_S):
        raise InputError(f"--at {at_s:g}: the run ends at {end_s:g} s (run.end_s); give an earlier time")
    if study.run.event_trace:
        raise InputError("run.event_trace: a checkpoint keeps no events; set it to false")


def _series(simulation: Simulation, folder: Path) -> SeriesTable:
    pools = simulation.metadata.pools
    pool_of_replica = simulation.metadata.pool_of_replica()
    kv_blocks = [pools[pool].kv_blocks for pool in pool_of_replica]
    return SeriesTable(folder / SERIES_FILE, [pool.name for pool in pools], pool_of_replica, kv_blocks)


@contextmanager
def _directory(final: Path) -> Iterator[Path]:
    """Yield a directory that gets its name when all is written, and is deleted if anything fails."""
    partial = final.with_name(f"{final.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"--out {final}: cannot be written: {error.strerror or error}") from error
    try:
        with INTERRUPTION.restored():
            yield partial
            if final.exists():
                shutil.rmtree(final)
            partial.replace(final)
    except KeyboardInterrupt as error:
        raise UnfinishedError("interrupted; no checkpoint was made") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _CutError(Exception):
    """The wanted time has come, and the state is kept."""

    def __init__(self, replicas: Sequence[ReplicaAhead]) -> None:
        super().__init__()
        self.replicas = replicas


class _CutExecutor(InlineExecutor):
    """Runs a simulation up to a time, has its state before that kept, and raises ``_CutError``."""

    def __init__(self, state_ns: int, at_ns: int, checkpoints: Checkpoints) -> None:
        super().__init__()
        self._times = (state_ns, at_ns)
        self._checkpoints = checkpoints

    def _run_loop(self, processes: Processes, observer: Observer, keeper: Keeper) -> None:
        with self.loop_context(observer):
            cut = _Cut(observer, keeper, processes, *self._times)
            run_loop(processes.hub, processes.coordinator, self.connect(processes), cut, cut)


class _Cut:
    """Observer and keeper of a run that stops: its state is kept when all has happened below one time and nothing at or
    above it, and it goes on to another.
    """

    def __init__(self, inner: Observer, keeper: Keeper, processes: Processes, state_ns: int, at_ns: int) -> None:
        self._inner = inner
        self._keeper = keeper
        self._processes = processes
        self._state_ns = state_ns
        self._at_ns = at_ns
        self._replicas: list[ReplicaAhead] | None = None
        """Those that are kept, once they are."""
        self.wants_counters = inner.wants_counters
        self.observe = inner.observe
        self.close = inner.close

    @property
    def _cut(self) -> Instant:
        return instant(self._state_ns if self._replicas is None else self._at_ns, 0)

    def pace(self) -> Instant:
        """Never go beyond the next cut."""
        return min(self._inner.pace(), self._cut)

    def is_due(self) -> bool:
        """Return whether all that is below the next cut has happened, and something is left."""
        coordinator = self._processes.coordinator
        return coordinator.reached >= self._cut and not coordinator.is_waiting and not coordinator.is_done

    def keep(self) -> None:
        """Keep the state, or stop."""
        if self._replicas is not None:
            raise _CutError(self._replicas)
        self._keeper.keep()
        self._replicas = replicas_ahead(self._processes, self._state_ns)
