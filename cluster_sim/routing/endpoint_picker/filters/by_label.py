"""Filter of one label's values.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/by_label.go``.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.endpoint_picker.label_filter import LabelFilter
from cluster_sim.routing.endpoint_picker.parts import FILTERS, PartContext, PartOptions


class ByLabelOptions(PartOptions):
    """Endpoints whose label has one of some values."""

    example: ClassVar = {"label": "tier", "valid_values": ("gold",)}

    type: Literal["by-label"] = "by-label"
    label: str = Field(min_length=1, description="Name of the label.")
    valid_values: tuple[str, ...] = Field((), description="Values that pass.")
    allows_no_label: bool = Field(False, description="Whether endpoints without the label pass.")


@FILTERS.register("by-label", ByLabelOptions)
class ByLabelFilter(LabelFilter):
    """Keeps some values of a label."""

    def __init__(self, options: ByLabelOptions, context: PartContext) -> None:
        super().__init__(context)
        self._label, self._valid = options.label, frozenset(options.valid_values)
        self._allows_none = options.allows_no_label

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self._label)
        return self._allows_none if value is None else value in self._valid
