"""Numbered parts of a table that grows while a run goes on: ``requests-00001.parquet`` beside ``requests.parquet``."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.output.disk_sync import sync
from cluster_sim.output.resume_advice import begin_anew


class PartFiles:
    """The parts of one table, in the order of their numbers."""

    def __init__(self, path: Path) -> None:
        """``path`` is that of the whole table."""
        self._path = path
        self.count = 0
        """Parts begun so far."""
        self.digests: list[str] = []
        """Hashes of the parts that are complete."""

    @property
    def paths(self) -> list[Path]:
        """The parts that there are."""
        return [self._part(number) for number in range(1, self.count + 1)]

    def begin(self) -> Path:
        """Return the path of a new part; the first removes what an earlier process wrote.

        Raises UnfinishedError if the part is there: what wrote the table before has not ended yet.
        """
        if not self.count:
            self.keep(())
        self.count += 1
        path = self._part(self.count)
        try:
            path.open("xb").close()
        except FileExistsError:
            raise UnfinishedError(f"{path}: another process still writes it") from None
        return path

    def seal(self) -> None:
        """Make the last part, which is complete, last when the machine goes down, and take its hash."""
        path = self._part(self.count)
        sync(path)
        self.digests.append(_digest(path))

    def keep(self, digests: Sequence[str]) -> None:
        """Go on behind the parts with these hashes; remove what an earlier process wrote later.

        Raises InputError if one of them is missing or damaged.
        """
        self.digests = list(digests)
        self.count = len(self.digests)
        for path, digest in zip(self.paths, self.digests, strict=True):
            _check(path, digest)
        number = self.count + 1
        while (later := self._part(number)).exists():
            later.unlink()
            number += 1

    def remove(self) -> None:
        """Remove all parts."""
        self.keep(())

    def _part(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}-{number:05}{self._path.suffix}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _check(path: Path, digest: str) -> None:
    """Raise InputError unless a part is there and has this hash."""
    try:
        fault = "" if _digest(path) == digest else "is damaged: it is not what was written"
    except FileNotFoundError:
        fault = "is missing"
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    if fault:
        raise InputError(f"{path}: {fault}, and the snapshot needs it; {begin_anew(path.parent)}")
