"""SGLang's pre-allocation queue (python/sglang/srt/disaggregation/decode.py, ``DecodePreallocQueue``).

A decode server takes memory for a prompt before a prefill server computes it.  What it leaves free is the larger of
two: 512 tokens for each request that decodes, is being transferred or has arrived; and what the longest of those that
decode may still take if all others are retracted.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.sequence import Sequence

RESERVED_TOKENS: Final = 512
"""Tokens for each request here (``num_reserved_decode_tokens``)."""
CLIP_TOKENS: Final = 4096
"""No longer output is reckoned with (``SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION``)."""
FEW_SLOTS: Final = 32
"""Up to so many slots the server takes prompts for twice as many more."""


class Preallocation:
    """Sequences whose prompts are computed elsewhere, waiting for memory."""

    def __init__(self, limits: SchedulerLimits) -> None:
        slots = limits.max_num_seqs
        self._most = slots + (2 * slots if slots <= FEW_SLOTS else 0)
        self._block_size = limits.block_size
        self.queue: deque[Sequence] = deque()

    def remove(self, key: int) -> bool:
        """Drop a sequence; return whether it was here."""
        for index, sequence in enumerate(self.queue):
            if sequence.key == key:
                del self.queue[index]
                return True
        return False

    def stays_refused(self, present: int, free_tokens: int) -> bool:
        """Return whether the queue's head gets no memory while the ``present`` requests only decode: what is free then
        falls, and what is left free for each of them stays.
        """
        if present >= self._most:
            return True
        return self.queue[0].known_tokens + RESERVED_TOKENS * (1 + present) > free_tokens and present > 0

    def fits(self, decoding: Collection[Sequence], others: int, free_tokens: int) -> bool:
        """Return whether memory may be taken for the queue's head, beside those ``decoding`` and ``others`` whose
        prompts are transferred or have arrived.
        """
        if len(decoding) + others >= self._most:
            return False
        head = self.queue[0]
        prompt, most_output = head.known_tokens, min(head.output_tokens, CLIP_TOKENS)
        if not decoding and not others:  # 512 tokens beyond the prompt may be more than there are: it runs alone.
            return prompt + self._block_size <= free_tokens
        retractable = sum(sequence.known_tokens for sequence in decoding)
        longest = max(
            (min(sequence.output_tokens, CLIP_TOKENS) + sequence.prompt_tokens - retractable for sequence in decoding),
            default=0,
        )
        spare = free_tokens - max(RESERVED_TOKENS * (len(decoding) + others), longest)
        return max(prompt + RESERVED_TOKENS, prompt + most_output - retractable) <= spare
