"""Heat maps: a value by row and time as a small picture inside the page, with a scale."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.report.page.axes import Axis
from cluster_sim.report.page.markup import Markup, element

FloatArray = npt.NDArray[np.float64]

_ANCHORS: Final = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""The colour scale viridis (M. Bostock, S. van der Walt): even steps for the eye, also without colours."""
_LEVELS: Final = 255
_NOTHING: Final = 255
"""Level of what does not exist: transparent."""
_MOST_LABELS: Final = 16
_ROW_HEIGHT, _LEAST_HEIGHT, _MOST_HEIGHT = 18, 72, 320
"""Pixels of the page."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Values by row and time, float64[rows, times], from 0 to ``most``; NaN is left empty."""

    title: str
    text: str
    rows: Sequence[str]
    values: FloatArray
    most: float
    most_label: str
    x_axis: Axis

    def html(self) -> Markup:
        """Return the map as a figure."""
        caption = element("figcaption", element("h3", self.title), element("p", self.text))
        colors = ",".join(f"rgb{anchor}" for anchor in _ANCHORS)
        scale = element(
            "div",
            "0",
            element("i", style=f"background:linear-gradient(90deg,{colors})"),
            self.most_label,
            class_="scale",
        )
        every = -(-len(self.rows) // _MOST_LABELS)
        labels = [
            element("span", name, class_="y-label", style=f"bottom:{100 * (1 - (number + 0.5) / len(self.rows)):.2f}%")
            for number, name in enumerate(self.rows)
            if number % every == 0
        ]
        picture = element("img", src=self._picture(), alt=f"{self.title}: {self.text}")
        height = min(_MOST_HEIGHT, max(_LEAST_HEIGHT, _ROW_HEIGHT * len(self.rows)))
        plot = element("div", *labels, picture, class_="plot map", style=f"height:{height}px")
        x_labels = []
        for number, (value, label) in enumerate(self.x_axis.ticks):
            place = self.x_axis.place(value)
            edge = " first" if place < 0.04 else " last" if place > 0.96 else ""
            second = " second" if number % 2 else ""
            x_labels.append(element("span", label, class_=f"x-label{edge}{second}", style=f"left:{100 * place:.2f}%"))
        widest = max((len(name) for name in self.rows), default=1)
        body = element(
            "div",
            plot,
            element("div", *x_labels, class_="x-axis", aria_hidden="true"),
            element("div", self.x_axis.title, class_="x-title", aria_hidden="true"),
            class_="chart-body",
            style=f"--left:{min(widest, 14) + 1}ch",
        )
        return element("figure", caption, scale, body, class_="chart")

    def _picture(self) -> str:
        """Return the map as a PNG of one pixel a value."""
        levels = np.clip(self.values / (self.most or 1.0), 0, 1) * (_LEVELS - 1)
        pixels = np.where(np.isnan(levels), _NOTHING, np.nan_to_num(levels)).astype(np.uint8)
        return f"data:image/png;base64,{b64encode(png(pixels)).decode()}"


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return levels, uint8[rows, columns], as a PNG whose palette is the colour scale."""
    rows, columns = pixels.shape
    steps = np.linspace(0, len(_ANCHORS) - 1, _LEVELS)
    anchors = np.array(_ANCHORS, np.float64).T
    scale = np.stack([np.interp(steps, np.arange(len(_ANCHORS)), channel) for channel in anchors], axis=1)
    palette = np.rint(scale).astype(np.uint8).tobytes() + b"\0\0\0"
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"tRNS", b"\xff" * _LEVELS + b"\0"),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
