"""Admission of an EndpointPickerConfig: its saturation detector, flow control and admitters as options of a study.

Source: llm-d-inference-scheduler, ``pkg/epp/flowcontrol`` and the admitters.  With the feature gate ``flowControl``
requests wait while endpoints are saturated; without it nobody waits, and those of a low priority are rejected then.  A
priority of llm-d is the negative of one here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from cluster_sim.named_document import DocumentError
from cluster_sim.routing.endpoint_picker.config_reader import PickerConfig
from cluster_sim.routing.endpoint_picker.durations import duration_ns
from cluster_sim.routing.endpoint_picker.plugin_names import present_name
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.units import NS_PER_MS, NS_PER_S

MOST_QUEUED: Final = 1_000_000
"""Queue lengths beyond this mean that a detector is switched off, and are cut to it."""

_ORDERINGS: Final = {
    "fcfs-ordering-policy": "fcfs",
    "edf-ordering-policy": "edf",
    "slo-deadline-ordering-policy": "slo_deadline",
}
_FAIRNESS: Final = {
    "round-robin-fairness-policy": "round_robin",
    "global-strict-fairness-policy": "global_strict",
}


def picker_admission(config: PickerConfig) -> AdmissionOptions:
    """Return the options of ``admission`` that a file means; the defaults, which limit nothing, if it says nothing.

    Raises ``DocumentError`` for values that they do not take.
    """
    try:
        return AdmissionOptions.model_validate(_Translation(config).options())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DocumentError(("flowControl",), f"as admission.{place}: {first['msg']}; got {first['input']!r}") from None


class _Translation:
    def __init__(self, config: PickerConfig) -> None:
        self._config = config
        self._queues = "flowcontrol" in {gate.lower() for gate in config.feature_gates}

    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        detector = self._detector()
        shedders = list(self._shedders())
        if self._config.saturation_detector and not self._queues and not shedders:
            shedders.append({"kind": "sheddable"})
        if self._queues and detector is None:
            detector = {"kind": "utilization"}
        if detector is not None and (self._queues or shedders):
            found["detector"] = detector
            found["queues_saturated"] = self._queues
            found["filters_saturated"] = bool(self._config.filtering)
        if shedders:
            found["shedders"] = shedders
        if self._queues:
            found |= self._queueing()
        return found

    def _detector(self) -> dict[str, Any] | None:
        """Return the detector that decides: a probabilistic admitter measures by itself."""
        for type_name, parameters in self._config.flow_plugins.values():
            if type_name == "probabilistic-admitter":
                return _utilization(parameters)
        name = self._config.saturation_detector or next(iter(self._config.filtering), "")
        if not name:
            return None
        type_name, parameters = self._config.flow_plugins[name]
        return _concurrency(parameters) if type_name == "concurrency-detector" else _utilization(parameters)

    def _shedders(self) -> Iterator[dict[str, Any]]:
        for type_name, parameters in self._config.flow_plugins.values():
            if type_name == "probabilistic-admitter":
                yield {
                    "kind": "probabilistic",
                    "factor": _number(parameters, 300.0, "k", "factor"),
                    "exponent": _number(parameters, 5.0, "power", "exponent"),
                }
            elif type_name == "latency-slo-admitter":
                yield {"kind": "slo_aware", "sheds_all": False}

    def _queueing(self) -> dict[str, Any]:
        section = self._config.flow_control
        found: dict[str, Any] = {}
        policies = [present_name(type_name) for type_name, _ in self._config.flow_plugins.values()]
        policies += [present_name(name) for name in _references(section)]
        for kinds, key in ((_ORDERINGS, "ordering"), (_FAIRNESS, "fairness")):
            chosen = next((kinds[name] for name in policies if name in kinds), None)
            if chosen is not None:
                found[key] = {"kind": chosen}
        queue: dict[str, Any] = dict(_limits(section, ("flowControl",)))
        time_to_live = _of(section, "defaultRequestTTL")
        if time_to_live is not None and (ttl_ns := _duration(time_to_live, "defaultRequestTTL")) > 0:
            queue["time_to_live_s"] = ttl_ns / NS_PER_S
        bands = _of(section, "priorityBands") or []
        if not isinstance(bands, list):
            raise DocumentError(("flowControl", "priorityBands"), f"must be a list; got {bands!r}")
        levels = [_band(band, ("flowControl", "priorityBands", index)) for index, band in enumerate(bands)]
        if levels:
            queue["priorities"] = levels
        default = _of(section, "defaultPriorityBand")
        if isinstance(default, Mapping):
            queue["per_priority"] = dict(_limits(default, ("flowControl", "defaultPriorityBand")))
        if queue:
            found["queue"] = queue
        return found


def _utilization(parameters: Mapping[str, Any]) -> dict[str, Any]:
    stale = _of(parameters, "metricsStalenessThreshold")
    found: dict[str, Any] = {
        "kind": "utilization",
        "queue_depth_threshold": min(MOST_QUEUED, int(_number(parameters, 5, "queueDepthThreshold"))),
        "kv_usage_threshold": min(1.0, _number(parameters, 0.8, "kvCacheUtilThreshold")),
        "headroom_ratio": _number(parameters, 0.0, "headroom"),
    }
    if stale is not None:
        found["stale_after_ms"] = _duration(stale, "metricsStalenessThreshold") / NS_PER_MS
    return found


def _concurrency(parameters: Mapping[str, Any]) -> dict[str, Any]:
    mode = str(_of(parameters, "mode") or _of(parameters, "concurrencyMode") or "requests")
    return {
        "kind": "concurrency",
        "counts": "tokens" if "token" in mode.lower() else "requests",
        "max_requests": int(_number(parameters, 100, "maxConcurrency", "capacity")),
        "max_tokens": int(_number(parameters, 1_000_000, "maxTokenConcurrency", "maxTokens")),
        "headroom_ratio": _number(parameters, 0.0, "headroom"),
    }


def _band(band: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
    """Return the limits of one priority."""
    if not isinstance(band, Mapping) or not isinstance(_of(band, "priority"), int):
        raise DocumentError(path, f"must be a mapping with a priority; got {band!r}")
    return {"priority": -_of(band, "priority"), **dict(_limits(band, path))}


def _limits(block: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[tuple[str, int]]:
    """Yield the limits of a queue; 0 is none."""
    for theirs, ours in (("maxBytes", "max_bytes"), ("maxRequests", "max_requests")):
        value = _of(block, theirs)
        if value is None:
            continue
        amount = _quantity(value)
        if amount is None:
            raise DocumentError((*path, theirs), f"must be a number such as 1000 or 1Gi; got {value!r}")
        if amount:
            yield ours, amount


_SUFFIXES: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}


def _quantity(value: Any) -> int | None:
    """Return an amount in the notation of Kubernetes; None if it is none."""
    text = str(value).strip()
    digits = text.rstrip("kMGTi")
    factor = _SUFFIXES.get(text[len(digits) :])
    try:
        return None if factor is None or float(digits) < 0 else round(float(digits) * factor)
    except ValueError:
        return None


def _references(section: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plugins that a section refers to, at any depth."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _references(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _references(item)
        elif isinstance(value, str) and key.lower().endswith(("ref", "policy")):
            yield value


def _of(parameters: Mapping[str, Any], name: str) -> Any:
    """Return a parameter, whatever the case of its letters."""
    return next((value for key, value in parameters.items() if str(key).lower() == name.lower()), None)


def _number(parameters: Mapping[str, Any], default: float, *names: str) -> float:
    for name in names:
        value = _of(parameters, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if value is not None:
            raise DocumentError(("plugins",), f"{name} must be a number; got {value!r}")
    return default


def _duration(value: Any, name: str) -> int:
    try:
        return duration_ns(value)
    except ValueError as error:
        raise DocumentError(("flowControl",), f"{name} {error}") from None
