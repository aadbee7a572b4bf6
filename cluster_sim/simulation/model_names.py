"""Names of the models that a fleet serves: one for each file, and the one of requests that name none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster_sim.conf_directory import SUFFIXES, named_by_repository
from cluster_sim.errors import InputError
from cluster_sim.hardware.model_config.read import model_name
from cluster_sim.suggestion import suggestion


def distinct_names(models: Iterable[str]) -> dict[str, str]:
    """Return names by what pools say of their models: two files are two models, also if they are called alike.

    Files that would have one name get as many of their folders in front as tell them apart; an entry of the library
    keeps its own name, which is left empty here.
    """
    sources = list(dict.fromkeys(models))
    files = [source for source in sources if source.endswith(SUFFIXES)]
    names = {source: model_name(Path(source)) for source in files}
    taken = [source for source in sources if source not in names]
    found = dict.fromkeys(sources, "") | names
    for source in files:
        rivals = [other for other in files if other != source and names[other] == names[source]]
        if rivals or names[source] in taken:
            found[source] = _with_folders(Path(source), names[source], [Path(rival) for rival in rivals])
    return found


def _with_folders(path: Path, name: str, rivals: Sequence[Path]) -> str:
    """Return a file's name behind as many folders as tell it apart from its rivals', at least one."""
    own, others = _folders(path), [_folders(rival) for rival in rivals]
    for count in range(1, len(own) + 1):
        if all(other[-count:] != own[-count:] for other in others):
            return "/".join([*own[-count:], name])
    return "/".join([*own, name])


def _folders(path: Path) -> tuple[str, ...]:
    """Return the folders above a file, without the one that names it."""
    parts = path.resolve().parent.parts[1:]
    return parts[:-1] if path.name == "config.json" else parts


def default_model(wanted: str | None, served: Sequence[str]) -> str:
    """Return the model of requests that name none; empty if several are served and none is ``wanted``.

    Raises InputError if it is not served.
    """
    if wanted is None:
        return served[0] if len(served) == 1 else ""
    name = wanted if wanted in served else named_by_repository("models", wanted)
    if name is None or name not in served:
        raise InputError(
            f"workload.model: {wanted!r} is not served{suggestion(wanted, list(served))}; served: {', '.join(served)}"
        )
    return name


def nameless_notice(wanted: str | None, served: Sequence[str]) -> list[str]:
    """Return a sentence about requests that name no model, if they are refused."""
    if wanted is not None or len(served) == 1:
        return []
    names = ", ".join(served)
    return [f"{len(served)} models are served ({names}): requests that name none are refused; set workload.model."]
