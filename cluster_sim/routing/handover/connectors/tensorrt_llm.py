"""TensorRT-LLM's context and generation servers (cpp/tensorrt_llm/batch_manager/cacheTransceiver.cpp).

The context server computes the prompt and the first token, and keeps the cache.  The generation server then allocates
and pulls it; when it has arrived, the server streams the first token to the client and computes the second.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.connector_interface import CONNECTORS, PullConnector
from cluster_sim.routing.handover.kv_layout import KvLayout, equality_refusal, tensor_refusal
from cluster_sim.routing.handover.options import HandoverOptions


class TensorRtLlmHandoverOptions(HandoverOptions):
    """TensorRT-LLM: the context server makes the first token, the generation server pulls."""

    connector: Literal["tensorrt_llm"] = Field("tensorrt_llm", description="TensorRT-LLM's cache transceiver.")


@CONNECTORS.register("tensorrt_llm", TensorRtLlmHandoverOptions)
class TensorRtLlmHandover(PullConnector):
    """A pull after the prompt and the first token are computed."""

    engine: ClassVar = "tensorrt_llm"
    has_first_token: ClassVar = True

    @classmethod
    def refusal(cls, prefill: KvLayout, decode: KvLayout) -> str:
        """Return why the caches differ too much; heads and layers may be split otherwise."""
        return equality_refusal(prefill, decode) or tensor_refusal(prefill, decode)
