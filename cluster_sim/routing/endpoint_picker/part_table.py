"""Parts of one endpoint picker: built from a file's plugins, found by name, type or kind."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster_sim.routing.endpoint_picker.config_reader import Plugin
from cluster_sim.routing.endpoint_picker.endpoints import Endpoints
from cluster_sim.routing.endpoint_picker.parts import Part, PartContext, PrefixSource
from cluster_sim.routing.endpoint_picker.plugin_names import present_name


class PartTable:
    """The parts by name."""

    def __init__(
        self, plugins: Sequence[Plugin], endpoints: Endpoints, seed: int, objectives: Mapping[str, tuple[int, int]]
    ) -> None:
        self._types = {plugin.name: plugin.options.type for plugin in plugins}
        self._parts: dict[str, Part] = {}
        for plugin in plugins:
            context = PartContext(plugin.name, endpoints, seed, objectives, self.find, self.prefix_source)
            self._parts[plugin.name] = plugin.part(plugin.options, context)
        self._sources: list[Any] = [part for part in self if part.finds_prefixes]

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    def find(self, name: str) -> Part | None:
        """Return a part by its name, or the first of a type; None if there is none."""
        if name in self._parts:
            return self._parts[name]
        type_name = present_name(name)
        return next((self._parts[other] for other, theirs in self._types.items() if theirs == type_name), None)

    @property
    def sources(self) -> Sequence[PrefixSource]:
        """The parts that know matches of prefixes."""
        return self._sources

    def prefix_source(self, name: str) -> PrefixSource | None:
        """Return the part that knows matches, by its name or type, or ("") the first; None if there is none."""
        if not name:
            return self._sources[0] if self._sources else None
        part: Any = self.find(name)
        return part if part in self._sources else None
