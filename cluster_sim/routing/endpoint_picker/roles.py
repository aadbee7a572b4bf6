"""Roles of pools, and the endpoints that a role's filter keeps.

Source: llm-d-inference-scheduler, ``pkg/plugins/filter/pd_role.go``.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.parts import Filter, PartContext

DECODING: Final = frozenset({"", "decode", "prefill-decode", "both", "encode-prefill-decode"})
"""Roles that decode; pools without a role do."""
PREFILLING: Final = frozenset({"prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"})
ENCODING: Final = frozenset({"encode", "encode-prefill", "encode-prefill-decode"})


class RoleFilter(Filter):
    """Keeps the endpoints of some roles."""

    def __init__(self, context: PartContext, roles: frozenset[str]) -> None:
        super().__init__(context)
        self._endpoints = context.endpoints
        self._roles = roles
        self.on_join(-1)

    def on_join(self, position: int) -> None:
        self._passes = has_role(self._endpoints.members, self._roles)
        self._keeps_all = bool(self._passes.all())

    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the endpoints of the roles."""
        if self._keeps_all:
            return positions
        result: Positions = positions[self._endpoints.of(positions, self._passes)]
        return result


def has_role(members: Sequence[Candidate], roles: frozenset[str]) -> NDArray[np.bool_]:
    """Return for each endpoint whether its role is one of ``roles``."""
    return np.array([member.role in roles for member in members], np.bool_)
