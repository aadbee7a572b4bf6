"""Temporary folders of one process, removed when it is done with them; what killed ones left is removed by the next."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cluster_sim.directory_lock import DirectoryLock
from cluster_sim.errors import InputError

_NEW_S: Final = 60.0
"""Age below which a folder may belong to a process that has not locked it yet."""


@contextmanager
def own_folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """Yield a folder ``cluster-sim-<purpose>-*`` that only this user may enter, locked while the context lasts.

    It lies in ``place``, by default where temporary files belong.  Folders of the same purpose whose process was killed
    are removed first.  Raises OSError if there is no place for it.
    """
    place = place or Path(tempfile.gettempdir())
    prefix = f"cluster-sim-{purpose}-"
    _remove_left_behind(place, prefix)
    folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
    with folder as name, DirectoryLock(Path(name)):
        yield Path(name)


def _remove_left_behind(place: Path, prefix: str) -> None:
    """Remove this user's folders whose process was killed: nobody holds their locks."""
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError, InputError):
            status = folder.lstat()
            is_old = time.time() - status.st_mtime > _NEW_S
            if is_old and status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode):
                with DirectoryLock(folder):
                    shutil.rmtree(folder)
