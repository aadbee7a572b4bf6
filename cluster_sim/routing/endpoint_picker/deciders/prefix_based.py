"""Decider by the uncached part of the prompt.

Source: llm-d-inference-scheduler, ``pkg/plugins/profile/prefix_based_pd_decider.go``.
"""

from typing import Literal

from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import ENDPOINT_DECIDERS, Decider, PartContext, PartOptions


class PrefixBasedOptions(PartOptions):
    """Split if at least nonCachedTokens of the prompt are not cached at the chosen decode endpoint; 0 never does."""

    type: Literal["prefix-based-pd-decider"] = "prefix-based-pd-decider"
    non_cached_tokens: int = Field(0, ge=0, le=1 << 40, description="Uncached tokens from which on a prompt is split.")
    prefix_plugin_name: str = Field("", description="The part that knows matches; the first one if empty.")


@ENDPOINT_DECIDERS.register("prefix-based-pd-decider", PrefixBasedOptions)
class PrefixBasedDecider(Decider):
    """Long enough new prompts are computed elsewhere; without match data none is."""

    def __init__(self, options: PrefixBasedOptions, context: PartContext) -> None:
        super().__init__(context)
        self._least, self._source = options.non_cached_tokens, options.prefix_plugin_name
        self._prefixes = context.prefixes

    def is_split(self, decision: Decision, decode: int) -> bool:
        source = self._prefixes(self._source)
        if not self._least or source is None:
            return False
        return source.uncached_at(decision, decode) >= self._least
