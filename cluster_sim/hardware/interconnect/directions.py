"""The ends of a link as studies write them: ``a - b`` for both directions, ``a -> b`` for one."""

import re
from typing import Final, NamedTuple

from cluster_sim.options import MOST_OF_NAME
from cluster_sim.shown_values import shortened

NAME: Final = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_OF_NAME - 1}}}"
"""What a pool or a site may be called."""

_LINK: Final = re.compile(rf"(?P<source>{NAME})(?: +(?P<both>-) +| *(?P<one>->) *)(?P<target>{NAME})")


class Direction(NamedTuple):
    """The ends of a link."""

    source: str
    target: str
    has_both: bool
    """Whether it leads back as well."""

    def pairs(self) -> list[tuple[str, str]]:
        """Return (from, to) of each direction."""
        there = (self.source, self.target)
        return [there, (self.target, self.source)] if self.has_both else [there]


def parse_direction(text: str) -> Direction:
    """Return the ends that ``text`` names; raises ValueError if it has another form."""
    found = _LINK.fullmatch(text.strip())
    if found is None:
        most = f" with names of at most {MOST_OF_NAME} characters" if len(text) > MOST_OF_NAME else ""
        raise ValueError(f"must be 'a - b' (both directions) or 'a -> b' (one){most}; got {shortened(text)}")
    if found["source"] == found["target"]:
        raise ValueError(f"must name two ends; got {shortened(text)}")
    return Direction(found["source"], found["target"], found["both"] is not None)


def repeated_pair(directions: list[Direction]) -> tuple[str, str] | None:
    """Return the first (from, to) that is given twice."""
    seen: set[tuple[str, str]] = set()
    for direction in directions:
        for pair in direction.pairs():
            if pair in seen:
                return pair
            seen.add(pair)
    return None


def one_way(directions: list[Direction]) -> list[Direction]:
    """Return the links that lead one way only, in their order: those of which no other entry is the way back."""
    given = {pair for direction in directions for pair in direction.pairs()}
    return [direction for direction in directions if (direction.target, direction.source) not in given]
