"""Scatter picture of two figures in text."""

from collections.abc import Sequence
from typing import Final, NamedTuple

WIDTH: Final = 60
HEIGHT: Final = 14


class Point(NamedTuple):
    """One point of a picture."""

    x: float
    y: float
    mark: str
    """One character; of points at one place the last one shows."""


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats in both figures, more being better, by rising x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.x, -one.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front[::-1]


def scatter(points: Sequence[Point], x_title: str, y_title: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return a picture of points with axes from 0; empty without points."""
    if not points:
        return ""
    most_x = max(point.x for point in points) * 1.05 or 1.0
    most_y = max(point.y for point in points) * 1.05 or 1.0
    rows = [[" "] * width for _ in range(height)]
    for point in points:
        column = min(width - 1, int(point.x / most_x * width))
        row = height - 1 - min(height - 1, int(point.y / most_y * height))
        rows[row][column] = point.mark
    margin = max(len(_number(most_y)), len(_number(0)))
    lines = [y_title]
    for index, cells in enumerate(rows):
        label = _number(most_y) if index == 0 else _number(0) if index == height - 1 else ""
        lines.append(f"{label:>{margin}} |{''.join(cells)}".rstrip())
    lines.append(f"{'':>{margin}} +{'-' * width}")
    lines.append(f"{'':>{margin}}  0{_number(most_x):>{width - 1}}  {x_title}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == 0 or value >= 10 else f"{value:.2g}"
