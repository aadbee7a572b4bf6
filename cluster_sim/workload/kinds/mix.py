"""Several workloads at once."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import MOST_ITEMS
from cluster_sim.workload.columns import Columns, ColumnSource, concatenate, sort_by_arrival
from cluster_sim.workload.feedback.feedback_mix import FeedbackMix
from cluster_sim.workload.kind_interface import (
    WORKLOAD_KINDS,
    LoadUnit,
    OpenLoopKind,
    OpenLoopOptions,
    WorkloadConfig,
    WorkloadParts,
    kind_of,
    open_loop_columns,
    without_model,
)
from cluster_sim.workload.source import FeedbackSource, RequestSource


class MixWorkload(OpenLoopOptions):
    """Several workloads at once: their requests are merged by arrival time."""

    example: ClassVar = {
        "parts": [
            {
                "kind": "synthetic",
                "arrivals": {"kind": "poisson", "request_rate": 5},
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 10, "max": 100},
                    "output": {"kind": "fixed", "value": 20},
                },
                "count": 100,
            },
            {"kind": "trace", "path": "trace.csv"},
        ]
    }
    example_files: ClassVar = {"trace.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4808,10\n"}

    kind: Literal["mix"]
    parts: tuple[WorkloadConfig, ...] = Field(min_length=1, description="The workloads; rates add.")
    first: int | None = Field(
        default=None, ge=1, le=MOST_ITEMS, description="Stop after this many requests (open-loop parts only)."
    )

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        for part in self.parts:
            without_model(part)
        return self


@WORKLOAD_KINDS.register("mix", MixWorkload)
class MixKind(OpenLoopKind[MixWorkload]):
    """Several workloads at once; open loop unless a part reacts."""

    @property
    def _parts_react(self) -> bool:
        return any(kind_of(part).reacts for part in self.options.parts)

    @property
    def reacts(self) -> bool:
        """Whether a part reacts, or a client limits the requests in flight."""
        return super().reacts or self._parts_react

    @property
    def total_requests(self) -> int | None:
        """The number of the options, or the sum over the parts if all know theirs."""
        if self.options.first is not None:
            return self.options.first
        totals = [kind_of(part).total_requests for part in self.options.parts]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def load_unit(self) -> LoadUnit:
        """That of the parts, if it is the same."""
        units = {kind_of(part).load_unit for part in self.options.parts}
        return units.pop() if len(units) == 1 else "requests"

    @property
    def users(self) -> int:
        """Those of all parts, if each is counted in users."""
        return sum(kind_of(part).users for part in self.options.parts) if self.load_unit == "users" else 0

    def scaled_rates(self, factor: float) -> MixWorkload:
        """Return the options with so many times the load of every part."""
        parts = tuple(kind_of(part).scaled(factor) for part in self.options.parts)
        return self.options.model_copy(update={"parts": parts})

    def columns(self, parts: WorkloadParts) -> ColumnSource:
        """Return the requests of all parts, none of which may react."""
        return MergedColumns([open_loop_columns(part, parts) for part in self.options.parts], self.options.first)

    def source(self, parts: WorkloadParts) -> RequestSource | FeedbackSource:
        """Return the source of all parts' requests."""
        if not self._parts_react:
            return super().source(parts)
        if self.options.max_concurrency is not None or self.options.first is not None:
            raise InputError(
                "workload: max_concurrency and first of a mix need parts that do not react to how requests fare"
            )
        return FeedbackMix([kind_of(part).source(parts) for part in self.options.parts])


class _Feed:
    """The unread rest of one source."""

    def __init__(self, source: ColumnSource) -> None:
        self._blocks = source.columns()
        self.rest: Columns | None = next(self._blocks, None)

    def take_until(self, end_ns: int) -> Columns | None:
        """Return the rows of the current block up to and including ``end_ns``, and move on when it is used up."""
        if self.rest is None:
            return None
        cut = int(np.searchsorted(self.rest.arrival_ns, end_ns, side="right"))
        taken = self.rest.rows(slice(0, cut))
        self.rest = self.rest.rows(slice(cut, None))
        while self.rest is not None and not len(self.rest):
            self.rest = next(self._blocks, None)
        return taken if len(taken) else None


class MergedColumns:
    """Sources merged by arrival time; at equal times the earlier source of the list comes first."""

    def __init__(self, sources: Sequence[ColumnSource], first: int | None) -> None:
        self._sources = sources
        self._first = first

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        left = self._first
        for block in self._merged():
            part = block if left is None else block.rows(slice(0, left))
            yield part
            if left is not None:
                left -= len(part)
                if left == 0:
                    return

    def _merged(self) -> Iterator[Columns]:
        feeds = [_Feed(source) for source in self._sources]
        while True:
            ends = [int(feed.rest.arrival_ns[-1]) for feed in feeds if feed.rest is not None]
            if not ends:
                return
            end_ns = min(ends)
            # A feed whose block ends exactly there may go on with equal times in its next block.
            taken: list[Columns] = []
            for feed in feeds:
                while (rows := feed.take_until(end_ns)) is not None:
                    taken.append(rows)
            yield sort_by_arrival(concatenate(taken))
