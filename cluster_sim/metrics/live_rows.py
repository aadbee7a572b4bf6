"""Rows of live figures, made of the logs of many replicas in one go.

Design.  A fleet of thousands has little time for each replica, so that what numpy costs a call is paid once for all of
them: the notes of all logs are laid end to end and counted by their replica.  Of every log only the notes since the
last time are read.  Notes that end beyond a replica's moment are in flight, and come again; they are the last ones.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.live_figures import figures_matrix
from cluster_sim.recording import first_tokens, step_bins
from cluster_sim.recording.draft_counts import POSITIONS
from cluster_sim.recording.iteration_notes import STEP_FIELDS
from cluster_sim.recording.live_state import LiveState
from cluster_sim.recording.step_bins import GAP_BOUNDS_NS, GAP_COUNTS, ITERATION_BOUNDS, ITERATION_COUNTS

Int64Array = npt.NDArray[np.int64]
LiveRow = tuple[bytes, tuple[tuple[str, ...], tuple[str, ...]]]
"""A replica's row of ``live_figures`` as int64, the rows of its data-parallel ranks behind it, and its adapters."""

_NO_INTS: Final = np.zeros(0, np.int64)
_GAP_WIDTH: Final = len(GAP_BOUNDS_NS) + 1
_ITERATION_WIDTH: Final = len(ITERATION_BOUNDS) + 1


class _Mark:
    """How far a log has been read."""

    __slots__ = ("firsts", "gaps", "iterations", "of_run", "row", "runs", "steps", "turn")

    def __init__(self, row: int) -> None:
        self.row = row
        self.turn = -1
        self.firsts = -1
        self.begin()

    def begin(self) -> None:
        """Read the notes of iterations from the first on."""
        self.steps = self.iterations = self.runs = self.of_run = self.gaps = 0


class _Runs(NamedTuple):
    """Iterations of the decode runs of logs that have some, and (length, requests) of the runs of every log, flat."""

    ends: list[Int64Array]
    gaps: list[Int64Array]
    counts: list[Int64Array]


class LiveRows:
    """Keeps the sums over all that has been read of each log."""

    def __init__(self) -> None:
        self._marks: dict[tuple[int, int], _Mark] = {}
        self._steps = np.zeros((0, step_bins.ROWS), np.int64)
        self._firsts = np.zeros((0, first_tokens.ROWS), np.int64)

    def collect(self, states: Mapping[int, LiveState]) -> dict[int, LiveRow]:
        """Return the rows of replicas by their sources."""
        if not states:
            return {}
        if not any(state.ranks for state in states.values()):
            memory, size = self._collect([(source, -1) for source in states], list(states.values()))
            return {
                source: (memory[place * size : (place + 1) * size], state.adapters)
                for place, (source, state) in enumerate(states.items())
            }
        keys, logs = [], []
        for source, state in states.items():
            keys += [(source, rank) for rank in range(-1, len(state.ranks))]
            logs += [state, *ranks_of(state)]
        memory, size = self._collect(keys, logs)
        rows, begin = {}, 0
        for source, state in states.items():
            end = begin + size * (1 + len(state.ranks))
            rows[source] = memory[begin:end], state.adapters
            begin = end
        return rows

    def _collect(self, keys: list[tuple[int, int]], states: list[LiveState]) -> tuple[bytes, int]:
        """Return the rows of replicas and ranks one after the other, and the bytes of each.

        ``keys`` are (source, rank), with -1 for the replica itself.
        """
        marks = [self._mark(key) for key in keys]
        rows = np.array([mark.row for mark in marks])
        upto_ns = np.array([state.upto_ns for state in states], np.int64)
        self._add_iterations(marks, states, rows, upto_ns)
        self._add_first_tokens(marks, states, rows, upto_ns)
        memory = figures_matrix(
            np.array([_plain(state) for state in states], np.int64),
            self._steps[rows],
            self._firsts[rows],
            _positions(states),
        ).tobytes()
        return memory, len(memory) // len(states)

    def _mark(self, key: tuple[int, int]) -> _Mark:
        mark = self._marks.get(key)
        if mark is None:
            mark = self._marks[key] = _Mark(len(self._marks))
            if mark.row >= len(self._steps):
                self._steps, self._firsts = (
                    np.concatenate([kept, np.zeros((len(kept) + 64, kept.shape[1]), np.int64)])
                    for kept in (self._steps, self._firsts)
                )
        return mark

    def _add_iterations(
        self, marks: list[_Mark], states: list[LiveState], rows: npt.NDArray[np.intp], upto_ns: Int64Array
    ) -> None:
        """Add what the logs have noted of iterations."""
        steps: list[Int64Array] = []
        gaps: list[Int64Array] = []
        runs = _Runs([], [], [])
        for mark, state in zip(marks, states, strict=True):
            turn, totals, notes, extra_gaps = state.log.uncounted()
            if mark.turn != turn:
                mark.turn = turn
                self._steps[mark.row] = totals
                mark.begin()
            steps.append(notes.steps.since(STEP_FIELDS * mark.steps))
            gaps.append(np.array(extra_gaps[2 * mark.gaps :], np.int64) if extra_gaps else _NO_INTS)
            found = notes.runs_since(mark.iterations, mark.runs)
            if found is None:
                runs.counts.append(_NO_INTS)
            else:
                runs.ends.append(found[0])
                runs.gaps.append(found[1])
                runs.counts.append(found[2])
        sums = np.zeros((len(marks), step_bins.ROWS), np.int64)
        read = _add_steps(sums, steps, upto_ns)
        read_gaps = _add_gaps(sums, gaps, upto_ns)
        of_run = np.array([mark.of_run for mark in marks], np.int64)
        read_runs = _add_runs(sums, runs, of_run, upto_ns)
        self._steps[rows] += sums
        for mark, steps_read, gaps_read, (iterations, whole, rest) in zip(
            marks, read, read_gaps, read_runs, strict=True
        ):
            mark.steps += steps_read
            mark.gaps += gaps_read
            mark.iterations += iterations
            mark.runs += whole
            mark.of_run = rest

    def _add_first_tokens(
        self, marks: list[_Mark], states: list[LiveState], rows: npt.NDArray[np.intp], upto_ns: Int64Array
    ) -> None:
        """Add what the logs have noted of first tokens."""
        parts: list[bytes] = []
        for mark, state in zip(marks, states, strict=True):
            log = state.log.first_tokens
            if mark.firsts < log.counted:
                mark.firsts = log.counted
                self._firsts[mark.row] = log.counted_totals
            parts.append(log.notes_from(mark.firsts))
        notes = np.frombuffer(b"".join(parts), np.int64).reshape(-1, first_tokens.FIELDS)
        owners = _owners([len(part) // (8 * first_tokens.FIELDS) for part in parts])
        is_due = notes[:, 0] <= upto_ns[owners]
        notes, owners = notes[is_due], owners[is_due]
        read = np.bincount(owners, minlength=len(marks))
        if len(notes):
            self._firsts[rows] += first_tokens.sums_by_owner(notes, owners, len(marks))
        for mark, count in zip(marks, read.tolist(), strict=True):
            mark.firsts += count


def ranks_of(state: LiveState) -> list[LiveState]:
    """Return the states of the data-parallel ranks of a replica; what concerns all of them is the replica's alone."""
    return [
        LiveState(*rank, 0, state.upto_ns, state.adapters, log)
        for rank, log in zip(state.ranks, state.log.ranks, strict=True)
    ]


def _plain(state: LiveState) -> tuple[int, ...]:
    """Return the figures of ``live_figures.PLAIN``."""
    running, waiting, kv_used_blocks, busy_ns, _, _, log, _ = state
    drafts = log.drafts
    return (
        log.joined_ns >= 0 and log.left_ns < 0,
        running,
        waiting,
        kv_used_blocks,
        busy_ns,
        log.preemptions,
        log.prefix_queries_tokens,
        log.prefix_hits_tokens,
        log.loaded_queries_tokens,
        log.loaded_hits_tokens,
        drafts.drafts,
        drafts.draft_tokens,
        drafts.accepted_tokens,
        log.crashes,
    )


def _positions(states: list[LiveState]) -> Int64Array:
    """Return how many drafts proved right at each position, int64[logs, POSITIONS]; most replicas make none."""
    positions = np.zeros((len(states), POSITIONS), np.int64)
    for place, state in enumerate(states):
        if state.log.drafts.drafts:
            positions[place] = state.log.drafts.accepted_by_position
    return positions


def _owners(lengths: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return for each note whose it is, of logs with so many each."""
    return np.repeat(np.arange(len(lengths)), lengths)


def _add_steps(sums: Int64Array, parts: list[Int64Array], upto_ns: Int64Array) -> list[int]:
    """Add single iterations to int64[logs, step_bins.ROWS]; return how many of each log that were."""
    logs = len(parts)
    steps = np.concatenate(parts).reshape(-1, STEP_FIELDS)
    owners = _owners([len(part) // STEP_FIELDS for part in parts])
    is_due = steps[:, 0] <= upto_ns[owners]
    if not is_due.all():
        steps, owners = steps[is_due], owners[is_due]
    read = np.bincount(owners, minlength=logs)
    if len(steps):
        _, gaps, weights, prompts, generated, prefilled = steps.T
        sums[:, step_bins.ITERATIONS] += read
        sums[:, step_bins.PROMPT_TOKENS] += np.bincount(owners, prompts, logs).astype(np.int64)
        sums[:, step_bins.GENERATED_TOKENS] += np.bincount(owners, generated, logs).astype(np.int64)
        has_output = generated > 0
        tokens = np.searchsorted(ITERATION_BOUNDS, (prefilled + generated)[has_output], side="left")
        sums[:, ITERATION_COUNTS] += _histograms(owners[has_output], tokens, None, logs, _ITERATION_WIDTH)
        _add_weighted_gaps(sums, owners, gaps, weights)
    counts: list[int] = read.tolist()
    return counts


def _add_gaps(sums: Int64Array, parts: list[Int64Array], upto_ns: Int64Array) -> list[int]:
    """Add single gaps; return how many of each log that were."""
    notes = np.concatenate(parts).reshape(-1, 2)
    owners = _owners([len(part) // 2 for part in parts])
    is_due = notes[:, 0] <= upto_ns[owners]
    notes, owners = notes[is_due], owners[is_due]
    if len(notes):
        _add_weighted_gaps(sums, owners, notes[:, 1], np.ones(len(notes), np.int64))
    counts: list[int] = np.bincount(owners, minlength=len(parts)).tolist()
    return counts


def _add_runs(sums: Int64Array, runs: _Runs, of_run: Int64Array, upto_ns: Int64Array) -> list[tuple[int, int, int]]:
    """Add the iterations of decode runs, of each log's first one without the ``of_run`` that have been read before.

    Return how many iterations of each log that were, how many runs are read to their ends, and how many iterations of
    the run behind these have been read.
    """
    logs = len(runs.counts)
    counts = np.concatenate(runs.counts).reshape(-1, 2)
    if not len(counts):
        return [(0, 0, 0)] * logs
    ends, gaps = np.concatenate(runs.ends), np.concatenate(runs.gaps)
    owners = _owners([len(part) // 2 for part in runs.counts])
    lengths, requests = counts[:, 0].copy(), counts[:, 1]
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    lengths[firsts] -= of_run[owners[firsts]]
    is_due = ends <= np.repeat(upto_ns[owners], lengths)
    due = lengths
    if not is_due.all():
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(is_due)])
        stops = np.cumsum(lengths)
        due = before[stops] - before[stops - lengths]
        gaps = gaps[is_due]
    is_open = due < lengths
    whole = np.bincount(owners[~is_open], minlength=logs)
    rest = np.bincount(owners[is_open], due[is_open], logs).astype(np.int64)
    has_open = np.bincount(owners[is_open], minlength=logs) > 0
    rest += np.where(has_open & (whole == 0), of_run, 0)
    read = np.bincount(owners, due, logs).astype(np.int64)
    is_some = due > 0
    if is_some.any():
        _add_whole_runs(sums, owners[is_some], gaps, due[is_some], requests[is_some])
    return list(zip(read.tolist(), whole.tolist(), rest.tolist(), strict=True))


def _add_whole_runs(
    sums: Int64Array, owners: npt.NDArray[np.intp], gaps: Int64Array, lengths: Int64Array, requests: Int64Array
) -> None:
    """Add runs of one iteration at least, without a look at each where a run's gaps lie in one bucket."""
    logs = len(sums)
    starts = np.cumsum(lengths) - lengths
    low = np.searchsorted(GAP_BOUNDS_NS, np.minimum.reduceat(gaps, starts), side="left")
    high = np.searchsorted(GAP_BOUNDS_NS, np.maximum.reduceat(gaps, starts), side="left")
    is_whole = low == high
    sums[:, step_bins.ITERATIONS] += np.bincount(owners, lengths, logs).astype(np.int64)
    sums[:, step_bins.GENERATED_TOKENS] += np.bincount(owners, lengths * requests, logs).astype(np.int64)
    tokens = np.searchsorted(ITERATION_BOUNDS, requests, side="left")
    sums[:, ITERATION_COUNTS] += _histograms(owners, tokens, lengths, logs, _ITERATION_WIDTH)
    np.add.at(sums[:, step_bins.GAP_SUM_NS], owners, np.add.reduceat(gaps, starts) * requests)
    amounts = (lengths * requests)[is_whole]
    sums[:, GAP_COUNTS] += _histograms(owners[is_whole], low[is_whole], amounts, logs, _GAP_WIDTH)
    if not is_whole.all():
        is_cut = np.repeat(~is_whole, lengths)
        cut = np.searchsorted(GAP_BOUNDS_NS, gaps[is_cut], side="left")
        each = np.repeat(owners[~is_whole], lengths[~is_whole])
        amounts = np.repeat(requests[~is_whole], lengths[~is_whole])
        sums[:, GAP_COUNTS] += _histograms(each, cut, amounts, logs, _GAP_WIDTH)


def _add_weighted_gaps(sums: Int64Array, owners: npt.NDArray[np.intp], gaps: Int64Array, weights: Int64Array) -> None:
    np.add.at(sums[:, step_bins.GAP_SUM_NS], owners, gaps * weights)
    places = np.searchsorted(GAP_BOUNDS_NS, gaps, side="left")
    sums[:, GAP_COUNTS] += _histograms(owners, places, weights, len(sums), _GAP_WIDTH)


def _histograms(
    owners: npt.NDArray[np.intp],
    places: npt.NDArray[np.intp],
    weights: Int64Array | None,
    logs: int,
    width: int,
) -> Int64Array:
    """Return how much weight lies at each place of each log, int64[logs, width]."""
    flat = np.bincount(owners * width + places, weights, logs * width)
    return flat.astype(np.int64).reshape(logs, width)
