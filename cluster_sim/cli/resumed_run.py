"""Directories in place of a study: of a run that was broken off, which is resumed, and of a complete one."""

import os
from pathlib import Path

from cluster_sim.errors import InputError
from cluster_sim.shown_values import shown_path

_PARTIAL = ".partial"


def broken_off_run(file: Path, out: Path | None) -> tuple[Path, Path]:
    """Return the study of a run that was broken off, and the directory that it will have when it is complete.

    ``file`` is that directory, the one that was left behind, which may be the working directory, or a study's name with
    the directory in ``out``.  Raises InputError if no run was broken off there.
    """
    final, study = _places(file if out is None else out)
    if final is not None and study.is_file():
        return study, final
    if final is not None and is_complete(final):
        raise InputError(f"{shown_path(final)}: is a complete run, so no run was broken off there; {_again(final)}")
    if not os.path.lexists(file):
        raise InputError(f"{shown_path(file)}: no such file or directory, so no run was broken off there")
    lacking = f": there is no {shown_path(study)}" if final is not None else ""
    raise InputError(
        f"{shown_path(file)}: no run was broken off there{lacking}; name a study, or the directory of such a run"
    )


def refuse_directory(directory: Path) -> None:
    """Raise InputError for a directory in place of a study, with what to name instead."""
    final, study = _places(directory)
    if is_complete(directory):
        advice = f"is the directory of a complete run; {_again(directory)}"
    elif final is not None and study.is_file():
        advice = "is a directory; to resume the run there, add --resume"
    else:
        advice = "is a directory; name a study file"
    raise InputError(f"{shown_path(directory)}: {advice}")


def is_complete(directory: Path) -> bool:
    """Return whether a directory is that of a complete run."""
    from cluster_sim.output.run_directory import RESOLVED_FILE, read_manifest

    return read_manifest(directory) is not None and (directory / RESOLVED_FILE).is_file()


def _places(place: Path) -> tuple[Path | None, Path]:
    """Return the directory of a run that ``place`` is or was left behind by, None if it has no name, and its study."""
    from cluster_sim.output.run_directory import RESOLVED_FILE

    named = place if place.name not in ("", "..") else Path(os.path.realpath(place))
    name = named.name.removesuffix(_PARTIAL)
    if not name:
        return None, named / RESOLVED_FILE
    final = named.with_name(name)
    return final, final.with_name(f"{name}{_PARTIAL}") / RESOLVED_FILE


def _again(directory: Path) -> str:
    from cluster_sim.output.run_directory import RESOLVED_FILE

    return f"to run its study again, name {shown_path(directory / RESOLVED_FILE)}"
