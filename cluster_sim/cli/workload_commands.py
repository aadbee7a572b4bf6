"""``cluster-sim workload``: look into traces and generators, convert them, fit generators to them."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.cli.command_group import CommandGroup
from cluster_sim.cli.workload_file import TraceChoices, workload_of
from cluster_sim.errors import InputError
from cluster_sim.shown_values import counted, cut


class LengthModelName(StrEnum):
    """Forms of fitted lengths."""

    empirical = "empirical"
    lognormal = "lognormal"


class ZeroTokensName(StrEnum):
    """Treatments of rows without prompt or output tokens."""

    auto = "auto"
    skip = "skip"
    one = "one"
    refuse = "refuse"


app = CommandGroup(help="Look into workloads, convert them, fit generators to them.", no_args_is_help=True)

Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="Trace, ServeGen folder or archive, or study file.", show_default=False)
]
Format = Annotated[str, typer.Option("--format", help="Format of a trace; auto looks at its first rows.")]
First = Annotated[int | None, typer.Option(min=1, help="Take the first requests (or sessions) only.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the draws. [default: the study's, else 0]")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse unsorted times and rows that would be skipped.")]
DurationOption = Annotated[
    float | None, typer.Option("--duration-s", help="Seconds to generate from ServeGen clients. [default: 3600]")
]
Rate = Annotated[
    float | None,
    typer.Option("--request-rate", help="Rate for files without times, requests per second. [default: 1]"),
]
ZeroTokens = Annotated[
    ZeroTokensName,
    typer.Option("--zero-tokens", help="Rows without prompt or output tokens; auto: as the format does."),
]
UnitOption = Annotated[
    float | None,
    typer.Option("--timestamp-unit-s", help="Seconds per unit of time in the file. [default: the format's]"),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="The file's own columns: arrival=NAME,prompt_tokens=NAME,output_tokens=NAME,unit=ms and so on.",
    ),
]


@app.command()
def describe(
    file: Source,
    format_name: Format = "auto",
    first: First = None,
    seed: Seed = None,
    duration_s: DurationOption = None,
    request_rate: Rate = None,
    is_strict: Strict = False,
    zero_tokens: ZeroTokens = ZeroTokensName.auto,
    timestamp_unit_s: UnitOption = None,
    columns: ColumnsOption = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Print and plot a workload: rate over time, lengths, burstiness, prefix sharing, sessions."""
    from cluster_sim.workload.analysis.drawing import draw_summary
    from cluster_sim.workload.analysis.summary import summarise
    from cluster_sim.workload.build import build_columns

    choices = TraceChoices(
        format_name, first, request_rate, is_strict, zero_tokens.value, timestamp_unit_s, columns, duration_s
    )
    config, own_seed = workload_of(file, choices)
    notices: list[str] = []
    summary = summarise(build_columns(config, own_seed if seed is None else seed, notices).columns())
    _refuse_emptiness(file, summary.requests)
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
    duration_s: DurationOption = None,
    request_rate: Rate = None,
    is_strict: Strict = False,
    zero_tokens: ZeroTokens = ZeroTokensName.auto,
    timestamp_unit_s: UnitOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Write a workload as a Parquet trace that every study can replay."""
    from cluster_sim.output_target import TRACE, check_target, texts_in
    from cluster_sim.workload.build import build_columns
    from cluster_sim.workload.traces.parquet_writer import write_trace

    choices = TraceChoices(
        format_name, first, request_rate, is_strict, zero_tokens.value, timestamp_unit_s, columns, duration_s
    )
    check_target(output, TRACE, [file])
    config, own_seed = workload_of(file, choices)
    check_target(output, TRACE, texts_in(config.model_dump(mode="json")))
    notices: list[str] = []
    source = build_columns(config, own_seed if seed is None else seed, notices)
    has_attributes, count = False, 0
    for block in source.columns():
        has_attributes = has_attributes or block.attributes is not None
        count += len(block)
    _refuse_emptiness(file, count)
    rows = write_trace(source.columns(), output, with_attributes=has_attributes)
    for line in notices:
        typer.echo(line)
    typer.echo(f"Wrote {counted(rows, 'request')} to {output}")


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
    request_rate: Rate = None,
    is_strict: Strict = False,
    zero_tokens: ZeroTokens = ZeroTokensName.auto,
    timestamp_unit_s: UnitOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Fit a generator to a trace: a ``workload`` section with its rate, burstiness and lengths over time."""
    import yaml

    from cluster_sim.atomic_file import whole_file
    from cluster_sim.output_target import FITTED_WORKLOAD, check_target
    from cluster_sim.workload.analysis.fitting import collect, fit_workload
    from cluster_sim.workload.build import build_columns

    choices = TraceChoices(format_name, first, request_rate, is_strict, zero_tokens.value, timestamp_unit_s, columns)
    if output is not None:
        check_target(output, FITTED_WORKLOAD, [file])
    config, seed = workload_of(file, choices)
    notices: list[str] = []
    rows = collect(build_columns(config, seed, notices).columns(), str(file))
    section = {"workload": fit_workload(rows, window_s, lengths.value)}
    text = yaml.safe_dump(section, sort_keys=False, default_flow_style=None, width=120)
    if output is None:
        typer.echo(text, nl=False)
        return
    with whole_file(output) as partial:
        partial.write_text(f"{FITTED_WORKLOAD.begins.decode()} from {cut(file.name)}\n{text}", encoding="utf-8")
    for line in notices:
        typer.echo(line)
    typer.echo(f"Wrote {output}, fitted to {counted(len(rows), 'request')}")


def _refuse_emptiness(file: Path, requests: int) -> None:
    """Raise InputError for a workload without requests."""
    from cluster_sim.workload.build import NO_REQUESTS

    if not requests:
        raise InputError(f"{file}: {NO_REQUESTS}")
