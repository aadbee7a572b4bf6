"""Location of the files of ``conf/``: beside the packages in a checkout, inside the package in an installed wheel."""

import re
from pathlib import Path
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.shown_values import MOST_OF_PATH, shortened
from cluster_sim.suggestion import suggestion

SUFFIXES = (".yaml", ".json")
"""Suffixes that a library entry's file may have."""

_REPOSITORY: Final = re.compile(r"^hf_id: *(\S+)", re.MULTILINE)
_VARIANT: Final = re.compile(r"(-(instruct|chat|base|it|hf|thinking))+$")
"""Ends of repository names that tell trainings of one architecture apart."""


def library_root() -> Path:
    """Return the directory of the library; raise ``InputError`` where the installation lacks it."""
    package = Path(__file__).resolve().parent
    for root in (package.parent / "conf", package / "conf"):
        if (root / "devices").is_dir():
            return root
    raise InputError(f"the library conf/ is neither beside nor inside {package}: reinstall cluster-sim")


def library_path(topic: str) -> Path:
    """Return the directory of one topic of the library, for example ``devices`` or ``models``."""
    return library_root() / topic


def library_names(topic: str) -> list[str]:
    """Return the sorted names of a topic's entries: its files' names without the suffix."""
    directory = library_path(topic)
    if not directory.is_dir():
        return []
    return sorted(path.stem for path in directory.iterdir() if path.suffix in SUFFIXES)


def named_by_repository(topic: str, repository: str) -> str | None:
    """Return the entry whose ``hf_id`` is a repository of Hugging Face; None if there is none.

    Chat and base variants of a model have one architecture, so their suffixes do not count.
    """
    wanted = _without_variant(repository)
    for name in library_names(topic):
        for suffix in SUFFIXES:
            path = library_path(topic) / f"{name}{suffix}"
            found = _REPOSITORY.search(path.read_text(encoding="utf-8")) if path.is_file() else None
            if found is not None and _without_variant(found[1]) == wanted:
                return name
    return None


def _without_variant(repository: str) -> str:
    return _VARIANT.sub("", repository.strip().lower())


def is_file(path: Path) -> bool:
    """Return whether a name that may be a path is that of a file; one too long for any is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def library_file(topic: str, name: str) -> Path:
    """Return the file of an entry; a name that is a path to an existing file stands for itself, and a repository of
    Hugging Face for the entry that has its figures.

    Raises ``InputError`` that lists the known names where there is no such entry.
    """
    entry = named_by_repository(topic, name) if "/" in name and not name.endswith(SUFFIXES) else None
    for suffix in SUFFIXES:
        path = library_path(topic) / f"{entry or name}{suffix}"
        if is_file(path):
            return path
    own = Path(name)
    if own.suffix in SUFFIXES and is_file(own):
        return own
    known = library_names(topic)
    hint = suggestion(name, known)
    raise InputError(
        f"unknown name {shortened(name, MOST_OF_PATH)} for {topic}{hint}; conf/{topic} has: {', '.join(known)}"
    )
