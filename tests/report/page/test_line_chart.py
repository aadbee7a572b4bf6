"""Charts of lines and points."""

import re

import numpy as np

from cluster_sim.report.page.axes import linear_axis
from cluster_sim.report.page.line_chart import Limit, Line, LineChart


def _chart(**more: object) -> LineChart:
    axis = linear_axis("x", 0, 10, "{:g}".format)
    line = Line("one", np.array([0.0, 5.0, 6.0, 10.0]), np.array([0.0, 10.0, np.nan, 5.0]), 2)
    return LineChart("Title", "What it shows.", axis, axis, [line], **more)  # type: ignore[arg-type]


def test_lines_go_through_their_points_and_break_where_there_are_none() -> None:
    """In a drawing of 1000 by 1000 that has its origin above; a missing value begins a new piece."""
    html = _chart().html()
    assert 'd="M0.0 1000.0L500.0 0.0M1000.0 500.0"' in html
    stepped = LineChart("T", "t", *[linear_axis("x", 0, 10, "{:g}".format)] * 2, [
        Line("s", np.array([0.0, 5.0]), np.array([10.0, 0.0]), is_stepped=True)
    ]).html()  # fmt: skip
    assert 'd="M0.0 0.0H500.0V1000.0"' in stepped


def test_pictures_have_a_text() -> None:
    """The drawing is an image whose name is title and text; the scales are there for the script that reads values."""
    html = _chart().html()
    assert 'role="img" aria-label="Title: What it shows."' in html
    assert 'data-x="0 10 linear "' in html.replace("0.0", "0").replace("10.0", "10")
    assert re.search(r"<figcaption><h3>Title</h3><p>What it shows.</p></figcaption>", html)


def test_limits_points_and_marks_are_labelled() -> None:
    """Limits, a cloud of points and marks stand at their places; a legend names what there are several of."""
    html = _chart(
        limits=[Limit("most", 5.0, is_horizontal=True), Limit("until", 9.0)],
        points=(np.array([1.0]), np.array([2.0])),
        points_name="request",
        marks=[("A", 5.0, 5.0)],
    ).html()
    assert 'd="M0 500.0H1000"' in html
    assert 'd="M900.0 0V1000"' in html
    assert 'd="M100.0 800.0h0"' in html
    assert 'style="left:50.00%;bottom:50.00%"><b>A</b>' in html
    assert html.index("request</li>") < html.index("one</li>")


def test_labels_of_limits_stand_where_they_hide_no_line() -> None:
    """Above, or where lines run there below, or where they run in both places in the middle."""
    axis = linear_axis("x", 0, 10, "{:g}".format)
    sides = []
    for heights in ((), (9.9,), (9.9, 0.1)):
        lines = [Line("l", np.array([0.0, 10.0]), np.array([height, height])) for height in heights]
        html = LineChart("T", "t", axis, axis, lines, [Limit("until", 9.0)]).html()
        sides += re.findall(r'class="limit-label upright( [a-z ]*)c1"', html)
    assert sides == [" before ", " before low ", " before middle "]
