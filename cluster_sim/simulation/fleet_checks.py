"""Checks of a whole fleet: pools that are named, and models that requests ask for."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from cluster_sim.conf_directory import named_by_repository
from cluster_sim.config.schema.fleet import Fleet
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion
from cluster_sim.workload.traits.trait_options import Traits


def check_pool_name(fleet: Fleet, name: str, key: str) -> None:
    """Raise InputError, which begins with ``key``, if no pool has the name."""
    names = [pool.name for pool in fleet.pools]
    if name not in names:
        raise InputError(f"{key}: there is no pool {name!r}{suggestion(name, names)}; pools: {', '.join(names)}")


def check_requested_models(study: Study, served: Sequence[str]) -> None:
    """Raise InputError for a part of the workload that asks for a model which no pool serves."""
    for key, name in _requested(study.workload, "workload"):
        if name not in served and named_by_repository("models", name) not in served:
            raise InputError(
                f"{key}: {name!r} is not served{suggestion(name, list(served))}; add a pool for it, or ask for one of "
                f"{', '.join(served)}"
            )


def _requested(block: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield (key, model) of every block of traits that names one."""
    if isinstance(block, BaseModel):
        for name in type(block).model_fields:
            value = getattr(block, name)
            if isinstance(value, Traits):
                if value.model:
                    yield f"{key}.{name}.model", value.model
            else:
                yield from _requested(value, f"{key}.{name}")
    elif isinstance(block, tuple | list):
        for index, item in enumerate(block):
            yield from _requested(item, f"{key}.{index}")
