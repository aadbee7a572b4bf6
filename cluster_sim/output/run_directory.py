"""Directory of one run: written under ``DIR.partial``, renamed to ``DIR`` when it is complete.

So a directory ``DIR`` is always whole: a reader never sees half a run, and a run that failed leaves nothing (wrong
input) or only ``DIR.partial`` (interrupted or failed, with what was written so far).
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.output.out_path import result_path
from cluster_sim.output.run_identity import RunIdentity
from cluster_sim.output.series_table import SeriesTable
from cluster_sim.output.snapshot_file import SNAPSHOT_FILE
from cluster_sim.plain_file import read_text

SUMMARY_FILE: Final = "summary.json"
MANIFEST_FILE: Final = "manifest.json"
REQUESTS_FILE: Final = "requests.parquet"
SERIES_FILE: Final = "series.parquet"
RESOLVED_FILE: Final = "resolved.yaml"
BENCH_FILE: Final = "bench.json"

_DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


def default_directory(name: str, config_hash: str) -> Path:
    """Return the directory of a run that was given none: ``runs/<name>-<config hash>``."""
    return Path("runs") / f"{name}-{config_hash}"


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """Return the manifest of a complete run, or None if ``directory`` does not hold one."""
    try:
        manifest: dict[str, Any] = json.loads(read_text(directory / MANIFEST_FILE))
    except (InputError, ValueError, RecursionError):
        return None
    return manifest


class RunDirectory:
    """Collects the files of one run; a context manager that discards them when the input turns out to be wrong.

    A complete run already at ``final`` is replaced at the rename, not before.  Raises ``InputError`` if ``final`` is
    something else than a run, or cannot be written; a disk that fills up later raises ``UnfinishedError``.
    """

    def __init__(self, final: Path, *, resumes: bool = False) -> None:
        """``resumes`` goes on with what a run left behind, which stays there whatever happens.

        Without it, what a run left behind is removed, unless it holds a snapshot.
        """
        self._resumes = resumes
        final = result_path(final)
        self.final = final
        self.partial = final.with_name(final.name + ".partial")
        self._series: SeriesTable | None = None
        self._is_complete = False
        if final.exists() and read_manifest(final) is None and not is_empty_directory(final):
            raise InputError(f"--out {final}: exists and is not the directory of a run; give another or remove it")
        is_ours = is_empty_directory(self.partial) or (self.partial / RESOLVED_FILE).exists()
        if os.path.lexists(self.partial) and not is_ours:
            raise InputError(f"--out {final}: {self.partial} is not what a run left behind; give another or remove it")
        if (self.partial / SNAPSHOT_FILE).exists() and not resumes:
            os.close(self._claim())  # Refused with another message if a run is at work there.
            raise InputError(
                f"--out {final}: {self.partial} holds a run that was broken off, with a snapshot to go on from; "
                "continue it with --resume, or remove it"
            )
        self._made_parent = not final.parent.exists()
        try:
            if resumes and not self.partial.exists():
                raise InputError(
                    f"--resume: there is no {self.partial}, so no run was broken off there; leave out --resume"
                )
            if self.partial.exists() and not resumes:
                os.close(self._claim())
                shutil.rmtree(self.partial)
            self.partial.mkdir(parents=True, exist_ok=resumes)
            self._claimed = self._claim()
        except OSError as error:
            raise InputError(f"--out {final}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._claimed)
        if self._is_complete:
            return
        with suppress(OSError):
            self._close_series()
        if INTERRUPTION.is_behind(error):
            raise UnfinishedError(f"interrupted; {self._left}") from error
        if isinstance(error, InputError):
            if not self._resumes:
                self.discard()
        elif isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise UnfinishedError(f"{self.partial}: cannot be written any more: {error}; {self._left}") from error
        elif isinstance(error, UnfinishedError):
            raise UnfinishedError(f"{error}; {self._left}") from error
        elif error is not None:
            error.add_note(self._left)

    @property
    def _left(self) -> str:
        """What an unfinished run left, and how to go on."""
        left = f"what was written so far is in {self.partial}"
        if (self.partial / SNAPSHOT_FILE).exists():
            left += f"; `cluster-sim run {self.final} --resume` goes on from its last snapshot"
        return left

    def _claim(self) -> int:
        """Lock the partial directory for this process until the descriptor returned is closed, or the process ends.

        Raises InputError if another process holds the lock.
        """
        claimed = os.open(self.partial, os.O_RDONLY)
        try:
            fcntl.flock(claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claimed)
            raise InputError(
                f"--out {self.final}: another run is writing {self.partial}; wait for its end, or give another"
            ) from None
        except OSError:
            pass  # A file system without locks.
        return claimed

    def series(self, metadata: RunMetadata) -> SeriesTable:
        """Return the table of the replicas' series, opened at the first call."""
        if self._series is None:
            pool_of_replica = metadata.pool_of_replica()
            kv_blocks = [metadata.pools[pool].kv_blocks for pool in pool_of_replica]
            names = [pool.name for pool in metadata.pools]
            self._series = SeriesTable(self.partial / SERIES_FILE, names, pool_of_replica, kv_blocks)
        return self._series

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run."""
        (self.partial / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run; NaN and infinity are refused because JSON has neither."""
        self.write_text(name, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def complete(self, summary: dict[str, Any], manifest: dict[str, Any]) -> Path:
        """Write the last two files, close the series and rename the directory; return its path."""
        series = self._series
        if series is not None:
            series.identity = RunIdentity.of_manifest(manifest)
        self._close_series()
        if series is not None:
            series.remove_parts()
        (self.partial / SNAPSHOT_FILE).unlink(missing_ok=True)
        self.write_json(SUMMARY_FILE, summary)
        self.write_json(MANIFEST_FILE, manifest)
        old = self.final.with_name(f".{secrets.token_hex(8)}.old")
        if self.final.exists():
            self.final.rename(old)
        self.partial.replace(self.final)
        if old.exists():
            shutil.rmtree(old)
        self._is_complete = True
        return self.final

    def discard(self) -> None:
        """Delete everything written."""
        self._close_series()
        shutil.rmtree(self.partial, ignore_errors=True)
        if self._made_parent and is_empty_directory(self.final.parent):
            self.final.parent.rmdir()

    def _close_series(self) -> None:
        if self._series is not None:
            self._series.close()
        self._series = None


def is_empty_directory(path: Path) -> bool:
    """Return whether ``path`` is a directory with nothing in it."""
    return path.is_dir() and not any(path.iterdir())
