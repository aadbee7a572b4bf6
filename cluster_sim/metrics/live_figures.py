"""Live figures of engines, as one matrix of integers: a row an engine, which is a replica or a whole pool.

Rows add up, so that a large fleet is shown by pool, and so that the engines of a model make a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from cluster_sim.recording import first_tokens, step_bins
from cluster_sim.recording.buckets import ITERATION_TOKENS, TOKEN_GAP_S
from cluster_sim.recording.draft_counts import POSITIONS
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_Number = TypeVar("_Number", bound=Any)

_STATE: Final = ("present", "running", "waiting", "kv_used_blocks")
"""Whether a replica exists, and its state now."""
_CUMULATIVE: Final = (
    "iterations",
    "prompt_tokens",
    "generated_tokens",
    "preemptions",
    "prefix_queries_tokens",
    "prefix_hits_tokens",
    "loaded_queries_tokens",
    "loaded_hits_tokens",
    "drafts",
    "draft_tokens",
    "accepted_tokens",
    "crashes",
    "iteration_tokens_sum",
    "itl_sum_ns",
)
"""Cumulative figures that ``ReplicaCounters`` has by the same name."""
_OF_STEPS: Final = ("iterations", "prompt_tokens", "generated_tokens", "itl_sum_ns")
"""Those that the first rows of ``recording.step_bins`` have, in their order."""
_OF_ITERATIONS: Final = {*_OF_STEPS, "iteration_tokens_sum"}
"""Those that come from the notes of iterations."""
FIGURES: Final[dict[str, int]] = {name: index for index, name in enumerate((*_STATE, "busy_ns", *_CUMULATIVE))}
_ITERATIONS: Final = slice(len(FIGURES), len(FIGURES) + len(ITERATION_TOKENS) + 1)
_GAPS: Final = slice(_ITERATIONS.stop, _ITERATIONS.stop + len(TOKEN_GAP_S) + 1)
_FIRST_TOKENS: Final = slice(_GAPS.stop, _GAPS.stop + first_tokens.ROWS)
_POSITIONS: Final = slice(_FIRST_TOKENS.stop, _FIRST_TOKENS.stop + POSITIONS)
WIDTH: Final = _POSITIONS.stop
_STEP_COLUMNS: Final = [FIGURES[name] for name in _OF_STEPS]
PLAIN: Final = (*_STATE, "busy_ns", *(name for name in _CUMULATIVE if name not in _OF_ITERATIONS))
"""Figures of a replica that its log has as integers; ``live_rows`` reads them in this order."""
_PLAIN_COLUMNS: Final = [FIGURES[name] for name in PLAIN]


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """Figures of engines; ``matrix`` is int64[engines, WIDTH]."""

    matrix: Int64Array

    def figure(self, name: str) -> Int64Array:
        """Return one of ``FIGURES``, int64[engines]."""
        column: Int64Array = self.matrix[:, FIGURES[name]]
        return column

    @property
    def counts(self) -> Int64Array:
        """Return all figures that never fall, int64[engines, counts]."""
        return self.matrix[:, len(_STATE) :]

    def first_tokens(self, rows: int | slice) -> Int64Array:
        """Return figures of first tokens by their rows in ``recording.first_tokens``."""
        part: Int64Array = self.matrix[:, _FIRST_TOKENS][:, rows]
        return part

    @property
    def prefilled_tokens(self) -> Int64Array:
        """Tokens of the prompts whose first tokens have come, int64[engines]."""
        return self.first_tokens(first_tokens.PROMPT_TOKENS)

    @property
    def iteration_tokens_counts(self) -> Int64Array:
        """The histogram of tokens per iteration, int64[engines, buckets]."""
        return self.matrix[:, _ITERATIONS]

    @property
    def itl_counts(self) -> Int64Array:
        """The histogram of token gaps, int64[engines, buckets]."""
        return self.matrix[:, _GAPS]

    @property
    def accepted_by_position(self) -> Int64Array:
        """Drafts whose token at each position proved right, int64[engines, positions]."""
        return self.matrix[:, _POSITIONS]

    def grouped(self, members: Sequence[Sequence[int]]) -> "EngineFigures":
        """Return the sums over the engines of each group."""
        return EngineFigures(sums_of(self.matrix, members))


def sums_of(values: npt.NDArray[_Number], groups: Sequence[Sequence[int]]) -> npt.NDArray[_Number]:
    """Return the sums over each group of rows, which name the first axis; rising, mostly without gaps."""
    sums = np.zeros((len(groups), *values.shape[1:]), values.dtype)
    for place, group in enumerate(groups):
        if group and group[-1] - group[0] == len(group) - 1:
            sums[place] = values[group[0] : group[-1] + 1].sum(axis=0)  # Without a copy of the rows.
        elif group:
            sums[place] = values[list(group)].sum(axis=0)
    return sums


def figures_row(running: int, waiting: int, kv_used_blocks: int, counters: ReplicaCounters) -> Int64Array:
    """Return the row of one replica, int64[WIDTH]."""
    is_present = counters.joined_ns >= 0 and counters.left_ns < 0
    return np.array(
        [
            is_present,
            running,
            waiting,
            kv_used_blocks,
            sum(counters.busy_ns),
            *(getattr(counters, name) for name in _CUMULATIVE),
            *counters.iteration_tokens_counts,
            *counters.itl_counts,
            *counters.first_tokens,
            *counters.accepted_by_position,
        ],
        np.int64,
    )


def figures_matrix(plain: Int64Array, steps: Int64Array, firsts: Int64Array, positions: Int64Array) -> Int64Array:
    """Return int64[replicas, WIDTH], the rows of replicas.

    ``plain`` has the figures of ``PLAIN``; ``steps`` are those of ``recording.step_bins`` and ``firsts`` those of
    ``recording.first_tokens``, by their rows; ``positions`` counts accepted drafts.  The first axis is the replica.
    """
    matrix = np.empty((len(plain), WIDTH), np.int64)
    matrix[:, _PLAIN_COLUMNS] = plain
    matrix[:, _STEP_COLUMNS] = steps[:, : len(_STEP_COLUMNS)]
    matrix[:, _ITERATIONS] = steps[:, step_bins.ITERATION_COUNTS]
    matrix[:, _GAPS] = steps[:, step_bins.GAP_COUNTS]
    matrix[:, _FIRST_TOKENS] = firsts
    matrix[:, _POSITIONS] = positions
    tokens = firsts[:, first_tokens.PROMPT_TOKENS] + steps[:, step_bins.GENERATED_TOKENS]
    matrix[:, FIGURES["iteration_tokens_sum"]] = tokens
    return matrix


def idle_figures(replicas: int) -> Int64Array:
    """Return the rows of replicas that exist and have done nothing yet, int64[replicas, WIDTH]."""
    matrix = np.zeros((replicas, WIDTH), np.int64)
    matrix[:, FIGURES["present"]] = 1
    return matrix


def histogram_columns(series: Mapping[str, npt.NDArray[np.float64]]) -> list[tuple[Int64Array, FloatArray]]:
    """Return (columns of the matrix, values [rows, columns]) for the figures of a series that are not in ``FIGURES``.

    ``series`` has the columns of ``series.parquet``.
    """
    firsts = np.arange(_FIRST_TOKENS.start, _FIRST_TOKENS.stop)
    named = {
        "prefills": first_tokens.PROMPTS,
        "prefilled_tokens": first_tokens.PROMPT_TOKENS,
        "prefilled_cached_tokens": first_tokens.CACHED_TOKENS,
        "prefilled_external_tokens": first_tokens.EXTERNAL_TOKENS,
    }
    return [
        (np.arange(_ITERATIONS.start, _ITERATIONS.stop), series["iteration_tokens_counts"]),
        (np.arange(_GAPS.start, _GAPS.stop), series["itl_counts"]),
        *((firsts[[row]], series[name][:, None]) for name, row in named.items()),
        (firsts[[first_tokens.TTFT_SUM_NS]], series["ttft_sum_s"][:, None] * NS_PER_S),
        (firsts[first_tokens.TTFT_COUNTS], series["ttft_counts"]),
    ]
