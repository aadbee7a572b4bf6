"""Scorer, and filter, of ranges of context lengths that endpoints are labelled with.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/context_length_aware.go``.
"""

import re
from typing import Final, Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, Filter, PartContext, PartOptions, Scorer

NO_LABEL: Final = -1
UNREADABLE: Final = -2

_RANGE: Final = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")


class ContextLengthOptions(PartOptions):
    """Narrowest range of context lengths, read from a label, that has the prompt; filters too if asked to."""

    type: Literal["context-length-aware"] = "context-length-aware"
    label: str = Field(
        "llm-d.ai/context-length-range", description="Label of a pool with its range of tokens: min-max."
    )
    enable_filtering: bool = Field(False, description="Whether endpoints whose range the prompt misses are left out.")


@SCORERS.register("context-length-aware", ContextLengthOptions)
class ContextLengthScorer(Scorer, Filter):
    """Requests go where their length is served."""

    def __init__(self, options: ContextLengthOptions, context: PartContext) -> None:
        super().__init__(context)
        self._endpoints = context.endpoints
        self._label = options.label
        self._filters = options.enable_filtering
        self._least = np.zeros(0, np.int64)
        self._most = np.zeros(0, np.int64)
        for position in range(context.endpoints.count):
            self.on_join(position)

    def on_join(self, position: int) -> None:
        least, most = context_range(self._endpoints.labels[position].get(self._label))
        self._least, self._most = np.append(self._least, least), np.append(self._most, most)

    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the endpoints whose range has the prompt, and those without a label."""
        if not self._filters:
            return positions
        least, most, tokens = self._least[positions], self._most[positions], decision.request.prompt_tokens
        result: Positions = positions[(least == NO_LABEL) | ((least <= tokens) & (tokens <= most))]
        return result

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return at least 0.3 inside the range, the more the narrower it is and the more room is left; less outside."""
        least, most, tokens = self._least[positions], self._most[positions], decision.request.prompt_tokens
        width = most - least
        room = (most - tokens) / np.maximum(1, width)
        inside = np.where(width == 0, 1.0, 0.3 + 0.7 * (0.7 / (1 + width / 10_000) + 0.3 * room))
        distance = np.maximum(least - tokens, tokens - most)
        result: Scores = np.where(distance <= 0, inside, 0.3 / (1 + np.maximum(0, distance) / 1_000))
        return np.where(least == NO_LABEL, 0.5, np.where(least == UNREADABLE, 0.0, result))


def context_range(label: str | None) -> tuple[int, int]:
    """Return the range that a label says; ``NO_LABEL`` or ``UNREADABLE`` twice where it says none."""
    if label is None:
        return NO_LABEL, NO_LABEL
    found = _RANGE.fullmatch(label)
    if found is None or int(found[1]) > int(found[2]):
        return UNREADABLE, UNREADABLE
    return int(found[1]), int(found[2])
