"""Trace formats: the axis, its registry, and how the format of a file is found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Discriminator, Tag, ValidationError

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Entry, Registry
from cluster_sim.workload.files.file_access import read_head
from cluster_sim.workload.readers.reader_interface import TraceReader
from cluster_sim.workload.readers.unrecognised import unrecognised

TRACE_READERS: Final = Registry[type[TraceReader]](
    "trace format", "cluster_sim.workload.readers.formats", "cluster_sim.trace_readers"
)
"""Readers, each made from the options of its format."""

AUTO: Final = "auto"
"""The format of a file that is recognised by its first rows."""


class TraceFormatOptions(ConfigModel):
    """Options of a trace format; ``kind`` tells them apart."""

    kind: str


def _form_of(value: Any) -> str:
    return "by name" if isinstance(value, str) else "with options"


if TYPE_CHECKING:
    TraceFormat = str | TraceFormatOptions
else:
    TraceFormat = Annotated[
        Annotated[TRACE_READERS.name_annotation(AUTO), Tag("by name")]
        | Annotated[TRACE_READERS.annotation(), Tag("with options")],
        Discriminator(_form_of),
    ]
"""Format of a file: its name, or a block of its name (``kind``) and its options."""


def find_reader(trace_format: TraceFormat, path: Path) -> TraceReader:
    """Return the reader of a format, or the one that recognises the file when the format is ``auto``.

    Formats of this project go before those of other packages.  Raises InputError for an unknown name, listing the known
    ones, for a file that no format or several recognise, and for a format that needs options and got none.
    """
    if isinstance(trace_format, TraceFormatOptions):
        return TRACE_READERS.chosen_by(trace_format).part(trace_format)
    if trace_format != AUTO:
        return _reader_of(trace_format)
    head = b"" if path.is_dir() else read_head(path)
    readers = {
        entry.name: reader for entry in TRACE_READERS.entries() if (reader := _default_reader(entry)) is not None
    }
    found = [(name, reader) for name, reader in readers.items() if reader.recognises(path, head)]
    own = [one for one in found if not TRACE_READERS.get(one[0]).is_outside] or found[:1]
    if len(own) == 1:
        return own[0][1]
    if own:
        raise InputError(
            f"{path}: may be any of the formats {' and '.join(name for name, _ in own)}; name the right one with format"
        )
    raise InputError(unrecognised(path, head, readers))


def _default_reader(entry: Entry[type[TraceReader]]) -> TraceReader | None:
    """Return the reader of a format at its default options; None for one that must be given some."""
    try:
        return entry.part(entry.options.model_validate({"kind": entry.name}))
    except ValidationError:
        return None


def _reader_of(name: str) -> TraceReader:
    """Return the reader of a format at its default options."""
    entry = TRACE_READERS.get(name)
    try:
        return entry.part(entry.options.model_validate({"kind": name}))
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise InputError(
            f"workload.format: {name} needs options ({missing}); give them as format: {{kind: {name}, ...}}"
        ) from None
