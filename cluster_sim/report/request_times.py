"""Times of a run's requests, part by part, read back from its directory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.metrics.time_parts import PART_FIELDS, PARTS, Fleet, time_parts_ns
from cluster_sim.output.request_rows import read_blocks
from cluster_sim.output.run_directory import REQUESTS_FILE
from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.report.run_data import RunData
from cluster_sim.units import NS_PER_S, read_ns

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_FINISHED_CODE = STATUSES.index(FINISHED)


@dataclass(frozen=True, slots=True)
class RequestTimes:
    """The finished requests of a run, in the order of their ids."""

    request_id: Int64Array
    parts_ns: Int64Array
    """int64[n, len(PARTS)]."""
    knows_steps: bool
    """Whether a request's own computation is told apart from that of others in its batches, in every pool."""

    @property
    def e2e_ns(self) -> Int64Array:
        """End-to-end latencies."""
        total: Int64Array = self.parts_ns.sum(axis=1)
        return total

    def slowest(self, count: int) -> Int64Array:
        """Return the indices of the slowest requests, the slowest first; the earlier id first of equal ones."""
        latencies = self.e2e_ns
        if count < len(latencies):
            chosen = np.flatnonzero(latencies >= np.partition(latencies, -count)[-count])
        else:
            chosen = np.arange(len(latencies))
        order: Int64Array = chosen[np.argsort(-latencies[chosen], kind="stable")][:count]
        return order

    def mean_parts_s(self, which: Int64Array | slice = slice(None)) -> dict[str, float]:
        """Return the mean of every part over some requests, in seconds; nothing if there are none."""
        chosen = self.parts_ns[which]
        if not len(chosen):
            return {}
        return dict(zip(PARTS, (chosen.mean(axis=0) / NS_PER_S).tolist(), strict=True))

    def median_parts_s(self) -> dict[str, float]:
        """Return the median of every part, in seconds; nothing if there are no requests."""
        if not len(self.parts_ns):
            return {}
        return dict(zip(PARTS, (np.median(self.parts_ns, axis=0) / NS_PER_S).tolist(), strict=True))


def read_request_times(data: RunData) -> RequestTimes:
    """Read the parts of every finished request; raises InputError if the table cannot be read."""
    ids, parts = [np.zeros(0, np.int64)], [np.zeros((0, len(PARTS)), np.int64)]
    fleet, end_ns = Fleet.from_summary(data.summary), run_end_ns(data)
    for block in request_blocks(data):
        finished = block._replace(rows=block.rows[block.column("status") == _FINISHED_CODE])
        ids.append(finished.column("request_id"))
        parts.append(time_parts_ns(finished, fleet, end_ns))
    knows_steps = all(pool.knows_steps for pool in fleet.pools)
    return RequestTimes(np.concatenate(ids), np.concatenate(parts), knows_steps)


def request_blocks(data: RunData) -> Iterator[RowBlock]:
    """Yield the rows of a run with the fields that breakdowns need; raises InputError if they cannot be read."""
    path = data.directory / REQUESTS_FILE
    try:
        yield from read_blocks(path, [pool["name"] for pool in data.summary["pools"]], PART_FIELDS)
    except FileNotFoundError as error:
        raise InputError(
            f"{data.directory}: is not the directory of a complete run: it has no {REQUESTS_FILE}"
        ) from error
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def run_end_ns(data: RunData) -> int:
    """Return the end of a run."""
    return read_ns(data.summary["simulated_s"])
