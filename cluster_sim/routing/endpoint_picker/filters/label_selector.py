"""Filter of labels by a Kubernetes selector.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/by_label_selector.go``; Kubernetes' ``LabelSelector``.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from cluster_sim.options import ConfigModel
from cluster_sim.routing.endpoint_picker.label_filter import LabelFilter
from cluster_sim.routing.endpoint_picker.parts import FILTERS, PartContext, PartOptions


class Requirement(ConfigModel):
    """One condition on a label."""

    key: str = Field(min_length=1, description="Name of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="What must hold of its value.")
    values: tuple[str, ...] = Field((), description="Values of In and NotIn.")

    def is_met(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the condition; NotIn holds without the label."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "Exists")


class LabelSelectorOptions(PartOptions):
    """Endpoints that a Kubernetes label selector selects: matchLabels and matchExpressions, all of which must hold."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    type: Literal["label-selector-filter"] = "label-selector-filter"
    match_labels: dict[str, str] = Field({}, description="Labels with the value that each must have.")
    match_expressions: tuple[Requirement, ...] = Field((), description="Conditions.")


@FILTERS.register("label-selector-filter", LabelSelectorOptions)
class LabelSelectorFilter(LabelFilter):
    """Keeps what a selector selects."""

    def __init__(self, options: LabelSelectorOptions, context: PartContext) -> None:
        super().__init__(context)
        self._labels, self._requirements = options.match_labels, options.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        is_equal = all(labels.get(key) == value for key, value in self._labels.items())
        return is_equal and all(requirement.is_met(labels) for requirement in self._requirements)
