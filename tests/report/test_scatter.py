"""Scatter picture and Pareto front."""

from cluster_sim.report.scatter import Point, pareto_front, scatter


def test_the_front_has_what_nothing_beats() -> None:
    """A point stays if no other one is at least as good in both figures."""
    points = [Point(1, 5, "a"), Point(2, 4, "b"), Point(2, 3, "c"), Point(3, 4, "d"), Point(0.5, 5, "e")]
    assert [point.mark for point in pareto_front(points)] == ["a", "d"]
    assert pareto_front([]) == []


def test_points_stand_at_their_places() -> None:
    """Axes begin at 0 and end a twentieth beyond the largest; the later of two points at one place shows."""
    lines = scatter([Point(100, 10, "o"), Point(50, 5, "x"), Point(50, 5, "*")], "speed", "load", 21, 11).splitlines()
    assert lines[0] == "load"
    assert lines[1].startswith("10 |") or lines[1].startswith("11 |")
    assert lines[1].rstrip().endswith("o")
    assert lines[6] == "   |          *"
    assert lines[11].startswith(" 0 |")
    assert lines[-1].endswith("105  speed")
    assert scatter([], "x", "y") == ""
