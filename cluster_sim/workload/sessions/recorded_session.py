"""Sessions as a file records them: turns that wait for others, with the times and lengths of each."""

from dataclasses import dataclass, field
from typing import Final

FIRST: Final = -1
"""``after`` of a turn that waits for no other."""


@dataclass(slots=True)
class RecordedTurn:
    """One request of a recorded session."""

    prompt_tokens: int
    """New tokens beside the history, or all of the prompt where ``is_whole``."""
    output_tokens: int
    start_ns: int | None = None
    """Recorded start, which the turn does not precede; None where it starts by its delay alone."""
    delay_ns: int = 0
    """From the end of the turn that it waits for."""
    after: int = FIRST
    """Index of the turn that it waits for."""
    segments: tuple[tuple[int, int], ...] = ()
    """Content of the tokens that ``prompt_tokens`` counts; empty where nothing is known of it."""
    is_whole: bool = False


@dataclass(slots=True)
class RecordedSession:
    """One session: its turns, each after the one that it waits for."""

    start_ns: int | None
    """Recorded start; None where the file has no times."""
    turns: list[RecordedTurn] = field(default_factory=list)
    where: str = ""
    """Place of its first row in the file, for messages."""
