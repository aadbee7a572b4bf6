"""Charts of lines and points: HTML around an SVG that stretches to any width, while labels keep their size.

The SVG has no text and no fixed ratio of its sides; labels stand outside at places in percent.  So a chart fits a phone
and a wide screen without a script.  ``page.js`` shows the values under the pointer, which it reads from the paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.report.page.axes import Axis
from cluster_sim.report.page.markup import Markup, element

FloatArray = npt.NDArray[np.float64]

SIZE: Final = 1000
"""Width and height of the drawing in its own units."""
_LETTER: Final = 0.022
"""Width of a letter of a label on a phone, as a share of the chart's."""
_LABEL: Final = 0.09
"""Height of a label."""
_HEIGHTS: Final = {"": 1 - _LABEL, " low": 0.0, " middle": 0.5 - _LABEL / 2}
"""Lower edges of labels of upright limits, by their class."""
_FEW_POINTS: Final = 60
"""Points up to which each is drawn large."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; NaN interrupts it."""

    name: str
    x: FloatArray
    y: FloatArray
    color: int = 1
    """Number of a colour of the style, from 1."""
    is_dashed: bool = False
    is_stepped: bool = False
    """Whether a value holds until the next point."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A straight line at one value of an axis, with its label."""

    label: str
    value: float
    color: int = 1
    is_horizontal: bool = False


@dataclass(frozen=True, slots=True)
class LineChart:
    """A chart of lines, of a cloud of points below them, and of limits."""

    title: str
    text: str
    """What the picture shows, in a sentence, for those who do not see it and those who do."""
    x_axis: Axis
    y_axis: Axis
    lines: Sequence[Line]
    limits: Sequence[Limit] = ()
    points: tuple[FloatArray, FloatArray] | None = None
    points_name: str = ""
    marks: Sequence[tuple[str, float, float]] = field(default=())
    """Labelled points that stand out."""

    def html(self) -> Markup:
        """Return the chart as a figure."""
        caption = element("figcaption", element("h3", self.title), element("p", self.text))
        widest = max((len(label) for _, label in self.y_axis.ticks), default=1)
        plot = element("div", *self._y_labels(), self._drawing(), *self._limit_labels(), *self._marks(), class_="plot")
        x_labels = element("div", *self._x_labels(), class_="x-axis", aria_hidden="true")
        titles = (
            element("div", self.y_axis.title, class_="y-title", aria_hidden="true"),
            element("div", self.x_axis.title, class_="x-title", aria_hidden="true"),
        )
        body = element("div", titles[0], plot, x_labels, titles[1], class_="chart-body", style=f"--left:{widest + 1}ch")
        return element("figure", caption, self._legend(), body, class_="chart")

    def _legend(self) -> Markup:
        entries = []
        if self.points is not None:
            entries.append(element("li", element("i", class_="key dot c1"), self.points_name))
        for line in self.lines:
            dash = " dashed" if line.is_dashed else ""
            entries.append(element("li", element("i", class_=f"key c{line.color}{dash}"), line.name))
        return element("ul", *entries, class_="legend") if len(entries) > 1 else Markup("")

    def _drawing(self) -> Markup:
        shapes = [
            element("path", class_="grid", d=f"M0 {_down(self.y_axis.place(value))}H{SIZE}")
            for value, _ in self.y_axis.ticks
        ]
        shapes += [
            element("path", class_="grid", d=f"M{_along(self.x_axis.place(value))} 0V{SIZE}")
            for value, _ in self.x_axis.ticks
        ]
        if self.points is not None:
            places = self.x_axis.places(self.points[0]), self.y_axis.places(self.points[1])
            few = " few" if len(self.points[0]) <= _FEW_POINTS else ""
            path = "".join(f"M{_along(x)} {_down(y)}h0" for x, y in zip(*(p.tolist() for p in places), strict=True))
            shapes.append(element("path", class_=f"points c1{few}", d=path))
        for line in self.lines:
            dash = " dashed" if line.is_dashed else ""
            classes = f"line c{line.color}{dash}"
            shapes.append(element("path", class_=classes, data_name=line.name, d=self._path(line)))
        for limit in self.limits:
            if limit.is_horizontal:
                path = f"M0 {_down(self.y_axis.place(limit.value))}H{SIZE}"
            else:
                path = f"M{_along(self.x_axis.place(limit.value))} 0V{SIZE}"
            shapes.append(element("path", class_=f"limit c{limit.color}", d=path))
        x_axis, y_axis = self.x_axis, self.y_axis
        return element(
            "svg",
            *shapes,
            viewBox=f"0 0 {SIZE} {SIZE}",
            preserveAspectRatio="none",
            role="img",
            aria_label=f"{self.title}: {self.text}",
            data_x=f"{x_axis.low!r} {x_axis.high!r} {'log' if x_axis.is_log else 'linear'} {x_axis.unit}",
            data_y=f"{y_axis.low!r} {y_axis.high!r} {'log' if y_axis.is_log else 'linear'} {y_axis.unit}",
        )

    def _path(self, line: Line) -> str:
        places = self.x_axis.places(line.x), self.y_axis.places(line.y)
        parts = []
        is_begun = False
        for x, y in zip(*(p.tolist() for p in places), strict=True):
            if x != x or y != y:  # noqa: PLR0124 - NaN is not itself
                is_begun = False
                continue
            if is_begun and line.is_stepped:
                parts.append(f"H{_along(x)}V{_down(y)}")
            else:
                parts.append(f"{'L' if is_begun else 'M'}{_along(x)} {_down(y)}")
            is_begun = True
        return "".join(parts)

    def _y_labels(self) -> list[Markup]:
        return [
            element(
                "span",
                label,
                class_="y-label",
                aria_hidden="true",
                style=f"bottom:{100 * self.y_axis.place(value):.2f}%",
            )
            for value, label in self.y_axis.ticks
        ]

    def _x_labels(self) -> list[Markup]:
        labels = []
        for number, (value, label) in enumerate(self.x_axis.ticks):
            place = self.x_axis.place(value)
            edge = " first" if place < 0.04 else " last" if place > 0.96 else ""
            second = " second" if number % 2 else ""
            labels.append(element("span", label, class_=f"x-label{edge}{second}", style=f"left:{100 * place:.2f}%"))
        return labels

    def _limit_labels(self) -> list[Markup]:
        labels = []
        for limit in self.limits:
            if limit.is_horizontal:
                place = self.y_axis.place(limit.value)
                style, side = f"bottom:{100 * place:.2f}%", " under" if place > 0.85 else ""
            else:
                place = self.x_axis.place(limit.value)
                style, side = f"left:{100 * place:.2f}%", self._free_side(place, len(limit.label))
            kind = "level" if limit.is_horizontal else "upright"
            labels.append(element("span", limit.label, class_=f"limit-label {kind}{side} c{limit.color}", style=style))
        return labels

    def _free_side(self, place: float, letters: int) -> str:
        """Return the classes of the place beside an upright limit where its label hides least of the lines."""
        width = _LETTER * letters
        sides = [(" before", place - width), ("", place)] if place > 0.6 else [("", place), (" before", place - width)]
        hidden = {
            side + height: self._hidden(left, bottom, width)
            for height, bottom in _HEIGHTS.items()
            for side, left in sides
            if left >= 0 and left + width <= 1
        }
        return min(hidden, key=lambda classes: hidden[classes]) if hidden else sides[0][0]

    def _hidden(self, left: float, bottom: float, width: float) -> int:
        """Return about how much of the lines lies in a box of ``width`` and of a label's height."""
        along = np.linspace(left, left + width, 40)
        count = 0
        for line in self.lines:
            x, y = self.x_axis.places(line.x), self.y_axis.places(line.y)
            is_known = np.isfinite(x) & np.isfinite(y)
            if is_known.any():
                order = np.argsort(x[is_known], kind="stable")
                heights = np.interp(along, x[is_known][order], y[is_known][order], np.nan, np.nan)
                count += int(np.count_nonzero((heights >= bottom - 0.01) & (heights <= bottom + _LABEL + 0.01)))
        return count

    def _marks(self) -> list[Markup]:
        labels = []
        for number, (label, x, y) in enumerate(self.marks):
            across, up = self.x_axis.place(x), self.y_axis.place(y)
            sides = (" before" if across > 0.6 else "") + (" under" if up > 0.8 or (number % 2 and up > 0.15) else "")
            style = f"left:{100 * across:.2f}%;bottom:{100 * up:.2f}%"
            labels.append(element("span", element("b", label), class_=f"mark{sides}", style=style))
        return labels


def _along(place: float) -> str:
    return f"{place * SIZE:.1f}"


def _down(place: float) -> str:
    return f"{(1 - place) * SIZE:.1f}"
