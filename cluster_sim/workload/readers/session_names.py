"""Numbers of sessions that a file names by texts, and of their turns, in the order of the rows."""

from collections.abc import Mapping
from typing import Any

from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes


class SessionNames:
    """Numbers the sessions of one pass over a file from ``base`` on; a row without a name is no turn of any."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._numbers: dict[str, int] = {}
        self._turns: dict[str, int] = {}

    def turn_of(self, name: str) -> tuple[int, int]:
        """Return (session id, turn) of the next row of a session."""
        number = self._numbers.setdefault(name, self._base + len(self._numbers))
        turn = self._turns.get(name, -1) + 1
        self._turns[name] = turn
        return number, turn

    def of_block(self, block: Mapping[str, Any]) -> list[Attributes]:
        """Return the attributes of a block with the texts ``session``."""
        result = []
        for text in block["session"]:
            name = text.strip()
            session, turn = self.turn_of(name) if name else (-1, 0)
            result.append(Attributes(session_id=session, turn=turn) if name else NO_ATTRIBUTES)
        return result
