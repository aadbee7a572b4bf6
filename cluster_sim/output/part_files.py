"""Numbered parts of a table that grows while a run goes on: ``requests-00001.parquet`` beside ``requests.parquet``."""

from pathlib import Path

from cluster_sim.errors import InputError
from cluster_sim.output.disk_sync import sync


class PartFiles:
    """The parts of one table, in the order of their numbers."""

    def __init__(self, path: Path) -> None:
        """``path`` is that of the whole table."""
        self._path = path
        self.count = 0
        """Parts begun so far."""

    @property
    def paths(self) -> list[Path]:
        """The parts that there are."""
        return [self._part(number) for number in range(1, self.count + 1)]

    def begin(self) -> Path:
        """Return the path of a new part; the first removes what an earlier process wrote."""
        if not self.count:
            self.keep(0)
        self.count += 1
        return self._part(self.count)

    def keep(self, count: int) -> None:
        """Go on behind the first ``count`` parts; remove what an earlier process wrote later.

        Raises InputError if one of the first ``count`` parts is missing.
        """
        self.count = count
        for path in self.paths:
            if not path.is_file():
                raise InputError(f"{path}: is missing, and the snapshot needs it; begin the run again without --resume")
        number = count + 1
        while (later := self._part(number)).exists():
            later.unlink()
            number += 1

    def sync(self) -> None:
        """Make the last part last when the machine goes down."""
        sync(self._part(self.count))

    def remove(self) -> None:
        """Remove all parts."""
        self.keep(0)

    def _part(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}-{number:05}{self._path.suffix}")
