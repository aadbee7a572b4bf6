"""The data sets by the names of their folders; a folder that is absent or new is no error."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from cluster_sim.calibration.case import Case
from cluster_sim.errors import InputError
from validation import apex, blis, llmservingsim, residency, silicon
from validation.contradictions import mark_contradictions
from validation.scoring import AGGREGATES, REQUESTS, Skipped

Loaded = tuple[list[Case], list[Skipped]]

LOADERS: Final[dict[str, Callable[[Path], Loaded]]] = {
    REQUESTS: blis.load_requests,
    residency.DATASET: residency.load_residency,
    llmservingsim.BENCH: llmservingsim.load_bench,
    llmservingsim.ISPASS: llmservingsim.load_ispass,
    apex.DATASET: apex.load_apex,
}
"""Folders that load by themselves; the aggregates need the requests too, and the silicon rows have a closed form."""


def load_all(folder: Path, only: tuple[str, ...] = ()) -> Loaded:
    """Load every known data set under ``folder`` (``only`` these, if given).

    Runs that cannot be read are returned as skipped, with the reason; runs that contradict themselves keep theirs.
    Raises InputError when nothing is there.
    """
    names = (*LOADERS, AGGREGATES, silicon.DATASET)
    present = [name for name in names if (folder / name).is_dir() and (not only or name in only)]
    if not present:
        raise InputError(f"{folder}: none of the known data sets is there: {', '.join(names)}")
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for name, loader in LOADERS.items():
        if name in present:
            _extend(cases, skipped, name, partial(loader, folder / name))
    if AGGREGATES in present:
        twins = [case for case in cases if case.dataset == REQUESTS]
        load = partial(blis.load_aggregates, folder / AGGREGATES, twins)
        _extend(cases, skipped, AGGREGATES, load)
    return mark_contradictions(cases), skipped


def _extend(cases: list[Case], skipped: list[Skipped], name: str, load: Callable[[], Loaded]) -> None:
    try:
        found, left_out = load()
    except (InputError, OSError, KeyError, ValueError) as error:
        skipped.append(Skipped(name, "*", f"{type(error).__name__}: {error}"))
        return
    cases += found
    skipped += left_out
