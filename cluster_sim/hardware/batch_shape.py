"""The shape of one step's batch: the counts that step times and energy depend on."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


@dataclass(slots=True)
class BatchShape:
    """Counts of one batch: all that a predictor may know of it.

    ``kv`` figures count tokens already in the cache *before* the step, so a decoding request with 100 prompt tokens and
    3 generated ones, whose third token's KV is not yet written, counts 102.
    """

    decodes: int = 0
    """Requests that compute one token (plus drafts)."""
    decode_kv_tokens: int = 0
    """Sum over the decodes of tokens in the cache."""
    prefills: list[tuple[int, int]] = field(default_factory=list)
    """(chunk tokens, tokens already in the cache) of every prefill chunk, in batch order."""
    completed_prefills: int = 0
    """Prefills that end their prompt in this step and so sample a token."""
    draft_tokens: int = 0
    """Speculative tokens verified in this step, over all decodes."""
    encoder_tokens: int = 0
    """Multimodal encoder tokens computed in this step."""
    routed_tokens: int = 0
    """Tokens of all data-parallel ranks in this step; 0 where every rank has as many as this one."""
    ranks: tuple["BatchShape", ...] = ()
    """The parts of data-parallel ranks that step together, whose sums the other fields are; empty for one rank."""

    @property
    def tokens(self) -> int:
        """Tokens computed in this step; where ranks step together, those of the rank that has most."""
        if self.ranks:
            return max(rank.tokens for rank in self.ranks)
        return self.decodes + self.draft_tokens + sum(chunk for chunk, _ in self.prefills)
