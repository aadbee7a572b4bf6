"""The shape of one step's batch: the counts that step times and energy depend on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


@dataclass(slots=True, init=False)
class BatchShape:
    """Counts of one batch: all that a predictor may know of it.

    ``kv`` figures count tokens already in the cache *before* the step, so a decoding request with 100 prompt tokens and
    3 generated ones, whose third token's KV is not yet written, counts 102.
    """

    decodes: int
    """Requests that compute one token (plus drafts)."""
    decode_kv_tokens: int
    """Sum over the decodes of tokens in the cache."""
    prefills: list[tuple[int, int]]
    """(chunk tokens, tokens already in the cache) of every prefill chunk, in batch order."""
    completed_prefills: int
    """Prefills that end their prompt in this step and so sample a token."""
    draft_tokens: int
    """Speculative tokens verified in this step, over all decodes."""
    encoder_tokens: int
    """Multimodal encoder tokens computed in this step."""
    routed_tokens: int
    """Tokens of all data-parallel ranks in this step; 0 where every rank has as many as this one."""
    ranks: tuple["BatchShape", ...]
    """The parts of data-parallel ranks that step together, whose sums the other fields are; empty for one rank."""

    # Every step has a shape, and what the decorator would write stays Python in the compiled kernel.
    def __init__(
        self,
        decodes: int = 0,
        decode_kv_tokens: int = 0,
        prefills: list[tuple[int, int]] | None = None,
        completed_prefills: int = 0,
        draft_tokens: int = 0,
        encoder_tokens: int = 0,
        routed_tokens: int = 0,
        ranks: tuple["BatchShape", ...] = (),
    ) -> None:
        self.decodes = decodes
        self.decode_kv_tokens = decode_kv_tokens
        self.prefills = [] if prefills is None else prefills
        self.completed_prefills = completed_prefills
        self.draft_tokens = draft_tokens
        self.encoder_tokens = encoder_tokens
        self.routed_tokens = routed_tokens
        self.ranks = ranks

    @property
    def tokens(self) -> int:
        """Tokens computed in this step; where ranks step together, those of the rank that has most."""
        if self.ranks:
            return max(rank.tokens for rank in self.ranks)
        return self.decodes + self.draft_tokens + sum(chunk for chunk, _ in self.prefills)
