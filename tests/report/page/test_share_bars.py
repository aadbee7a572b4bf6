"""Tests of the bars that show where time goes."""

from pathlib import Path

from cluster_sim.metrics.time_parts import PART_NAMES, PARTS


def test_every_part_has_a_name_and_a_colour(checkout: Path) -> None:
    """Each part has its words for legends, and a colour of its own in every colour scheme."""
    style = (checkout / "cluster_sim" / "report" / "page" / "page.css").read_text(encoding="utf-8")
    assert list(PARTS) == list(PART_NAMES)
    for name in PARTS:
        assert f".part-{name} {{ background: var(--{name}); }}" in style
        assert style.count(f"--{name}: #") == 3
