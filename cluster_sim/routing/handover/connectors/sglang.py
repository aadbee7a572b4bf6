"""SGLang's hand-over (python/sglang/srt/disaggregation/prefill.py, decode.py).

The decode server is asked first: a request stays in the prefill server's bootstrap queue until the decode server has
allocated memory for it.  The prompt's cache is sent in whole pages as its chunks end, the rest with the last one.  The
first token is made by the prefill server and travels with the last chunk; the decode server streams it to the client as
soon as the request joins its running batch, and computes the second.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.connector_interface import CONNECTORS, PushConnector
from cluster_sim.routing.handover.kv_layout import KvLayout, equality_refusal, tensor_refusal
from cluster_sim.routing.handover.options import HandoverOptions
from cluster_sim.shown_values import counted


class SglangHandoverOptions(HandoverOptions):
    """SGLang: the decode server allocates first, the prefill server sends chunk by chunk and makes the first token."""

    connector: Literal["sglang"] = Field("sglang", description="SGLang's disaggregation.")


@CONNECTORS.register("sglang", SglangHandoverOptions)
class SglangHandover(PushConnector):
    """A push of chunks into memory that the decode server has allocated."""

    engine: ClassVar = "sglang"
    has_first_token: ClassVar = True

    @classmethod
    def refusal(cls, prefill: KvLayout, decode: KvLayout) -> str:
        """Return why the caches differ too much; a decode server may have one stage where prefill has several."""
        found = equality_refusal(prefill, decode) or tensor_refusal(prefill, decode)
        if not found and decode.pipeline_parallel not in {1, prefill.pipeline_parallel}:
            found = (
                f"pipeline_parallel: {counted(decode.pipeline_parallel, 'stage')} here and "
                f"{prefill.pipeline_parallel} in the prefill pool; the decode server must have as many, or 1"
            )
        return found
