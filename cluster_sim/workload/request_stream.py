"""Stream of request objects, in bounded lists, from columns."""

from collections.abc import Iterator

from cluster_sim.workload.columns import Columns, ColumnSource
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import BLOCK


def to_requests(block: Columns, first_id: int) -> list[Request]:
    """Return the rows as requests numbered from ``first_id``."""
    ids = range(first_id, first_id + len(block))
    arrival, prompt, output = block.arrival_ns.tolist(), block.prompt_tokens.tolist(), block.output_tokens.tolist()
    if block.attributes is None:
        return list(map(Request, ids, arrival, prompt, output))
    return list(map(Request, ids, arrival, prompt, output, block.attributes))


class RequestStream:
    """An open-loop ``RequestSource`` over any source of columns."""

    def __init__(self, source: ColumnSource) -> None:
        self._source = source

    def chunks(self) -> Iterator[list[Request]]:
        """Yield requests in lists of at most 4,096, arrival times never decreasing, ids 0, 1, 2 ..."""
        first_id = 0
        for block in self._source.columns():
            for start in range(0, len(block), BLOCK):
                part = block.rows(slice(start, start + BLOCK))
                yield to_requests(part, first_id)
                first_id += len(part)
