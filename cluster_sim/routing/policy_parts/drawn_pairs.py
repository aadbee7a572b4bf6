"""Pairs of candidates drawn at random: two different ones, in either order, each pair as likely."""

from collections.abc import Sequence

from cluster_sim.engine.draws import draw_below, stream_key


class DrawnPairs:
    """Draws pairs by request, and by the number of the try."""

    def __init__(self, seed: int) -> None:
        self._keys = (stream_key(seed, "router", "first of two"), stream_key(seed, "router", "second of two"))

    def draw(self, request_id: int, positions: Sequence[int], attempt: int = 0) -> tuple[int, int]:
        """Return two different positions of at least one, the same twice if there is only one."""
        size = len(positions)
        if size == 1:
            return positions[0], positions[0]
        counter = request_id + (attempt << 40)
        first = draw_below(self._keys[0], counter, size)
        second = draw_below(self._keys[1], counter, size - 1)
        return positions[first], positions[second + (second >= first)]
