"""Requests as columns, which readers, generators and compositions hand to one another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes
from cluster_sim.workload.sampling.random_streams import Ints


@dataclass(slots=True)
class Columns:
    """A block of requests in order of arrival."""

    arrival_ns: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    attributes: Sequence[Attributes] | None = None
    """One for each row; None when every row has ``NO_ATTRIBUTES``."""

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def rows(self, where: slice | Ints) -> "Columns":
        """Return some of the rows, by a slice or by indices."""
        attributes = self.attributes
        if attributes is not None:
            attributes = (
                attributes[where] if isinstance(where, slice) else [attributes[index] for index in where.tolist()]
            )
        return Columns(self.arrival_ns[where], self.prompt_tokens[where], self.output_tokens[where], attributes)

    def attribute_list(self) -> Sequence[Attributes]:
        """Return one attribute object for each row."""
        return self.attributes if self.attributes is not None else [NO_ATTRIBUTES] * len(self)


class ColumnSource(Protocol):
    """Produces blocks of columns lazily; arrival times never decrease."""

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Return the parts one after the other as one block."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.empty(0, dtype=np.int64)
        return Columns(empty, empty, empty)
    attributes: list[Attributes] | None = None
    if any(part.attributes is not None for part in parts):
        attributes = [row for part in parts for row in part.attribute_list()]
    return Columns(
        np.concatenate([part.arrival_ns for part in parts]),
        np.concatenate([part.prompt_tokens for part in parts]),
        np.concatenate([part.output_tokens for part in parts]),
        attributes,
    )


def sort_by_arrival(block: Columns) -> Columns:
    """Return the rows in order of arrival, equal times in their old order."""
    if len(block) < 2 or bool((np.diff(block.arrival_ns) >= 0).all()):
        return block
    return block.rows(np.argsort(block.arrival_ns, kind="stable"))
