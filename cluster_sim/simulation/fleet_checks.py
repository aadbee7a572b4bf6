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
    for key, traits in _traits(study.workload, "workload"):
        name = traits.model
        if name and name not in served and named_by_repository("models", name) not in served:
            raise InputError(
                f"{key}.model: {name!r} is not served{suggestion(name, list(served))}; add a pool for it, or ask for "
                f"one of {', '.join(served)}"
            )


def check_requested_adapters(study: Study, slots: Sequence[int]) -> None:
    """Raise InputError for a part of the workload that asks for adapters if no pool has a slot for one."""
    if any(slots):
        return
    for key, traits in _traits(study.workload, "workload"):
        option = "lora" if traits.lora else "lora_pool" if traits.lora_pool is not None else ""
        if option:
            raise InputError(
                f"{key}.{option}: no pool serves adapters; give one slots with engine.lora: {{max_loras: 4}} (engine "
                "vllm_v1), or leave it out"
            )


def _traits(block: Any, key: str) -> Iterator[tuple[str, Traits]]:
    """Yield (key, block) of every block of traits."""
    if isinstance(block, Traits):
        yield key, block
    elif isinstance(block, BaseModel):
        for name in type(block).model_fields:
            yield from _traits(getattr(block, name), f"{key}.{name}")
    elif isinstance(block, tuple | list):
        for index, item in enumerate(block):
            yield from _traits(item, f"{key}.{index}")
