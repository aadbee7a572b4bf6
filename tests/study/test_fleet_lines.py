"""Tests of the lines about a fleet."""

from pathlib import Path

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.plan import make_plan
from cluster_sim.study.fleet_lines import fleet_lines

EXAMPLE = Path(__file__).resolve().parents[2] / "conf/studies/two_sites.yaml"
QUICKSTART = EXAMPLE.parents[1] / "quickstart.yaml"


def test_one_replica_on_one_gpu() -> None:
    """A number of 1 has the singular: one H100 at 2.99 USD an hour."""
    lines = list(fleet_lines(make_plan(load_study(QUICKSTART, ["fleet.pools.0.replicas=1"]))))
    assert lines[0] == "1 replica on 1 GPU, $2.99 an hour"


def test_the_example_study() -> None:
    """Models with their pools, roles, sites, links and labels stand there, with GPUs and price of all."""
    overrides = [
        "fleet.pools.2.node={gpu_links: pairs, nic: infiniband-hdr, nics_per_gpu: 0.5}",
        "fleet.links=[{between: east-l40s -> west-a100, link: ethernet-25}]",
    ]
    lines = list(fleet_lines(make_plan(load_study(EXAMPLE, overrides))))
    bridges = "GPU links pairs, 0.5 x infiniband-hdr a GPU"
    assert lines == [
        "7 replicas on 13 GPUs, $30.47 an hour",
        "the router stands at east",
        "route east - west: 31 ms, 12.5 GB/s",
        "link east-l40s -> west-a100: 1 x ethernet-25 a GPU",
        "llama-3.1-8b:",
        "  east-l40s: 3 x 1 l40s, both, at east, 0.5 ms from the router, 0.5 ms back, tier=cheap",
        "  west-a100: 2 x 1 a100-80gb, both, at west, 31.5 ms from the router, 31.5 ms back",
        "llama-3.1-70b:",
        f"  west-h100: 2 x 4 h100-sxm, both, at west, 31.5 ms from the router, 31.5 ms back, {bridges}",
    ]
