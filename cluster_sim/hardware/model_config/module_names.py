"""Names of a checkpoint's modules: whether a pattern of a quantisation's list means one of them."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import Final

PREFIXES: Final = ("model", "model.language_model", "language_model.model", "backbone", "language_model", "")
"""Where checkpoints keep the list of layers."""

HEAD_NAMES: Final = ("lm_head", "language_model.lm_head", "model.lm_head", "head")

USUAL_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "mlp.shared_experts": ("mlp.shared_experts", "mlp.shared_expert"),
    "linear_attn.in_proj_qkv": ("linear_attn.in_proj_qkv", "linear_attn.in_proj_qkvz"),
    "linear_attn.in_proj_z": ("linear_attn.in_proj_z", "linear_attn.in_proj_qkvz"),
    "linear_attn.in_proj_ba": ("linear_attn.in_proj_ba", "linear_attn.in_proj_b", "linear_attn.in_proj_a"),
}
"""Names in use for modules of ours, by the start of our name; the longest that fits counts."""


def checkpoint_names(layer: int, name: str, renamed: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the names that a module of a layer may have in a checkpoint."""
    start = max((each for each in renamed if f"{name}.".startswith(f"{each}.")), key=len, default="")
    stems = [each + name[len(start) :] for each in renamed[start]] if start else [name]
    return [f"{prefix}.layers.{layer}.{stem}".lstrip(".") for prefix in PREFIXES for stem in stems]


class ModulePatterns:
    """A list of modules as quantisation configs write it: names, parts of names, wildcards, or ``re:`` expressions."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._plain: set[str] = set()
        starts: list[str] = []
        expressions: list[str] = []
        for pattern in patterns:
            if pattern.startswith("re:"):
                expressions.append(pattern.removeprefix("re:"))
            elif "*" not in pattern:
                self._plain.add(pattern)
            elif pattern.endswith("*") and "*" not in pattern[:-1]:
                starts.append(pattern[:-1])
            else:
                # A module's name also means what lies inside it.
                expressions += [translate(pattern), translate(f"{pattern}.*")]
        self._starts = tuple(starts)
        self._expressions = [re.compile(each) for each in expressions]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._plain or self._starts or self._expressions)

    def matches(self, names: Iterable[str]) -> bool:
        """Return whether a pattern means a module that may have any of these names."""
        for name in names:
            if name.startswith(self._starts) or any(each.match(name) for each in self._expressions):
                return True
            if self._plain and any(part in self._plain for part in parts(name)):
                return True
        return False


def parts(name: str) -> list[str]:
    """Return every run of whole components of a dotted name."""
    words = name.split(".")
    return [".".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
