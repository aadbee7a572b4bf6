"""vLLM's NIXL connector: the decode instance pulls (vllm/distributed/kv_transfer/kv_connector/v1/nixl_connector.py).

The prompt runs on the prefill instance with one output token, which is thrown away, and its blocks stay there.  The
request then waits on the decode instance until blocks for the whole prompt are allocated, which are read one-sided
while others decode.  It is admitted with all but the last prompt token computed, so the decode instance makes the first
token.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.connector_interface import CONNECTORS, PullConnector
from cluster_sim.routing.handover.kv_layout import KvLayout, equality_refusal, pipeline_refusal, tensor_refusal
from cluster_sim.routing.handover.options import HandoverOptions


class NixlOptions(HandoverOptions):
    """vLLM: prefill first, the decode instance pulls into blocks of its own and makes the first token."""

    connector: Literal["nixl"] = Field("nixl", description="vLLM's NIXL connector.")


@CONNECTORS.register("nixl", NixlOptions)
class Nixl(PullConnector):
    """A pull after the prompt is computed."""

    engine: ClassVar = "vllm_v1"
    has_first_token: ClassVar = False

    @classmethod
    def refusal(cls, prefill: KvLayout, decode: KvLayout) -> str:
        """Return why the caches differ too much: it copies blocks, and splits or joins heads by a whole factor."""
        return equality_refusal(prefill, decode) or pipeline_refusal(prefill, decode) or tensor_refusal(prefill, decode)
