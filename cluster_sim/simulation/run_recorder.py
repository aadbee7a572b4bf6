"""Recorder of one run: the request log with everything that reads its rows."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from cluster_sim.metrics.digest import RowDigest
from cluster_sim.metrics.live import FleetLive
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.output.request_table import RequestTable
from cluster_sim.output.run_identity import RunIdentity
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import NO_GAPS, RowBlock


class HubResult(NamedTuple):
    """What the hub's side of a run leaves, plain data."""

    totals: dict[str, Any]
    digest: str
    end_ns: int
    arrived: int
    traffic: dict[str, int]
    rows: list[RowBlock] | None = None
    """Every request's row, if the recorder keeps them."""
    joined_pools: tuple[int, ...] = ()
    """Pools of the replicas that have joined during the run, in the order of their numbers."""
    moved_bytes: int | None = None
    """Bytes of all transfers between replicas; None if there are none."""
    fleet: FleetLive | None = None
    """The fleet at the end of the run."""
    encoder_work: tuple[int, int] | None = None
    """Requests of encoders apart from the replicas, and ns of their work; None if there are none."""


class RunRecorder:
    """Totals, digest and the table of requests behind one request log.

    A context manager: a run that breaks off leaves the rows of requests that have ended, in parts that can be read.
    """

    def __init__(self, metadata: RunMetadata, requests_path: Path | None = None, *, keeps_rows: bool = False) -> None:
        """``requests_path`` is the table of requests to write, if any."""
        self.totals = new_totals(metadata)
        self.digest = RowDigest()
        self.table = None if requests_path is None else request_table(requests_path, metadata)
        self.rows: list[RowBlock] | None = [] if keeps_rows else None
        sinks = [self.digest.add]
        if self.table is not None:
            sinks.append(self.table.add)
        if keeps_rows:
            sinks.append(self._keep)
        self.log = RequestLog(self.totals, sinks, default_model=metadata.default_model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):
                self.log.flush()
                if self.table is not None:
                    self.table.close(is_broken_off=True)

    def close(self) -> None:
        """Complete the table of requests."""
        if self.table is not None:
            self.table.close()

    def _keep(self, block: RowBlock) -> None:
        assert self.rows is not None
        words = {name: tuple(getattr(block, name)) for name in ("tenants", "models", "pools", "slo_classes")}
        self.rows.append(block._replace(rows=block.rows.copy(), gaps=NO_GAPS, **words))


def request_table(path: Path, metadata: RunMetadata) -> RequestTable:
    """Return the table of a run's requests."""
    return RequestTable(path, identity=RunIdentity(metadata.config_hash))


def new_totals(metadata: RunMetadata) -> RequestTotals:
    """Return empty totals for a run."""
    pools = [pool.name for pool in metadata.pools]
    return RequestTotals(
        metadata.replicas, pools, metadata.max_model_tokens, metadata.slo, end_ns=metadata.end_ns, ranks=metadata.ranks
    )
