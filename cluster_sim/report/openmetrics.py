"""``openmetrics.txt``: a run's live metrics after the fact, stamped with simulated time.

``promtool tsdb create-blocks-from openmetrics`` turns the file into blocks that Prometheus serves: dashboards made for
vLLM then show the run with true rates, however fast it was computed.  Simulated time 0 is a fixed date, so that the
file depends on the run alone.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.load import load_study
from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.output.run_directory import RESOLVED_FILE
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_snapshots import replay
from cluster_sim.simulation.plan import make_plan

OPENMETRICS_FILE: Final = "openmetrics.txt"

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The date of simulated time 0."""
STEP_S: Final = 5.0
"""Simulated seconds between two samples: a rate over one minute sees twelve."""

_LEFT_OUT: Final = ("cluster_sim_wall_seconds", "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
"""Families of which the files of a run have no values over time."""


def write_openmetrics(directory: Path, output: Path | None = None, step_s: float = STEP_S) -> Path:
    """Write the metrics of the run in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run or no series, or if the file cannot be written.
    """
    data = RunData.read(directory)
    metadata = make_plan(load_study(directory / RESOLVED_FILE)).simulation().metadata
    exposition = Exposition(metadata, {"run": metadata.name, "config_hash": str(data.manifest.get("config_hash"))})
    file = output or directory / OPENMETRICS_FILE
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as stream:
        write_snapshots(stream, exposition, replay(data, metadata, step_s))
    return file


def write_snapshots(stream: TextIO, exposition: Exposition, snapshots: Iterable[LiveSnapshot]) -> None:
    """Write snapshots as one OpenMetrics exposition.

    The format demands that the samples of a family stand together, and within it those of each set of labels.  So each
    family goes to a file of its own first, and memory does not grow with the run.
    """
    epoch_s = EPOCH.timestamp()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        parts: dict[str, tuple[list[str], TextIO]] = {}
        for snapshot in snapshots:
            stamp = f"{epoch_s + snapshot.simulated_s:.3f}"
            for name, head, samples in _families(exposition.text(snapshot)):
                if name in _LEFT_OUT:
                    continue
                if name not in parts:
                    path = Path(folder) / f"{len(parts)}.txt"
                    parts[name] = head, stack.enter_context(path.open("w+", encoding="utf-8"))
                parts[name][1].writelines(f"{sample} {stamp}\n" for sample in samples)
        for head, part in parts.values():
            stream.writelines(f"{line}\n" for line in head)
            part.seek(0)
            groups: dict[str, list[str]] = {}
            for line in part:
                groups.setdefault(_label_set(line), []).append(line)
            for group in groups.values():
                stream.writelines(group)
    stream.write("# EOF\n")


def _families(page: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (name, head lines in OpenMetrics, sample lines) of every family of a page of text."""
    name = ""
    head: list[str] = []
    samples: list[str] = []
    for line in page.splitlines():
        if line.startswith("# HELP "):
            if name:
                yield name, head, samples
            name, head, samples = line.split(" ", 3)[2], [line], []
        elif line.startswith("# TYPE "):
            head.append(line)
            if line.endswith(" counter"):
                # A counter's family has no suffix in OpenMetrics, its samples do.
                head = [comment.replace(f" {name} ", f" {name.removesuffix('_total')} ") for comment in head]
        else:
            samples.append(line)
    if name:
        yield name, head, samples


def _label_set(sample: str) -> str:
    """Return the labels of a sample line without a histogram's ``le``, which comes last."""
    labels = sample.partition("{")[2].rpartition("}")[0]
    return labels.rpartition('le="')[0].rstrip(",") if 'le="' in labels else labels
