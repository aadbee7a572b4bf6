"""The common base of every part of a study, and the types that refer to files and library entries."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SerializationInfo, ValidationInfo
from pydantic_core import PydanticCustomError

from cluster_sim.conf_directory import library_names, named_by_repository
from cluster_sim.shown_values import MOST_OF_PATH, cut, shortened
from cluster_sim.suggestion import suggestion

LONGEST_RUN_S: Final = 2.0 * 365 * 86_400
"""Two simulated years: what an instant holds (``engine.instant``), less room for links and steps beyond."""
MS_PER_DAY: Final = 86_400_000.0
"""The longest delay between processes that makes sense."""
MOST_ITEMS: Final = 1_000_000_000
"""The most requests of a workload, tokens of a request or a step, and blocks of a cache that a study may state."""
GREATEST_VALUE: Final = 1e12
"""The greatest parameter of a distribution that is a value itself: tokens, seconds or milliseconds."""
GREATEST_SHAPE: Final = 1e6
"""The greatest shape of a distribution: with it, every draw is the mean to a tenth of a percent."""
GREATEST_WEIGHT: Final = 1e9
"""The greatest weight or factor."""
HIGHEST_RATE: Final = 1e9
"""Requests per second: one each nanosecond, the unit of simulated time."""
LOWEST_PRIORITY: Final = 1 << 31
"""The greatest number of a priority; the least is its negative."""
MOST_OF_NAME: Final = 128
"""The most characters of a name that a study gives."""
MOST_GPUS: Final = 4096
"""The most GPUs along one dimension of a replica's parallelism."""
BASE_DIRECTORY: Final = "base_directory"
"""Key of the validation context that holds the study file's directory; without it, references are not checked."""
NOTES: Final = "notes"
"""Key of the validation context that holds a list of remarks about what a study says in vain, to be added to."""
HAS_SWEEP: Final = "has_sweep"
"""Key of the validation context that is true where the study has a sweep, whose values decide what is valid."""
WRITE_PATH: Final = "write_path"
"""Key of the context of a dump that holds how the files of the study are written; without it, by their paths."""

WritePath = Callable[[Path], str]
"""Gives the text that stands for a file in a dump."""


def listed(names: list[str]) -> str:
    """Return names as a sentence lists them: "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


class ConfigModel(BaseModel):
    """A part of a study: immutable and closed to unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",
        validate_default=True,
        defer_build=True,
    )

    example: ClassVar[Mapping[str, Any]] = {}
    """Options of a part that make sense together, for documents and for the tests of every part of an axis: at least
    those that are required."""
    example_files: ClassVar[Mapping[str, str]] = {}
    """Text of the files that the example names."""


def resolve_file(value: str, info: ValidationInfo) -> str:
    """Make a path absolute: relative to the study file's directory, or where nothing is there, to the working one."""
    base = (info.context or {}).get(BASE_DIRECTORY)
    if base is None:
        return value
    try:
        path = Path(value).expanduser()
        candidates = [Path(base) / path, Path.cwd() / path]
        for candidate in candidates:
            if candidate.exists():
                return str(candidate.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # Names that are too long, no such home, loops of links.
        reason = getattr(error, "strerror", None) or cut(str(error))
        raise PydanticCustomError(
            "missing_file", "is no path: {reason}; got {value}", {"reason": reason, "value": shortened(value)}
        ) from None
    looked = " or ".join(dict.fromkeys(str(candidate.resolve()) for candidate in candidates))
    raise PydanticCustomError("missing_file", "no such file: {looked}", {"looked": looked})


def write_file(value: str, info: SerializationInfo) -> str:
    """Return the path of a checked study as the context of a dump has it written; names of entries as they are."""
    write: WritePath | None = (info.context or {}).get(WRITE_PATH)
    return value if write is None or not value.startswith("/") else write(Path(value))


BoundedName = Annotated[str, Field(max_length=MOST_OF_NAME)]
"""What a study calls a part of its own: every row, metric, file and message that tells it repeats it."""
Tokens = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Value = Annotated[float, Field(ge=0, le=GREATEST_VALUE)]
Weight = Annotated[float, Field(ge=0, le=GREATEST_WEIGHT)]
Ratio = Annotated[float, Field(ge=0, le=1)]

InputFile = Annotated[str, AfterValidator(resolve_file), PlainSerializer(write_file)]
"""A file or folder to read.  Relative paths are looked up beside the study file, then in the working directory."""


_PRECISION: Final = re.compile(r"-(nvfp4|fp8|fp4|awq|gptq|int4|int8|w\d+a\d+|bnb)\b", re.IGNORECASE)


class LibraryEntry:
    """Checks that a name is an entry of one directory of the library, or a YAML or JSON file of the user's own."""

    def __init__(self, topic: str) -> None:
        self.topic = topic

    def __call__(self, value: str, info: ValidationInfo) -> str:
        """Return ``value``, made absolute where it is a file; raise where it is neither a name nor a file."""
        if (info.context or {}).get(BASE_DIRECTORY) is None:
            return value
        known = library_names(self.topic)
        if value in known:
            return value
        if "/" in value and (entry := named_by_repository(self.topic, value)) is not None:
            return entry
        is_file = value.endswith((".yaml", ".yml", ".json"))
        if is_file or "/" in value or value in {".", "..", "~"}:
            try:
                path = Path(resolve_file(value, info))
            except PydanticCustomError:
                if is_file:
                    raise
            else:
                self._refuse_directory(path)
                if is_file:
                    return str(path)
        raise PydanticCustomError(
            "unknown_entry",
            "unknown name {value}{hint} conf/{topic} has: {known}; or give the path of a YAML or JSON file{precision}",
            {
                "value": shortened(value),
                "hint": suggestion(value, known) or ".",
                "topic": self.topic,
                "known": ", ".join(known) or "nothing",
                "precision": _precision_hint(self.topic, value),
            },
        )

    def _refuse_directory(self, path: Path) -> None:
        config = path / "config.json"
        if path.is_dir():
            raise PydanticCustomError(
                "unknown_entry",
                "{path} is a directory: must be the path of a YAML or JSON file{hint}, or a name of conf/{topic}",
                {
                    "path": shortened(str(path), MOST_OF_PATH),
                    "topic": self.topic,
                    "hint": ", here its config.json" if self.topic == "models" and config.is_file() else "",
                },
            )


def _precision_hint(topic: str, value: str) -> str:
    """Return what to write for a repository that holds a known model in another precision."""
    short = value.rpartition("/")[2]
    found = _PRECISION.search(short)
    if topic != "models" or found is None:
        return ""
    plain = short[: found.start()].lower()
    name = next((name for name in library_names(topic) if plain in {name, f"meta-{name}", f"{name}-instruct"}), None)
    if name is None:
        return ""
    return f"; it is {name} in another precision: give the path of its config.json, or {name} with engine.quantization"


ModelName = Annotated[str, AfterValidator(LibraryEntry("models")), PlainSerializer(write_file)]
DeviceName = Annotated[str, AfterValidator(LibraryEntry("devices")), PlainSerializer(write_file)]
LinkName = Annotated[str, AfterValidator(LibraryEntry("links")), PlainSerializer(write_file)]
ProfileName = Annotated[str, AfterValidator(LibraryEntry("profiles")), PlainSerializer(write_file)]
