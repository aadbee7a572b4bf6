"""Checks of the place that a caller names for results, before anything is written there."""

import os
from errno import ELOOP
from pathlib import Path
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.shown_values import cut, shown_path

LONGEST_NAME_BYTES: Final = 240
"""File systems take 255; while a run goes on, its directory has a suffix."""


def path_in_full(out: str | Path) -> Path:
    """Return a path with the home directory that a ``~`` at its beginning stands for; names of no user stay."""
    return Path(os.path.expanduser(out))  # noqa: PTH111 - `Path.expanduser` refuses the names of users not there


def result_path(out: Path) -> Path:
    """Return where results go: ``out``, or where it leads if it is a link.

    Raises InputError for a place that no directory can be made at, or that holds the caller's own working directory.
    """
    shown = f"--out {shown_path(out)}"
    if os.path.expanduser(out) != str(out):  # noqa: PTH111 - names of users that are not there are left
        raise InputError(f"{shown}: begins with ~, which stands for a home directory: write its path in full")
    try:
        final = out.resolve() if out.is_symlink() or out.name in ("", "..") else out
        place, here = final.resolve(), Path.cwd()
        os.path.lexists(final)
        if final.is_symlink():  # Python 3.13 resolves a link that leads to itself without a word.
            raise OSError(ELOOP, os.strerror(ELOOP))
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{shown}: cannot be a directory: {cut(str(reason))}") from None
    if place == here or place in here.parents:
        raise InputError(f"{shown}: is the working directory or above it: name a directory that can be made there")
    if len(os.fsencode(final.name)) > LONGEST_NAME_BYTES:
        raise InputError(f"{shown}: the name is longer than {LONGEST_NAME_BYTES} bytes; give a shorter one")
    for parent in final.parents:
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"{shown}: {shown_path(parent)} is a file, not a directory")
            break
    return final
