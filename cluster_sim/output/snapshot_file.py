"""File of a run's last snapshot: versioned, checksummed, replaced as a whole.

    magic (20 bytes), version (4 bytes, little-endian), BLAKE2b-256 of all that follows (32 bytes),
    length of the body before compression (8 bytes),
    body: zstd of msgpack {"head": [...], "router": bytes, "groups": [bytes, ...],
    "members": [[int, ...], ...]}

The head says which program, study and input files the state belongs to; a file that does not fit is refused, because
the run would go on with something else than it began with.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgpack
import pyarrow as pa

from cluster_sim import __version__
from cluster_sim.config.loading.named_files import files_of
from cluster_sim.errors import InputError
from cluster_sim.output.disk_sync import sync
from cluster_sim.output.resume_advice import begin_anew

SNAPSHOT_FILE: Final = "snapshot"
MAGIC: Final = b"cluster-sim snapshot"
VERSION: Final = 3
MOST_BYTES: Final = 16 << 30
"""Largest body that is unpacked."""
_HEAD_BYTES: Final = len(MAGIC) + 4 + 32 + 8


class SnapshotHead(NamedTuple):
    """What a snapshot belongs to, and what lies beside it."""

    version: str
    """Of the program."""
    code: str
    """Fingerprint of the program's source."""
    config_hash: str
    inputs: str
    """Fingerprint of the library, which the study names entries of; the files that it names are in ``config_hash``."""
    outputs: str
    """Options that say what files the run writes, in words."""
    series_parts: tuple[str, ...]
    """Hashes of the parts of the series."""
    simulated_ns: int
    wall_s: float
    resumes: int
    """How often the run was resumed before."""


class StoredSnapshot(NamedTuple):
    """A snapshot as the file has it."""

    head: SnapshotHead
    router: bytes
    groups: tuple[bytes, ...]
    members: tuple[tuple[int, ...], ...]
    """Sources of the replicas in each of ``groups``."""


def write_snapshot(folder: Path, snapshot: StoredSnapshot) -> int:
    """Replace the snapshot of a run directory; return the size of the file in bytes."""
    body = msgpack.packb({**snapshot._asdict(), "head": list(snapshot.head)})
    packed = pa.compress(body, codec="zstd", asbytes=True)
    sized = len(body).to_bytes(8, "little") + packed
    checksum = hashlib.blake2b(sized, digest_size=32).digest()
    data = b"".join((MAGIC, VERSION.to_bytes(4, "little"), checksum, sized))
    path = folder / SNAPSHOT_FILE
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(data)
        sync(fresh)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    fresh.replace(path)
    sync(folder)
    return len(data)


def read_snapshot(folder: Path) -> StoredSnapshot | None:
    """Return the snapshot of a run directory, None if there is none; raise InputError if it cannot be used."""
    path = folder / SNAPSHOT_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    advice = begin_anew(folder)
    if not data.startswith(MAGIC) or len(data) < _HEAD_BYTES:
        raise InputError(f"{path}: is no snapshot of a run; {advice}")
    start = len(MAGIC)
    version = int.from_bytes(data[start : start + 4], "little")
    if version != VERSION:
        raise InputError(f"{path}: has version {version} of snapshots, and this program reads {VERSION}; {advice}")
    checksum, sized = data[start + 4 : start + 36], data[start + 36 :]
    size = int.from_bytes(sized[:8], "little")
    if hashlib.blake2b(sized, digest_size=32).digest() != checksum or size > MOST_BYTES:
        raise InputError(f"{path}: is damaged: its checksum differs; {advice}")
    try:
        content = msgpack.unpackb(pa.decompress(sized[8:], size, codec="zstd", asbytes=True))
        head = SnapshotHead(*content["head"])
        head = head._replace(series_parts=tuple(head.series_parts))
        members = tuple(map(tuple, content["members"]))
        return StoredSnapshot(head, content["router"], tuple(content["groups"]), members)
    except (ValueError, TypeError, KeyError, OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is no snapshot of a run: {error}; {advice}") from error


def check_head(path: Path, found: SnapshotHead, expected: SnapshotHead) -> None:
    """Raise InputError if a snapshot belongs to another program, study or input than those at hand."""
    advice = begin_anew(path.parent)
    if found.version != expected.version or found.code != expected.code:
        own = f" {found.version}" if found.version != expected.version else ""
        raise InputError(
            f"{path}: was written by another version{own} of the program than this one ({expected.version}), which may "
            f"compute something else; resume it with that version, or {advice}"
        )
    if found.config_hash != expected.config_hash:
        raise InputError(
            f"{path}: belongs to another study (configuration {found.config_hash}, not {expected.config_hash}); only "
            f"executor and placement may change; restore the study, or {advice}"
        )
    if found.outputs != expected.outputs:
        raise InputError(
            f"{path}: was written with {found.outputs}, and the study now has {expected.outputs}; the files of a run "
            f"are of one kind from its beginning: restore the study, or {advice}"
        )
    if found.inputs != expected.inputs:
        raise InputError(f"{path}: a file that the study reads has changed since; restore it, or {advice}")


@cache
def code_fingerprint() -> str:
    """Return the hash of the program's source: any change of it may change what a run computes."""
    root = Path(__file__).parents[1]
    return _fingerprint(sorted(root.rglob("*.py")))


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Return the hash of the content of files and of the files in folders."""
    return _fingerprint(file for path in sorted(paths) for file in files_of(path))


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def new_head(config_hash: str, inputs: str, outputs: str = "") -> SnapshotHead:
    """Return the head of a run's snapshots before anything is known of it."""
    return SnapshotHead(__version__, code_fingerprint(), config_hash, inputs, outputs, (), 0, 0.0, 0)
