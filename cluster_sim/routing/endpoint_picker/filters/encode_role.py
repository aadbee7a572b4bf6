"""Filter of endpoints whose pool can encode.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/pd_role.go``.
"""

from typing import Literal

from cluster_sim.routing.endpoint_picker.parts import FILTERS, PartContext, PartOptions
from cluster_sim.routing.endpoint_picker.roles import ENCODING, RoleFilter


class EncodeFilterOptions(PartOptions):
    """Endpoints that encode images and sound: roles encode, encode-prefill, encode-prefill-decode."""

    type: Literal["encode-filter"] = "encode-filter"


@FILTERS.register("encode-filter", EncodeFilterOptions)
class EncodeFilter(RoleFilter):
    """Keeps what can encode."""

    def __init__(self, options: EncodeFilterOptions, context: PartContext) -> None:
        super().__init__(context, ENCODING)
