"""The workload in the file that a command names: of a study, of ServeGen's clients, or the replay of a trace."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster_sim.errors import InputError

if TYPE_CHECKING:
    from cluster_sim.workload.kind_interface import WorkloadConfig

DURATION_S: Final = 3600.0
"""Seconds that are generated from ServeGen's clients."""
REQUEST_RATE: Final = 1.0
"""Requests per second of files without times."""
_REPORT: Final = frozenset({b"version", b"run", b"scenario"})
"""Keys of llm-d's benchmark reports."""


@dataclass(frozen=True, slots=True)
class TraceChoices:
    """Options of a command that say how its file is read."""

    format_name: str
    first: int | None
    request_rate: float | None
    is_strict: bool
    zero_tokens: str
    timestamp_unit_s: float | None
    columns: str | None
    duration_s: float | None = None

    def unfit_for_studies(self) -> str | None:
        """Return the option that says what only a trace can be asked, if there is one."""
        given = {
            "--format": self.format_name != "auto",
            "--request-rate": self.request_rate is not None,
            "--duration-s": self.duration_s is not None,
            "--strict": self.is_strict,
            "--zero-tokens": self.zero_tokens != "auto",
            "--timestamp-unit-s": self.timestamp_unit_s is not None,
            "--columns": self.columns is not None,
        }
        return next((option for option, is_given in given.items() if is_given), None)


def workload_of(file: Path, choices: TraceChoices) -> tuple["WorkloadConfig", int]:
    """Return the workload in a file (of a study, of ServeGen's clients, or a replay of the trace) and its seed.

    The seed is that of the study, or 0.
    """
    from cluster_sim.options import LONGEST_RUN_S
    from cluster_sim.workload.kinds.servegen import ServegenWorkload
    from cluster_sim.workload.readers.trace_format import AUTO, TRACE_READERS

    name = choices.format_name
    if file.suffix in {".yaml", ".yml"} and not _is_other_yaml(file):
        return _of_study(file, choices)
    may_be_clients = file.is_dir() or file.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst"))
    if name == "servegen" or (name == AUTO and may_be_clients):
        duration_s = DURATION_S if choices.duration_s is None else choices.duration_s
        if not 0 < duration_s <= LONGEST_RUN_S:
            raise InputError(f"--duration-s must be positive and at most {LONGEST_RUN_S:g}; got {duration_s:g}")
        if choices.request_rate is not None:
            raise InputError(f"--request-rate: the clients in {file} have rates of their own; leave it out")
        return ServegenWorkload(kind="servegen", path=str(file), duration_s=duration_s, count=choices.first), 0
    if name != AUTO and name not in TRACE_READERS.names():
        raise InputError(f"--format: {TRACE_READERS.must_be_known(name, AUTO, 'servegen')}")
    if choices.duration_s is not None:
        raise InputError(f"--duration-s: {file} is a trace, not ServeGen's clients; --first takes a part of it")
    return _of_trace(file, choices), 0


def _is_other_yaml(file: Path) -> bool:
    """Return whether a YAML file is none that a study could be meant by: a format recognises it."""
    from cluster_sim.workload.files.file_access import read_head
    from cluster_sim.workload.readers.trace_format import TRACE_READERS

    if not file.is_file():
        return False
    head = read_head(file)
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
        if choices.request_rate is not None:
            raise InputError(f"--request-rate: the requests in {file} have times of their own; leave it out")
        return trace
    rate = REQUEST_RATE if choices.request_rate is None else choices.request_rate
    if not 0 < rate < float("inf"):
        raise InputError(f"--request-rate must be a positive number; got {rate:g}")
    arrivals = {"kind": "poisson", "request_rate": rate}
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
