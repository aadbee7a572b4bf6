"""Reader of EndpointPickerConfig: llm-d's configuration files, as plain data.

Source: gateway-api-inference-extension, ``apix/config/v1alpha1/endpointpickerconfig_types.go`` and its loader.  A
plugin's name defaults to its type; without profiles there is one, ``default``, that has every plugin; a profile without
a picker takes the highest score; a single profile needs no handler.  Parts that only serve real servers are left out
with a notice, and so is what this program does not know inside a part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from cluster_sim.document import KeyPath
from cluster_sim.named_document import DocumentError
from cluster_sim.registry import Registry
from cluster_sim.routing.endpoint_picker.parameters import known_parameters
from cluster_sim.routing.endpoint_picker.parts import (
    ENDPOINT_DECIDERS,
    FILTERS,
    PICKERS,
    PROFILE_HANDLERS,
    SCORERS,
    Filter,
    PartOptions,
    Picker,
    ProfileHandler,
    Scorer,
)
from cluster_sim.routing.endpoint_picker.plugin_names import (
    FLOW_CONTROL_TYPES,
    IGNORED_POLICIES,
    means_nothing,
    present_name,
)
from cluster_sim.suggestion import suggestion

KIND: Final = "EndpointPickerConfig"
VERSIONS: Final = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
REGISTRIES: Final[tuple[Registry[Any], ...]] = (FILTERS, SCORERS, PICKERS, PROFILE_HANDLERS, ENDPOINT_DECIDERS)
MOST_PARTS: Final = 1000
"""More plugins, or references to them, than any sensible file has."""
HIGHEST_WEIGHT: Final = 1e9

_SECTIONS: Final = frozenset(
    {"apiVersion", "kind", "plugins", "schedulingProfiles", "featureGates", "saturationDetector", "flowControl"}
)


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin of the file that schedules."""

    name: str
    part: type[Any]
    options: PartOptions


@dataclass(frozen=True, slots=True)
class Reference:
    """A plugin in a profile."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A scheduling profile."""

    name: str
    references: tuple[Reference, ...]


@dataclass(slots=True)
class PickerConfig:
    """What a file says."""

    plugins: list[Plugin] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    flow_plugins: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """(type, parameters) of the parts of admission and flow control, by name."""
    flow_control: Mapping[str, Any] = field(default_factory=dict)
    saturation_detector: str = ""
    """Name of the part that says when endpoints are saturated; empty if the file has no such section."""
    filtering: list[str] = field(default_factory=list)
    """Names of the saturation detectors that a profile has as filters."""
    feature_gates: frozenset[str] = frozenset()
    notices: list[str] = field(default_factory=list)
    """What was left out."""


def read_config(data: Mapping[str, Any]) -> PickerConfig:
    """Return what a document says; raise ``DocumentError``, with the path of the key, if it is wrong."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._config = PickerConfig()
        self._left_out: set[str] = set()
        """Names of plugins that mean nothing here."""

    def read(self) -> PickerConfig:
        self._read_head()
        for index, item in enumerate(_items(self._data, ("plugins",))):
            self._read_plugin(item, ("plugins", index))
        self._read_profiles()
        self._add_defaults()
        self._read_flow_control()
        self._check_handler()
        return self._config

    def _read_head(self) -> None:
        for key, allowed in (("apiVersion", VERSIONS), ("kind", (KIND,))):
            value = self._data.get(key)
            if value not in allowed:
                given = "is missing" if value is None else f"is {value!r}"
                raise DocumentError((key,), f"{given}; it must be {' or '.join(allowed)}")
        gates = self._data.get("featureGates") or []
        if not isinstance(gates, list) or not all(isinstance(gate, str) for gate in gates):
            raise DocumentError(("featureGates",), "must be a list of names")
        self._config.feature_gates = frozenset(gates)
        for key in self._data:
            if key not in _SECTIONS:
                self._notice(f"{key}: means nothing in a simulation{suggestion(str(key), sorted(_SECTIONS))}")

    def _read_plugin(self, item: Any, path: KeyPath) -> None:
        block = _mapping(item, path)
        given = block.get("type")
        if not isinstance(given, str) or not given:
            raise DocumentError((*path, "type"), "is required: the type of a plugin")
        name = block.get("name") or given
        if not isinstance(name, str):
            raise DocumentError((*path, "name"), f"must be text; got {name!r}")
        if any(plugin.name == name for plugin in self._config.plugins) or name in self._config.flow_plugins:
            raise DocumentError((*path, "name"), f"a second plugin is called {name!r}: give each its own name")
        parameters = _mapping(block.get("parameters") or {}, (*path, "parameters"))
        type_name = present_name(given)
        if type_name in FLOW_CONTROL_TYPES:
            self._config.flow_plugins[name] = (type_name, parameters)
            return
        registry = next((registry for registry in REGISTRIES if type_name in registry.names()), None)
        if registry is not None:
            self._config.plugins.append(self._plugin(registry, type_name, name, parameters, path))
            return
        if means_nothing(given) or given.endswith(IGNORED_POLICIES):
            self._left_out.add(name)
            self._notice(f"{_dotted(path)}: {given} means nothing in a simulation and is left out")
            return
        known = [*(known for registry in REGISTRIES for known in registry.names()), *sorted(FLOW_CONTROL_TYPES)]
        raise DocumentError(
            (*path, "type"), f"unknown plugin {given!r}{suggestion(given, known)}; known: {', '.join(known)}"
        )

    def _plugin(
        self, registry: Registry[Any], type_name: str, name: str, parameters: Mapping[str, Any], path: KeyPath
    ) -> Plugin:
        entry = registry.get(type_name)
        assert issubclass(entry.options, PartOptions)
        known, unknown = known_parameters(entry.options, parameters)
        for key in unknown:
            self._notice(f"{_dotted(path)}.parameters.{key}: {type_name} has no such parameter here; it is left out")
        try:
            options = entry.options.model_validate(known)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise DocumentError(
                (*path, "parameters", *first["loc"]), f"{first['msg']}; got {first['input']!r}"
            ) from None
        return Plugin(name, entry.part, options)

    def _read_profiles(self) -> None:
        names = {plugin.name: plugin for plugin in self._config.plugins}
        profiles = _items(self._data, ("schedulingProfiles",))
        for index, item in enumerate(profiles):
            path: KeyPath = ("schedulingProfiles", index)
            block = _mapping(item, path)
            name = block.get("name")
            if not isinstance(name, str) or not name:
                raise DocumentError((*path, "name"), "is required: the name of the profile")
            if any(profile.name == name for profile in self._config.profiles):
                raise DocumentError((*path, "name"), f"a second profile is called {name!r}: give each its own name")
            references = [
                reference
                for place, part in enumerate(_items(block, ("plugins",), path))
                if (reference := self._reference(part, (*path, "plugins", place), names)) is not None
            ]
            self._config.profiles.append(Profile(name, tuple(references)))
        if not profiles:
            everything = tuple(Reference(name) for name, plugin in names.items() if _is_in_profiles(plugin))
            self._config.profiles.append(Profile("default", everything))

    def _reference(self, item: Any, path: KeyPath, names: Mapping[str, Plugin]) -> Reference | None:
        block = _mapping(item, path)
        name = block.get("pluginRef")
        if not isinstance(name, str) or not name:
            raise DocumentError((*path, "pluginRef"), "is required: the name of a plugin")
        weight = block.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) <= HIGHEST_WEIGHT:
            raise DocumentError((*path, "weight"), f"must be a number of at most {HIGHEST_WEIGHT:g}; got {weight!r}")
        if name in self._left_out:
            return None
        if name in self._config.flow_plugins:
            if self._config.flow_plugins[name][0].endswith("-detector"):
                self._config.filtering.append(name)
            else:
                self._notice(f"{_dotted(path)}: {name} is a part of admission and does nothing in a profile")
            return None
        plugin = names.get(name) or names.get(present_name(name))
        if plugin is None:
            raise DocumentError(
                (*path, "pluginRef"),
                f"the file has no plugin {name!r}{suggestion(name, list(names))}; it has {', '.join(names) or 'none'}",
            )
        if not _is_in_profiles(plugin):
            self._notice(f"{_dotted(path)}: {name} does nothing in a profile")
            return None
        return Reference(plugin.name, float(weight))

    def _add_defaults(self) -> None:
        config = self._config
        parts = {plugin.name: plugin.part for plugin in config.plugins}
        for index, profile in enumerate(config.profiles):
            pickers = [reference.name for reference in profile.references if issubclass(parts[reference.name], Picker)]
            if len(pickers) > 1:
                path = ("schedulingProfiles", index, "plugins") if "schedulingProfiles" in self._data else ("plugins",)
                raise DocumentError(path, f"profile {profile.name!r} has {len(pickers)} pickers: {', '.join(pickers)}")
            if not pickers:
                name = self._default_plugin(PICKERS, "max-score-picker")
                config.profiles[index] = Profile(profile.name, (*profile.references, Reference(name)))
        if not any(issubclass(part, ProfileHandler) for part in parts.values()):
            if len(config.profiles) > 1:
                raise DocumentError(
                    ("plugins",),
                    f"{len(config.profiles)} profiles need a profile handler, one of "
                    f"{', '.join(PROFILE_HANDLERS.names())}",
                )
            self._default_plugin(PROFILE_HANDLERS, "single-profile-handler")

    def _default_plugin(self, registry: Registry[Any], type_name: str) -> str:
        """Return the name of a plugin that has not been given options, adding it to the file's unless it is there."""
        if not any(plugin.name == type_name for plugin in self._config.plugins):
            entry = registry.get(type_name)
            options = entry.options()
            assert isinstance(options, PartOptions)
            self._config.plugins.append(Plugin(type_name, entry.part, options))
        return type_name

    def _read_flow_control(self) -> None:
        detector = _mapping(self._data.get("saturationDetector") or {}, ("saturationDetector",))
        name = detector.get("pluginRef", "")
        if "saturationDetector" in self._data:
            if name and name not in self._config.flow_plugins:
                known = ", ".join(self._config.flow_plugins) or "none"
                raise DocumentError(
                    ("saturationDetector", "pluginRef"),
                    f"the file has no saturation detector {name!r}; its parts of admission: {known}",
                )
            if not name:  # Before there were plugins for it, the section held the thresholds itself.
                name = "saturationDetector"
                self._config.flow_plugins[name] = ("utilization-detector", detector)
        self._config.saturation_detector = str(name)
        self._config.flow_control = _mapping(self._data.get("flowControl") or {}, ("flowControl",))

    def _check_handler(self) -> None:
        handlers = [plugin.name for plugin in self._config.plugins if issubclass(plugin.part, ProfileHandler)]
        if len(handlers) > 1:
            raise DocumentError(("plugins",), f"{', '.join(handlers)} are all profile handlers: keep one")

    def _notice(self, text: str) -> None:
        if text not in self._config.notices:
            self._config.notices.append(text)


def _is_in_profiles(plugin: Plugin) -> bool:
    return issubclass(plugin.part, Filter | Scorer | Picker)


def _mapping(value: Any, path: KeyPath) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DocumentError(path, f"must be a mapping of keys to values; got {value!r}")
    return value


def _items(block: Mapping[str, Any], key: tuple[str], path: KeyPath = ()) -> Sequence[Any]:
    items = block.get(key[0])
    if items is None:
        return []
    if not isinstance(items, list):
        raise DocumentError((*path, *key), f"must be a list; got {items!r}")
    if len(items) > MOST_PARTS:
        raise DocumentError((*path, *key), f"has {len(items)} items, more than {MOST_PARTS}")
    return items


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
