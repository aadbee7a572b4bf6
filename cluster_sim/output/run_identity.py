"""Identity of a run in the metadata of its tables, by which a table of another run is told.

Equal runs have equal identities on any executor, placement and machine, so their files stay equal.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.shown_values import cut, shown_path

RESOLVED_KEY: Final = "resolved_sha256"
"""Key of the manifest that has the hash of the resolved study's text."""
_PREFIX: Final = "cluster_sim."
_WORDS: Final = {"config_hash": "configuration", "digest": "digest"}


class RunIdentity(NamedTuple):
    """What a table says of its run, under the keys of the manifest; what is not known while it is written is empty."""

    config_hash: str = ""
    digest: str = ""

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> "RunIdentity":
        """Return the identity that a manifest names."""
        return cls(*(str(manifest.get(name) or "") for name in cls._fields))

    def added_to(self, schema: pa.Schema) -> pa.Schema:
        """Return a schema with the identity among its metadata; as it is if nothing is known."""
        known = {f"{_PREFIX}{name}".encode(): value.encode() for name, value in self._asdict().items() if value}
        return schema.with_metadata({**(schema.metadata or {}), **known}) if known else schema

    @classmethod
    def of_table(cls, path: Path) -> "RunIdentity":
        """Return what a table says; nothing is known of one of an earlier release."""
        metadata = pq.read_schema(path).metadata or {}
        return cls(*(metadata.get(f"{_PREFIX}{name}".encode(), b"").decode(errors="replace") for name in cls._fields))


UNKNOWN: Final = RunIdentity()


def check_identity(path: Path, manifest: Mapping[str, Any] | None) -> None:
    """Raise InputError if a table is of another run than the manifest beside it.

    A table or a manifest that says nothing, as those of earlier releases, is left to other checks, and so is a table
    that is not there or cannot be read.
    """
    if not isinstance(manifest, Mapping) or not path.is_file():
        return
    try:
        found = RunIdentity.of_table(path)
    except (OSError, ValueError, pa.ArrowException):
        return
    expected = RunIdentity.of_manifest(manifest)
    for name, own, other in zip(RunIdentity._fields, found, expected, strict=True):
        if own and other and own != other:
            raise InputError(
                f"{shown_path(path)}: is of a run with the {_WORDS[name]} {cut(own, 64)}, but manifest.json beside it "
                f"of one with {cut(other, 64)}: they are not of one run"
            )


def resolved_hash(text: str) -> str:
    """Return the hash of a resolved study that the manifest keeps."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_resolved(path: Path, text: str, manifest: Mapping[str, Any]) -> None:
    """Raise InputError if the resolved study in a file is not that of the manifest beside it, or is no YAML."""
    expected = manifest.get(RESOLVED_KEY)
    if isinstance(expected, str) and resolved_hash(text) != expected:
        Document.parse(text, str(path))
        raise InputError(
            f"{shown_path(path)}: is not the study of manifest.json beside it, or was changed after the run: they are "
            "not of one run"
        )
