"""Lists of what studies can name: entries of the library and parts of the axes, each with one line about it."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from cluster_sim.conf_directory import library_file, library_names
from cluster_sim.config.schema.axes import AXES
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import device_names, load_device
from cluster_sim.hardware.library_file import load_mapping
from cluster_sim.hardware.link_library import link_names, load_link
from cluster_sim.hardware.model import load_model, model_names
from cluster_sim.hardware.predictors.calibration_file import load_calibration, load_operator_ratios
from cluster_sim.hardware.predictors.error_band_file import load_error_bands
from cluster_sim.registry import Registry
from cluster_sim.units import GIB

TOPICS: Final = {
    "engines": "cluster_sim.engines",
    "predictors": "cluster_sim.predictors",
    "policies": "cluster_sim.routing_policies",
    "connectors": "cluster_sim.connectors",
    "handover-deciders": "cluster_sim.handover_deciders",
    "picker-filters": "cluster_sim.picker_filters",
    "picker-scorers": "cluster_sim.picker_scorers",
    "picker-pickers": "cluster_sim.picker_pickers",
    "picker-handlers": "cluster_sim.picker_profile_handlers",
    "picker-deciders": "cluster_sim.picker_deciders",
    "faults": "cluster_sim.fault_kinds",
    "detectors": "cluster_sim.saturation_detectors",
    "flow-orderings": "cluster_sim.flow_orderings",
    "fairness": "cluster_sim.flow_fairness",
    "shedders": "cluster_sim.shedders",
    "scalers": "cluster_sim.scalers",
    "orders": "cluster_sim.queue_orders",
    "workloads": "cluster_sim.workload_kinds",
    "arrivals": "cluster_sim.arrivals",
    "lengths": "cluster_sim.lengths",
    "distributions": "cluster_sim.length_distributions",
    "formats": "cluster_sim.trace_readers",
}
"""Axes by the word that the command line has for them, with the group of their entry points."""


def listing(topic: str) -> list[str]:
    """Return the lines of a topic; library files and entry points that cannot be loaded are named with the error."""
    if topic in TOPICS:
        axis = next(axis for axis in AXES if axis.group == TOPICS[topic])
        entries, faults = list(_parts(axis)), [f"cannot be loaded: {text}" for text in axis.failures.values()]
    else:
        names, describe = _LIBRARY[topic]
        entries, faults = [], []
        for name in names():
            try:
                entries.append((name, describe(name)))
            except InputError as error:
                faults.append(f"cannot be loaded: {error}")
    width = max((len(name) for name, _ in entries), default=0)
    return [*(f"{name:{width}}  {text}".rstrip() for name, text in entries), *faults]


def _parts(axis: Registry[Any]) -> Iterator[tuple[str, str]]:
    for entry in axis.entries():
        yield entry.name, entry.summary.replace("``", "") + (f" [{entry.package}]" if entry.is_outside else "")


def _device(name: str) -> str:
    device = load_device(name)
    memory_tb_per_s, tflop_per_s = device.memory_bandwidth_bytes_per_s / 1e12, device.peak_flops("bf16") / 1e12
    return (
        f"{device.vendor_name or device.architecture}: {device.memory_bytes / GIB:.0f} GiB, "
        f"{memory_tb_per_s:.2f} TB/s, {tflop_per_s:,.0f} TFLOP/s in bf16, "
        f"{device.tdp_w:.0f} W, {device.price_usd_per_hour:.2f} USD/h"
    )


def _link(name: str) -> str:
    link = load_link(name)
    rate = link.bandwidth_bytes_per_s
    return f"{link.kind}: {rate / 1e9:g} GB/s, {link.achieved_ratio:.0%} of it achieved, {link.latency_us:g} us"


def _model(name: str) -> str:
    model = load_model(name)
    active = f", {model.active_parameters / 1e9:.1f} B active" if model.is_moe else ""
    return (
        f"{model.total_parameters / 1e9:.1f} B parameters{active}, {model.num_hidden_layers} layers, context "
        f"{model.max_position_embeddings:,}{f', {model.hf_id}' if model.hf_id else ''}"
    )


def _profile(name: str) -> str:
    kind = load_mapping(library_file("profiles", name)).get("kind")
    if kind == "error_bands":
        return f"error bands of predictions: {', '.join(load_error_bands().cases)}"
    if kind == "operators":
        return f"ratios of operators on {', '.join(load_operator_ratios(name).devices)}"
    calibration = load_calibration(name)
    devices = ", ".join(dict.fromkeys(entry.device for entry in calibration.measured))
    return f"coefficients of {calibration.engine}{f' on {devices}' if devices else ''}"


_LIBRARY: Final[dict[str, tuple[Callable[[], list[str]], Callable[[str], str]]]] = {
    "devices": (device_names, _device),
    "links": (link_names, _link),
    "models": (model_names, _model),
    "profiles": (lambda: library_names("profiles"), _profile),
}
