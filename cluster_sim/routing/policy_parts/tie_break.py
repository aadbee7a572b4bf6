"""Choice among candidates that a policy finds equal: a draw keyed by the request, or the first."""

from collections.abc import Sequence

from cluster_sim.engine.draws import draw_below, stream_key


class TieBreak:
    """Chooses one of several equal positions, the same for a request whatever was chosen before."""

    def __init__(self, seed: int, *, takes_first: bool) -> None:
        """``takes_first`` prefers the first to a draw."""
        self._takes_first = takes_first
        self._key = stream_key(seed, "router", "ties")

    def one_of(self, positions: Sequence[int], request_id: int) -> int:
        """Return one of at least one position."""
        if self._takes_first or len(positions) == 1:
            return positions[0]
        return positions[draw_below(self._key, request_id, len(positions))]

    def least(self, positions: Sequence[int], counts: Sequence[float], request_id: int) -> int:
        """Return one of the positions with the least count; ``counts`` are by position."""
        least = min([counts[position] for position in positions])
        return self.one_of([position for position in positions if counts[position] == least], request_id)
