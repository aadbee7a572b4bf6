"""Lock of a directory that one process at a time may write."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from cluster_sim.errors import InputError

LOCK_FILE: Final = "lock"


class DirectoryLock:
    """Held from its creation to ``release`` or the end of the process, whatever ends it; a context manager.

    The file ``lock`` of the directory names the process.  The operating system holds the lock, not the file, so one
    that a dead process left behind is taken over.  Raises InputError if another process holds the lock, or nothing can
    be written there.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        try:
            self._descriptor = self._locked(directory)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            raise InputError(f"{directory}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Remove the file and give the lock back; nothing happens at a second call."""
        if self._descriptor >= 0:
            with suppress(OSError):
                if self._is_current(self._descriptor):
                    self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def _locked(self, directory: Path) -> int:
        """Return the descriptor of the locked file."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(descriptor):
                    return descriptor
            except BlockingIOError:
                holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise InputError(
                    f"{directory}: {holder} is writing here; wait until it ends or stop it, or give another --out"
                ) from None
            except OSError:  # A file system without locks.
                return descriptor
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Return whether the file still has its name: an earlier holder may have removed it in the meantime."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
