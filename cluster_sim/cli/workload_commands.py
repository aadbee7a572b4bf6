"""``cluster-sim workload``: look into traces and generators, convert them, fit generators to them."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster_sim.errors import InputError

if TYPE_CHECKING:
    from cluster_sim.workload.workload_kind import WorkloadConfig


class LengthModelName(StrEnum):
    """Forms of fitted lengths."""

    empirical = "empirical"
    lognormal = "lognormal"


app = typer.Typer(help="Look into workloads, convert them, fit generators to them.", no_args_is_help=True)

Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="Trace, ServeGen folder or archive, or study file.", show_default=False)
]
Format = Annotated[str, typer.Option("--format", help="Format of a trace; auto looks at its first rows.")]
First = Annotated[int | None, typer.Option(min=1, help="Take the first requests (or sessions) only.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the draws. [default: the study's, else 0]")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse unsorted times and rows that would be skipped.")]
DurationOption = Annotated[float, typer.Option("--duration-s", help="Seconds to generate from ServeGen clients.")]
Rate = Annotated[float, typer.Option("--request-rate", help="Rate for files without times, requests per second.")]


@app.command()
def describe(
    file: Source,
    format_name: Format = "auto",
    first: First = None,
    seed: Seed = None,
    duration_s: DurationOption = 3600.0,
    request_rate: Rate = 1.0,
    is_strict: Strict = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Print and plot a workload: rate over time, lengths, burstiness, prefix sharing, sessions."""
    from cluster_sim.workload.analysis.drawing import draw_summary
    from cluster_sim.workload.analysis.summary import summarise
    from cluster_sim.workload.build import build_columns

    config, own_seed = _config(file, format_name, first, duration_s, request_rate, is_strict=is_strict)
    notices: list[str] = []
    summary = summarise(build_columns(config, own_seed if seed is None else seed, notices).columns())
    if is_json:
        typer.echo(json.dumps(summary.as_dict() | {"notices": notices}, indent=2))
        return
    for line in (*notices, *draw_summary(summary)):
        typer.echo(line)


@app.command()
def convert(
    file: Source,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Parquet file to write.", show_default=False)],
    format_name: Format = "auto",
    first: First = None,
    seed: Seed = None,
    duration_s: DurationOption = 3600.0,
    request_rate: Rate = 1.0,
    is_strict: Strict = False,
) -> None:
    """Write a workload as a Parquet trace that every study can replay."""
    from cluster_sim.workload.build import build_columns
    from cluster_sim.workload.traces.parquet_writer import write_trace

    config, own_seed = _config(file, format_name, first, duration_s, request_rate, is_strict=is_strict)
    notices: list[str] = []
    source = build_columns(config, own_seed if seed is None else seed, notices)
    has_attributes = any(block.attributes is not None for block in source.columns())
    rows = write_trace(source.columns(), output, with_attributes=has_attributes)
    for line in notices:
        typer.echo(line)
    typer.echo(f"Wrote {rows:,} requests to {output}")


@app.command()
def fit(
    file: Source,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="YAML file to write. [default: print]")
    ] = None,
    format_name: Format = "auto",
    first: First = None,
    window_s: Annotated[float, typer.Option("--window-s", min=1e-3, help="Length of a phase, seconds.")] = 300.0,
    lengths: Annotated[LengthModelName, typer.Option(help="Form of the fitted lengths.")] = LengthModelName.empirical,
    request_rate: Rate = 1.0,
    is_strict: Strict = False,
) -> None:
    """Fit a generator to a trace: a ``workload`` section with its rate, burstiness and lengths over time."""
    import yaml

    from cluster_sim.atomic_file import whole_file
    from cluster_sim.workload.analysis.fitting import collect, fit_workload
    from cluster_sim.workload.build import build_columns

    config, seed = _config(file, format_name, first, 3600.0, request_rate, is_strict=is_strict)
    notices: list[str] = []
    rows = collect(build_columns(config, seed, notices).columns(), str(file))
    section = {"workload": fit_workload(rows, window_s, lengths.value)}
    text = yaml.safe_dump(section, sort_keys=False, default_flow_style=None, width=120)
    if output is None:
        typer.echo(text, nl=False)
        return
    with whole_file(output) as partial:
        partial.write_text(text, encoding="utf-8")
    for line in notices:
        typer.echo(line)
    typer.echo(f"Wrote {output}, fitted to {len(rows):,} requests")


def _config(
    file: Path, format_name: str, first: int | None, duration_s: float, request_rate: float, *, is_strict: bool
) -> tuple["WorkloadConfig", int]:
    """Return the workload in a file (of a study, of ServeGen's clients, or a replay of the trace) and its seed.

    The seed is that of the study, or 0.
    """
    from cluster_sim.workload.kinds.servegen import ServegenWorkload
    from cluster_sim.workload.kinds.trace import TraceWorkload
    from cluster_sim.workload.readers.trace_format import AUTO, TRACE_READERS, find_reader

    if file.suffix in {".yaml", ".yml"}:
        return _of_study(file, format_name, first, is_strict=is_strict)
    if format_name == "servegen" or file.is_dir() or file.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst")):
        if duration_s <= 0:
            raise InputError(f"--duration-s must be positive; got {duration_s:g}")
        return ServegenWorkload(kind="servegen", path=str(file), duration_s=duration_s, count=first), 0
    if format_name != AUTO and format_name not in TRACE_READERS.names():
        raise InputError(f"--format: {TRACE_READERS.must_be_known(format_name, AUTO, 'servegen')}")
    arrivals: dict[str, Any] | None = None
    if not _has_times(file, find_reader(format_name, file)):
        if not 0 < request_rate < float("inf"):
            raise InputError(f"--request-rate must be a positive number; got {request_rate:g}")
        arrivals = {"kind": "poisson", "request_rate": request_rate}
    trace = {
        "kind": "trace",
        "path": str(file),
        "format": format_name,
        "first": first,
        "strict": is_strict,
        "arrivals": arrivals,
    }
    return TraceWorkload.model_validate(trace), 0


def _of_study(file: Path, format_name: str, first: int | None, *, is_strict: bool) -> tuple["WorkloadConfig", int]:
    """Return the workload of a study, cut to its ``first`` requests, and the study's seed."""
    from cluster_sim.config.loading.load import load_study

    study = load_study(file)
    workload = study.workload
    if format_name != "auto" or is_strict:
        option = "--strict" if format_name == "auto" else "--format"
        raise InputError(f"{option}: {file} is a study, whose workload section decides this; change it there")
    if first is None:
        return workload, study.seed
    limit = next((name for name in ("first", "count") if name in type(workload).model_fields), None)
    if limit is None:
        raise InputError(
            f"--first: a workload of kind {workload.kind} cannot be cut to its first requests; change {file}"
        )
    own = getattr(workload, limit)
    return workload.model_copy(update={limit: first if own is None else min(first, own)}), study.seed


def _has_times(file: Path, reader: Any) -> bool:
    """Return whether a trace has arrival times."""
    from cluster_sim.workload.readers.reader import NO_TIME, ReadOptions, ReadReport

    blocks = reader.blocks(file, ReadOptions(prefixes=False, zero_output="skip"), ReadReport())
    first = next((block for block in blocks if len(block)), None)
    return bool(reader.has_times) and (first is None or int(first.arrival_ns[0]) != NO_TIME)
