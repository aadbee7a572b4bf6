"""The known trace formats and how a file's own is recognised."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.workload.file_access import read_head
from cluster_sim.workload.readers.azure import AzureReader
from cluster_sim.workload.readers.base import Reader
from cluster_sim.workload.readers.burstgpt import BurstGptReader
from cluster_sim.workload.readers.jsonl import JsonlFormat, JsonlReader
from cluster_sim.workload.readers.parquet import ParquetReader
from cluster_sim.workload.readers.sharegpt import ShareGptReader
from cluster_sim.workload.readers.vidur import VidurReader

_ALL: Final[tuple[Reader, ...]] = (
    ParquetReader(),
    AzureReader(),
    VidurReader(),
    BurstGptReader(),
    JsonlReader("mooncake", JsonlFormat(unit_s=0.001, block_tokens=512)),
    JsonlReader("bailian", JsonlFormat(unit_s=1.0, block_tokens=16, has_chats=True)),
    JsonlReader("timed_trace", JsonlFormat(unit_s=1.0, block_tokens=16)),
    ShareGptReader(),
)

READERS: Final = MappingProxyType({reader.name: reader for reader in _ALL})
"""Readers by the name of their format, in the order in which they are asked whether they recognise a file."""


def find_reader(format_name: str, path: Path) -> Reader:
    """Return the reader for a format name, or the one that recognises the file when the name is ``auto``.

    Raises InputError for an unknown name, listing the known ones, and for a file nobody recognises.
    """
    if format_name != "auto":
        reader = READERS.get(format_name)
        if reader is None:
            raise InputError(f"workload.format: unknown format '{format_name}'; known: auto, {', '.join(READERS)}")
        return reader
    head = b"" if path.is_dir() else read_head(path)
    for reader in READERS.values():
        if reader.recognises(path, head):
            return reader
    raise InputError(f"{path}: not recognised as any of {', '.join(READERS)}; name it with format")
