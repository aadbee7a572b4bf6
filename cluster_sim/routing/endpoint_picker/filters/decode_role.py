"""Filter of endpoints whose pool can decode.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/pd_role.go``.
"""

from typing import Literal

from cluster_sim.routing.endpoint_picker.parts import FILTERS, PartContext, PartOptions
from cluster_sim.routing.endpoint_picker.roles import DECODING, RoleFilter


class DecodeFilterOptions(PartOptions):
    """Endpoints that decode: roles decode, prefill-decode, both, encode-prefill-decode, and pools without a role."""

    type: Literal["decode-filter"] = "decode-filter"


@FILTERS.register("decode-filter", DecodeFilterOptions)
class DecodeFilter(RoleFilter):
    """Keeps what can decode."""

    def __init__(self, options: DecodeFilterOptions, context: PartContext) -> None:
        super().__init__(context, DECODING)
