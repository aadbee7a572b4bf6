"""Filter of endpoints whose pool can prefill.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/pd_role.go``.
"""

from typing import Literal

from cluster_sim.routing.endpoint_picker.parts import FILTERS, PartContext, PartOptions
from cluster_sim.routing.endpoint_picker.roles import PREFILLING, RoleFilter


class PrefillFilterOptions(PartOptions):
    """Endpoints that compute prompts: roles prefill, encode-prefill, prefill-decode, both, encode-prefill-decode."""

    type: Literal["prefill-filter"] = "prefill-filter"


@FILTERS.register("prefill-filter", PrefillFilterOptions)
class PrefillFilter(RoleFilter):
    """Keeps what can prefill."""

    def __init__(self, options: PrefillFilterOptions, context: PartContext) -> None:
        super().__init__(context, PREFILLING)
