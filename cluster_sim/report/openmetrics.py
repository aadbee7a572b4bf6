"""``openmetrics.txt``: a run's live metrics after the fact, stamped with simulated time.

``promtool tsdb create-blocks-from openmetrics`` turns the file into blocks that Prometheus serves: dashboards made for
vLLM then show the run with true rates, however fast it was computed.  Simulated time 0 is a fixed date, so that the
file depends on the run alone; several runs in one Prometheus have their label ``run``, and dates of their own.
"""

import gzip
import io
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.load import load_study
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.text import TextWriter, head
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.output.run_directory import RESOLVED_FILE
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_snapshots import replay
from cluster_sim.shown_values import counted
from cluster_sim.simulation.plan import make_plan

OPENMETRICS_FILE: Final = "openmetrics.txt"

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The date of simulated time 0."""
STEP_S: Final = 5.0
"""Simulated seconds between two samples: a rate over one minute sees twelve."""

LEFT_OUT: Final = frozenset(
    {
        "cluster_sim_crashes_total",
        "cluster_sim_migrations_total",
        "cluster_sim_transferred_bytes_total",
        "cluster_sim_router_queued_requests",
        "llm_d_epp_flow_control_queue_size",
        "inference_extension_flow_control_queue_size",
        "vllm:lora_requests_info",
        "vllm:spec_decode_num_accepted_tokens_per_pos_total",
    }
)
"""Families of which the files of a run have no values over time."""

_STAMP_BYTES: Final = 15


@dataclass(frozen=True, slots=True)
class Backfill:
    """How the metrics of a finished run are written."""

    step_s: float = STEP_S
    epoch: datetime = EPOCH
    is_compressed: bool = False


class Size(NamedTuple):
    """About what a file will hold."""

    series: int
    samples: int
    """Of each series."""
    text_bytes: int

    def __str__(self) -> str:
        size = f"{self.text_bytes / 1e6:,.1f} MB of text"
        return f"{self.series:,} series, about {counted(self.samples, 'sample')} of each: about {size}"


def write_openmetrics(
    directory: Path,
    output: Path | None = None,
    backfill: Backfill = Backfill(),
    announce: Callable[[Size], None] = lambda _size: None,
) -> Path:
    """Write the metrics of the run in ``directory``, into it or to ``output``; return the file.

    ``announce`` is told about how large it will be before it is written.  Raises InputError if there is no complete run
    or no series, or if the file cannot be written.
    """
    data = RunData.read(directory)
    metadata = make_plan(load_study(directory / RESOLVED_FILE)).simulation().metadata
    config_hash = str(data.manifest.get("config_hash"))
    run_labels = {"name": metadata.name, "config_hash": config_hash}
    exposition = Exposition(metadata, f"{metadata.name}-{config_hash}", run_labels)
    snapshots = replay(data, metadata, exposition.members, backfill.step_s)
    first = next(snapshots)
    announce(_size(exposition, first, float(data.summary["simulated_s"]), backfill.step_s))
    file = output or openmetrics_path(directory, backfill)
    with whole_file(file) as partial, _opened(partial, is_compressed=backfill.is_compressed) as stream:
        write_snapshots(stream, exposition, _chained(first, snapshots), backfill.epoch)
    return file


def openmetrics_path(directory: Path, backfill: Backfill) -> Path:
    """Return where the metrics of a run are written."""
    return directory / (f"{OPENMETRICS_FILE}.gz" if backfill.is_compressed else OPENMETRICS_FILE)


def _opened(path: Path, *, is_compressed: bool) -> TextIO:
    if not is_compressed:
        return path.open("w", encoding="utf-8")
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", compresslevel=6, mtime=0), encoding="utf-8")


def _chained(first: LiveSnapshot, rest: Iterator[LiveSnapshot]) -> Iterator[LiveSnapshot]:
    yield first
    yield from rest


def _size(exposition: Exposition, snapshot: LiveSnapshot, end_s: float, step_s: float) -> Size:
    """Estimate the file from its first samples; numbers grow by some digits."""
    writer = TextWriter()
    lines = [
        line
        for family in exposition.families(snapshot)
        if family.name not in LEFT_OUT
        for piece in writer.samples(family)
        for line in piece.splitlines()
    ]
    samples = math.ceil(end_s / step_s) + 1
    return Size(len(lines), samples, samples * sum(len(line) + _STAMP_BYTES + 2 for line in lines))


def write_snapshots(
    stream: TextIO, exposition: Exposition, snapshots: Iterable[LiveSnapshot], epoch: datetime = EPOCH
) -> None:
    """Write snapshots as one OpenMetrics exposition.

    The format demands that the samples of a family stand together, and within it those of each set of labels.  So each
    family goes to a file of its own first, and memory does not grow with the run.
    """
    epoch_s = epoch.timestamp()
    writer = TextWriter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        parts: dict[str, tuple[str, TextIO]] = {}
        part: TextIO
        for snapshot in snapshots:
            stamp = f"{epoch_s + snapshot.simulated_s:.3f}"
            for family in exposition.families(snapshot):
                if family.name in LEFT_OUT:
                    continue
                if family.name not in parts:
                    path = Path(folder) / f"{len(parts)}.txt"
                    part = stack.enter_context(path.open("w+", encoding="utf-8"))
                    parts[family.name] = head(family, is_openmetrics=True), part
                lines = "".join(writer.samples(family)).splitlines()
                parts[family.name][1].writelines(f"{line} {stamp}\n" for line in lines)
        for comments, part in parts.values():
            stream.write(comments)
            part.seek(0)
            groups: dict[str, list[str]] = {}
            for line in part:
                groups.setdefault(_label_set(line), []).append(line)
            for group in groups.values():
                stream.writelines(group)
    stream.write("# EOF\n")


def _label_set(sample: str) -> str:
    """Return the labels of a sample line without a histogram's ``le``, which comes last."""
    labels = sample.partition("{")[2].rpartition("}")[0]
    return labels.rpartition('le="')[0].rstrip(",") if 'le="' in labels else labels
