"""Requests of which the decode replica has too little in its cache (llm-d's ``prefix-based-pd-decider``).

llm-d-inference-scheduler, pkg/plugins/profile: uncached = prompt - matched blocks x block size at the chosen decode
endpoint; hand over if uncached >= nonCachedTokens.  A threshold of 0 switches it off, and so does a lack of match data.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.decider_interface import DECIDERS, Decider, DeciderOptions, Situation


class UncachedTokensOptions(DeciderOptions):
    """Requests of which at least so many tokens are not cached on the chosen decode replica."""

    kind: Literal["uncached_tokens"] = Field("uncached_tokens", description="By tokens that are not cached.")
    least_tokens: int = Field(
        0,
        ge=0,
        le=1 << 40,
        description="Fewest uncached tokens of the prompt for which a request is handed over (nonCachedTokens); 0 "
        "hands none over.",
    )

    example: ClassVar = {"least_tokens": 16}


@DECIDERS.register("uncached_tokens", UncachedTokensOptions)
class UncachedTokens(Decider):
    """llm-d's prefix-based decider."""

    reads_cache: ClassVar = True

    def __init__(self, options: UncachedTokensOptions) -> None:
        super().__init__(options)
        self._least_tokens = options.least_tokens

    def hands_over(self, situation: Situation) -> bool:
        """Return whether enough is left to compute."""
        if not self._least_tokens or situation.cached_tokens < 0:
            return False
        return situation.uncached_tokens >= self._least_tokens
