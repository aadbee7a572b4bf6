"""Log of one replica: counters, histograms of steps and token gaps, and its time series.

Design.  Iterations are noted (``iteration_notes``), and counted in bulk once there are enough of them.  Every result is
a sum of integers over iterations, so it does not depend on how the iterations were reported.  Tokens are put into the
intervals of the time series by the end of their iteration, which is known when the iteration is reported, however far
ahead of the series that is.  The iterations that may be in flight are counted last, so that ``cut`` can take out what
lies beyond the end of the run.
"""

from array import array
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.recording import first_tokens, step_bins
from cluster_sim.recording.draft_counts import DraftCounts
from cluster_sim.recording.first_tokens import FirstTokenLog
from cluster_sim.recording.iteration_notes import STEP, STEP_FIELDS, STEP_WEIGHT, IterationNotes
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.series_columns import FIRST_TOKEN_COLUMNS, STEP_COLUMNS, rank_key
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.recording.state_rows import StateRows
from cluster_sim.recording.step_bins import StepBins

Int64Array = npt.NDArray[np.int64]

PENDING_LIMIT: Final = 65_536
"""Iterations of decode runs that a replica's log notes before it counts them in bulk, at most."""
LATEST_ITERATIONS: Final = 256
"""Iterations of a replica counted last, beyond those in flight: work for clients who have just given up may outlast the
run."""
PENDING_BYTES: Final = 128 << 20
"""What the logs of all replicas together may hold for that."""
FEW_PENDING: Final = 4_096
"""Weight of notes up to which ``counters`` adds what is not counted in bulk to what is."""
EXACT_GAPS: Final = 16_384
"""Token gaps of one replica up to which its quantiles are exact."""

_WHOLE_RUN_NS: Final = 1 << 62


def pending_limit(replicas: int) -> int:
    """Return how many iterations of decode runs each log may hold uncounted, two int64 each, in a fleet of
    ``replicas``.
    """
    return max(min(PENDING_LIMIT, PENDING_BYTES // (16 * max(replicas, 1))), 1)


class Uncounted(NamedTuple):
    """Notes of one log that are not counted in bulk yet; valid until more is noted."""

    turn: int
    """How often notes have been counted; notes begin anew with each."""
    totals: Int64Array
    """Figures of all that is counted, int64[step_bins.ROWS]."""
    notes: IterationNotes
    extra_gaps: "array[int]"
    """(end in ns, gap in ns) of gaps that the iterations do not tell."""


class ReplicaLog:
    """The notes of one replica.  ``series_interval_ns`` is the grid of its ticks; 0 keeps no series.

    The public integers are cumulative.  ``iterations``, ``prompt_tokens`` (computed, recomputation included) and
    ``generated_tokens`` follow from ``step`` and ``decode_run``, as does ``prompt_iterations`` (with prompts in them),
    which is only up to date in ``counters``; the replica itself raises ``preemptions``,
    ``prefix_queries_tokens``, ``prefix_hits_tokens``, ``wasted_steps`` (tokens computed for a request that had already
    ended), ``cancellation_lag_ns`` (departures of cancelled requests less the arrivals of their cancellations),
    ``busy_ns`` and ``overrun_ns`` (one entry a pipeline stage).  ``in_flight`` iterations may be unfinished.
    """

    __slots__ = (
        "_bins",
        "_deaths",
        "_extra_gaps",
        "_gaps",
        "_in_flight",
        "_moment_ns",
        "_notes",
        "_rows",
        "_turn",
        "busy_ns",
        "cancellation_lag_ns",
        "crashes",
        "down_ns",
        "drafts",
        "entered",
        "first_tokens",
        "generated_tokens",
        "held_blocks",
        "iterations",
        "joined_ns",
        "last_end_ns",
        "left",
        "left_ns",
        "loaded_hits_tokens",
        "loaded_queries_tokens",
        "overrun_iterations",
        "overrun_ns",
        "overrun_tokens",
        "pending_limit",
        "preemptions",
        "prefix_hits_tokens",
        "prefix_queries_tokens",
        "prompt_iterations",
        "prompt_tokens",
        "ranks",
        "return_ns",
        "wasted_steps",
    )

    def __init__(
        self,
        series_interval_ns: int,
        stages: int = 1,
        pending_limit: int = PENDING_LIMIT,
        in_flight: int = 1,
        return_ns: int = 0,
    ) -> None:
        """``return_ns`` is the link to the router, at which times to first tokens end."""
        self.ranks: tuple[ReplicaLog, ...] = ()
        """Logs of data-parallel ranks, if there are several: of what their own batches yield."""
        self.return_ns = return_ns
        self.first_tokens = FirstTokenLog(series_interval_ns)
        self.drafts = DraftCounts()
        self._in_flight = in_flight + min(pending_limit // 4, LATEST_ITERATIONS)
        self.pending_limit = pending_limit + STEP_WEIGHT * self._in_flight
        self.iterations = 0
        self.prompt_iterations = 0
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.preemptions = 0
        self.prefix_queries_tokens = 0
        self.prefix_hits_tokens = 0
        self.loaded_queries_tokens = 0
        self.loaded_hits_tokens = 0
        self.wasted_steps = 0
        self.held_blocks = 0
        self.busy_ns = [0] * stages
        self.overrun_ns = [0] * stages
        self.overrun_iterations = 0
        self.overrun_tokens = 0
        self.last_end_ns = 0
        self.entered = 0
        self.left = 0
        self.cancellation_lag_ns = 0
        self.crashes = 0
        self.down_ns = 0
        self.joined_ns = 0
        self.left_ns = -1
        self._deaths: list[tuple[int, int]] = []
        self._moment_ns = 0
        self._turn = 0
        self._notes = IterationNotes()
        self._extra_gaps = array("q")
        self._gaps = QuantileSketch(EXACT_GAPS)
        self._rows = StateRows()
        self._bins = StepBins(series_interval_ns)

    def step(
        self,
        end_ns: int,
        gap_ns: int,
        weight: int,
        prompt_tokens: int,
        generated_tokens: int,
        prefilled_tokens: int = 0,
    ) -> None:
        """Note one iteration that ends at ``end_ns``.

        ``weight`` requests got a token ``gap_ns`` after their previous one; ``generated_tokens`` also counts first
        tokens, which have no gap, and those whose gap differs, which ``gap`` notes.  ``prefilled_tokens`` are those of
        the whole prompts whose first tokens are among them.
        """
        self.iterations += 1
        self.prompt_tokens += prompt_tokens
        self.generated_tokens += generated_tokens
        self.last_end_ns = end_ns
        notes = self._notes
        steps = notes.steps
        at = 8 * steps.reserve(STEP_FIELDS)
        STEP.pack_into(steps.memory, at, end_ns, gap_ns, weight, prompt_tokens, generated_tokens, prefilled_tokens)
        notes.weight += STEP_WEIGHT
        if notes.weight >= self.pending_limit:
            self._count_pending()

    def decode_run(self, end_ns: Int64Array, gaps_ns: Int64Array, weight: int, since_ns: int = 0) -> None:
        """Note a macro-step: decode-only iterations of ``weight`` >= 1 requests each, by ends and token gaps in ns.

        Both arrays are int64[iterations]; ends count from ``since_ns`` and rise from run to run.
        """
        steps = len(end_ns)
        if not steps:
            return
        self.iterations += steps
        self.generated_tokens += steps * weight
        self.last_end_ns = since_ns + end_ns.item(-1)
        self._notes.add_run(end_ns, gaps_ns, weight, since_ns)
        if self._notes.weight >= self.pending_limit:
            self._count_pending()

    def steps(self, ends_ns: Int64Array, gaps_ns: Int64Array, weights: Int64Array) -> None:
        """Note decode-only iterations, in each of which ``weights`` requests got a token, by ends and gaps in ns."""
        count = len(ends_ns)
        self.iterations += count
        self.generated_tokens += int(np.add.reduce(weights))
        self.last_end_ns = ends_ns.item(-1)
        steps = np.zeros((count, STEP_FIELDS), np.int64)
        steps[:, 0] = ends_ns
        steps[:, 1] = gaps_ns
        steps[:, 2] = steps[:, 4] = weights
        self._notes.add_steps(steps)
        if self._notes.weight >= self.pending_limit:
            self._count_pending()

    def gap(self, gap_ns: int) -> None:
        """Note one token gap that the last iteration noted did not count: the first token after a preemption."""
        self._extra_gaps.extend((self.last_end_ns, gap_ns))

    def enter(self, at_ns: int) -> None:
        """Note that a request reached the replica."""
        self.entered += 1
        self._moment_ns += at_ns

    def leave(self, at_ns: int) -> None:
        """Note that a request left the replica: its last iteration ended, or it was cancelled or lost."""
        self.left += 1
        self._moment_ns -= at_ns

    def stay(self, left_ns: int) -> None:
        """Take back that a request left the replica at ``left_ns``: the run ends before."""
        self.left -= 1
        self._moment_ns += left_ns

    def note_crash(self, at_ns: int, restart_ns: int) -> None:
        """Note that the replica is dead from a crash to its restart."""
        self.crashes += 1
        self.down_ns += restart_ns - at_ns
        self._deaths.append((at_ns, restart_ns))

    def close(self, end_ns: int, busy_ns: list[int], overrun_ns: list[int]) -> None:
        """Take the work of the stages, and that beyond ``end_ns``, when the run ends or the replica leaves."""
        self.overrun_ns = overrun_ns
        self.busy_ns = [busy - over for busy, over in zip(busy_ns, overrun_ns, strict=True)]
        for at_ns, restart_ns in reversed(self._deaths):  # Replicas run ahead: some may be beyond the end.
            if restart_ns <= end_ns:
                break
            self.down_ns -= restart_ns - max(at_ns, end_ns)
            self.crashes -= at_ns >= end_ns
        self.cut(end_ns)
        for rank in self.ranks:
            rank.cut(end_ns)

    def cut(self, end_ns: int) -> None:
        """Take out the iterations that end after ``end_ns``, the end of the run; nothing is noted after it."""
        self._count_pending(end_ns)
        steps = self._notes.single_steps
        prompts, generated = (int(steps[:, at].sum()) for at in (3, 4))
        self.overrun_iterations = len(steps)
        self.overrun_tokens = prompts + generated
        self.iterations -= len(steps)
        self.prompt_tokens -= prompts
        self.generated_tokens -= generated
        self._notes.clear()
        self._extra_gaps = array("q")
        self.first_tokens.cut(end_ns)

    def tick(self, tick_ns: int, running: int, waiting: int, kv_used_blocks: int) -> None:
        """Note the state at a tick of the series; ticks rise and are multiples of ``series_interval_ns``.

        Every iteration that ends at or before the tick must have been noted.
        """
        self._rows.add(tick_ns, (running, waiting, kv_used_blocks), self._events())

    def ticks(
        self, first_ns: int, interval_ns: int, count: int, running: int, waiting: int, kv_used_blocks: int
    ) -> None:
        """Note the state at ``count`` ticks between which nothing happens."""
        if not self.is_touched:
            self._rows.wait(first_ns, interval_ns, count)
        elif count == 1:
            self._rows.add(first_ns, (running, waiting, kv_used_blocks), self._events())
        else:
            self._rows.add_equal(first_ns, interval_ns, count, (running, waiting, kv_used_blocks), self._events())

    @property
    def is_touched(self) -> bool:
        """Whether something has befallen the replica: a request, a crash, or that it came or went during the run."""
        return bool(self.entered or self.crashes or self.joined_ns or self.left_ns >= 0)

    def _events(self) -> tuple[int, ...]:
        """Return the cumulative counts of ``EVENT_COLUMNS``."""
        drafts = self.drafts
        return (
            self.preemptions,
            self.prefix_queries_tokens,
            self.prefix_hits_tokens,
            self.loaded_queries_tokens,
            self.loaded_hits_tokens,
            drafts.drafts,
            drafts.draft_tokens,
            drafts.accepted_tokens,
        )

    def take_series(self) -> dict[str, Int64Array]:
        """Return the rows since the last call, by ``STATE_COLUMNS`` and ``STEP_COLUMNS``, and forget them.

        A replica that nothing has reached yet has none (``output/idle_rows.py`` says what they would show).
        """
        columns = self._rows.take(is_touched=self.is_touched)
        times_ns = columns["time_ns"]
        if len(times_ns):
            self._count_pending(times_ns.item(-1))
            sums = self._bins.take(times_ns)
            firsts = self.first_tokens.take(times_ns)
        else:
            sums = np.zeros((step_bins.ROWS, 0), np.int64)
            firsts = np.zeros((first_tokens.ROWS, 0), np.int64)
        return (
            columns
            | {name: sums[at].T.copy() for name, at in STEP_COLUMNS.items()}
            | {name: firsts[at].T.copy() for name, at in FIRST_TOKEN_COLUMNS.items()}
        )

    def take_all_series(self, replica: int) -> list[tuple[int, dict[str, Int64Array]]]:
        """Return (key, rows) of the series of a replica with this log, by its number, and of its ranks, by theirs."""
        ranks = [(rank_key(replica, number), rank.take_series()) for number, rank in enumerate(self.ranks)]
        return [(replica, self.take_series()), *ranks]

    def in_system_area_ns(self, until_ns: int) -> int:
        """Return the integral of the number of requests at the replica from 0 to ``until_ns``, in request ns.

        It is the sum over requests of (leave or ``until_ns``) - enter, kept as one moment, whatever the order of calls.
        """
        return (self.entered - self.left) * until_ns - self._moment_ns

    def counters(self, now_ns: int | None = None, upto_ns: int = _WHOLE_RUN_NS) -> ReplicaCounters:
        """Return the cumulative figures, without those of iterations in flight that end after ``upto_ns``.

        The area in the system is taken up to ``now_ns``, without it up to the end of the last iteration.
        """
        if self._notes.weight > FEW_PENDING:
            self._count_pending()
        held, steps = StepBins(0), self._notes.as_steps()
        gaps = np.array(self._extra_gaps, np.int64).reshape(-1, 2)
        is_late = steps[:, 0] > upto_ns
        late, steps, gaps = steps[is_late], steps[~is_late], gaps[gaps[:, 0] <= upto_ns]
        if len(steps):
            held.add_steps(*steps.T)
        if len(gaps):
            held.add_gaps(*gaps.T)
        sums = self._bins.totals + held.totals
        firsts: list[int] = self.first_tokens.totals(upto_ns).tolist()
        generated = self.generated_tokens - int(late[:, 4].sum())
        return ReplicaCounters(
            iterations=self.iterations - len(late),
            prompt_iterations=self.prompt_iterations + int(np.count_nonzero(steps[:, 3])),
            prompt_tokens=self.prompt_tokens - int(late[:, 3].sum()),
            generated_tokens=generated,
            preemptions=self.preemptions,
            prefix_queries_tokens=self.prefix_queries_tokens,
            prefix_hits_tokens=self.prefix_hits_tokens,
            loaded_queries_tokens=self.loaded_queries_tokens,
            loaded_hits_tokens=self.loaded_hits_tokens,
            wasted_steps=self.wasted_steps,
            entered=self.entered,
            left=self.left,
            in_system_area_ns=self.in_system_area_ns(self.last_end_ns if now_ns is None else now_ns),
            cancellation_lag_ns=self.cancellation_lag_ns,
            busy_ns=list(self.busy_ns),
            overrun_ns=list(self.overrun_ns),
            overrun_iterations=self.overrun_iterations,
            overrun_tokens=self.overrun_tokens,
            crashes=self.crashes,
            down_ns=self.down_ns,
            joined_ns=self.joined_ns,
            left_ns=self.left_ns,
            iteration_tokens_counts=sums[step_bins.ITERATION_COUNTS].tolist(),
            iteration_tokens_sum=firsts[first_tokens.PROMPT_TOKENS] + generated,
            itl_counts=sums[step_bins.GAP_COUNTS].tolist(),
            itl_sum_ns=self._gaps.total + held.totals.item(step_bins.GAP_SUM_NS),
            drafts=self.drafts.drafts,
            draft_tokens=self.drafts.draft_tokens,
            accepted_tokens=self.drafts.accepted_tokens,
            accepted_by_position=list(self.drafts.accepted_by_position),
            first_tokens=firsts,
            held_blocks=self.held_blocks,
        )

    def uncounted(self) -> Uncounted:
        """Return the figures counted in bulk, and the notes that are not; ``metrics.live_rows`` adds them up."""
        return Uncounted(self._turn, self._bins.totals, self._notes, self._extra_gaps)

    def activity(self) -> tuple[int, ...]:
        """Return integers that differ whenever the counters do."""
        return self.iterations, self.entered, self.left, self.preemptions, self.crashes, self.joined_ns, self.left_ns

    def gaps(self) -> QuantileSketch:
        """Return the sketch of all token gaps in ns; it goes on growing with the log."""
        self._count_pending(_WHOLE_RUN_NS)
        return self._gaps

    def _count_pending(self, upto_ns: int = -1) -> None:
        """Count everything noted since the last time, in bulk.

        What may outlast the run, and ends after ``upto_ns``, is held back.
        """
        notes = self._notes
        if not notes.weight and not self._extra_gaps:
            return
        if upto_ns < 0 and not notes.has_runs and notes.steps.size <= self._in_flight * STEP_FIELDS:
            return  # All of it may outlast the run.
        self._turn += 1
        held = notes.take_in_flight(self._in_flight, upto_ns)
        self._count_gaps(held[0, 0].item() if len(held) else _WHOLE_RUN_NS)
        if notes.steps.size:
            steps = notes.single_steps
            self.prompt_iterations += int(np.count_nonzero(steps[:, 3]))
            self._bins.add_steps(*steps.T)
            self._gaps.add_many(steps[:, 1], steps[:, 2])
        if notes.has_runs:
            ends, gaps, lengths, requests = notes.runs
            self._bins.add_runs(ends, gaps, lengths, requests)
            self._gaps.add_runs(gaps, lengths, requests)
        notes.clear()
        notes.add_steps(held)

    def _count_gaps(self, before_ns: int) -> None:
        """Count the single gaps of iterations that end before ``before_ns``."""
        if not self._extra_gaps:
            return
        notes = np.array(self._extra_gaps, np.int64).reshape(-1, 2)
        is_counted = notes[:, 0] < before_ns
        self._extra_gaps = array("q", notes[~is_counted].tobytes())
        ends, gaps = notes[is_counted].T
        if len(ends):
            self._bins.add_gaps(ends, gaps)
            self._gaps.add_many(gaps)
