"""Tests of the links that a transfer between two replicas passes."""

from cluster_sim.hardware.interconnect.site_routes import SiteRoute, SiteRoutes
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks, Place, PoolPlace, Port, SharedLink

NDR = Port(5e10, 5.0, 0.9)
QUARTER = Port(5e10, 5.0, 0.9, per_gpu=0.25)


def test_ports_of_both_ends_by_hand() -> None:
    """Four GPUs with a card each send 200 GB/s, one takes 50; the start takes as long as the slower card's."""
    fleet = FleetLinks((PoolPlace("prefill", 4, 8, NDR), PoolPlace("decode", 1, 8, Port(2.5e10, 8.0, 0.8, 2.0))))
    path = fleet.path(Place(1, 0, 1), Place(2, 1, 0))
    assert path is not None
    assert path.links == (SharedLink(("out", 1), 200_000_000_000, 0.9), SharedLink(("in", 2), 50_000_000_000, 0.8))
    assert path.latency_ns == 8_000
    assert [shared.achieved_bytes_per_s for shared in path.links] == [180_000_000_000, 40_000_000_000]


def test_gpus_that_share_cards() -> None:
    """With two cards for eight GPUs a replica of one GPU reaches one of them, its node both; nodes fill in order."""
    fleet = FleetLinks((PoolPlace("a", 1, 8, QUARTER, first_node=10), PoolPlace("b", 8, 8, QUARTER, first_node=20)))
    path = fleet.path(Place(9, 0, 9), Place(30, 1, 3))
    assert path is not None
    assert path.links == (
        SharedLink(("out", 9), 50_000_000_000, 0.9),
        SharedLink(("node out", 11), 100_000_000_000, 0.9),
        SharedLink(("in", 30), 100_000_000_000, 0.9),
    )


def test_links_between_pools_and_sites() -> None:
    """A link of two pools stands in place of both ports in its direction; routes with a bandwidth are shared."""
    nvlink = Port(4.5e11, 5.0, 0.8)
    routes = SiteRoutes({("x", "y"): SiteRoute(7_000_000, 10**9), ("y", "x"): SiteRoute(9_000_000, None)})
    fleet = FleetLinks(
        (PoolPlace("a", 1, 8, NDR, "x"), PoolPlace("b", 1, 8, NDR, "y"), PoolPlace("c", 1, 8, NDR, "x")),
        {("a", "c"): nvlink},
        routes,
    )
    joined = fleet.path(Place(0, 0, 0), Place(2, 2, 0))
    back = fleet.path(Place(2, 2, 0), Place(0, 0, 0))
    far = fleet.path(Place(0, 0, 0), Place(1, 1, 0))
    assert joined is not None
    assert back is not None
    assert far is not None
    assert [shared.bytes_per_s for shared in joined.links] == [450_000_000_000] * 2
    assert [shared.bytes_per_s for shared in back.links] == [50_000_000_000] * 2
    assert far.links[-1] == SharedLink(("route x -> y", 0), 10**9)
    assert far.latency_ns == 7_000_000 + 5_000
    home = fleet.path(Place(1, 1, 0), Place(0, 0, 0))
    assert home is not None
    assert [shared.link for shared in home.links] == [("out", 1), ("in", 0)]
    assert FleetLinks(fleet.pools).path(Place(0, 0, 0), Place(1, 1, 0)) is None
