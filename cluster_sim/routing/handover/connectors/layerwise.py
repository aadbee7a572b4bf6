"""A layer-wise push for vLLM (vllm-ascend's MooncakeLayerwiseConnector; P2pNccl and LMCache overlap in the same way).

The decode instance allocates first.  While the prefill instance computes a layer, the cache of those before it is sent
into the decode instance's blocks; if the links keep up, only the last layer's part is left when the step ends.  The
decode instance computes the last token of the prompt again and so makes the first token.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.connector_interface import CONNECTORS, PushConnector
from cluster_sim.routing.handover.kv_layout import KvLayout, equality_refusal, pipeline_refusal, tensor_refusal
from cluster_sim.routing.handover.options import HandoverOptions


class LayerwiseOptions(HandoverOptions):
    """vLLM with a push of each layer while the next ones are computed; the decode instance makes the first token."""

    connector: Literal["layerwise"] = Field("layerwise", description="A push layer by layer.")


@CONNECTORS.register("layerwise", LayerwiseOptions)
class Layerwise(PushConnector):
    """A push that overlaps with the steps of the prompt."""

    engine: ClassVar = "vllm_v1"
    is_default: ClassVar = False
    has_first_token: ClassVar = False
    overlaps_layers: ClassVar = True

    @classmethod
    def refusal(cls, prefill: KvLayout, decode: KvLayout) -> str:
        """Return why the caches differ too much: prefill GPUs send whole decode GPUs' parts or fractions of them."""
        found = equality_refusal(prefill, decode) or pipeline_refusal(prefill, decode)
        return found or tensor_refusal(prefill, decode)
