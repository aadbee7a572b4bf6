"""The hub's books of one run: the request log with everything that reads its rows."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from cluster_sim.metrics.attainment import request_limits
from cluster_sim.metrics.digest import RowDigest
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.output.event_trace import RoutedRequest
from cluster_sim.output.request_table import RequestTable
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.request_totals import RequestTotals
from cluster_sim.recording.rows import RowBlock


class HubResult(NamedTuple):
    """What the hub's side of a run leaves, plain data."""

    totals: dict[str, Any]
    digest: str
    end_ns: int
    arrived: int
    traffic: dict[str, int]


class RunRecorder:
    """Totals, digest and the table of requests behind one request log.

    A context manager: a run that breaks off leaves the rows of requests that have ended, in a table that can be read.
    """

    def __init__(self, metadata: RunMetadata, requests_path: Path | None = None, *, is_traced: bool = False) -> None:
        """``requests_path`` is the table of requests to write, if any."""
        self.totals = new_totals(metadata)
        self.digest = RowDigest()
        self._table = RequestTable(requests_path) if requests_path is not None else None
        sinks = [self.digest.add] + ([self._table.add] if self._table else [])
        self.routed: list[RoutedRequest] = []
        """What became of every request, where the run is traced."""
        if is_traced:
            sinks.append(self._note_routed)
        self.log = RequestLog(self.totals, sinks, default_model=metadata.pools[0].model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):
                self.log.flush()
                self.close()

    def close(self) -> None:
        """Complete the table of requests."""
        if self._table is not None:
            self._table.close()

    def _note_routed(self, block: RowBlock) -> None:
        names = ("request_id", "arrival_ns", "dispatch_ns", "replica")
        self.routed.extend(map(RoutedRequest, *(block.column(name).tolist() for name in names)))


def new_totals(metadata: RunMetadata) -> RequestTotals:
    """Return empty totals for a run."""
    pools = [pool.name for pool in metadata.pools]
    return RequestTotals(metadata.replicas, pools, metadata.max_model_tokens, request_limits(metadata.slo))
