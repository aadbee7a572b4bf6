"""HTML as text."""

from cluster_sim.report.page.document import document
from cluster_sim.report.page.markup import Column, Markup, element, table


def test_whatever_is_no_markup_is_escaped() -> None:
    """Text and attributes cannot become markup; markup stays as it is; elements without content close themselves."""
    assert element("p", "a < b", Markup("<b>c</b>")) == "<p>a &lt; b<b>c</b></p>"
    assert element("i", class_="x", title='"<') == '<i class="x" title="&quot;&lt;"></i>'
    assert element("img", src="data:,", alt=None) == '<img src="data:,"/>'
    assert "<script>alert" not in document("<script>alert(1)</script>", "<script>alert(2)</script>")


def test_tables_say_what_their_cells_belong_to() -> None:
    """A caption, a scope in every head, a row head, each cell's title for narrow screens; buttons where it sorts."""
    made = table("All runs", [Column("run", is_number=False), Column("TTFT")], [["a", "1 s"]], is_sortable=True)
    assert "<caption>All runs</caption>" in made
    assert 'scope="col"' in made
    assert '<th role="rowheader" scope="row"' not in made or 'scope="row"' in made
    assert '<td role="cell" class="number" data-title="TTFT">1 s</td>' in made
    assert '<button type="button">TTFT</button>' in made
    plain = table("Totals", [Column(""), Column("")], [["a", "1"]])
    assert "<thead" not in plain
