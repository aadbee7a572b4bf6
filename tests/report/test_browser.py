"""Pages in a real browser: nothing fails, nothing is fetched, nothing is cut on a phone."""

from pathlib import Path

import pytest

from cluster_sim.report.report_file import write_report
from tests.report.browser import show


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_whole_page(run_directory: Path, tmp_path: Path, width: int) -> None:
    """Every line is drawn, the pointer shows values, nothing lies beyond the screen, and the console stays empty."""
    page = write_report(run_directory, tmp_path / "report.html")
    shown = show(page, tmp_path, width)
    assert shown.messages == []
    assert [name for name in shown.probe["asked"] if not name.startswith("data:")] == []
    assert shown.probe["page"] == shown.probe["width"] == width
    assert shown.probe["wide"] == []
    assert shown.probe["lines"] >= 14
    assert len(shown.probe["tips"]) == 7
    assert any("running: " in tip and "waiting: " in tip for tip in shown.probe["tips"])
