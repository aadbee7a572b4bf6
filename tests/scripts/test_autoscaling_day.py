"""The day of load: its figures, table and picture."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from scripts.autoscaling_day import Day, day_of, picture_of, rate_at, table_of, with_table

SUMMARY = {
    "gpu_hours": 2.0,
    "ttft_s": {"p99": 1.5},
    "requests": {"failed": 1},
    "pools": [{"mean_replicas": 1.5}],
    "replicas": [
        {"joined_s": 0.0, "left_s": None},
        {"joined_s": 10.0, "left_s": 50.0},
        {"joined_s": None, "left_s": None},
    ],
}


def test_figures_of_a_run() -> None:
    """Half minutes 0 and 2 have arrivals; in the second, one of two misses 1 s and one never has a first token."""
    day = day_of("hpa", SUMMARY, np.array([1.0, 2.0, 61.0, 62.0]), np.array([0.5, 1.0, 1.1, np.nan]))
    assert day.over_ratio == 0.5
    assert day.joined == 1
    assert day.steps == ((0.0, 1), (10.0, 2), (50.0, 1))


def test_the_load_follows_the_hours() -> None:
    """Between two hours the load changes evenly; the burst lies on top."""
    assert rate_at(11) == pytest.approx(5.0)
    assert rate_at(23.5) == pytest.approx(5.0 * (0.33 + 0.25) / 2)
    assert rate_at(15.2) == pytest.approx(5.0 * 1.7 * (0.98 * 0.8 + 0.92 * 0.2))


def test_table_and_picture() -> None:
    """The page's table is replaced between its marks, and the picture is an SVG with a panel for each run."""
    days = [
        Day("oracle", 10.0, 0.0, 0.5, 0, 3, 2.0, ((0.0, 2), (50.0, 4))),
        Day("hpa", 12.0, 0.25, 1.5, 1, 4, 3.0, ((0.0, 2),)),
    ]
    table = table_of(days)
    assert "| Kubernetes HPA | 12.0 | +20% | 25.0% | 1.50 s | 3.0 | 4 | 1 |" in table
    page = "text\n<!-- day of load -->\nold\n<!-- end of day -->\nmore\n"
    assert with_table(page, table) == f"text\n<!-- day of load -->\n{table}<!-- end of day -->\nmore\n"
    picture = ET.fromstring(picture_of(days, 100.0))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polygon")) == 3
