"""Quantisation of a checkpoint: the format of every matrix by the rules of its configuration.

Design: each method becomes a list of rules - patterns of module names and a format, or none for modules that are not
converted - of which the first that fits counts, and a default.  The precision of a part of the model is the mean over
its matrices.  A method or a width that is not understood is refused by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cluster_sim.hardware.layers.layer import Layer
from cluster_sim.hardware.layers.mixer import Part
from cluster_sim.hardware.model_config.module_names import HEAD_NAMES, ModulePatterns, checkpoint_names, parts
from cluster_sim.hardware.model_config.weight_format import WeightFormat

_PLAIN_BITS: Final = {"fp32": 32.0}
"""Bits of a weight that is not converted, by the type of the activations; 16 otherwise."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A format for the modules that patterns mean."""

    patterns: ModulePatterns
    format: WeightFormat | None


@dataclass(frozen=True, slots=True)
class Quantization:
    """Formats of the matrices of one checkpoint."""

    rules: tuple[Rule, ...] = ()
    named: Mapping[str, WeightFormat] = field(default_factory=dict)
    """Formats of modules by their very names; what has none of these is judged by the rules."""
    default: WeightFormat | None = None
    """Format of the matrices of layers that no rule means; the head must be named to be converted."""
    only_experts: bool = False
    """Whether the format converts routed experts alone, whatever the rules say of the rest."""
    kv_cache_dtype: str | None = None

    def format_of(self, names: list[str], part: Part) -> WeightFormat | None:
        """Return the format of a module that may have any of ``names``; None if it is not converted."""
        for name in names if self.named else ():
            for piece in parts(name):
                if piece in self.named:
                    return self.named[piece]
        for rule in self.rules:
            if rule.patterns.matches(names):
                return rule.format
        if part == "head" or (self.only_experts and part != "experts"):
            return None
        return self.default

    def precision(
        self,
        layers: Iterable[Layer],
        head_parameters: int,
        activation_dtype: str,
        renamed: Mapping[str, tuple[str, ...]],
    ) -> dict[Part, dict[str, Any]]:
        """Return the precision of the parts that have converted matrices, in the layout of the library's files."""
        stored: dict[Part, dict[WeightFormat | None, int]] = {}
        for index, layer in enumerate(layers):
            for projection in layer.projections():
                chosen = self.format_of(checkpoint_names(index, projection.name, renamed), projection.part)
                counts = stored.setdefault(projection.part, {})
                counts[chosen] = counts.get(chosen, 0) + projection.parameters
        stored["head"] = {self.format_of(list(HEAD_NAMES), "head"): head_parameters}
        plain = WeightFormat(activation_dtype, _PLAIN_BITS.get(activation_dtype, 16.0))
        found: dict[Part, dict[str, Any]] = {}
        for part, counts in stored.items():
            if set(counts) == {None}:
                continue
            most = max(counts, key=lambda precision: counts[precision]) or plain
            bits = sum((precision or plain).bits * count for precision, count in counts.items()) / sum(counts.values())
            found[part] = {"dtype": most.dtype, "bits": bits, "arithmetic": most.arithmetic or activation_dtype}
        return found


UNQUANTIZED: Final = Quantization()
