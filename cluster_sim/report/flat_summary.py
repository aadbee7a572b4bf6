"""A summary and a study as flat names and values, the form in which trackers of experiments take them."""

from collections.abc import Iterator
from typing import Any

from cluster_sim.report.run_data import RunData


def flat_summary(data: RunData) -> dict[str, float]:
    """Return every number of a run's summary, by its dotted place: ``ttft_s.p99``, ``pools.main.gpu_hours``."""
    return {
        name: float(value)
        for name, value in _flat(data.summary, "")
        if isinstance(value, int | float) and name != "summary_version"
    }


def flat_study(data: RunData) -> dict[str, Any]:
    """Return every option of a run's study that has a value, by its dotted place, with its configuration hash."""
    options = {name: value for name, value in _flat(data.study(), "") if value is not None}
    return {**options, "config_hash": str(data.manifest.get("config_hash"))}


def _flat(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the single values of nested mappings and lists; items of a list go by their names, if they have any."""
    if isinstance(value, dict):
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        items = list(zip(_names(value), value, strict=True))
    else:
        yield place, value
        return
    for name, item in items:
        yield from _flat(item, f"{place}.{name}" if place else name)


def _names(items: list[Any]) -> list[str]:
    """Return the names of a list's items, or their numbers where some have none of their own."""
    names = [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]
    return names if len(set(names)) == len(items) else [str(number) for number in range(len(items))]
