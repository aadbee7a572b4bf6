"""Replications that a search has made, on disk: a stopped search goes on from them.

Each search appends its runs to one file of msgpack records with checksums.  A record that was cut off when the process
died is at the end, is not counted, and is written over, as is all that follows a damaged one.
"""

import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from cluster_sim.errors import UnfinishedError
from cluster_sim.study.replications import Replication


class ReplicationStore:
    """The replications of one search by their keys, tuples of plain values; without a path they stay in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[Hashable, Replication] = {}
        if path is not None and path.exists():
            self._read(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: tuple[Any, ...]) -> Replication | None:
        """Return the replication of a key; None if it has not been made."""
        return self._known.get(key)

    def put(self, key: tuple[Any, ...], replication: Replication) -> None:
        """Keep a replication; raises UnfinishedError if it cannot be written."""
        self._known[key] = replication
        if self._path is None:
            return
        try:
            with self._path.open("ab") as file:
                record: bytes = msgpack.packb([list(key), _packed(replication)])
                file.write(msgpack.packb([record, zlib.crc32(record)]))
        except OSError as error:
            raise UnfinishedError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def _read(self, path: Path) -> None:
        whole = 0
        with path.open("rb") as file:
            unpacker = msgpack.Unpacker(file, strict_map_key=False, max_buffer_size=0)
            try:
                for record, checksum in unpacker:
                    if zlib.crc32(record) != checksum:
                        break
                    key, replication = msgpack.unpackb(record, strict_map_key=False)
                    self._known[tuple(key)] = _unpacked(replication)
                    whole = unpacker.tell()
            except (msgpack.UnpackException, ValueError, TypeError, KeyError):
                pass  # What follows was cut off or damaged, and is made again.
        if whole < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(whole)


def _packed(replication: Replication) -> dict[str, Any]:
    return {
        "number": replication.number,
        "requests": replication.requests,
        "samples": {name: values.astype(np.float64).tobytes() for name, values in replication.samples.items()},
        "lost": replication.lost,
        "residences": replication.residences,
        "present": replication.present.tolist(),
        "figures": replication.figures,
    }


def _unpacked(record: dict[str, Any]) -> Replication:
    return Replication(
        record["number"],
        record["requests"],
        {name: np.frombuffer(values, np.float64) for name, values in record["samples"].items()},
        record["lost"],
        record["residences"],
        np.array(record["present"]),
        record["figures"],
    )
