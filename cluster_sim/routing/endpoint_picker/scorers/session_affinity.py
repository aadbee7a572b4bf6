"""Scorer of the endpoint that served a session last.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/session_affinity.go``.
"""

from typing import Literal

import numpy as np

from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class SessionAffinityOptions(PartOptions):
    """1 for the endpoint of the session's last request, 0 for the others."""

    type: Literal["session-affinity-scorer"] = "session-affinity-scorer"


@SCORERS.register("session-affinity-scorer", SessionAffinityOptions)
class SessionAffinityScorer(Scorer):
    """A session stays where it is."""

    def __init__(self, options: SessionAffinityOptions, context: PartContext) -> None:
        super().__init__(context)
        self._last: dict[int, int] = {}
        """The endpoint of each session's last request."""

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return 1 where the session was; requests of no session score 0 everywhere."""
        last = self._last.get(decision.request.attributes.session_id, -1)
        return np.where(positions == last, 1.0, 0.0)

    def on_chosen(self, decision: Decision, selection: Selection) -> None:
        """Keep where the session is now."""
        session = decision.request.attributes.session_id
        if session >= 0:
            self._last[session] = selection.decode
