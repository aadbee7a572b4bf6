"""Generated tables of the pages."""

from pathlib import Path

from cluster_sim.config.loading.doc_tables import parts_table, with_tables
from cluster_sim.config.schema.axes import AXES
from cluster_sim.workload.lengths.length_sampler import LENGTHS


def test_pages_are_current(checkout: Path) -> None:
    """The tables of every page are those of the registries; ``make schema`` writes them anew."""
    pages = sorted((checkout / "docs").glob("*.md"))
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert [name for name, text in texts.items() if with_tables(text) != text] == []
    for axis in AXES:
        assert f"| `{axis.group}` |" in texts["extend.md"]


def test_a_row_has_name_meaning_and_example() -> None:
    """Each part is a row: its name, its summary, and its example on one line."""
    lines = parts_table(LENGTHS).splitlines()
    assert lines[0] == "| kind | meaning | example |"
    assert lines[2] == (
        "| `empirical` | Pairs of prompt and output lengths drawn together, with replacement, from a trace. | "
        "`{path: trace.csv}` |"
    )
    assert len(lines) == 2 + len(LENGTHS.names())
