"""``cluster-sim workload``: look into traces and generators, convert them, fit generators to them."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cluster_sim.errors import InputError

if TYPE_CHECKING:
    from cluster_sim.workload.workload_kind import WorkloadConfig


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


_REPORT: Final = frozenset({b"version", b"run", b"scenario"})
"""Keys of llm-d's benchmark reports."""


@dataclass(frozen=True, slots=True)
class TraceChoices:
    """Options of a command that say how its file is read."""

    format_name: str
    first: int | None
    request_rate: float
    is_strict: bool
    zero_tokens: str
    timestamp_unit_s: float | None
    columns: str | None
    duration_s: float = 3600.0

    def unfit_for_studies(self) -> str | None:
        """Return the option that says what only a trace can be asked, if there is one."""
        given = {
            "--format": self.format_name != "auto",
            "--strict": self.is_strict,
            "--zero-tokens": self.zero_tokens != "auto",
            "--timestamp-unit-s": self.timestamp_unit_s is not None,
            "--columns": self.columns is not None,
        }
        return next((option for option, is_given in given.items() if is_given), None)


@app.command()
def describe(
    file: Source,
    format_name: Format = "auto",
    first: First = None,
    seed: Seed = None,
    duration_s: DurationOption = 3600.0,
    request_rate: Rate = 1.0,
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
    config, own_seed = _config(file, choices)
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
    duration_s: DurationOption = 3600.0,
    request_rate: Rate = 1.0,
    is_strict: Strict = False,
    zero_tokens: ZeroTokens = ZeroTokensName.auto,
    timestamp_unit_s: UnitOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Write a workload as a Parquet trace that every study can replay."""
    from cluster_sim.workload.build import build_columns
    from cluster_sim.workload.traces.parquet_writer import write_trace

    choices = TraceChoices(
        format_name, first, request_rate, is_strict, zero_tokens.value, timestamp_unit_s, columns, duration_s
    )
    config, own_seed = _config(file, choices)
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
    zero_tokens: ZeroTokens = ZeroTokensName.auto,
    timestamp_unit_s: UnitOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Fit a generator to a trace: a ``workload`` section with its rate, burstiness and lengths over time."""
    import yaml

    from cluster_sim.atomic_file import whole_file
    from cluster_sim.workload.analysis.fitting import collect, fit_workload
    from cluster_sim.workload.build import build_columns

    choices = TraceChoices(format_name, first, request_rate, is_strict, zero_tokens.value, timestamp_unit_s, columns)
    config, seed = _config(file, choices)
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


def _refuse_emptiness(file: Path, requests: int) -> None:
    """Raise InputError for a workload without requests."""
    from cluster_sim.workload.build import NO_REQUESTS

    if not requests:
        raise InputError(f"{file}: {NO_REQUESTS}")


def _config(file: Path, choices: TraceChoices) -> tuple["WorkloadConfig", int]:
    """Return the workload in a file (of a study, of ServeGen's clients, or a replay of the trace) and its seed.

    The seed is that of the study, or 0.
    """
    from cluster_sim.workload.kinds.servegen import ServegenWorkload
    from cluster_sim.workload.readers.trace_format import AUTO, TRACE_READERS

    name = choices.format_name
    if file.suffix in {".yaml", ".yml"} and not _is_other_yaml(file):
        return _of_study(file, choices)
    may_be_clients = file.is_dir() or file.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst"))
    if name == "servegen" or (name == AUTO and may_be_clients):
        if choices.duration_s <= 0:
            raise InputError(f"--duration-s must be positive; got {choices.duration_s:g}")
        servegen = ServegenWorkload(kind="servegen", path=str(file), duration_s=choices.duration_s, count=choices.first)
        return servegen, 0
    if name != AUTO and name not in TRACE_READERS.names():
        raise InputError(f"--format: {TRACE_READERS.must_be_known(name, AUTO, 'servegen')}")
    return _of_trace(file, choices), 0


def _is_other_yaml(file: Path) -> bool:
    """Return whether a YAML file is none that a study could be meant by: a format recognises it."""
    from cluster_sim.workload.readers.trace_format import TRACE_READERS

    if not file.is_file():
        return False
    head = file.read_bytes()[: 1 << 16]
    if {line.split(b":", 1)[0] for line in head.split(b"\n")} >= _REPORT:
        raise InputError(f"{file}: a benchmark report of llm-d; its totals are no requests to replay")
    reader = TRACE_READERS.get("inference_perf_config")
    return reader.part(reader.options.model_validate({})).recognises(file, head)


def _of_trace(file: Path, choices: TraceChoices) -> "WorkloadConfig":
    """Return the replay of a trace; one without times gets Poisson arrivals."""
    from pydantic import ValidationError

    from cluster_sim.workload.kinds.trace import TraceWorkload, has_times

    if choices.timestamp_unit_s is not None and not 0 < choices.timestamp_unit_s < float("inf"):
        raise InputError(f"--timestamp-unit-s must be a positive number; got {choices.timestamp_unit_s:g}")
    section: dict[str, Any] = {
        "kind": "trace",
        "path": str(file),
        "format": choices.format_name,
        "first": choices.first,
        "strict": choices.is_strict,
        "zero_tokens": choices.zero_tokens,
        "timestamp_unit_s": choices.timestamp_unit_s,
    }
    if choices.columns is not None:
        section["columns"] = _columns(choices.columns)
    try:
        trace = TraceWorkload.model_validate(section)
    except ValidationError as error:
        raise InputError(f"--columns: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    if has_times(trace):
        return trace
    if not 0 < choices.request_rate < float("inf"):
        raise InputError(f"--request-rate must be a positive number; got {choices.request_rate:g}")
    arrivals = {"kind": "poisson", "request_rate": choices.request_rate}
    return TraceWorkload.model_validate(section | {"arrivals": arrivals})


def _columns(text: str) -> dict[str, str]:
    """Return the names that ``--columns`` gives; InputError for a wrong one, with the known."""
    from cluster_sim.suggestion import suggestion
    from cluster_sim.workload.readers.column_names import UNIT_S, ColumnNames

    known = list(ColumnNames.model_fields)
    columns: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name or key not in known:
            hint = suggestion(key, known)
            raise InputError(f"--columns: '{part.strip()}' must be KEY=NAME with one of {', '.join(known)}{hint}")
        columns[key] = name
    unit = columns.get("unit")
    if unit is not None and unit not in UNIT_S:
        raise InputError(f"--columns: unit must be one of {', '.join(UNIT_S)}; got '{unit}'")
    missing = [key for key in ("prompt_tokens", "output_tokens") if key not in columns]
    if missing:
        raise InputError(f"--columns: {' and '.join(missing)} must be given")
    return columns


def _of_study(file: Path, choices: TraceChoices) -> tuple["WorkloadConfig", int]:
    """Return the workload of a study, cut to its ``first`` requests, and the study's seed."""
    from cluster_sim.config.loading.load import load_study

    study = load_study(file)
    workload = study.workload
    first = choices.first
    option = choices.unfit_for_studies()
    if option is not None:
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
