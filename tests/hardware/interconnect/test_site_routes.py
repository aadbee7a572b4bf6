"""Tests of directions and of ways between sites."""

import pytest

from cluster_sim.hardware.interconnect.directions import Direction, one_way, parse_direction, repeated_pair
from cluster_sim.hardware.interconnect.site_routes import SiteRoute, SiteRoutes, SiteWay, site_routes


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("a - b", Direction("a", "b", True)),
        (" us-east-1  -  eu.west_2 ", Direction("us-east-1", "eu.west_2", True)),
        ("a -> b", Direction("a", "b", False)),
        ("a->b", Direction("a", "b", False)),
    ],
)
def test_directions_are_read(text: str, direction: Direction) -> None:
    """A dash between spaces gives both directions, an arrow one; names may contain dashes."""
    assert parse_direction(text) == direction


@pytest.mark.parametrize("text", ["a-b", "a", "", "a - ", "a -> b -> c", "a - a", "a <- b", "-a - b"])
def test_other_forms_are_refused(text: str) -> None:
    """What is neither form, or names one end twice, says what is allowed."""
    with pytest.raises(ValueError, match="must"):
        parse_direction(text)


def test_one_way_and_repeated_pairs() -> None:
    """Two arrows that face each other make a way and a way back; each direction may be given once."""
    there, back, alone = (Direction("a", "b", False), Direction("b", "a", False), Direction("b", "c", False))
    assert one_way([there, back, alone]) == [alone]
    assert repeated_pair([there, back, alone]) is None
    assert repeated_pair([there, Direction("b", "a", True)]) == ("a", "b")


def test_the_fastest_way_by_hand() -> None:
    """From a to c over b takes 3 + 4, faster than the direct 9; back only the direct one leads."""
    routes = SiteRoutes(
        {
            ("a", "b"): SiteRoute(3, None),
            ("b", "c"): SiteRoute(4, 100),
            ("a", "c"): SiteRoute(9, None),
            ("c", "a"): SiteRoute(8, None),
        }
    )
    assert routes.way("a", "c") == SiteWay(7, (("a", "b"), ("b", "c")))
    assert routes.way("c", "a") == SiteWay(8, (("c", "a"),))
    assert routes.way("b", "a") == SiteWay(12, (("b", "c"), ("c", "a")))
    assert routes.way("b", "b") == SiteWay(0, ())
    assert routes.way("a", "d") is None


def test_equally_fast_ways_have_one_order() -> None:
    """Of equally fast ways the one with the fewest routes is taken, then the first by name."""
    routes = {
        ("a", "c"): SiteRoute(1, None),
        ("a", "b"): SiteRoute(1, None),
        ("b", "d"): SiteRoute(1, None),
        ("c", "d"): SiteRoute(1, None),
    }
    assert SiteRoutes(routes).way("a", "d") == SiteWay(2, (("a", "b"), ("b", "d")))
    assert SiteRoutes({**routes, ("a", "d"): SiteRoute(2, None)}).way("a", "d") == SiteWay(2, (("a", "d"),))


def test_the_way_back_is_as_long_if_there_is_no_other() -> None:
    """A one-way entry leads back as well unless a chain of other entries does."""
    route, slow = SiteRoute(5, 10), SiteRoute(50, None)
    alone = site_routes([(Direction("a", "b", False), route)])
    assert alone.routes == {("a", "b"): route, ("b", "a"): route}
    ring = [(Direction("a", "b", False), route), (Direction("b", "c", True), slow), (Direction("c", "a", False), slow)]
    assert ("b", "a") not in site_routes(ring).routes
    assert site_routes(ring).way("b", "a") == SiteWay(100, (("b", "c"), ("c", "a")))
