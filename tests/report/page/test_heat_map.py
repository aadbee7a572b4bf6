"""Heat maps."""

import struct
import zlib

import numpy as np

from cluster_sim.report.page.axes import time_axis
from cluster_sim.report.page.heat_map import HeatMap, png


def test_the_picture_is_a_png_of_the_levels() -> None:
    """Its header has the size, its lines the levels, its palette 256 colours of which the last is transparent."""
    data = png(np.array([[0, 254, 255], [1, 2, 3]], np.uint8))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        place += 12 + length
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (3, 2)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\x00\xfe\xff\0\x01\x02\x03"
    assert (len(chunks[b"PLTE"]), chunks[b"tRNS"][-2:]) == (768, b"\xff\0")


def test_maps_have_a_text_a_scale_and_labels() -> None:
    """The image says what it shows; at most sixteen rows are labelled."""
    names = [f"main {number}" for number in range(40)]
    html = HeatMap("Load", "All alike.", names, np.ones((40, 5)), 1.0, "1", time_axis("time", 0, 5)).html()
    assert 'alt="Load: All alike."' in html
    labelled = html.count('class="y-label"')
    assert (labelled, ">main 3<" in html, ">main 1<" in html) == (14, True, False)
